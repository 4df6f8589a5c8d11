//! `muster summary` and `muster watch`

use muster_shared::wire::{self, server_event::Kind};
use serde::Serialize;

use super::{
    client::Fleet,
    failure::Failure,
    output::Output,
    runs::Server,
    table::{self, printable},
};
use crate::api::model::{command::Command, server::Vm, summary::Summary};

/// Prints a server's latest figures.
///
/// # Errors
/// What the control plane refused.
pub(super) async fn show(server: Server, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let summary = fleet.get_summary(wire::GetSummaryRequest { server: server.server }).await?.into_inner();
    output.print(&Summary::from(summary), draw)
}

/// What is watched, tagged for programs.
#[derive(Debug, Serialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
enum Watched {
    Server(Box<Vm>),
    Sample(Summary),
    Command(Box<Command>),
}

/// Prints whatever happens to a server until interrupted.
///
/// # Errors
/// What the control plane refused, or the end of the connection.
pub(super) async fn watch(server: Server, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = wire::WatchServerRequest { server: server.server, metrics: true };
    let mut events = fleet.watch_server(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        let watched = match event.kind {
            Some(Kind::Server(server)) => Watched::Server(Box::new(server.into())),
            Some(Kind::Summary(summary)) => Watched::Sample(summary.into()),
            Some(Kind::Command(command)) => Watched::Command(Box::new(command.into())),
            None => continue,
        };
        output.item(&watched, line)?;
    }
    Ok(())
}

fn line(watched: &Watched) -> String {
    match watched {
        Watched::Server(vm) => {
            let reason = vm.health_reason.as_deref().unwrap_or_default();
            printable(&format!(
                "{} is {}, {}, agent {}  {reason}",
                vm.name, vm.status, vm.health_status, vm.agent_status
            ))
        }
        Watched::Sample(summary) => sample(summary),
        Watched::Command(command) => {
            printable(&format!("command {} {} is {}", command.kind, command.id, command.state))
        }
    }
}

fn sample(summary: &Summary) -> String {
    format!(
        "{}  cpu {:5.1} %  memory {:5.1} %  disk {:5.1} %  in {}  out {}  load {:.2}  containers {}",
        summary.timestamp.map(|time| time.to_string()).unwrap_or_default(),
        summary.cpu_usage_percent,
        summary.memory_usage_percent,
        summary.disk_usage_percent,
        rate(summary.network_rx_bytes_per_second),
        rate(summary.network_tx_bytes_per_second),
        summary.load_1m,
        summary.container_count,
    )
}

fn draw(summary: &Summary) -> String {
    table::pairs(&[
        ("timestamp", summary.timestamp.map(|time| time.to_string()).unwrap_or_default()),
        ("health", summary.health_status.clone()),
        ("cpu", format!("{:.1} %", summary.cpu_usage_percent)),
        ("memory", format!("{:.1} %", summary.memory_usage_percent)),
        ("disk", format!("{:.1} %", summary.disk_usage_percent)),
        ("network in", rate(summary.network_rx_bytes_per_second)),
        ("network out", rate(summary.network_tx_bytes_per_second)),
        ("containers", summary.container_count.to_string()),
        ("load 1m", format!("{:.2}", summary.load_1m)),
        ("uptime", format!("{:.0} s", summary.uptime_seconds)),
    ])
}

fn rate(bytes_per_second: f64) -> String {
    let units = [(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")];
    match units.into_iter().find(|(size, _)| bytes_per_second >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes_per_second / size),
        None => format!("{bytes_per_second:.0} B/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::time::Time;

    fn summary() -> Summary {
        Summary {
            server_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
            timestamp: Some(Time(1_736_937_000_000_000)),
            cpu_usage_percent: 45.23,
            memory_usage_percent: 62.8,
            disk_usage_percent: 8.5,
            network_rx_bytes_per_second: 18_500.0,
            network_tx_bytes_per_second: 920.0,
            container_count: 12,
            load_1m: 0.72,
            uptime_seconds: 86_400.0,
            health_status: "healthy".into(),
        }
    }

    #[test]
    fn figures_are_rounded_for_people_and_whole_for_programs() {
        insta::assert_snapshot!(draw(&summary()) + &sample(&summary()));
        insta::assert_json_snapshot!(Watched::Sample(summary()));
    }
}
