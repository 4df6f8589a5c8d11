//! How much of a server is spoken for and in use, as callers see it.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{filled, number, time::Time};
use crate::{
    capacity::{self, Allocation, Size},
    metrics::Summary,
    servers::Server,
};

/// A server's capacity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "vm_id": "01890a5d-ac96-774b-bcce-b302099a8057", "status": "running", "size": "medium", "environment_count": 6,
    "max_environments": 8, "utilization_percent": 75.0, "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160,
    "health_status": "healthy", "docker_status": "running", "cpu_usage_percent": 45.2, "memory_usage_percent": 62.8,
    "disk_usage_percent": 48.5, "sampled_at": "2025-01-15T10:30:00Z",
    "capacity": [{
        "resource": "environments", "percent": 75.0, "level": "ok", "detail": "6 of 8 environments"
    }],
    "forecast": {
        "status": "filling", "detail": "disk full in 9 days", "disk_full_in_days": 9.1,
        "disk_full_at": "2025-01-24T13:00:00Z", "percent_per_day": 5.6
    }
}))]
pub struct VmStats {
    pub vm_id: String,
    /// `pending`, `running`, `stopped`, `error` or `deleted`.
    pub status: String,
    /// `small`, `medium` (from 4 cores and 8 GB on), `large` (8 and 16) or `xlarge` (16 and 32); `null` where cores or
    /// memory are not known.
    pub size: Option<String>,
    pub environment_count: u32,
    /// What its owner says (`max_projects`), else what its size allows.
    pub max_environments: Option<u32>,
    /// Environments, of those it may hold.
    pub utilization_percent: Option<f64>,
    #[serde(serialize_with = "number::whole")]
    pub cpu_cores: Option<f64>,
    /// Gigabytes of 10⁹ bytes.
    #[serde(serialize_with = "number::whole")]
    pub memory_gb: Option<f64>,
    /// Gigabytes of 10⁹ bytes.
    #[serde(serialize_with = "number::whole")]
    pub disk_gb: Option<f64>,
    /// `healthy`, `degraded`, `unhealthy`, `unknown`, `auth_failed` or `unreachable`.
    pub health_status: String,
    /// `running`, `stopped`, `not_installed`, `permission_denied`, `hung` or `unknown`.
    pub docker_status: String,
    /// Of all cores together. Figures are `null` before the first samples, and for callers who may not see metrics.
    pub cpu_usage_percent: Option<f64>,
    pub memory_usage_percent: Option<f64>,
    pub disk_usage_percent: Option<f64>,
    /// When the host sampled the figures above.
    pub sampled_at: Option<Time>,
    /// How each resource stands.
    pub capacity: Vec<Capacity>,
    /// What is to be expected of the disk; `null` for callers who may not see metrics.
    pub forecast: Option<DiskForecast>,
}

/// How one resource stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Capacity {
    /// `environments`; `cpu`, `memory` or `disk`: allocated to environments, of what there is; `disk_usage`: in use.
    pub resource: String,
    pub percent: Option<f64>,
    /// `ok`, `warning` (from 80 % on), `critical` (from 95 % on), `over_provisioned` (above 100 %) or `unknown`.
    pub level: String,
    /// In words, with what to do.
    pub detail: String,
}

/// What is to be expected of a disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiskForecast {
    /// `filling`, `not_filling`, or `history_too_short` before a day of disk use is known.
    pub status: String,
    /// In words.
    pub detail: String,
    pub disk_full_in_days: Option<f64>,
    pub disk_full_at: Option<Time>,
    pub percent_per_day: Option<f64>,
}

/// What a caller who may see metrics is shown beside the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    pub summary: Option<Summary>,
    pub forecast: capacity::Forecast,
}

