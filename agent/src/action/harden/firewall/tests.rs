use muster_shared::action::Port;

use super::*;

const ON: ServiceState = ServiceState { enabled: true, running: true };
const OFF: ServiceState = ServiceState { enabled: false, running: false };

fn item() -> Firewall {
    Firewall(FirewallArgs { open_ports: vec![Port::HTTP, Port::HTTPS], ssh_from: Vec::new() })
}

fn bare() -> Evidence {
    Evidence {
        manager: Some(PackageManager::Apt),
        init: InitSystem::Systemd,
        orchestrator: None,
        has_nft: false,
        ssh: BTreeSet::from([22]),
        has_folder: true,
        has_ifupdown: false,
        rules: None,
        loaded: None,
        unit_file: String::new(),
        service: OFF,
        ufw: None,
        firewalld: None,
    }
}

fn done() -> Evidence {
    let text = table::text(&BTreeSet::from([22]), &item().0);
    let file = File { bytes: text.clone().into_bytes(), mode: 0o600, owner: Owner::ROOT };
    let loaded = text.split_once("delete table inet muster_firewall\n").expect("a script").1.to_owned();
    Evidence {
        has_nft: true,
        rules: Some((text, file)),
        loaded: Some(loaded),
        unit_file: unit_text(),
        service: ON,
        ..bare()
    }
}

fn titles(evidence: &Evidence) -> Vec<String> {
    item().plan(evidence).expect("a plan").steps.iter().map(Step::title).collect()
}

#[test]
fn packages_come_before_the_clock_starts() {
    let plan = item().plan(&bare()).expect("a plan");
    assert_eq!(
        plan.steps.iter().map(Step::title).collect::<Vec<_>>(),
        [
            "install nftables".to_owned(),
            format!("write {RULES}"),
            format!("write {UNIT_FILE}"),
            "have systemd read its units".to_owned(),
            format!("enable and start {UNIT}"),
        ]
    );
    assert_eq!(plan.arm_before, Some(1), "everything but the packages must be confirmed");
}

#[test]
fn a_table_that_is_gone_or_changed_is_loaded_again() {
    assert_eq!(titles(&done()), [""; 0]);
    assert_eq!(titles(&Evidence { loaded: None, ..done() }), [format!("reload {UNIT}")]);
    let opened = done().loaded.map(|loaded| loaded.replace("tcp dport 443 accept", "tcp dport 8443 accept"));
    let plan = item().plan(&Evidence { loaded: opened, ..done() }).expect("a plan");
    assert_eq!(plan.arm_before, Some(0));
    assert_eq!(
        titles(&Evidence { service: ServiceState { enabled: false, running: true }, ..done() }),
        [format!("enable and start {UNIT}")]
    );
}

#[test]
fn a_port_that_sshd_moves_to_is_opened() {
    let moved = Evidence { ssh: BTreeSet::from([22, 2222]), ..done() };
    assert_eq!(titles(&moved), [format!("write {RULES}"), format!("reload {UNIT}")]);
}

#[test]
fn where_the_port_of_ssh_is_unknown_nothing_is_closed() {
    let refused = |evidence: &Evidence| item().plan(evidence).expect_err("refused").code;
    assert_eq!(refused(&Evidence { ssh: BTreeSet::new(), ..bare() }), "no_ssh_port");
    assert_eq!(refused(&Evidence { orchestrator: Some("kubelet"), ..bare() }), NOT_APPLICABLE);
    assert_eq!(refused(&Evidence { init: InitSystem::None, ..bare() }), NOT_APPLICABLE);
    assert_eq!(refused(&Evidence { init: InitSystem::Sysvinit, ..bare() }), "no_boot_hook");
    assert_eq!(refused(&Evidence { manager: None, ..bare() }), "no_nft");
}

#[test]
fn other_init_systems_load_it_by_what_they_run_at_boot() {
    let openrc = Evidence { init: InitSystem::Openrc, has_nft: true, ..bare() };
    assert_eq!(titles(&openrc), [format!("write {OPENRC_FILE}"), "enable local".into(), "load the rules".into()]);
    let sysvinit = Evidence { init: InitSystem::Sysvinit, has_nft: true, has_ifupdown: true, ..bare() };
    let plan = item().plan(&sysvinit).expect("a plan");
    let Some(Step::Run { inverse: Some(inverse), .. }) = plan.steps.last() else { panic!("{plan:?}") };
    assert_eq!(inverse.line(), "nft delete table inet muster_firewall");
    assert!(matches!(&plan.steps[0], Step::WriteFile { mode: 0o755, check: Some(_), .. }));
}
