//! What to do about an error of the control plane: its machine's word says it best, what kind of error it is says it otherwise.
//! None is left without.

use tonic::Code;

/// What helps, by the machine's word.
const BY_WORD: &[(&str, &str)] = &[
    (
        "agent_offline",
        "`muster servers show SERVER` says when its agent was last seen; on the host: `systemctl status muster-agent`",
    ),
    ("no_agent", "install the agent with `muster bootstrap SERVER`, or paste the line of `muster join-tokens create`"),
    ("agent_slow", "`muster servers show SERVER` says whether its agent is connected; then try again"),
    (
        "agent_not_arrived",
        "on the host, `journalctl -u muster-agent` says why; then try `muster bootstrap SERVER` again",
    ),
    ("no_preflight", "run `muster preflight SERVER` first"),
    ("no_ssh_credentials", "give it a login with `muster servers set-password` or `muster servers set-key`"),
    (
        "ssh_auth_failed",
        "try the login with `muster test-connection`, and give the right one with `muster servers set-password` or `set-key`",
    ),
    (
        "ssh_unreachable",
        "check address and port in `muster servers show SERVER`, and that a firewall lets the control plane in",
    ),
    (
        "ssh_timeout",
        "check address and port in `muster servers show SERVER`, and that a firewall lets the control plane in",
    ),
    (
        "host_key_mismatch",
        "compare the key with `ssh-keygen -lf` on the host; if it is right, `muster hostkey accept SERVER FINGERPRINT`",
    ),
    (
        "sudo_needs_password",
        "keep the password for sudo beside the key: `muster servers set-key --sudo-password-file FILE`",
    ),
    ("no_way_in", "deploy a key first: `muster secure SERVER`"),
    ("environments_active", "`muster environments list --server SERVER` shows them; move or delete them first"),
    ("containers_running", "stop them first, or repeat it with --force"),
    ("project_not_empty", "`muster environments list PROJECT` shows what is in it; delete that first"),
    ("server_not_ready", "`muster preflight SERVER` says what is missing, `muster fix SERVER --all` mends it"),
    ("server_full", "`muster servers stats SERVER` shows what is spoken for; choose another server"),
    ("quota_exceeded", "`muster quota show` says what is left; an owner raises it with `muster quota set`"),
    ("key_pair_in_use", "give its servers another key first, or replace it everywhere with `muster ssh-keys rotate`"),
    ("key_pair_rotating", "follow it with `muster ssh-keys rotation ID --follow`"),
    ("rotation_running", "follow it with `muster ssh-keys rotation ID --follow`"),
    ("secure_running", "wait for its end: `muster servers show SERVER` says how it is entered then"),
    ("bootstrap_running", "wait for its end: `muster watch SERVER` shows when its agent is online"),
    ("already_secured", "nothing needs to be done: it is entered with its own key"),
    ("not_quarantined", "`muster servers show SERVER` says how its agent stands"),
    ("quarantined", "`muster agent release SERVER` lets one of the two machines join again"),
    (
        "dry_run_first",
        "run it with --dry-run first, or with `muster fleet run --filter EXPRESSION fix ACTION`, which begins with one",
    ),
    ("nothing_selected", "`muster servers list --filter EXPRESSION` shows what an expression selects"),
    ("too_late", "`muster commands list` shows how it ended"),
    ("last_owner", "make somebody else an owner first: `muster members set-role USER owner`"),
    ("invalid_filter", "the filter guide names what can be asked; `muster servers list --filter` tries an expression"),
    ("name_taken", "choose another name, or change the one there is"),
    ("slug_taken", "choose another --slug"),
    ("changed_meanwhile", "somebody changed it at the same time: look again, then repeat it"),
    ("owners_only", "ask an owner of the organisation: `muster members list` names them"),
    ("scoped_token", "use a token with more scopes: `muster tokens create`, or `muster login`"),
    ("password_change_required", "open the dashboard and choose a password of your own first"),
    ("metric_store_unavailable", "the control plane's `metric_store_url` does not answer: its log says why"),
    ("database_unavailable", "the control plane's database does not answer: its log says why"),
];

