//! Whether Docker has address ranges left for new networks.

use muster_shared::{
    facts::{AddressPool, Docker, DockerStatus},
    preflight::{CheckName, CheckResult},
};

const NAME: CheckName = CheckName::DockerAddressPools;
/// What the engine cuts networks from unless it is told otherwise: 172.17.0.0/16 to 172.31.0.0/16, and 192.168.0.0/16
/// in parts of /20.
const DEFAULT_NETWORKS: u64 = 15 + 16;
/// Networks that take no range: `host` and `none`.
const WITHOUT_RANGE: u64 = 2;
/// From this share in use the next deployments may fail.
const LOW: (u64, u64) = (8, 10);
const REMEDY: &str = "Remove unused networks (docker network prune), or give the engine more ranges: default-address-pools in /etc/docker/daemon.json.";

pub(super) fn decide(docker: &Docker) -> CheckResult {
    if docker.status != DockerStatus::Running {
        return CheckResult::passed(NAME, "nothing to see until Docker runs");
    }
    let room = if docker.address_pools.is_empty() {
        DEFAULT_NETWORKS
    } else {
        docker.address_pools.iter().map(networks).fold(0, u64::saturating_add)
    };
    let used = u64::from(docker.networks).saturating_sub(WITHOUT_RANGE);
    let seen = format!("{used} of {room} network ranges in use");
    let (numerator, denominator) = LOW;
    if used >= room {
        CheckResult::warning(NAME, format!("{seen}: no new network can be made"), REMEDY)
    } else if used * denominator >= room.saturating_mul(numerator) {
        CheckResult::warning(NAME, format!("{seen}: few are left"), REMEDY)
    } else {
        CheckResult::passed(NAME, seen)
    }
}

/// How many networks of its size a pool holds.
fn networks(pool: &AddressPool) -> u64 {
    let prefix = pool.base.rsplit_once('/').and_then(|(_, prefix)| prefix.parse::<u8>().ok());
    let bits = prefix.and_then(|prefix| pool.size.checked_sub(prefix)).unwrap_or(0);
    1u64.checked_shl(u32::from(bits)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use muster_shared::preflight::CheckStatus;

    use super::*;

    fn docker(networks: u32, pools: &[(&str, u8)]) -> Docker {
        let address_pools =
            pools.iter().map(|(base, size)| AddressPool { base: (*base).into(), size: *size }).collect();
        Docker { status: DockerStatus::Running, networks, address_pools, ..Docker::default() }
    }

    #[test]
    fn pools_run_low_before_they_run_out() {
        assert_eq!(decide(&docker(3, &[])).status, CheckStatus::Passed);
        assert!(decide(&docker(29, &[])).evidence.contains("few are left"));
        assert!(decide(&docker(33, &[])).evidence.contains("no new network"));
        assert_eq!(decide(&docker(33, &[("10.0.0.0/8", 24)])).status, CheckStatus::Passed);
        assert_eq!(decide(&docker(3, &[("10.0.0.0/24", 24)])).status, CheckStatus::Warning);
    }

    #[test]
    fn pools_that_make_no_sense_hold_one_network() {
        assert_eq!(networks(&AddressPool { base: "junk".into(), size: 200 }), 1);
        assert_eq!(networks(&AddressPool { base: "fd00::/8".into(), size: 128 }), u64::MAX);
    }
}