impl VmStats {
    /// `server` as it is at `now_us`, with `figures` for those who may see them.
    #[must_use]
    pub fn of(server: &Server, allocation: &Allocation, figures: Option<&Figures>, now_us: i64) -> Self {
        let sizes = server.resources();
        let summary = figures.and_then(|figures| figures.summary.as_ref());
        let disk = summary.map(|summary| summary.disk_usage_percent).filter(|percent| *percent > 0.0);
        let standings = capacity::standings(allocation, &sizes, disk);
        Self {
            vm_id: server.id.to_string(),
            status: server.status.as_str().to_owned(),
            size: Size::of(&sizes).map(|size| size.as_str().to_owned()),
            environment_count: allocation.environment_count,
            max_environments: allocation.max_environments,
            utilization_percent: standings.first().and_then(|environments| environments.percent),
            cpu_cores: sizes.cpu_cores,
            memory_gb: sizes.memory_gb,
            disk_gb: sizes.disk_gb,
            health_status: server.health(now_us).status.as_str().to_owned(),
            docker_status: server.detected.docker_status.clone().unwrap_or_else(|| "unknown".to_owned()),
            cpu_usage_percent: summary.map(|summary| tenths(summary.cpu_usage_percent)),
            memory_usage_percent: summary.map(|summary| tenths(summary.memory_usage_percent)),
            disk_usage_percent: disk.map(tenths),
            sampled_at: summary.map(|summary| Time(summary.at_us)),
            capacity: standings.into_iter().map(Into::into).collect(),
            forecast: figures.map(|figures| figures.forecast.into()),
        }
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

impl From<capacity::Standing> for Capacity {
    fn from(standing: capacity::Standing) -> Self {
        Self {
            resource: standing.resource.as_str().to_owned(),
            percent: standing.percent,
            level: standing.level.as_str().to_owned(),
            detail: standing.detail,
        }
    }
}

impl From<capacity::Forecast> for DiskForecast {
    fn from(forecast: capacity::Forecast) -> Self {
        const HOUR_US: f64 = 3.6e9;
        let full = match forecast {
            capacity::Forecast::Full { in_days, from_hour, percent_per_day } => {
                Some((in_days, (from_hour as f64 + in_days * 24.0) * HOUR_US, percent_per_day))
            }
            _ => None,
        };
        Self {
            status: forecast.as_str().to_owned(),
            detail: forecast.detail(),
            disk_full_in_days: full.map(|(in_days, ..)| tenths(in_days)),
            // To the hour: more would be made up. A cast of a float saturates.
            disk_full_at: full.map(|(_, at_us, _)| Time(((at_us / HOUR_US).round() * HOUR_US) as i64)),
            percent_per_day: full.map(|(.., percent_per_day)| (percent_per_day * 100.0).round() / 100.0),
        }
    }
}

impl From<VmStats> for wire::ServerStats {
    fn from(stats: VmStats) -> Self {
        Self {
            vm_id: stats.vm_id,
            status: stats.status,
            size: stats.size.unwrap_or_default(),
            environment_count: stats.environment_count,
            max_environments: stats.max_environments,
            utilization_percent: stats.utilization_percent,
            cpu_cores: stats.cpu_cores.unwrap_or_default(),
            memory_gb: stats.memory_gb.unwrap_or_default(),
            disk_gb: stats.disk_gb.unwrap_or_default(),
            health_status: stats.health_status,
            docker_status: stats.docker_status,
            cpu_usage_percent: stats.cpu_usage_percent,
            memory_usage_percent: stats.memory_usage_percent,
            disk_usage_percent: stats.disk_usage_percent,
            sampled_at: stats.sampled_at.map(Into::into),
            capacity: stats.capacity.into_iter().map(Into::into).collect(),
            forecast: stats.forecast.map(Into::into),
        }
    }
}

impl From<wire::ServerStats> for VmStats {
    fn from(stats: wire::ServerStats) -> Self {
        Self {
            vm_id: stats.vm_id,
            status: stats.status,
            size: filled(stats.size),
            environment_count: stats.environment_count,
            max_environments: stats.max_environments,
            utilization_percent: stats.utilization_percent,
            cpu_cores: number::positive(stats.cpu_cores),
            memory_gb: number::positive(stats.memory_gb),
            disk_gb: number::positive(stats.disk_gb),
            health_status: stats.health_status,
            docker_status: stats.docker_status,
            cpu_usage_percent: stats.cpu_usage_percent,
            memory_usage_percent: stats.memory_usage_percent,
            disk_usage_percent: stats.disk_usage_percent,
            sampled_at: stats.sampled_at.map(Into::into),
            capacity: stats.capacity.into_iter().map(Into::into).collect(),
            forecast: stats.forecast.map(Into::into),
        }
    }
}

impl From<Capacity> for wire::Capacity {
    fn from(capacity: Capacity) -> Self {
        Self { resource: capacity.resource, percent: capacity.percent, level: capacity.level, detail: capacity.detail }
    }
}

impl From<wire::Capacity> for Capacity {
    fn from(capacity: wire::Capacity) -> Self {
        Self { resource: capacity.resource, percent: capacity.percent, level: capacity.level, detail: capacity.detail }
    }
}

impl From<DiskForecast> for wire::DiskForecast {
    fn from(forecast: DiskForecast) -> Self {
        Self {
            status: forecast.status,
            detail: forecast.detail,
            disk_full_in_days: forecast.disk_full_in_days,
            disk_full_at: forecast.disk_full_at.map(Into::into),
            percent_per_day: forecast.percent_per_day,
        }
    }
}

impl From<wire::DiskForecast> for DiskForecast {
    fn from(forecast: wire::DiskForecast) -> Self {
        Self {
            status: forecast.status,
            detail: forecast.detail,
            disk_full_in_days: forecast.disk_full_in_days,
            disk_full_at: forecast.disk_full_at.map(Into::into),
            percent_per_day: forecast.percent_per_day,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_carries_every_field_that_rest_does() {
        let stats: VmStats = serde_json::from_value(serde_json::json!({
            "vm_id": "1", "status": "running", "size": "medium", "environment_count": 6, "max_environments": 8,
            "utilization_percent": 75.0, "cpu_cores": 4, "memory_gb": 8, "disk_gb": 160, "health_status": "healthy",
            "docker_status": "running", "cpu_usage_percent": 45.2, "memory_usage_percent": 62.8,
            "disk_usage_percent": 48.5, "sampled_at": "2025-01-15T10:30:00Z",
            "capacity": [{ "resource": "cpu", "percent": 0.0, "level": "ok", "detail": "0 of 4 cores allocated" }],
            "forecast": {
                "status": "filling", "detail": "disk full in 9 days", "disk_full_in_days": 9.1,
                "disk_full_at": "2025-01-24T13:00:00Z", "percent_per_day": 5.6
            }
        }))
        .expect("every field");
        assert_eq!(VmStats::from(wire::ServerStats::from(stats.clone())), stats);
        assert_eq!(VmStats::from(wire::ServerStats::from(VmStats::default())), VmStats::default());
    }

    #[test]
    fn a_forecast_names_the_hour_and_no_less() {
        let full = capacity::Forecast::Full { in_days: 9.11, from_hour: 482_610, percent_per_day: 5.634 };
        let shown = DiskForecast::from(full);
        assert_eq!(shown.detail, "disk full in 9 days");
        assert_eq!((shown.disk_full_in_days, shown.percent_per_day), (Some(9.1), Some(5.63)));
        assert_eq!(shown.disk_full_at.map(|at| at.to_string()).as_deref(), Some("2025-01-29T21:00:00Z"));
    }
}
