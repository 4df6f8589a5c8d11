use muster_shared::{
    id::{OrgId, ServerId},
    preflight::Qualification,
};
use proptest::prelude::*;

use super::placement::{CPU_SHARES, Load, Refusal, capacity, has_room, is_ready};
use crate::{
    quota::{Amounts, Resource},
    servers::{
        Addresses, Agent, AgentStatus, ConnectionOutcome, ConnectionRecord, Detected, EnvironmentTally, Label,
        PreflightRecord, Resources, Server, ServerStatus,
    },
};

const NOW_US: i64 = 1_800_000_000_000_000;
const DAY_US: i64 = 24 * 3_600_000_000;

fn server() -> Server {
    Server {
        id: ServerId::generate(),
        org_id: OrgId::generate(),
        organization_name: "Acme Corp".into(),
        name: "web".parse().expect("a name"),
        provider: Label::default(),
        region: Label::default(),
        status: ServerStatus::Running,
        addresses: Addresses::default(),
        ssh: None,
        key_pair: None,
        host_key: None,
        host_key_offered: None,
        connection: None,
        declared: Resources { cpu_cores: Some(4.0), memory_gb: Some(8.0), disk_gb: Some(160.0) },
        max_projects: Some(8),
        detected: Detected::default(),
        facts_collected_at_us: None,
        preflight: None,
        hardening_score: None,
        agent: Agent {
            status: AgentStatus::Online,
            version: None,
            allowed_families: Vec::new(),
            last_seen_at_us: Some(NOW_US),
        },
        health_record: None,
        revision: 0,
        environments: EnvironmentTally::default(),
        created_at_us: NOW_US,
        updated_at_us: NOW_US,
    }
}

fn with_agent(status: AgentStatus, last_seen_at_us: Option<i64>) -> Server {
    let server = server();
    Server { agent: Agent { status, last_seen_at_us, ..server.agent.clone() }, ..server }
}

fn with_contact(outcome: ConnectionOutcome) -> Server {
    let connection = Some(ConnectionRecord { outcome, detail: String::new(), at_us: NOW_US });
    Server { connection, ..with_agent(AgentStatus::None, None) }
}

fn with_preflight(verdict: Qualification, days_ago: i64) -> Server {
    let preflight = Some(PreflightRecord { verdict, checked_at_us: NOW_US - days_ago * DAY_US });
    Server { preflight, ..server() }
}

#[test]
fn ready_is_what_answers_and_is_fit() {
    let ready = [
        ("online", server()),
        ("never contacted", with_agent(AgentStatus::None, None)),
        ("ssh works", with_contact(ConnectionOutcome::Success)),
        ("qualified", with_preflight(Qualification::Qualified, 1)),
        ("stale", with_preflight(Qualification::Qualified, 8)),
        ("needs setup", with_preflight(Qualification::NeedsSetup, 1)),
    ];
    for (case, server) in ready {
        assert_eq!(is_ready(&server, NOW_US), Ok(()), "{case}");
    }
    let unready = [
        ("offline", with_agent(AgentStatus::Offline, Some(NOW_US - 60_000_000))),
        ("quarantined", with_agent(AgentStatus::Quarantined, Some(NOW_US))),
        ("unreachable", with_contact(ConnectionOutcome::Unreachable)),
        ("wrong key", with_contact(ConnectionOutcome::AuthFailed)),
        ("unqualified", with_preflight(Qualification::Unqualified, 1)),
        ("expired", with_preflight(Qualification::Qualified, 31)),
        ("stopped", Server { status: ServerStatus::Stopped, ..server() }),
        ("pending", Server { status: ServerStatus::Pending, ..server() }),
    ];
    for (case, server) in unready {
        assert!(matches!(is_ready(&server, NOW_US), Err(Refusal::NotReady(_))), "{case}");
    }
}

#[test]
fn what_is_not_known_does_not_limit() {
    let unknown = Server { declared: Resources::default(), max_projects: None, ..server() };
    let much = Load {
        environments: 1000,
        given: Amounts { cpu_milli: 1 << 40, ram_mb_milli: 1 << 40, disk_gb_milli: 1 << 40 },
    };
    assert_eq!(has_room(&unknown, &much, &much), Ok(()));
    let found = Detected { memory_bytes: Some(8 << 30), ..Detected::default() };
    let limits = capacity(&Server { detected: found, ..unknown });
    assert_eq!((limits.ram_mb_milli, limits.cpu_milli), (Some(8_192_000), None));
}

proptest! {
    #[test]
    fn a_server_is_never_filled_past_what_it_has(
        coming in prop::collection::vec((1u64..3_000, 1u64..4_000_000, 1u64..60_000), 1..40),
    ) {
        let server = server();
        let mut load = Load::default();
        for (cpu_milli, ram_mb_milli, disk_gb_milli) in coming {
            let one = Load { environments: 1, given: Amounts { cpu_milli, ram_mb_milli, disk_gb_milli } };
            if has_room(&server, &load, &one).is_ok() {
                load = Load { environments: load.environments + 1, given: load.given.plus(&one.given) };
            }
        }
        prop_assert!(load.environments <= 8);
        prop_assert!(load.given.of(Resource::Cpu) <= 4_000 * CPU_SHARES);
        prop_assert!(load.given.of(Resource::Ram) <= 8_192_000);
        prop_assert!(load.given.of(Resource::Disk) <= 160_000);
    }
}
