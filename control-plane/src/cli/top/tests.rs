use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend};

use super::{
    draw, in_turn,
    state::{MAX_ASKED, News, Sort, Top, View},
};
use crate::api::model::{server::Vm, server_metrics::ServerMetrics, summary::Summary};

fn vm(name: &str, health: &str) -> Vm {
    Vm {
        id: format!("id-{name}"),
        name: name.into(),
        health_status: health.into(),
        agent_status: "online".into(),
        ..Vm::default()
    }
}

fn summary(name: &str, cpu: f64) -> News {
    let summary = Summary {
        server_id: format!("id-{name}"),
        timestamp: None,
        cpu_usage_percent: cpu,
        memory_usage_percent: 62.8,
        disk_usage_percent: 96.0,
        network_rx_bytes_per_second: 18_500.0,
        network_tx_bytes_per_second: 920.0,
        container_count: 12,
        load_1m: 0.72,
        uptime_seconds: 86_400.0,
        health_status: "healthy".into(),
    };
    News::Figures(format!("id-{name}"), Some(summary))
}

fn fleet() -> Top {
    let mut top = Top::default();
    top.take(News::Servers(vec![vm("web", "healthy"), vm("db", "degraded"), vm("new\u{1b}[2J", "unknown")]));
    top.take(summary("web", 12.5));
    top.take(summary("db", 88.0));
    top
}

fn press(top: &mut Top, code: KeyCode) -> bool {
    top.press(KeyEvent::new(code, KeyModifiers::NONE), 5)
}

fn names(top: &Top) -> Vec<&str> {
    top.rows().iter().map(|vm| vm.name.as_str()).collect()
}

fn screen(top: &Top) -> String {
    let mut terminal = Terminal::new(TestBackend::new(120, 8)).expect("a screen");
    terminal.draw(|frame| draw::draw(top, "https://muster.example", frame)).expect("drawn");
    terminal.backend().to_string()
}

#[test]
fn the_fleet_is_drawn_with_the_busiest_first() {
    let text = screen(&fleet());
    assert!(!text.contains('\u{1b}'), "no host writes to the terminal");
    insta::assert_snapshot!(text);
}

#[test]
fn old_values_are_called_old_until_something_new_arrives() {
    let mut top = fleet();
    top.take(News::Trouble("connection refused".into()));
    assert!(screen(&top).contains("old values, trying again: connection refused"));
    assert!(screen(&top).contains("88.0"), "what was known stays");
    top.take(summary("web", 13.0));
    assert!(!screen(&top).contains("old values"));
}

#[test]
fn keys_sort_reverse_and_search() {
    let mut top = fleet();
    assert_eq!(names(&top), ["db", "web", "new\u{1b}[2J"], "by cpu, those without figures last");
    press(&mut top, KeyCode::Char('r'));
    assert_eq!(names(&top), ["web", "db", "new\u{1b}[2J"], "last all the same");
    press(&mut top, KeyCode::Char('h'));
    press(&mut top, KeyCode::Char('r'));
    assert_eq!(names(&top), ["db", "new\u{1b}[2J", "web"], "the sickest first");
    press(&mut top, KeyCode::Char('<'));
    assert_eq!(top.sort, Sort::Name);
    for key in ['/', 'w', 'q'] {
        assert!(press(&mut top, KeyCode::Char(key)), "a q in the search is a letter");
    }
    assert!(names(&top).is_empty());
    press(&mut top, KeyCode::Backspace);
    press(&mut top, KeyCode::Enter);
    assert_eq!(names(&top), ["new\u{1b}[2J", "web"]);
    assert!(!press(&mut top, KeyCode::Char('q')), "q ends it");
}

#[test]
fn the_cursor_stays_on_its_server_when_the_order_changes() {
    let mut top = fleet();
    press(&mut top, KeyCode::Down);
    assert_eq!(names(&top)[top.selected], "web");
    top.take(summary("web", 99.0));
    assert_eq!((names(&top)[top.selected], top.selected), ("web", 0));
}

#[test]
fn a_server_opens_to_its_containers() {
    let mut top = fleet();
    press(&mut top, KeyCode::Enter);
    let View::Containers { server, .. } = top.view.clone() else { panic!("{:?}", top.view) };
    assert_eq!((server.as_str(), top.wanted(5).containers_of.as_deref()), ("id-db", Some("id-db")));
    let metrics: ServerMetrics = serde_json::from_value(serde_json::json!({
        "server_id": "id-db", "timestamp": "2025-01-15T10:35:00Z", "health_status": "healthy",
        "system": {
            "cpu": { "usage_percent": 1.0, "user_percent": 1.0, "system_percent": 0.0, "iowait_percent": 0.0,
                     "steal_percent": 0.0, "cores": 2 },
            "memory": { "total_bytes": 1, "used_bytes": 1, "available_bytes": 0, "usage_percent": 1.0,
                        "swap_total_bytes": 0, "swap_used_bytes": 0 },
            "load": { "load_1m": 0.1, "load_5m": 0.1, "load_15m": 0.1 },
            "disk": [], "disk_io": [], "network": [], "uptime_seconds": 1.0
        },
        "docker": { "status": "running", "container_count": 1, "cpu_usage_percent": 1.0, "memory_usage_bytes": 1,
                    "image_count": 3, "image_bytes": 100 },
        "containers": [{
            "container_id": "abc", "container_name": "env_odoo", "server_id": "id-db", "status": "running",
            "health": null, "image": "odoo:17", "timestamp": "2025-01-15T10:35:00Z",
            "metrics": {
                "cpu": { "usage_percent": 12.5, "throttled_periods": 0 },
                "memory": { "usage_bytes": 1_073_741_824, "limit_bytes": 2_147_483_648_u64, "usage_percent": 50.0 },
                "network": { "rx_bytes": 1_048_576, "tx_bytes": 2_097_152, "rx_packets": 1024, "tx_packets": 2048 },
                "block_io": { "read_ops": 12, "write_ops": 4, "read_bytes": 49_152, "written_bytes": 16_384 },
                "tasks": 14, "oom_kills": 0, "restarts": 0
            }
        }]
    }))
    .expect("what the control plane answers");
    top.take(News::Containers(Box::new(metrics)));
    insta::assert_snapshot!(screen(&top));
    press(&mut top, KeyCode::Esc);
    assert_eq!(top.view, View::Fleet);
}

#[test]
fn a_large_fleet_is_asked_in_turn_and_what_is_seen_each_time() {
    let servers: Vec<String> = (0..450).map(|number| number.to_string()).collect();
    let (mut turn, mut asked) = (0, std::collections::BTreeSet::new());
    for _ in 0..4 {
        let now = in_turn(&servers, &mut turn);
        assert!(now.len() <= MAX_ASKED && now.starts_with(&servers[..50]));
        asked.extend(now);
    }
    assert_eq!(asked.len(), servers.len());
}

proptest! {
    #[test]
    fn no_key_leads_out_of_the_list(keys in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut top = fleet();
        for key in keys {
            let code = match key % 12 {
                0 => KeyCode::Down,
                1 => KeyCode::Up,
                2 => KeyCode::PageDown,
                3 => KeyCode::End,
                4 => KeyCode::Home,
                5 => KeyCode::Enter,
                6 => KeyCode::Esc,
                7 => KeyCode::Backspace,
                _ => KeyCode::Char(char::from(key)),
            };
            press(&mut top, code);
            prop_assert!(top.selected < top.rows().len().max(1));
            screen(&top);
        }
    }
}
