//! What every subcommand prints, as a table, as JSON and as YAML: recorded, and none left out.

mod canned;

use std::collections::{BTreeMap, BTreeSet};

use clap::{CommandFactory as _, Parser as _};
use serde_json::{Value, json};

use self::canned::{Canned, Said};
use super::{Cli, Command};
use crate::api::{openapi::document, rest::routes};

/// Every subcommand that asks a control plane, once at least; those of one noun are recorded together.
const LINES: &[&str] = &[
    "agent release web-1",
    "agent revoke web-1",
    "agent revoke web-1 --yes",
    "audit export",
    "audit list",
    "audit list --server web-1",
    "audit verify",
    "bootstrap web-1",
    "commands cancel 01890a5d-ac96-774b-bcce-b302099a8057",
    "commands follow 01890a5d-ac96-774b-bcce-b302099a8057",
    "commands list --state failed --kind change --since 7d",
    "commands list web-1",
    "commands show 01890a5d-ac96-774b-bcce-b302099a8057",
    "environments create shop live --cpu-cores 1 --ram-mb 512 --disk-gb 4",
    "environments delete shop live --yes",
    "environments delete shop live",
    "environments list shop",
    "environments move shop live --to web-2",
    "events",
    "facts web-1",
    "fix web-1 start_docker --dry-run",
    "fix web-1 start_docker --yes",
    "fix web-1 start_docker",
    "fleet cancel 01890a5d-ac96-774b-bcce-b302099a8057",
    "fleet follow 01890a5d-ac96-774b-bcce-b302099a8057",
    "fleet list",
    "fleet run --servers web-1 fix start_docker",
    "fleet run --servers web-1 --yes fix start_docker",
    "fleet run --servers web-1 --dry-run harden auditd",
    "fleet run --servers web-1 --yes preflight",
    "fleet run --servers web-1 --yes refresh-facts",
    "fleet show 01890a5d-ac96-774b-bcce-b302099a8057",
    "harden web-1",
    "harden web-1 auditd --plan",
    "harden web-1 auditd",
    "hostkey accept web-1 SHA256:fingerprint",
    "join-tokens create --server-name web-1",
    "join-tokens list",
    "join-tokens revoke 01890a5d-ac96-774b-bcce-b302099a8057",
    "join-tokens revoke 01890a5d-ac96-774b-bcce-b302099a8057 --yes",
    "keyring retire k1",
    "keyring retire k1 --yes",
    "keyring rotate",
    "keyring show",
    "members add anna",
    "members list",
    "members remove anna",
    "members remove anna --yes",
    "members set-role anna admin",
    "metrics container odoo",
    "metrics list",
    "metrics series host_load_1m",
    "metrics show web-1",
    "metrics url web-1",
    "metrics watch web-1 host_load_1m",
    "metrics-retention set --raw 3d",
    "metrics-retention show",
    "preflight web-1",
    "projects add-member shop anna",
    "projects create Shop",
    "projects delete shop --yes",
    "projects delete shop",
    "projects list",
    "projects members shop",
    "projects remove-member shop anna",
    "projects remove-member shop anna --yes",
    "projects show shop",
    "quota set --cpu 8",
    "quota show",
    "secure web-1",
    "secure web-1 --yes",
    "servers create web-1 --ipv4-address 203.0.113.10 --ssh-username root --ssh-password-file {secret}",
    "servers delete web-1 --yes",
    "servers delete web-1",
    "servers list",
    "servers reboot web-1 --yes",
    "servers reboot web-1",
    "servers set-key web-1 --key-file {secret}",
    "servers set-password web-1 --password-file {secret}",
    "servers show web-1",
    "servers start web-1 --yes",
    "servers stats web-1",
    "servers stop web-1 --yes",
    "servers update web-1 --region Helsinki",
    "ssh-keys create fleet",
    "ssh-keys delete 01890a5d-ac96-774b-bcce-b302099a8057",
    "ssh-keys delete 01890a5d-ac96-774b-bcce-b302099a8057 --yes",
    "ssh-keys list",
    "ssh-keys rotate 01890a5d-ac96-774b-bcce-b302099a8057",
    "ssh-keys rotate 01890a5d-ac96-774b-bcce-b302099a8057 --yes",
    "ssh-keys rotation 01890a5d-ac96-774b-bcce-b302099a8057",
    "ssh-keys show 01890a5d-ac96-774b-bcce-b302099a8057",
    "ssh-keys update 01890a5d-ac96-774b-bcce-b302099a8057 --name other",
    "summary web-1",
    "test-connection web-1",
    "tokens create script",
    "tokens list",
    "tokens revoke 01890a5d-ac96-774b-bcce-b302099a8057",
    "tokens revoke 01890a5d-ac96-774b-bcce-b302099a8057 --yes",
    "users create anna",
    "users delete anna",
    "users delete anna --yes",
    "users list",
    "users reset-totp anna",
    "users reset-totp anna --yes",
    "watch web-1",
];

