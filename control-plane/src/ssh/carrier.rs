//! How the agent's binary gets onto a host, runs there once and is gone again: one exec, one dialogue.
//!
//! The exec request runs a constant program of the host's own `sh`; whatever varies is an argument of it or a line on
//! its standard input, never a part of its text. The dialogue:
//!
//! ```text
//! host    muster hello <arch> <uid>       the login works; now `inner` runs, through sudo where asked for
//! host    <the prompt, on stderr>         sudo asks
//! we      <password>
//! host    muster ready                    a file was made, mode 0700, where programs may be run
//! we      <size> <sha256>, <secret>, <the binary to the end of input>
//! host    muster running                  size and digest hold; from here on, every line is the agent's
//! ```
//!
//! The secret reaches the agent on its standard input. The file is removed when the program ends, whatever ended it.
//! This file decides and has no input or output: [`Dialogue`] is told what the host said and answers what to do.

use super::{
    error::{Carriage, Elevation, SshError},
    quote::{NulByte, command_line},
};
use crate::servers::SudoMode;

/// Stands on stderr where sudo asks for the password, in whatever language the host speaks.
const SUDO_PROMPT: &str = "muster-asks-sudo-password:";
/// Longest line taken from a host, in bytes: a whole facts document with room.
const MAX_LINE_BYTES: usize = 2 << 20;
/// Most that one run may print, in bytes; more ends the run.
pub(super) const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// What is kept of stderr, in bytes: the first part while the login is decided, the last while the agent runs.
const MAX_STDERR_BYTES: usize = 8 << 10;
/// What is quoted of stderr in an error, in characters.
const MAX_DETAIL_CHARS: usize = 600;

/// Greets, then hands over to INNER as root or as the login itself.
/// Arguments: mode, sudo's flag, prompt, INNER, then the agent's arguments.
const OUTER: &str = concat!(
    "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; LC_ALL=C; export PATH LC_ALL; ",
    "mode=$1; flag=$2; prompt=$3; inner=$4; shift 4; uid=$(id -u); echo \"muster hello $(uname -m) $uid\"; ",
    "if [ \"$mode\" = auto ]; then if [ \"$uid\" = 0 ]; then mode=none; else mode=sudo; fi; fi; ",
    "if [ \"$mode\" = none ]; then exec /bin/sh -c \"$inner\" muster \"$@\"; fi; ",
    "if command -v sudo >/dev/null 2>&1; then :; else echo \"muster no-sudo\"; exit 70; fi; ",
    "exec sudo -k \"$flag\" -p \"$prompt\" -- /bin/sh -c \"$inner\" muster \"$@\"",
);

/// Takes the binary and runs it. Arguments: the agent's. A directory counts only if a file in it may be run.
const INNER: &str = concat!(
    "umask 077; file=; clean() { rm -f \"$file\"; }; trap clean EXIT; trap \"exit 129\" HUP INT TERM PIPE; ",
    "for dir in \"${TMPDIR:-/tmp}\" /var/tmp \"${HOME:-/root}/.cache\" \"${HOME:-/root}\"; do ",
    "if file=$(mktemp \"$dir/muster-agent.XXXXXX\" 2>/dev/null); then ",
    "printf \"#\\041/bin/sh\\nexit 0\\n\" >\"$file\"; chmod 700 \"$file\"; ",
    "if \"$file\" 2>/dev/null; then break; fi; rm -f \"$file\"; fi; file=; done; ",
    "if [ -z \"$file\" ]; then echo \"muster no-directory\"; exit 71; fi; ",
    "echo \"muster ready\"; IFS=\" \" read -r size sum; IFS= read -r secret; cat >\"$file\"; ",
    "if [ \"$(wc -c <\"$file\")\" -eq \"$size\" ]; then :; else echo \"muster altered\"; exit 72; fi; ",
    "if command -v sha256sum >/dev/null 2>&1; then got=$(sha256sum <\"$file\"); case \"$got\" in \"$sum \"*) ;; ",
    "*) echo \"muster altered\"; exit 72;; esac; fi; ",
    "echo \"muster running\"; printf \"%s\" \"$secret\" | \"$file\" \"$@\"",
);

/// How root is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) mode: SudoMode,
    /// Whether a password can be given if sudo asks.
    pub(super) has_password: bool,
}

/// The exec request's string for `muster-agent <arguments>`.
pub(super) fn exec_line(route: Route, arguments: &[String]) -> Result<String, NulByte> {
    let flag = if route.has_password { "-S" } else { "-n" };
    let program = ["/bin/sh", "-c", OUTER, "muster", route.mode.as_str(), flag, SUDO_PROMPT, INNER];
    command_line(program.into_iter().chain(arguments.iter().map(String::as_str)))
}

