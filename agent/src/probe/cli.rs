//! `muster-agent probe …`: the read-only code run once, with its answer as JSON.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use muster_shared::{command::PreflightArgs, preflight::CheckResult};
use serde::Serialize;

use super::{ProbeOptions, collect_facts, run_preflight};

/// Arguments of `muster-agent probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print what is known of this host, as one JSON document.
    Facts {
        /// JSON is the only form there is; accepted so that scripts can say so.
        #[arg(long)]
        json: bool,
    },
    /// Check whether this host is ready for deployments; one JSON object a line, as each check finishes.
    Preflight {
        /// JSON is the only form there is; accepted so that scripts can say so.
        #[arg(long)]
        json: bool,
        /// The user deployments will use (root by default).
        #[arg(long, default_value = "")]
        username: String,
        /// A port that must be free; may be repeated (80 and 443 by default).
        #[arg(long = "port", value_name = "PORT")]
        ports: Vec<u16>,
        /// An address whose reachability shows Internet access; may be repeated.
        #[arg(long = "target", value_name = "HOST:PORT")]
        targets: Vec<String>,
        /// Another clock's time now, in microseconds since the epoch, to compare this host's with.
        #[arg(long, value_name = "MICROSECONDS")]
        reference_time_us: Option<i64>,
    },
}

/// The answer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("the answer could not be written")]
    Write(#[from] io::Error),
    #[error("the answer could not be put into JSON")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Event<'d, T> {
    event: &'static str,
    data: &'d T,
}

/// Runs the probe that `args` asks for and writes its answer to `out`.
///
/// # Errors
/// The answer could not be written. A host that is not ready is an answer, not an error.
pub async fn run(args: ProbeArgs, mut out: impl Write) -> Result<(), ProbeError> {
    let options = ProbeOptions { try_sudo: true, ..ProbeOptions::default() };
    match args.what {
        What::Facts { json: _ } => write_line(&mut out, &collect_facts(&options).await),
        What::Preflight { json: _, username, ports, targets, reference_time_us } => {
            let options = ProbeOptions { reference_time_us, ..options };
            let args = PreflightArgs { username, ports, connectivity_targets: targets };
            let mut written = Ok(());
            let report = run_preflight(&args, &options, |check: &CheckResult| {
                if written.is_ok() {
                    written = write_line(&mut out, &Event { event: "check", data: check });
                }
            })
            .await;
            written?;
            write_line(&mut out, &Event { event: "complete", data: &report })
        }
    }
}

fn write_line(out: &mut impl Write, value: &impl Serialize) -> Result<(), ProbeError> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
