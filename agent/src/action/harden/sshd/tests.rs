use super::{
    text::{DROP_IN, block, includes, includes_ours, matches, place, version, with_block},
    *,
};
use crate::action::step::Owner;

const DEBIAN: &str = "# The system-wide configuration.\nInclude /etc/ssh/sshd_config.d/*.conf\n\nUsePAM yes\n";
const OLD: &str = "Port 22\nPasswordAuthentication yes\n";
const NEW_SSHD: (u32, u32) = (9, 2);

fn effective(changes: &[(&str, &str)]) -> Effective {
    let defaults = [
        ("passwordauthentication", "yes"),
        ("kbdinteractiveauthentication", "no"),
        ("pubkeyauthentication", "yes"),
        ("authenticationmethods", "any"),
        ("permitrootlogin", "yes"),
        ("maxauthtries", "6"),
        ("clientaliveinterval", "0"),
        ("clientalivecountmax", "3"),
    ];
    let value = |(keyword, value): (&str, &str)| {
        let changed = changes.iter().find(|(changed, _)| *changed == keyword).map_or(value, |(_, value)| value);
        format!("{keyword} {changed}\n")
    };
    Effective(defaults.into_iter().map(value).collect())
}

fn file(text: &str) -> (String, File) {
    (text.to_owned(), File { bytes: text.as_bytes().to_vec(), mode: 0o644, owner: Owner::ROOT })
}

fn evidence(main: &str, place: Place) -> Evidence {
    Evidence {
        init: InitSystem::Systemd,
        version: NEW_SSHD,
        effective: vec![("everywhere".into(), effective(&[]))],
        main: file(main),
        place,
        own: None,
        unit: Some("ssh.service"),
        has_keys: true,
    }
}

fn profile() -> Sshd {
    Sshd(SshdArgs {
        password_authentication: Some(false),
        permit_root_login: Some(RootLogin::ProhibitPassword),
        max_auth_tries: Some(3),
        client_alive_interval: Some(300),
        client_alive_count_max: Some(2),
    })
}

fn written(evidence: &Evidence) -> Vec<(String, String)> {
    let plan = profile().plan(evidence).expect("a plan");
    let file = |step: &Step| match step {
        Step::WriteFile { path, contents, .. } => Some((path.clone(), contents.clone())),
        _ => None,
    };
    plan.steps.iter().filter_map(file).collect()
}

#[test]
fn ours_is_read_first_wherever_that_is() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let cloud = names(&["50-cloud-init.conf", "00-lab.conf", "README"]);
    assert_eq!(place(DEBIAN, Some(&cloud), NEW_SSHD), Place::DropIn);
    assert_eq!(place(DEBIAN, Some(&names(&["00-00-muster.conf"])), NEW_SSHD), Place::DropIn);
    assert_eq!(place(DEBIAN, Some(&names(&["00-00-first.conf"])), NEW_SSHD), Place::Included, "another sorts before");
    assert_eq!(place(DEBIAN, None, NEW_SSHD), Place::Included);
    let late = "Port 22\nInclude /etc/ssh/sshd_config.d/*.conf\n";
    assert_eq!(place(late, Some(&cloud), NEW_SSHD), Place::Included, "what stands before the include counts first");
    assert_eq!(place(OLD, None, (8, 0)), Place::Inline);
    assert_eq!(place(DEBIAN, Some(&cloud), (0, 0)), Place::Inline, "an unknown version is taken for an old one");
}

#[test]
fn the_whole_profile_is_written_once_and_confirmed_from_the_first_step_on() {
    let plan = profile().plan(&evidence(DEBIAN, Place::DropIn)).expect("a plan");
    assert_eq!(plan.arm_before, Some(0));
    let titles: Vec<String> = plan.steps.iter().map(Step::title).collect();
    assert_eq!(
        titles,
        [format!("write {DROP_IN}"), "have sshd check its configuration".into(), "reload ssh.service".into()]
    );
    let files = written(&evidence(DEBIAN, Place::DropIn));
    let expected = "PasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxAuthTries 3\nClientAliveInterval 300\n\
        ClientAliveCountMax 2\n";
    assert!(files[0].1.ends_with(expected) && !files[0].1.contains("Match"), "{}", files[0].1);
}

#[test]
fn what_sshd_does_already_is_enough() {
    let strict = [
        ("passwordauthentication", "no"),
        ("permitrootlogin", "without-password"),
        ("maxauthtries", "2"),
        ("clientaliveinterval", "60"),
        ("clientalivecountmax", "1"),
    ];
    let done =
        Evidence { effective: vec![("everywhere".into(), effective(&strict))], ..evidence(DEBIAN, Place::DropIn) };
    assert_eq!(profile().plan(&done).expect("a plan").steps, []);
    let weaker = Evidence { effective: vec![("everywhere".into(), effective(&[("maxauthtries", "2")]))], ..done };
    assert!(!written(&weaker)[0].1.contains("MaxAuthTries"), "a stricter value is not loosened");
}

