//! `muster facts`

use clap::Args;
use muster_shared::{
    facts::Facts as Document,
    wire::{GetServerRequest, RefreshFactsRequest},
};
use serde_json::Value;

use super::{client::Fleet, failure::Failure, output::Output, table};
use crate::api::model::structure;

/// Bytes in the gigabyte that tables show.
const GIGABYTE: f64 = 1e9;

/// Whose facts, and how fresh.
#[derive(Debug, Args)]
pub struct Facts {
    /// The server's name or id.
    server: String,
    /// Have them collected anew first.
    #[arg(long)]
    refresh: bool,
}

impl Facts {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused, or that nothing is known yet.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        if self.refresh {
            fleet.refresh_facts(RefreshFactsRequest { server: self.server.clone() }).await?;
        }
        let request = GetServerRequest { server: self.server, include_facts: true };
        let facts = fleet.get_server(request).await?.into_inner().facts.map(structure::to_json);
        let Some(facts) = facts.filter(|facts| facts.as_object().is_some_and(|facts| !facts.is_empty())) else {
            return Err(Failure::ended_badly(
                "nothing is known of this host yet",
                "wait for its agent, or add --refresh",
            ));
        };
        output.print(&facts, draw)
    }
}

fn draw(facts: &Value) -> String {
    let facts = serde_json::from_value::<Document>(facts.clone()).unwrap_or_default();
    let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / GIGABYTE);
    let disk = facts.data_disk.as_ref().map(|disk| {
        format!("{} of {} free on {}", gigabytes(disk.available_bytes), gigabytes(disk.total_bytes), disk.path)
    });
    let addresses: Vec<_> = facts.addresses.iter().map(|address| address.ip.as_str()).collect();
    table::pairs(&[
        ("hostname", facts.hostname.clone()),
        ("system", facts.os.pretty_name.clone()),
        ("kernel", format!("{} {}", facts.kernel, facts.arch)),
        ("virtualization", facts.virtualization.clone()),
        ("cpu", format!("{} × {}", facts.cpu.cores, facts.cpu.model)),
        ("memory", gigabytes(facts.memory.total_bytes)),
        ("disk", disk.unwrap_or_default()),
        ("addresses", addresses.join(" ")),
        ("docker", format!("{} {}", facts.docker.status.as_str(), facts.docker.version.as_deref().unwrap_or("-"))),
        ("containers", facts.docker.containers.len().to_string()),
        ("listening", listening(&facts)),
        (
            "reboot pending",
            facts.reboot_pending.as_ref().map(|pending| pending.because_of.join(" ")).unwrap_or_default(),
        ),
        ("agent version", facts.agent_version.clone()),
        ("unread", facts.unread.keys().cloned().collect::<Vec<_>>().join(" ")),
    ])
}

fn listening(facts: &Document) -> String {
    let ports = facts.listening.iter().map(|port| {
        let owner = port.process.as_deref().unwrap_or("?");
        format!("{}/{} {owner}", port.port, port.protocol)
    });
    ports.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}
