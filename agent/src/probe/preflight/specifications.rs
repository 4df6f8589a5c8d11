//! Processor, memory and disk against the minimum and recommended specifications.

use muster_shared::{
    facts::Facts,
    preflight::{
        CheckName, CheckResult, MIN_CPU_CORES, MIN_DISK_BYTES, MIN_MEMORY_BYTES, RECOMMENDED_CPU_CORES,
        RECOMMENDED_DISK_BYTES, RECOMMENDED_MEMORY_BYTES,
    },
};

const NAME: CheckName = CheckName::Specifications;
/// Firmware, kernel and file system keep a part of what was paid for: nine tenths of a size count as the size.
const COUNTS_AS_WHOLE: (u64, u64) = (9, 10);

/// A specification: what there is, the least, and what is recommended.
struct Specification {
    what: &'static str,
    seen: String,
    standing: Standing,
    wanted: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    BelowMinimum,
    BelowRecommended,
    Good,
}

pub(super) fn decide(facts: &Facts) -> CheckResult {
    let disk_bytes = facts.data_disk.as_ref().map_or(0, |disk| disk.total_bytes);
    let specifications = [
        cores(facts.cpu.cores),
        size("memory", facts.memory.total_bytes, MIN_MEMORY_BYTES, RECOMMENDED_MEMORY_BYTES),
        size("disk", disk_bytes, MIN_DISK_BYTES, RECOMMENDED_DISK_BYTES),
    ];
    let seen: Vec<_> = specifications.iter().map(|one| one.seen.clone()).collect();
    let seen = seen.join(", ");
    let short = |standing| specifications.iter().filter(move |one| one.standing == standing);
    let list =
        |standing| short(standing).map(|one| format!("{} {}", one.wanted, one.what)).collect::<Vec<_>>().join(", ");
    if short(Standing::BelowMinimum).next().is_some() {
        let remedy = format!("Give the host at least {}.", list(Standing::BelowMinimum));
        return CheckResult::warning(NAME, format!("{seen}: below the minimum"), remedy);
    }
    if short(Standing::BelowRecommended).next().is_some() {
        let remedy = format!("For several environments {} are recommended.", list(Standing::BelowRecommended));
        return CheckResult::warning(NAME, format!("{seen}: below what is recommended"), remedy);
    }
    CheckResult::passed(NAME, seen)
}

fn cores(cores: u32) -> Specification {
    let (standing, wanted) = stand(u64::from(cores), u64::from(MIN_CPU_CORES), u64::from(RECOMMENDED_CPU_CORES));
    Specification { what: "processor cores", seen: format!("{cores} cores"), standing, wanted: wanted.to_string() }
}

fn size(what: &'static str, bytes: u64, least: u64, recommended: u64) -> Specification {
    let (numerator, denominator) = COUNTS_AS_WHOLE;
    let whole = |bytes: u64| bytes / denominator * numerator;
    let (standing, _) = stand(bytes, whole(least), whole(recommended));
    let wanted = if standing == Standing::BelowMinimum { least } else { recommended };
    Specification { what, seen: format!("{} {what}", gigabytes(bytes)), standing, wanted: gigabytes(wanted) }
}

fn stand(value: u64, least: u64, recommended: u64) -> (Standing, u64) {
    if value < least {
        (Standing::BelowMinimum, least)
    } else if value < recommended {
        (Standing::BelowRecommended, recommended)
    } else {
        (Standing::Good, recommended)
    }
}

/// `12.3 GB`, in powers of ten.
pub(super) fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use muster_shared::{
        facts::{Cpu, Memory, Mount},
        preflight::CheckStatus,
    };

    use super::*;

    fn host(cores: u32, memory: u64, disk: u64) -> CheckResult {
        decide(&Facts {
            cpu: Cpu { cores, ..Cpu::default() },
            memory: Memory { total_bytes: memory, ..Memory::default() },
            data_disk: Some(Mount { total_bytes: disk, ..Mount::default() }),
            ..Facts::default()
        })
    }

    #[test]
    fn shortages_warn_and_name_what_is_wanted() {
        let small = host(1, 8_000_000_000, 160_000_000_000);
        assert_eq!(small.status, CheckStatus::Warning);
        assert!(small.remedy.contains("2 processor cores"), "{}", small.remedy);
        let middling = host(4, 4_000_000_000, 160_000_000_000);
        assert!(middling.remedy.contains("8.0 GB memory"), "{}", middling.remedy);
    }

    #[test]
    fn a_machine_sold_as_large_enough_is_large_enough() {
        assert_eq!(host(4, 7_600_000_000, 154_000_000_000).status, CheckStatus::Passed);
    }
}
