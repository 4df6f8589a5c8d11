//! The probe on the host the test runs on, whatever it is: what it says must be true here.

use std::{net::TcpListener, time::Duration};

use clap::Parser;
use muster_agent::probe::{self, ProbeArgs, ProbeOptions, collect_facts, run_preflight};
use muster_shared::{
    command::PreflightArgs,
    facts::DockerStatus,
    preflight::{CheckName, CheckStatus, PreflightReport},
};
use serde_json::Value;

fn options() -> ProbeOptions {
    // What only slow programs tell is of no interest here.
    ProbeOptions { known_updates: Some(Ok(0)), connect_timeout: Duration::from_secs(5), ..ProbeOptions::default() }
}

/// A target that needs no traffic beyond this host.
fn preflight_args(listener: &TcpListener, ports: Vec<u16>) -> PreflightArgs {
    let target = listener.local_addr().expect("an address").to_string();
    PreflightArgs { username: String::new(), ports, connectivity_targets: vec![target] }
}

#[tokio::test]
async fn the_facts_are_true() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let facts = collect_facts(&options()).await;

    let uname = rustix::system::uname();
    assert_eq!(facts.kernel.as_bytes(), uname.release().to_bytes());
    assert_eq!(facts.hostname.as_bytes(), uname.nodename().to_bytes());
    assert!(facts.cpu.cores > 0 && facts.memory.total_bytes > 0);
    assert!(facts.data_disk.is_some_and(|disk| disk.total_bytes >= disk.available_bytes && disk.total_bytes > 0));
    assert_eq!(facts.collected_as.is_root, rustix::process::geteuid().is_root());
    assert!(!facts.collected_as.username.is_empty() && !facts.boot_id.is_empty());
    let own = facts.listening.iter().find(|listening| listening.port == port && listening.protocol == "tcp");
    let own = own.expect("the test's own port is listed");
    assert_eq!((own.pid, own.address.as_str()), (Some(std::process::id()), "127.0.0.1"));
    assert!(!facts.unread.contains_key("os"), "{:?}", facts.unread);
}

#[tokio::test]
async fn a_recorded_tree_is_read_without_touching_the_running_host() {
    let recorded = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(recorded.path().join("etc")).expect("etc");
    std::fs::write(recorded.path().join("etc/os-release"), "ID=alpine\nVERSION_ID=3.19.1\n").expect("release");
    let facts = collect_facts(&ProbeOptions { root: recorded.path().to_owned(), ..options() }).await;
    assert_eq!((facts.os.id.as_str(), facts.os.version.as_str()), ("alpine", "3.19.1"));
    assert_eq!((facts.docker.status, facts.listening.len(), facts.mounts.len()), (DockerStatus::NotInstalled, 0, 0));
    assert!(facts.unread.contains_key("sshd") && facts.unread.contains_key("firewall"), "{:?}", facts.unread);
}

#[tokio::test]
async fn every_check_runs_in_order_and_every_problem_has_a_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let taken = listener.local_addr().expect("an address").port();
    let mut seen = Vec::new();
    let args = preflight_args(&listener, vec![taken]);
    let report = run_preflight(&args, &options(), |check| seen.push(check.clone())).await;
    assert_eq!(seen, report.checks);
    assert_eq!(report.checks.iter().map(|check| check.name).collect::<Vec<_>>(), CheckName::ALL);
    for check in &report.checks {
        assert_eq!(check.status == CheckStatus::Passed, check.remedy.is_empty(), "{check:?}");
        assert!(!check.evidence.is_empty(), "{check:?}");
    }
    let result = |name| report.checks.iter().find(|check| check.name == name).expect("the check");
    assert_eq!(result(CheckName::NetworkConnectivity).status, CheckStatus::Passed);
    let ports = result(CheckName::PortsAvailable);
    assert_eq!(ports.status, CheckStatus::Failed);
    assert!(ports.evidence.contains(&format!("pid {}", std::process::id())), "{}", ports.evidence);
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    probe: ProbeArgs,
}

async fn run(arguments: &[&str]) -> Vec<Value> {
    let cli = Cli::parse_from(["probe"].iter().chain(arguments));
    let mut out = Vec::new();
    probe::run(cli.probe, &mut out).await.expect("an answer");
    let text = String::from_utf8(out).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn the_command_line_writes_an_event_a_check_and_the_report_last() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let target = listener.local_addr().expect("an address").to_string();
    let events = run(&["preflight", "--json", "--username", "root", "--port", "9", "--target", &target]).await;
    let (report, checks) = events.split_last().expect("events");
    assert_eq!(checks.len(), CheckName::ALL.len());
    assert!(checks.iter().all(|event| event["event"] == "check" && event["data"]["name"].is_string()));
    assert_eq!(report["event"], "complete");
    let report: PreflightReport = serde_json::from_value(report["data"].clone()).expect("a report");
    assert_eq!(report.checks.len(), checks.len());
}
