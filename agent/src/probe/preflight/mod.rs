//! Readiness for deployments: one check a file, each a decision over evidence gathered once.

mod cgroup_version;
mod clock_skew;
mod connectivity;
mod disk_space;
mod docker;
mod docker_pools;
mod evidence;
mod inotify;
mod os;
mod ports;
mod root_access;
mod specifications;
mod ssh;

use std::time::{SystemTime, UNIX_EPOCH};

use muster_shared::{
    command::PreflightArgs,
    preflight::{CheckName, CheckResult, PreflightReport, System},
};

use self::evidence::Evidence;
use super::ProbeOptions;

/// Runs every check, in order. `on_check` sees each result as soon as it is known.
pub async fn run_preflight(
    args: &PreflightArgs,
    options: &ProbeOptions,
    mut on_check: impl FnMut(&CheckResult),
) -> PreflightReport {
    let checked_at_us = now_us();
    let evidence = Evidence::gather(args, options, checked_at_us).await;
    let mut checks = Vec::with_capacity(CheckName::ALL.len());
    for name in CheckName::ALL {
        let result = check(name, &evidence, args, options).await;
        on_check(&result);
        checks.push(result);
    }
    let system = System { os: evidence.facts.os, arch: evidence.facts.arch };
    PreflightReport { checked_at_us, checks, system: Some(system) }
}

async fn check(name: CheckName, evidence: &Evidence, args: &PreflightArgs, options: &ProbeOptions) -> CheckResult {
    let facts = &evidence.facts;
    match name {
        CheckName::SshConnectivity => ssh::decide(evidence.came_over_ssh, facts),
        CheckName::RootAccess => root_access::decide(&evidence.user, &facts.collected_as),
        CheckName::OsCompatibility => os::decide(&facts.os),
        CheckName::DockerInstalled => docker::decide_installed(&facts.docker),
        CheckName::DockerRunning => docker::decide_running(&facts.docker),
        CheckName::DockerPermissions => docker::decide_permissions(&facts.docker, &evidence.user),
        CheckName::DiskSpace => disk_space::decide(facts.data_disk.as_ref()),
        // The one check that takes time of its own, so it gathers when its turn has come.
        CheckName::NetworkConnectivity => connectivity::decide(&connectivity::gather(args, options).await),
        CheckName::PortsAvailable => ports::decide(&args.ports, &facts.listening),
        CheckName::Specifications => specifications::decide(facts),
        CheckName::ClockSkew => clock_skew::decide(&facts.clock, evidence.clock_offset_us),
        CheckName::CgroupVersion => cgroup_version::decide(facts.cgroup_version),
        CheckName::DockerAddressPools => docker_pools::decide(&facts.docker),
        CheckName::InotifyHeadroom => inotify::decide(facts.inotify.as_ref()),
    }
}

fn now_us() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}
