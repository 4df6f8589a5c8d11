//! `muster agent …`

use clap::Subcommand;
use muster_shared::wire::{ReleaseQuarantineRequest, RevokeAgentRequest};

use super::{ask, client::Fleet, failure::Failure, output::Output, servers::print_server};

/// What to do with a server's agent.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Cut its stream and refuse its certificate from now on.
    Revoke {
        /// The server's name or id.
        server: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
    /// Let one machine of a cloned pair enrol again; identities given out before stay refused.
    Release {
        /// The server's name or id.
        server: String,
    },
}

impl AgentCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let server = match self {
            Self::Revoke { server, yes } => {
                ask::unless(yes, &format!("cut the agent of {server} off and refuse its certificate"))?;
                fleet.revoke_agent(RevokeAgentRequest { server }).await?
            }
            Self::Release { server } => fleet.release_quarantine(ReleaseQuarantineRequest { server }).await?,
        };
        print_server(server.into_inner(), output)
    }
}