/// Subcommands that ask no fleet for something to print, and what shows that they do what they say.
const ELSEWHERE: &[(&str, &str)] = &[
    ("serve", "every suite starts it"),
    ("top", "tests/terminal.rs drives it in tmux"),
    ("login", "tests/terminal.rs signs in"),
    ("contexts list", "cli/login.rs, recorded; tests/terminal.rs"),
    ("contexts use", "tests/terminal.rs"),
    ("contexts remove", "tests/terminal.rs"),
    ("completions", "tests/terminal.rs, for each shell"),
    ("man", "tests/terminal.rs"),
];

/// The example of a schema in the API's document.
fn example(document: &Value, schema: &str) -> Value {
    document["components"]["schemas"][schema]["example"].clone()
}

fn said() -> BTreeMap<&'static str, Said> {
    let document = document(&routes());
    let status = |message: &str| ("status", json!({ "status": "running", "message": message }));
    let check = json!({ "name": "docker", "status": "failed", "passed": false, "fixable": true,
        "evidence": "Docker is not installed", "remedy": "install it with `muster fix`" });
    let report = json!({ "steps": [{ "title": "write /etc/docker/daemon.json", "diff": "-{}\n+{ \"live-restore\": true }",
        "reversible": false }] });
    let checked = json!({ "status": "qualified", "passed": 8, "failed": 0, "warnings": 1 });
    let change = json!({ "action": "start_docker", "outcome": "planned", "detail": "it is stopped", "report": report });
    let item = json!({ "item": "auditd", "outcome": "planned", "detail": "a rule is missing", "report": report });
    let secured = json!({ "status": "secured", "fingerprint": "SHA256:fingerprint", "public_key": "ssh-ed25519 AAAA",
        "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n…", "message": "the server is entered with its own key" });
    let server = |state: &str| ("server", json!({ "server_name": "web-1", "state": state, "detail": "it went well" }));
    let over = |message: &str| {
        ("complete", json!({ "status": "done", "message": message, "succeeded": 1, "failed": 0, "skipped": 0 }))
    };
    let rotation = json!({ "name": "fleet", "old_key_pair_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "new_key_pair_id": "01890a5d-ac96-774b-bcce-b302099a8058", "public_key": "ssh-ed25519 AAAA",
        "fingerprint": "SHA256:fingerprint", "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n…", "waiting": 1 });
    [
        (
            "Bootstrap",
            Said::Progress(vec![
                status("Connecting..."),
                ("complete", json!({ "status": "online", "message": "the agent is online" })),
            ]),
        ),
        (
            "RunPreflight",
            Said::Progress(vec![
                status("Looking..."),
                ("os_info", json!({ "name": "Debian GNU/Linux", "version": "12", "arch": "x86_64" })),
                ("check", check),
                ("complete", checked.clone()),
            ]),
        ),
        (
            "FixServer",
            Said::Progress(vec![
                status("Planning..."),
                ("change", change),
                ("line", json!({ "line": "docker.service started" })),
                ("complete", checked),
            ]),
        ),
        ("SecureServer", Said::Progress(vec![status("Making a key..."), ("complete", secured)])),
        (
            "Harden",
            Said::Progress(vec![
                ("item", item),
                (
                    "complete",
                    json!({ "status": "done", "failed": 0, "message": "1 to be changed, 0 held already, 0 failed" }),
                ),
            ]),
        ),
        (
            "WatchCommand",
            Said::Progress(vec![
                ("command", json!({ "kind": "change", "state": "started" })),
                (
                    "line",
                    json!({ "seq": 3, "at": "2100-01-01T00:00:00Z", "line": "Unpacking docker-ce", "check": null }),
                ),
                ("complete", json!({ "kind": "change", "state": "failed", "detail": "the disk is full" })),
            ]),
        ),
        ("WatchFleetRun", Said::Progress(vec![server("succeeded"), over("1 succeeded, 0 failed, 0 skipped")])),
        ("WatchSshKeyRotation", Said::Progress(vec![server("rotated"), over("every server has the new key")])),
        (
            "RotateSshKeyPair",
            Said::Progress(vec![("rotation", rotation), server("rotated"), over("every server has the new key")]),
        ),
        ("GetServer", Said::Document(example(&document, "Facts"))),
        ("GetServerMetrics", Said::Document(example(&document, "ServerMetrics"))),
        ("GetContainerMetrics", Said::Document(example(&document, "ContainerMetrics"))),
    ]
    .into()
}

