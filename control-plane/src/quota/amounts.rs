//! What environments and servers count for. Pure, in integer thousandths: no rounding adds up.

use std::iter::Sum;

/// A replica counts for this much of what it replicates, in percent; of the disk it counts for all.
pub const REPLICA_CPU_PERCENT: u64 = 30;
pub const REPLICA_RAM_PERCENT: u64 = 30;
pub const REPLICA_DISK_PERCENT: u64 = 100;
/// Megabytes of memory in a gigabyte, as servers and environments are sold: 2048 MB is 2 GB.
pub const MB_PER_GB: u64 = 1024;

/// Thousandths of cores, of megabytes of memory and of gigabytes of disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    pub cpu_milli: u64,
    pub ram_mb_milli: u64,
    pub disk_gb_milli: u64,
}

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    Cpu,
    Ram,
    Disk,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Ram, Self::Disk];

    /// Its name, in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Ram => "RAM",
            Self::Disk => "disk",
        }
    }

    /// What it is counted in.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "cores",
            Self::Ram => "MB",
            Self::Disk => "GB",
        }
    }
}

impl Amounts {
    /// How much of `resource`, in thousandths.
    #[must_use]
    pub fn of(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Cpu => self.cpu_milli,
            Resource::Ram => self.ram_mb_milli,
            Resource::Disk => self.disk_gb_milli,
        }
    }

    /// Each by its own function.
    #[must_use]
    pub fn each(mut of: impl FnMut(Resource) -> u64) -> Self {
        Self { cpu_milli: of(Resource::Cpu), ram_mb_milli: of(Resource::Ram), disk_gb_milli: of(Resource::Disk) }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self::each(|resource| self.of(resource).saturating_add(other.of(resource)))
    }

    /// What is left of it without `other`; nothing where that is more.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self::each(|resource| self.of(resource).saturating_sub(other.of(resource)))
    }
}

impl Sum for Amounts {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |sum, one| sum.plus(&one))
    }
}

/// What an environment of these `sizes` counts for: nothing unless it is active, a part where it is a replica. A part
/// of a thousandth counts as one, so that no number of small replicas is free.
#[must_use]
pub fn counted(sizes: &Amounts, is_active: bool, is_replica: bool) -> Amounts {
    if !is_active {
        return Amounts::default();
    }
    if !is_replica {
        return *sizes;
    }
    let percent = |resource| match resource {
        Resource::Cpu => REPLICA_CPU_PERCENT,
        Resource::Ram => REPLICA_RAM_PERCENT,
        Resource::Disk => REPLICA_DISK_PERCENT,
    };
    Amounts::each(|resource| sizes.of(resource).saturating_mul(percent(resource)).div_ceil(100))
}

/// A number of thousandths as people write it: `2.5`.
#[must_use]
pub fn written(thousandths: u64) -> String {
    let (whole, part) = (thousandths / 1000, thousandths % 1000);
    if part == 0 { whole.to_string() } else { format!("{whole}.{part:03}").trim_end_matches('0').to_owned() }
}

/// A number in thousandths.
#[must_use]
pub fn thousandths(number: f64) -> u64 {
    // A cast of a float saturates.
    (number * 1000.0).round() as u64
}

/// Thousandths as a number.
#[must_use]
pub fn number(thousandths: u64) -> f64 {
    thousandths as f64 / 1000.0
}
