//! `muster hostkey …`

use clap::Subcommand;
use muster_shared::wire::AcceptHostKeyRequest;

use super::{client::Fleet, failure::Failure, output::Output, servers::print_server};

/// What to decide about a host key.
#[derive(Debug, Subcommand)]
pub enum HostKeyCommand {
    /// Believe this key from now on. Compare it with `ssh-keygen -lf` on the host first.
    Accept {
        /// The server's name or id.
        server: String,
        /// `SHA256:…`
        fingerprint: String,
    },
}

impl HostKeyCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let Self::Accept { server, fingerprint } = self;
        let server = fleet.accept_host_key(AcceptHostKeyRequest { server, fingerprint }).await?.into_inner();
        print_server(server, output)
    }
}
