//! `muster servers stats`

use muster_shared::wire;

use super::{client::Fleet, failure::Failure, output::Output, table};
use crate::api::model::stats::VmStats;

/// Prints how much of a server is spoken for and in use.
///
/// # Errors
/// What the control plane refused.
pub(super) async fn show(server: String, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let stats = fleet.get_stats(wire::GetStatsRequest { server }).await?.into_inner();
    output.print(&VmStats::from(stats), draw)
}

fn draw(stats: &VmStats) -> String {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let percent = |value: Option<f64>| value.map(|value| format!("{value:.1} %")).unwrap_or_default();
    let mut pairs = vec![
        ("id", stats.vm_id.clone()),
        ("status", stats.status.clone()),
        ("health", stats.health_status.clone()),
        ("size", stats.size.clone().unwrap_or_default()),
        ("cpu cores", number(stats.cpu_cores)),
        ("memory gb", number(stats.memory_gb)),
        ("disk gb", number(stats.disk_gb)),
        ("docker", stats.docker_status.clone()),
        ("cpu in use", percent(stats.cpu_usage_percent)),
        ("memory in use", percent(stats.memory_usage_percent)),
        ("disk in use", percent(stats.disk_usage_percent)),
    ];
    pairs.extend(stats.forecast.as_ref().map(|forecast| ("forecast", forecast.detail.clone())));
    let header = ["RESOURCE", "LEVEL", "PERCENT", "DETAIL"];
    let rows = stats.capacity.iter().map(|capacity| {
        let share = capacity.percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}"));
        vec![capacity.resource.clone(), capacity.level.clone(), share, capacity.detail.clone()]
    });
    format!("{}\n{}", table::pairs(&pairs), table::draw(&header, rows.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::stats::{Capacity, DiskForecast};

    #[test]
    fn capacity_is_a_table_under_the_figures() {
        let stats = VmStats {
            vm_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
            status: "running".into(),
            size: Some("medium".into()),
            environment_count: 7,
            max_environments: Some(8),
            utilization_percent: Some(87.5),
            cpu_cores: Some(4.0),
            memory_gb: Some(8.0),
            health_status: "healthy".into(),
            docker_status: "running".into(),
            cpu_usage_percent: Some(45.2),
            capacity: vec![Capacity {
                resource: "environments".into(),
                percent: Some(87.5),
                level: "warning".into(),
                detail: "7 of 8 environments: consider adding server capacity soon".into(),
            }],
            forecast: Some(DiskForecast { detail: "disk full in 9 days".into(), ..DiskForecast::default() }),
            ..VmStats::default()
        };
        insta::assert_snapshot!(draw(&stats));
    }
}