/// Where things that were not found are listed, by what was looked for.
const LISTED: &[(&str, &str)] = &[
    ("environment", "`muster environments list` shows what there is"),
    ("member", "`muster members list` shows who there is"),
    ("server", "`muster servers list` shows what there is"),
    ("project", "`muster projects list` shows what there is"),
    ("user", "`muster users list` shows who there is"),
    ("command", "`muster commands list` shows what there is"),
    ("key", "`muster ssh-keys list` shows what there is"),
    ("run", "`muster fleet list` shows what there is"),
    ("token", "`muster tokens list` and `muster join-tokens list` show what there is"),
    ("container", "`muster facts SERVER -o json` names the containers"),
    ("rotation", "`muster ssh-keys list` shows the key pairs"),
];

/// What to do about an error of kind `code`, with the machine's word and the message that came with it; never nothing.
#[must_use]
pub(super) fn next_step(code: Code, word: &str, message: &str) -> &'static str {
    if let Some((_, step)) = BY_WORD.iter().find(|(known, _)| *known == word) {
        return step;
    }
    match code {
        Code::NotFound => {
            let found = LISTED.iter().find(|(noun, _)| message.contains(noun));
            found.map_or("check its name or id", |(_, step)| step)
        }
        Code::InvalidArgument | Code::OutOfRange => "the same with --help says what can be given",
        Code::Unauthenticated => "sign in with `muster login`, pass --token-file FILE or set MUSTER_TOKEN",
        Code::PermissionDenied => "ask the organisation's owner for the permission, or use another token",
        Code::Unavailable if word.is_empty() => "check --url (MUSTER_URL) and that `muster serve` runs there",
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled => {
            "try again in a moment"
        }
        Code::AlreadyExists | Code::Aborted => "look at what there is, then repeat it",
        Code::FailedPrecondition => "`muster servers show SERVER` and `muster commands list` say how things stand",
        Code::Unimplemented => "this control plane is older than this command: use the `muster` that came with it",
        _ => "the control plane's log says why",
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_step_that_is_a_command_can_be_taken() {
        let by_kind = (0..=16).map(|code| next_step(Code::from_i32(code), "", ""));
        let steps = BY_WORD.iter().chain(LISTED).map(|(_, step)| *step).chain(by_kind);
        let commands: Vec<_> = steps
            .flat_map(|step| step.split('`').skip(1).step_by(2))
            .filter_map(|quoted| quoted.strip_prefix("muster "))
            .collect();
        assert!(commands.len() > 30, "{commands:?}");
        for command in commands {
            let mut at = Cli::command();
            for word in command.split(' ') {
                if let Some(option) = word.strip_prefix("--") {
                    let knows = |argument: &clap::Arg| argument.get_long() == Some(option);
                    assert!(at.get_arguments().any(knows), "muster {command}: no {word}");
                } else if word.starts_with(|letter: char| letter.is_ascii_lowercase()) && at.has_subcommands() {
                    at = at.find_subcommand(word).unwrap_or_else(|| panic!("muster {command}: no {word}")).clone();
                }
            }
            assert!(!at.has_subcommands(), "muster {command} is no whole command");
        }
    }

    #[test]
    fn no_error_is_left_without_a_next_step() {
        for code in (0..=16).map(Code::from_i32) {
            assert!(!next_step(code, "", "").is_empty(), "{code:?}");
            assert!(!next_step(code, "a_word_of_tomorrow", "").is_empty(), "{code:?}");
        }
        assert!(BY_WORD.iter().chain(LISTED).all(|(_, step)| !step.is_empty()));
    }

    #[test]
    fn what_was_not_found_is_listed_where_it_belongs() {
        assert!(next_step(Code::NotFound, "not_found", "no such project").contains("projects list"));
        assert!(next_step(Code::NotFound, "not_found", "no such server").contains("servers list"));
        assert!(next_step(Code::NotFound, "not_found", "no such thing").contains("name or id"));
    }

    #[test]
    fn the_machines_word_goes_before_the_kind() {
        let step = next_step(Code::FailedPrecondition, "no_preflight", "there was no preflight");
        assert!(step.contains("muster preflight"), "{step}");
    }
}
