//! How much of a server is spoken for, how much is in use, and when its disk will be full. Pure.

mod forecast;
mod level;
mod size;

pub use forecast::{Forecast, MAX_POINTS, MIN_HOURS, WINDOW_HOURS, forecast};
pub use level::{CRITICAL_PERCENT, Level, OVER_PROVISIONED_PERCENT, WARNING_PERCENT};
pub use size::Size;

use crate::{
    quota::{Amounts, MB_PER_GB, number},
    servers::{Resources, Server},
};

/// What one environment takes at least, by which the recommended number of environments is reckoned.
pub const MIN_CORES_PER_ENVIRONMENT: f64 = 0.5;
pub const MIN_MEMORY_GB_PER_ENVIRONMENT: f64 = 1.0;
pub const MIN_DISK_GB_PER_ENVIRONMENT: f64 = 10.0;

/// What a server's environments are given.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Allocation {
    pub environment_count: u32,
    /// What its owner says, else what its size allows; `None` where neither is known.
    pub max_environments: Option<u32>,
    pub cpu_cores: f64,
    pub memory_gb: f64,
    pub disk_gb: f64,
}

impl Allocation {
    /// What is allocated on `server`, to whose `environment_count` active environments `given` was given.
    #[must_use]
    pub fn of(server: &Server, environment_count: u32, given: &Amounts) -> Self {
        Self {
            environment_count,
            max_environments: server.max_projects.or_else(|| recommended_environments(&server.resources())),
            cpu_cores: number(given.cpu_milli),
            memory_gb: number(given.ram_mb_milli) / MB_PER_GB as f64,
            disk_gb: number(given.disk_gb_milli),
        }
    }
}

/// How many environments a server of this size carries; `None` where its size is not known.
#[must_use]
pub fn recommended_environments(resources: &Resources) -> Option<u32> {
    let by_cores = resources.cpu_cores? / MIN_CORES_PER_ENVIRONMENT;
    let by_memory = resources.memory_gb? / MIN_MEMORY_GB_PER_ENVIRONMENT;
    let by_disk = resources.disk_gb.map_or(f64::INFINITY, |disk_gb| disk_gb / MIN_DISK_GB_PER_ENVIRONMENT);
    // A cast of a float saturates.
    Some(by_cores.min(by_memory).min(by_disk).max(0.0) as u32)
}

/// What capacity is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    Environments,
    /// Cores, memory and disk that environments were given, of what the server has.
    Cpu,
    Memory,
    Disk,
    /// The disk space in use.
    DiskUsage,
}

impl Resource {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Environments => "environments",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::DiskUsage => "disk_usage",
        }
    }
}

/// How one resource stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub resource: Resource,
    /// `None` where the server's size is not known.
    pub percent: Option<f64>,
    pub level: Level,
    /// In words, with what to do where something is to be done.
    pub detail: String,
}

/// How each resource stands.
#[must_use]
pub fn standings(allocation: &Allocation, resources: &Resources, disk_usage_percent: Option<f64>) -> Vec<Standing> {
    let environments = (f64::from(allocation.environment_count), allocation.max_environments.map(f64::from));
    let shares = [
        (Resource::Environments, environments, "environments"),
        (Resource::Cpu, (allocation.cpu_cores, resources.cpu_cores), "cores allocated"),
        (Resource::Memory, (allocation.memory_gb, resources.memory_gb), "GB of memory allocated"),
        (Resource::Disk, (allocation.disk_gb, resources.disk_gb), "GB of disk allocated"),
    ];
    let share = |(resource, (used, of), unit): (Resource, (f64, Option<f64>), &str)| {
        let percent = percent(used, of);
        let level = Level::of(percent);
        let detail = match of {
            Some(of) => format!("{} of {} {unit}{}", tenths(used), tenths(of), level.advice()),
            None => format!("{} {unit}; how much the server has is not known yet", tenths(used)),
        };
        Standing { resource, percent, level, detail }
    };
    let mut standings: Vec<_> = shares.into_iter().map(share).collect();
    standings.extend(disk_usage_percent.map(|used| {
        let level = Level::of(Some(used));
        let detail = format!("{} % of the disk in use{}", tenths(used), level.advice());
        Standing { resource: Resource::DiskUsage, percent: Some(tenths(used)), level, detail }
    }));
    standings
}

/// `used` of `of` in percent, to a tenth; anything of nothing is more than all.
#[must_use]
pub fn percent(used: f64, of: Option<f64>) -> Option<f64> {
    match of? {
        of if of > 0.0 => Some(tenths(100.0 * used / of)),
        _ if used > 0.0 => Some(OVER_PROVISIONED_PERCENT + 100.0),
        _ => Some(0.0),
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(cpu_cores: f64, memory_gb: f64, disk_gb: f64) -> Resources {
        Resources { cpu_cores: Some(cpu_cores), memory_gb: Some(memory_gb), disk_gb: Some(disk_gb) }
    }

    #[test]
    fn the_published_server_carries_eight_environments() {
        assert_eq!(recommended_environments(&sizes(4.0, 8.0, 160.0)), Some(8));
        assert_eq!(recommended_environments(&sizes(16.0, 8.0, 160.0)), Some(8), "memory is the narrowest");
        assert_eq!(recommended_environments(&sizes(4.0, 8.0, 30.0)), Some(3), "disk is the narrowest");
        assert_eq!(recommended_environments(&Resources::default()), None);
    }

    #[test]
    fn each_resource_has_its_level_and_words() {
        let allocation = Allocation {
            environment_count: 7,
            max_environments: Some(8),
            cpu_cores: 4.5,
            memory_gb: 7.7,
            disk_gb: 40.0,
        };
        let standings = standings(&allocation, &sizes(4.0, 8.0, 160.0), Some(48.52));
        let told: Vec<_> = standings.iter().map(|one| (one.resource.as_str(), one.percent, one.level)).collect();
        assert_eq!(
            told,
            [
                ("environments", Some(87.5), Level::Warning),
                ("cpu", Some(112.5), Level::OverProvisioned),
                ("memory", Some(96.3), Level::Critical),
                ("disk", Some(25.0), Level::Ok),
                ("disk_usage", Some(48.5), Level::Ok),
            ]
        );
        assert_eq!(standings[0].detail, "7 of 8 environments: consider adding server capacity soon");
        assert_eq!(
            standings[1].detail,
            "4.5 of 4 cores allocated: physical limits are exceeded, move environments away"
        );
    }

    #[test]
    fn what_is_not_known_is_said() {
        let unknown = standings(&Allocation::default(), &Resources::default(), None);
        assert_eq!(unknown.len(), 4);
        assert!(unknown.iter().all(|one| one.level == Level::Unknown && one.detail.contains("not known yet")));
        assert_eq!(percent(1.0, Some(0.0)), Some(200.0));
        assert_eq!(percent(0.0, Some(0.0)), Some(0.0));
    }
}
