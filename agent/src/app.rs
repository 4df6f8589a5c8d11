//! From arguments to a role. Everything is parsed before anything starts.

use std::{
    future::Future, io, os::unix::process::CommandExt as _, path::Path, process::ExitCode, sync::Arc, time::Duration,
};

use clap::{Parser as _, error::ErrorKind};
use muster_shared::wire;
use ring::digest::{SHA256, digest};
use rustix::process::{Pid, Signal};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    action::{Engine, LiveHost, catalogue, deadman::HostDeadman, record::Records},
    clock::SystemClock,
    config::{AfterArgs, AgentConfig, Cli, Command, RevertArgs, RoleArgs},
    executor::{self, Executor, host::HostWork, power::InitPower, receipts, socket},
    install::{self, users},
    join,
    link::{self, port::ExecutorPort, run::chain, session::HostWords},
    login,
    os::boot::Boot,
    probe,
    sample::{Sampler, SamplerOptions},
    state::{Paths, StateError},
    supervise,
};

/// How the process ends; the numbers are those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Success,
    /// Arguments or settings are not understood.
    Usage,
    /// Something outside this host is missing.
    Unavailable,
    /// Something on this host went wrong.
    Failed,
    /// Not allowed: not root, or the control plane refused.
    NoPermission,
    /// This host has not joined, or its state is damaged: starting again does not help.
    NotSetUp,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Failed => 70,
            Self::NoPermission => 77,
            Self::NotSetUp => 78,
        }
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where its words can't be written, the exit code still tells.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { Exit::Success } else { Exit::Usage }.code());
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Failed, &error.to_string()),
    };
    let exit = runtime.block_on(dispatch(cli.command));
    // A probe or an fsync still on its thread must not hold up the end.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}

async fn dispatch(command: Command) -> Exit {
    let outcome = match command {
        Command::Join(args) => join::join(args, &mut io::stdout().lock()).await,
        Command::Run(args) => with_config(&Paths::of(&args.state_dir), |_| supervise::run(&args.state_dir)).await,
        Command::Link(args) => {
            let paths = Paths::of(&args.state.state_dir);
            with_config(&paths, |config| link(&paths, config, &args)).await
        }
        Command::Executor(args) => {
            let paths = Paths::of(&args.state.state_dir);
            with_config(&paths, |_| executor(&paths, &args)).await
        }
        Command::Probe(args) => {
            probe::run(args, io::stdout().lock()).await.map_err(|error| Failure::new(Exit::Failed, chain(&error)))
        }
        Command::Revert(args) => revert(&args).await,
        Command::Login(args) => login::run(args, &mut io::stdout().lock()).await,
        Command::After(args) => after(&args).await,
        Command::Uninstall(args) => install::uninstall(&Paths::of(&args.state_dir), &mut io::stdout().lock()),
    };
    match outcome {
        Ok(()) => Exit::Success,
        Err(failure) => {
            fail(failure.exit, &failure.words);
            failure.exit
        }
    }
}

/// Why the program ends, in words for the person who started it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub words: String,
}

impl Failure {
    #[must_use]
    pub fn new(exit: Exit, words: impl Into<String>) -> Self {
        Self { exit, words: words.into() }
    }
}

fn fail(exit: Exit, words: &str) -> ExitCode {
    use io::Write as _;
    // Where it can't be written, the exit code still tells.
    let _ = writeln!(io::stderr(), "muster-agent: {words}");
    ExitCode::from(exit.code())
}

async fn with_config<F>(paths: &Paths, role: impl FnOnce(AgentConfig) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let config = AgentConfig::load(&paths.settings()).map_err(|error| Failure::new(Exit::Usage, chain(&error)))?;
    // Libraries are heard only when something is wrong.
    let targets = Targets::new().with_default(tracing::Level::WARN).with_target("muster_agent", config.log);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines).with(targets).init();
    role(config).await
}

async fn link(paths: &Paths, config: AgentConfig, args: &RoleArgs) -> Result<(), Failure> {
    end_with(args.parent)?;
    let settings = link::Settings {
        clock: Arc::new(SystemClock),
        state: paths.link(),
        source: Box::new(Sampler::new(Path::new("/"), &SamplerOptions::default())),
        executor: ExecutorPort::unix(paths.socket()),
        host: host_words(),
        spool: config.spool,
    };
    notify_ready();
    match link::run(settings, stop_signal()).await {
        Ok(link::Exit::Stopped | link::Exit::Retired(_)) => Ok(()),
        Err(link::LinkError::State(error @ (StateError::NotEnrolled | StateError::Damaged { .. }))) => {
            Err(Failure::new(Exit::NotSetUp, format!("{}: run muster-agent join first", chain(&error))))
        }
        Err(error) => Err(Failure::new(Exit::Failed, chain(&error))),
    }
}