#[test]
fn a_match_that_allows_passwords_is_found_and_overridden() {
    let strict = [
        ("passwordauthentication", "no"),
        ("permitrootlogin", "no"),
        ("maxauthtries", "3"),
        ("clientaliveinterval", "300"),
        ("clientalivecountmax", "2"),
    ];
    let mut weak = strict;
    weak[0].1 = "yes";
    let found = vec![
        ("everywhere".to_owned(), effective(&strict)),
        ("user deploy from 192.0.2.10".to_owned(), effective(&weak)),
    ];
    let evidence = Evidence { effective: found, ..evidence(DEBIAN, Place::DropIn) };
    let plan = profile().plan(&evidence).expect("a plan");
    assert!(plan.evidence.contains("passwordauthentication yes (user deploy from 192.0.2.10)"), "{}", plan.evidence);
    assert!(written(&evidence)[0].1.ends_with("PasswordAuthentication no\nMatch all\n\tPasswordAuthentication no\n"));
}

#[test]
fn passwords_stay_unless_somebody_has_a_key_that_counts() {
    let refused = |evidence: &Evidence| profile().plan(evidence).expect_err("refused").code;
    let nobody = Evidence { has_keys: false, ..evidence(DEBIAN, Place::DropIn) };
    assert_eq!(refused(&nobody), "no_key_login");
    let with = |changes: &[(&str, &str)]| Evidence {
        effective: vec![("everywhere".into(), effective(changes))],
        ..evidence(DEBIAN, Place::DropIn)
    };
    assert_eq!(refused(&with(&[("pubkeyauthentication", "no")])), "no_key_login");
    assert_eq!(refused(&with(&[("authenticationmethods", "publickey,keyboard-interactive")])), "no_key_login");
    let limits = Sshd(SshdArgs { max_auth_tries: Some(3), ..SshdArgs::default() });
    assert!(limits.plan(&nobody).is_ok(), "limits lock nobody out");
}

#[test]
fn what_was_set_before_stays_set() {
    let mut before = evidence(DEBIAN, Place::DropIn);
    before.own = Some(file("# ours\nMaxAuthTries 3\nUnknown x\nMatch all\n\tMaxAuthTries 3\n"));
    let passwords = Sshd(SshdArgs { password_authentication: Some(false), ..SshdArgs::default() });
    let plan = passwords.plan(&before).expect("a plan");
    let Step::WriteFile { contents, .. } = &plan.steps[0] else { panic!("{plan:?}") };
    let expected =
        "PasswordAuthentication no\nMaxAuthTries 3\nMatch all\n\tPasswordAuthentication no\n\tMaxAuthTries 3\n";
    assert!(contents.ends_with(expected), "{contents}");
}

#[test]
fn a_setting_that_can_not_win_is_told_and_not_tried_for_ever() {
    let mut told = evidence(DEBIAN, Place::DropIn);
    told.own = Some(file(&written(&told)[0].1));
    let refused = profile().plan(&told).expect_err("it does otherwise");
    assert!(refused.code == "overridden" && refused.detail.contains("passwordauthentication yes"), "{refused:?}");
}

#[test]
fn the_main_file_keeps_every_byte_of_its_own() {
    let included = written(&evidence(OLD, Place::Included));
    assert_eq!(included.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [INCLUDED, MAIN]);
    assert!(included[1].1.ends_with(OLD) && includes_ours(&included[1].1), "{}", included[1].1);

    let mut old = evidence(OLD, Place::Inline);
    old.version = (8, 0);
    let inline = written(&old)[0].1.clone();
    assert!(
        inline.starts_with("# begin of what Muster set\nPasswordAuthentication no\n") && inline.ends_with(OLD),
        "{inline}"
    );
    assert_eq!(with_block(&inline, block(&inline)), inline, "a second time changes nothing");
    assert!(!inline.contains("Match"), "a block in the main file would reach to the next one");
}

#[test]
fn old_releases_have_another_name_for_questions() {
    let old = Evidence {
        version: (8, 4),
        effective: vec![("everywhere".into(), effective(&[("kbdinteractiveauthentication", "yes")]))],
        ..evidence(DEBIAN, Place::DropIn)
    };
    let text = &written(&old)[0].1;
    assert!(text.contains("KbdInteractiveAuthentication no\nChallengeResponseAuthentication no\n"), "{text}");
    assert_eq!(version("unknown option -- V\nOpenSSH_8.4p1 Debian-5"), (8, 4));
    assert_eq!((version("OpenSSH_10.0p2, OpenSSL"), version("?")), ((10, 0), (0, 0)));
}

#[test]
fn a_socket_that_starts_sshd_anew_needs_no_reload() {
    let socket = Evidence { unit: None, ..evidence(DEBIAN, Place::DropIn) };
    let plan = profile().plan(&socket).expect("a plan");
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::Refresh { .. })), "{plan:?}");
}

#[test]
fn includes_are_followed_by_their_patterns() {
    assert_eq!(includes("Include conf.d/*.conf \"/etc/x\"\n#Include no\n"), ["/etc/ssh/conf.d/*.conf", "/etc/x"]);
    for (pattern, name, fits) in [
        ("*.conf", "50-a.conf", true),
        ("*.conf", ".hidden.conf", false),
        ("*.conf", "50-a.conf.bak", false),
        ("50-*-b*.conf", "50-a-b-c.conf", true),
        ("exact", "exact", true),
        ("exact", "exactly", false),
    ] {
        assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
    }
}
