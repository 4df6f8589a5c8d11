//! `muster serve` is the control plane; everything else is the admin CLI.

use std::process::ExitCode;

use clap::Parser as _;
use muster::{
    app,
    cli::{Cli, Command, FleetCommand, Format, Target},
    config::{Config, ServeFlags},
    observability,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code for settings of the control plane that can't be used, as `sysexits.h` numbers it.
const EXIT_CONFIG: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A message that can't be printed changes nothing about the exit code.
            let _ = error.print();
            let serving = std::env::args_os().nth(1).is_some_and(|word| word == "serve");
            return if serving && error.use_stderr() {
                ExitCode::from(EXIT_CONFIG)
            } else {
                exit_code(error.exit_code())
            };
        }
    };
    match cli.command {
        Command::Serve(flags) => serve(flags),
        Command::Fleet(command) => ask(command, &cli.target, cli.output),
    }
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn ask(command: FleetCommand, target: &Target, format: Format) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("muster: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command.run(target, format, &mut std::io::stdout())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit_code)
        }
    }
}

fn serve(flags: ServeFlags) -> ExitCode {
    let config = match Config::load(flags) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("muster: {}", app::chain(&error));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    observability::start_logging(config.log_format, &config.log_level);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster: {}", app::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            asked.cancel();
        });
        app::serve(config, shutdown, |app, doors| {
            tracing::info!(
                listen = doors.tls.local_addr().ok().map(tracing::field::display),
                agents = doors.agents.as_ref().and_then(|door| door.local_addr().ok()).map(tracing::field::display),
                http = doors.http.as_ref().and_then(|door| door.local_addr().ok()).map(tracing::field::display),
                ca_sha256 = %app.identity.authority.pin(),
                "control plane ready"
            );
        })
        .await?;
        tracing::info!("stopped");
        Ok(())
    })
}