/// What `line` prints in the format, and how it ends.
async fn printed(line: &str, format: &str, options: &[String]) -> String {
    let words = ["muster"].into_iter().chain(line.split(' ')).chain(["-o", format]);
    let words: Vec<_> = words.map(str::to_owned).chain(options.iter().cloned()).collect();
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
    let Command::Fleet(command) = cli.command else { panic!("{line} asks no fleet") };
    let mut out = Vec::new();
    let end = command.run(&cli.target, cli.output, &mut out).await;
    let out = String::from_utf8(out).expect("text");
    match end {
        Ok(()) => out,
        Err(failure) => format!("{out}{failure}\n(exit code {})\n", failure.exit_code),
    }
}

#[tokio::test]
async fn every_table_and_document_is_as_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "correct horse").expect("written");
    let secret = secret.display().to_string();
    let address = Canned::new(said()).serve().await;
    let options = ["--url".to_owned(), format!("http://{address}"), "--token-file".to_owned(), secret.clone()];
    let mut recorded: BTreeMap<&str, String> = BTreeMap::new();
    for line in LINES {
        let of = recorded.entry(line.split(' ').next().unwrap_or_default()).or_default();
        for format in ["table", "json", "yaml"] {
            let text = printed(&line.replace("{secret}", &secret), format, &options).await;
            of.push_str(&format!("$ muster {line} -o {format}\n{text}\n"));
        }
    }
    for (noun, text) in recorded {
        insta::assert_snapshot!(noun, text);
    }
}

fn leaves(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = if path.is_empty() { sub.get_name().to_owned() } else { format!("{path} {}", sub.get_name()) };
        if sub.has_subcommands() {
            leaves(sub, &path, found);
        } else {
            found.insert(path);
        }
    }
}

/// The subcommand that `line` calls, such as `servers list`.
fn path_of(line: &str) -> String {
    let matches = Cli::command().try_get_matches_from(["muster"].into_iter().chain(line.split(' ')));
    let matches = matches.unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut names = Vec::new();
    let mut at = &matches;
    while let Some((name, deeper)) = at.subcommand() {
        names.push(name);
        at = deeper;
    }
    names.join(" ")
}

#[test]
fn no_subcommand_is_left_out() {
    let mut known = BTreeSet::new();
    leaves(&Cli::command(), "", &mut known);
    let recorded: BTreeSet<_> = LINES.iter().map(|line| path_of(line)).collect();
    let missing: Vec<_> = known
        .iter()
        .filter(|path| !recorded.contains(*path))
        .filter(|path| !ELSEWHERE.iter().any(|(elsewhere, _)| elsewhere == path))
        .collect();
    assert!(missing.is_empty(), "nothing is recorded of {missing:?}: add a line to LINES");
    for (path, _) in ELSEWHERE {
        assert!(known.contains(*path), "there is no {path} any more");
    }
}