async fn executor(paths: &Paths, args: &RoleArgs) -> Result<(), Failure> {
    end_with(args.parent)?;
    let failed = |error: io::Error| Failure::new(Exit::Failed, error.to_string());
    let link_user = users::link_user();
    paths.create_run_dir(link_user.as_ref().map(|user| user.gid)).map_err(failed)?;
    let engine = engine(paths);
    // In the background: whoever holds a change must not hold up the executor.
    tokio::spawn({
        let engine = engine.clone();
        async move { engine.recover().await }
    });
    let settings = executor::Settings {
        clock: Arc::new(SystemClock),
        work: Arc::new(HostWork::new(Arc::new(InitPower), engine)),
        journal: paths.journal(),
        trust: paths.trust(),
        policy: paths.policy(),
        receipts: receipts::load_or_make(&paths.receipt_key())
            .inspect_err(|cause| tracing::error!(%cause, "commands will end without receipts"))
            .ok(),
    };
    let listener = socket::bind(&paths.socket(), link_user.as_ref().map(|user| user.gid)).map_err(failed)?;
    let executor = Executor::start(settings).map_err(failed)?;
    let mut allowed = vec![0, rustix::process::geteuid().as_raw()];
    allowed.extend(link_user.map(|user| user.uid));
    notify_ready();
    tokio::select! {
        served = socket::serve(listener, executor, allowed) => served.map_err(failed),
        () = stop_signal() => Ok(()),
    }
}

fn engine(paths: &Paths) -> Engine {
    let deadman = HostDeadman { state_dir: paths.state_dir.clone() };
    let records = Records::new(&paths.changes());
    Engine::new((Arc::new(LiveHost), Arc::new(deadman)), Arc::new(SystemClock), records, catalogue::change_of)
}

/// Needs neither settings nor an executor: what is to be taken back is on disk.
async fn revert(args: &RevertArgs) -> Result<(), Failure> {
    let engine = engine(&Paths::of(&args.state.state_dir));
    loop {
        match engine.revert_due().await {
            Ok(Some(left)) if args.watch => tokio::time::sleep(left.max(Duration::from_millis(200))).await,
            Ok(_) => return Ok(()),
            // Somebody else is at it.
            Err(_) if args.watch => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(error) => return Err(Failure::new(Exit::Failed, error.to_string())),
        }
    }
}

/// Becomes another program after a while. The executor starts this where the init system can't wait by itself, so that
/// an order it has reported is given also if the executor is killed meanwhile.
async fn after(args: &AfterArgs) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_millis(args.milliseconds)).await;
    let Some((program, arguments)) = args.program.split_first() else {
        return Err(Failure::new(Exit::Usage, "no program was named"));
    };
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(Failure::new(Exit::Failed, format!("{program} can't be run: {error}")))
}

/// Has this process end when the supervisor does, however that ends.
fn end_with(parent: Option<u32>) -> Result<(), Failure> {
    let Some(parent) = parent else { return Ok(()) };
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    // It may have ended before the signal was asked for.
    let still_there = rustix::process::getppid().map(Pid::as_raw_nonzero).map(|pid| pid.get().unsigned_abs());
    if still_there == Some(parent) { Ok(()) } else { Err(Failure::new(Exit::Failed, "the supervisor is gone")) }
}

/// Ends when this process is asked to.
pub(crate) async fn stop_signal() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals can't be heard; only SIGKILL will end this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

fn notify_ready() {
    // Without systemd nobody listens, which is no error.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

fn host_words() -> HostWords {
    let claims = host_claims();
    HostWords {
        agent_version: claims.agent_version,
        boot_id: Boot::read(Path::new("/")).id,
        machine_id_sha256: claims.machine_id_sha256,
        hostname: claims.hostname,
    }
}

/// What this host says of itself.
pub(crate) fn host_claims() -> wire::HostClaims {
    let machine_id = read_line("/etc/machine-id");
    let machine_id_sha256 =
        if machine_id.is_empty() { String::new() } else { hex::encode(digest(&SHA256, machine_id.as_bytes())) };
    wire::HostClaims {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        machine_id_sha256,
        arch: std::env::consts::ARCH.to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn read_line(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}
