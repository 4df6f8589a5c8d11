//! `muster preflight` and `muster bootstrap`: long calls that tell how they get on.

use clap::Args;
use muster_shared::{preflight::CheckName, wire};

use super::{client::Fleet, failure::Failure, output::Output, progress};

/// Which server.
#[derive(Debug, Args)]
pub struct Server {
    /// Its name or id.
    pub server: String,
}

/// Runs the readiness checks.
///
/// # Errors
/// Also when the server is not qualified.
pub(super) async fn preflight(server: Server, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let name = server.server;
    let events = fleet.run_preflight(wire::RunPreflightRequest { server: name.clone() }).await?.into_inner();
    let complete = progress::follow_all(events, output, CheckName::ALL.len() as u64).await?;
    match complete.get("status").and_then(|status| status.as_str()) {
        Some("qualified") => Ok(()),
        Some(status) => {
            let message = format!("the server is {}", status.replace('_', " "));
            Err(Failure::ended_badly(message, format!("`muster fix {name} --all` mends what can be mended")))
        }
        None => {
            Err(Failure::ended_badly("the run ended without a result", format!("run `muster preflight {name}` again")))
        }
    }
}

/// Installs the agent over SSH.
///
/// # Errors
/// Also when the installation failed.
pub(super) async fn bootstrap(server: Server, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let events = fleet.bootstrap(wire::BootstrapRequest { server: server.server }).await?.into_inner();
    progress::follow(events, output).await.map(|_| ())
}