/// What is to be done next, or what is worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// The login works: the host's architecture, and whether the login is root itself.
    Greeted {
        arch: String,
        is_root: bool,
    },
    SendPassword,
    SendBinary,
    /// The binary is whole there and runs.
    Running,
    /// A line the agent wrote.
    Line(String),
    /// Nothing more is worth waiting for: end the exec, then ask [`Dialogue::end`].
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Elevating { asked: bool },
    Carrying,
    Running,
}

/// The dialogue so far.
#[derive(Debug)]
pub(super) struct Dialogue {
    route: Route,
    stage: Stage,
    line: Vec<u8>,
    output_bytes: usize,
    stderr: Vec<u8>,
    failure: Option<SshError>,
}

impl Dialogue {
    pub(super) fn new(route: Route) -> Self {
        Self { route, stage: Stage::Greeting, line: Vec::new(), output_bytes: 0, stderr: Vec::new(), failure: None }
    }

    /// What the exec is doing, for errors.
    pub(super) fn during(&self) -> &'static str {
        match self.stage {
            Stage::Greeting => "the start of the login's shell",
            Stage::Elevating { .. } => "sudo",
            Stage::Carrying => "the upload",
            Stage::Running => "the agent's run",
        }
    }

    /// The host wrote to its standard output.
    pub(super) fn stdout(&mut self, bytes: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        self.output_bytes += bytes.len();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() > MAX_LINE_BYTES || self.output_bytes > MAX_OUTPUT_BYTES {
                return self.fail(SshError::Carriage(Carriage::TooMuchOutput(MAX_LINE_BYTES)));
            }
            if piece.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
                actions.extend(self.line(line));
            }
        }
        actions
    }

    fn line(&mut self, line: String) -> Option<Action> {
        if self.stage == Stage::Running {
            return Some(Action::Line(line));
        }
        // Other lines are what the login's own start-up files print.
        let word = line.strip_prefix("muster ")?;
        match (self.stage, word) {
            (Stage::Greeting, hello) => {
                let (arch, uid) = hello.strip_prefix("hello ")?.split_once(' ')?;
                self.stage = Stage::Elevating { asked: false };
                Some(Action::Greeted { arch: arch.to_owned(), is_root: uid == "0" })
            }
            (Stage::Elevating { .. }, "ready") => {
                self.stage = Stage::Carrying;
                self.stderr.clear();
                Some(Action::SendBinary)
            }
            (Stage::Carrying, "running") => {
                self.stage = Stage::Running;
                Some(Action::Running)
            }
            (_, "no-sudo") => self.fail(SshError::Elevation(Elevation::NotInstalled)).pop(),
            (_, "no-directory") => self.fail(SshError::Carriage(Carriage::NoExecutableDirectory)).pop(),
            (_, "altered") => self.fail(SshError::Carriage(Carriage::Altered)).pop(),
            _ => None,
        }
    }

    /// The host wrote to its standard error.
    pub(super) fn stderr(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.stderr.extend_from_slice(bytes);
        match self.stage {
            Stage::Running => {
                let surplus = self.stderr.len().saturating_sub(MAX_STDERR_BYTES);
                self.stderr.drain(..surplus);
                Vec::new()
            }
            Stage::Elevating { asked } => {
                let prompts = self.prompts();
                self.stderr.truncate(MAX_STDERR_BYTES);
                match (prompts, asked) {
                    (0, _) | (1, true) => Vec::new(),
                    (1, false) => {
                        self.stage = Stage::Elevating { asked: true };
                        vec![Action::SendPassword]
                    }
                    _ => self.fail(SshError::Elevation(Elevation::PasswordRefused)),
                }
            }
            Stage::Greeting | Stage::Carrying => {
                self.stderr.truncate(MAX_STDERR_BYTES);
                Vec::new()
            }
        }
    }

    fn prompts(&self) -> usize {
        String::from_utf8_lossy(&self.stderr).matches(SUDO_PROMPT).count()
    }

    fn fail(&mut self, error: SshError) -> Vec<Action> {
        self.failure.get_or_insert(error);
        vec![Action::Stop]
    }

    /// Nothing more comes from standard output: what stands there without a line end is the last line.
    pub(super) fn last_line(&mut self) -> Option<Action> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
        if line.is_empty() { None } else { self.line(line) }
    }

    /// The exec ended: with `status`, or without one where a signal or the connection ended it.
    pub(super) fn end(self, status: Option<u32>) -> Result<(), SshError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let Some(status) = status else {
            return Err(SshError::Broken { during: self.during(), source: None });
        };
        let said = self.said();
        match self.stage {
            Stage::Running if status == 0 => Ok(()),
            Stage::Running => Err(SshError::Agent { status, detail: said }),
            Stage::Greeting => Err(SshError::Carriage(Carriage::NoShell(said))),
            Stage::Elevating { asked } => Err(SshError::Elevation(self.refusal(asked, said))),
            Stage::Carrying => Err(SshError::Carriage(Carriage::Altered)),
        }
    }

    fn refusal(&self, asked: bool, said: String) -> Elevation {
        if said.contains("not in the sudoers") || said.contains("not allowed to") || said.contains("may not run") {
            Elevation::NotAllowed
        } else if said.contains("must have a tty") || said.contains("a terminal is required") {
            Elevation::TerminalRequired
        } else if asked {
            Elevation::PasswordRefused
        } else if !self.route.has_password && said.contains("password is required") {
            Elevation::PasswordRequired
        } else {
            Elevation::Failed(said)
        }
    }

    /// The host's own words, fit to be shown: printable, on one line, of bounded length.
    fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr).replace(SUDO_PROMPT, "");
        let words: Vec<&str> =
            text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|w| !w.is_empty()).collect();
        let text = words.join(" ");
        let surplus = text.chars().count().saturating_sub(MAX_DETAIL_CHARS);
        text.chars().skip(surplus).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route = Route { mode: SudoMode::Auto, has_password: true };

    fn elevating() -> Dialogue {
        let mut dialogue = Dialogue::new(ROUTE);
        let greeted = dialogue.stdout(b"Welcome!\nmuster hello x86_64 1000\n");
        assert_eq!(greeted, [Action::Greeted { arch: "x86_64".into(), is_root: false }]);
        dialogue
    }

    fn running() -> Dialogue {
        let mut dialogue = elevating();
        assert_eq!(dialogue.stdout(b"muster ready\nmuster running\n"), [Action::SendBinary, Action::Running]);
        dialogue
    }

    #[test]
    fn bytes_may_arrive_in_any_pieces() {
        let mut dialogue = Dialogue::new(ROUTE);
        let mut actions = Vec::new();
        for byte in b"noise\nmuster hello aarch64 0\nmuster ready\nmuster running\n{\"a\":1}\n" {
            actions.extend(dialogue.stdout(&[*byte]));
        }
        let greeted = Action::Greeted { arch: "aarch64".into(), is_root: true };
        assert_eq!(actions, [greeted, Action::SendBinary, Action::Running, Action::Line("{\"a\":1}".into())]);
        assert!(dialogue.end(Some(0)).is_ok());
    }

    #[test]
    fn the_password_is_given_once_and_only_when_asked() {
        let mut dialogue = elevating();
        assert_eq!(dialogue.stderr(b"lecture\nmuster-asks-"), []);
        assert_eq!(dialogue.stderr(b"sudo-password:"), [Action::SendPassword]);
        assert_eq!(dialogue.stderr(b"\nSorry, try again.\n"), []);
        assert_eq!(dialogue.stderr(SUDO_PROMPT.as_bytes()), [Action::Stop]);
        assert!(matches!(dialogue.end(Some(1)), Err(SshError::Elevation(Elevation::PasswordRefused))));
    }

    #[test]
    fn sudo_that_asks_for_nothing_gets_nothing() {
        let mut dialogue = elevating();
        assert_eq!(dialogue.stdout(b"muster ready\n"), [Action::SendBinary]);
    }

    #[test]
    fn refusals_are_told_apart() {
        let refused = |has_password, stderr: &str| {
            let mut dialogue = Dialogue::new(Route { has_password, ..ROUTE });
            dialogue.stdout(b"muster hello x86_64 1000\n");
            dialogue.stderr(stderr.as_bytes());
            match dialogue.end(Some(1)) {
                Err(SshError::Elevation(why)) => why,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(false, "sudo: a password is required\n"), Elevation::PasswordRequired);
        assert_eq!(refused(true, &format!("{SUDO_PROMPT}ops is not in the sudoers file.")), Elevation::NotAllowed);
        assert_eq!(refused(true, "sudo: sorry, you must have a tty to run sudo"), Elevation::TerminalRequired);
        assert_eq!(refused(true, "sudo: \u{1b}[1mbroken\n"), Elevation::Failed("sudo: [1mbroken".into()));

        let mut dialogue = elevating();
        assert_eq!(dialogue.stdout(b"muster no-sudo\n"), [Action::Stop]);
        assert!(matches!(dialogue.end(Some(70)), Err(SshError::Elevation(Elevation::NotInstalled))));
    }

    #[test]
    fn a_login_without_a_shell_is_named() {
        let mut dialogue = Dialogue::new(ROUTE);
        assert_eq!(dialogue.stdout(b"This account is currently not available.\n"), []);
        assert!(matches!(dialogue.end(Some(1)), Err(SshError::Carriage(Carriage::NoShell(_)))));
    }

    #[test]
    fn the_agents_lines_are_never_taken_for_the_dialogue() {
        let mut dialogue = running();
        assert_eq!(dialogue.stdout(b"muster altered\n"), [Action::Line("muster altered".into())]);
        dialogue.stderr(b"error: clock is off\n");
        match dialogue.end(Some(3)) {
            Err(SshError::Agent { status: 3, detail }) => assert_eq!(detail, "error: clock is off"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn output_is_bounded() {
        let mut dialogue = running();
        let chunk = vec![b'x'; 1 << 20];
        let stopped = (0..8).any(|_| dialogue.stdout(&chunk).contains(&Action::Stop));
        assert!(stopped);
        assert!(matches!(dialogue.end(None), Err(SshError::Carriage(Carriage::TooMuchOutput(_)))));
        let mut dialogue = running();
        (0..64).for_each(|_| drop(dialogue.stderr(&chunk)));
        assert!(dialogue.stderr.len() <= MAX_STDERR_BYTES);
    }

    #[test]
    fn an_exec_that_just_stops_is_a_broken_connection() {
        assert!(matches!(running().end(None), Err(SshError::Broken { during: "the agent's run", .. })));
    }

    #[test]
    fn the_program_is_constant_and_safe_in_every_login_shell() {
        // Single quotes, `!`, doubled backslashes and line breaks are what csh and fish read differently.
        for program in [OUTER, INNER] {
            assert!(!program.contains(['\'', '!', '\n']) && !program.contains("\\\\"), "{program}");
        }
    }

    mod on_this_machine {
        use std::{
            io::Write,
            process::{Command, Output, Stdio},
        };

        use super::*;

        /// Runs the whole program as a login's shell would, with `binary` on its standard input.
        fn carried(arguments: &[&str], header: &str, secret: &str, binary: &[u8], tmp: &std::path::Path) -> Output {
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let line = exec_line(Route { mode: SudoMode::None, has_password: false }, &arguments).expect("no NUL");
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(line).env("TMPDIR", tmp);
            let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = shell.spawn().expect("sh runs");
            let mut stdin = child.stdin.take().expect("piped");
            stdin.write_all(format!("{header}\n{secret}\n").as_bytes()).expect("read");
            stdin.write_all(binary).expect("read");
            drop(stdin);
            child.wait_with_output().expect("ends")
        }

        fn digest(binary: &[u8]) -> String {
            let digest = ring::digest::digest(&ring::digest::SHA256, binary);
            format!("{} {}", binary.len(), hex::encode(digest))
        }

        #[test]
        fn the_binary_runs_with_its_arguments_and_secret_and_is_removed() {
            let tmp = tempfile::tempdir().expect("a directory");
            let binary = b"#!/bin/sh\nprintf '%s|' \"$@\"\ncat\nexit 3\n";
            let output =
                carried(&["join", "it's; rm -rf $HOME", ""], &digest(binary), "s3cr'et \\n", binary, tmp.path());
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.ends_with("muster running\njoin|it's; rm -rf $HOME||s3cr'et \\n"), "{text}");
            assert_eq!(output.status.code(), Some(3));
            assert_eq!(std::fs::read_dir(tmp.path()).expect("readable").count(), 0);
        }

        #[test]
        fn an_altered_or_cut_binary_is_not_run() {
            let tmp = tempfile::tempdir().expect("a directory");
            let binary = b"#!/bin/sh\ntouch ran\n";
            for sent in [&binary[..10], b"#!/bin/sh\ntouch run\n"] {
                let output = carried(&[], &digest(binary), "", sent, tmp.path());
                assert!(String::from_utf8_lossy(&output.stdout).ends_with("muster altered\n"));
                assert_eq!(output.status.code(), Some(72));
                assert_eq!(std::fs::read_dir(tmp.path()).expect("readable").count(), 0);
            }
        }
    }
}
