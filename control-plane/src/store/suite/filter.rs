//! Asking the fleet, on real rows.

use muster_shared::facts::{Docker, Facts, ListeningPort, Mount, Os};

use super::*;
use crate::{
    filter::{FIELDS, Filter, Kind},
    servers::{ServerFilter, ServerStatus},
    store::test_database::on_each,
};

fn facts(os: &str, docker: Option<&str>, free_bytes: u64) -> Vec<u8> {
    let facts = Facts {
        os: Os { id: os.into(), version: "12".into(), ..Os::default() },
        docker: Docker { version: docker.map(str::to_owned), ..Docker::default() },
        data_disk: Some(Mount { total_bytes: 100_000_000_000, available_bytes: free_bytes, ..Mount::default() }),
        listening: [22, 80]
            .map(|port| ListeningPort { protocol: "tcp".into(), port, ..ListeningPort::default() })
            .into(),
        ..Facts::default()
    };
    serde_json::to_vec(&facts).expect("JSON")
}

async fn known(fleet: &Fleet, name: &str, os: &str, docker: Option<&str>, free_bytes: u64) {
    let id = fleet.create(name).await.id;
    fleet.servers.record_facts(fleet.org, id, &facts(os, docker, free_bytes), NOW_US, NOW_US).await.expect("kept");
}

async fn listed(fleet: &Fleet, text: &str, page: ServerFilter) -> Vec<String> {
    let filter = Filter::compile(text).unwrap_or_else(|invalid| panic!("{text}: {invalid}"));
    let servers = fleet.servers.list_matching(fleet.org, page, &filter, NOW_US).await.expect("a list");
    servers.iter().map(|server| server.name.to_string()).collect()
}

#[tokio::test]
async fn a_fleet_answers_by_its_facts() {
    on_each(|store| async move {
        let (fleet, others) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        known(&fleet, "web-1", "debian", Some("23.0.6"), 15_000_000_000).await;
        known(&fleet, "web-2", "debian", Some("24.0.7"), 15_000_000_000).await;
        known(&fleet, "db-1", "rocky", Some("20.10.5"), 50_000_000_000).await;
        known(&fleet, "bare", "debian", None, 15_000_000_000).await;
        fleet.create("never-seen").await;
        known(&others, "web-3", "debian", Some("20.10.5"), 1).await;
        let all = ServerFilter::default();
        for (text, expected) in [
            ("docker.version < version(\"24.0\") && disk.free_gb < 20.0", vec!["web-1"]),
            ("os.id == \"debian\"", vec!["web-1", "web-2", "bare"]),
            ("!(os.id == \"debian\")", vec!["db-1"]),
            ("os.id == \"deb\"", vec![]),
            ("os.id == \"DEBIAN\"", vec![]),
            ("os.id.startsWith(\"deb\") && \"bare\" == name", vec!["bare"]),
            ("os.id.contains(\"ock\")", vec!["db-1"]),
            ("os.id.contains(\"%\") || os.id == \"_ocky\"", vec![]),
            ("os.id == \"_ocky\"", vec![]),
            ("has(os.id) && os.id.endsWith(\"y\")", vec!["db-1"]),
            ("!has(docker.version)", vec!["bare", "never-seen"]),
            ("name.startsWith(\"web-\") && health_status == \"unknown\"", vec!["web-1", "web-2"]),
            ("80 in ports.tcp && disk.used_percent == 50.0", vec!["db-1"]),
            ("name == \"web-3\"", vec![]),
            ("true", vec!["web-1", "web-2", "db-1", "bare", "never-seen"]),
        ] {
            assert_eq!(listed(&fleet, text, all).await, expected, "{text}");
        }
        assert_eq!(listed(&others, "true", all).await, ["web-3"], "nobody sees another's servers");
        let stopped = ServerFilter { status: Some(ServerStatus::Stopped), ..all };
        assert!(listed(&fleet, "true", stopped).await.is_empty(), "a status narrows it further");
    })
    .await;
}

#[tokio::test]
async fn the_bounds_of_a_page_count_matches() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        for number in 0..9 {
            known(&fleet, &format!("s{number}"), if number % 2 == 0 { "debian" } else { "rocky" }, None, 1).await;
        }
        let page = |skip, limit| ServerFilter { skip, limit, ..ServerFilter::default() };
        let text = "os.id == \"debian\"";
        assert_eq!(listed(&fleet, text, page(0, 2)).await, ["s0", "s2"]);
        assert_eq!(listed(&fleet, text, page(2, 2)).await, ["s4", "s6"]);
        assert_eq!(listed(&fleet, text, page(4, 2)).await, ["s8"]);
        assert!(listed(&fleet, text, page(5, 2)).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_is_known_of_facts_is_read_once_and_never_out_of_date() {
    on_each(|store| async move {
        let (fleet, others) = (Fleet::new(store.clone()).await, Fleet::new(store.clone()).await);
        known(&fleet, "web-1", "debian", None, 1).await;
        known(&fleet, "web-2", "debian", None, 1).await;
        known(&others, "web-3", "debian", None, 1).await;
        let (debian, all) = ("os.id == \"debian\"", ServerFilter::default());
        assert_eq!(listed(&fleet, debian, all).await, ["web-1", "web-2"]);
        // Lines under a name that is known are not read again; a name is changed with them.
        rewrite(&store, "filter_facts = 'os.id=rocky'").await;
        assert_eq!(listed(&fleet, debian, all).await, ["web-1", "web-2"]);
        rewrite(&store, "filter_facts_id = 'another'").await;
        assert_eq!(listed(&fleet, debian, all).await, Vec::<String>::new());
        // What was stored before lines had names stands for itself.
        rewrite(&store, "filter_facts_id = NULL, filter_facts = 'os.id=alpine'").await;
        assert_eq!(listed(&fleet, "os.id == \"alpine\"", all).await, ["web-1", "web-2"]);
        let web_1 = fleet.servers.resolve(fleet.org, "web-1").await.expect("there").id;
        let newer = facts("ubuntu", None, 1);
        fleet.servers.record_facts(fleet.org, web_1, &newer, NOW_US + 1, NOW_US + 1).await.expect("kept");
        assert_eq!(listed(&fleet, "os.id == \"ubuntu\"", all).await, ["web-1"]);
        assert!(store.filter_facts(others.org, &[web_1]).await.expect("read").is_empty(), "it is another's");
    })
    .await;
}

async fn rewrite(store: &Store, columns: &str) {
    let sql = sqlx::AssertSqlSafe(format!("UPDATE servers SET {columns}"));
    sqlx::query(sql).execute(store.write()).await.expect("rewritten");
}

/// Every field is read by the database without an error, known or not.
#[tokio::test]
async fn every_field_can_be_read() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        fleet.create("never-seen").await;
        known(&fleet, "web-1", "debian", Some("24.0.7"), 15_000_000_000).await;
        for field in FIELDS {
            let text = match field.kind {
                Kind::Truth => format!("{0} || !{0} || !has({0})", field.name),
                _ => format!("has({0}) || !has({0})", field.name),
            };
            assert_eq!(listed(&fleet, &text, ServerFilter::default()).await.len(), 2, "{text}");
        }
    })
    .await;
}
