//! What a bootstrap tells, decided from what happens. Pure.
//!
//! The host's end and this end report independently, so the same thing may be heard twice and in another order than
//! it happened; the story is told once and in order.

use muster_shared::id::ServerId;
use serde_json::{Value, json};

use crate::{servers::Fingerprint, ssh::RunEvent};

/// Longest line of the agent that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

/// Something that happened, at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happening {
    Connecting {
        host: String,
        port: u16,
    },
    HostKey {
        fingerprint: Fingerprint,
        first_contact: bool,
    },
    Authenticated,
    Run(RunEvent),
    /// The agent's join ended well.
    Joined,
    /// The agent's stream is open.
    Online,
    /// A sample arrived.
    Sampled,
}

/// A step that begins, or what is new within it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) step: &'static str,
    pub(super) message: String,
    /// Further fields of the event.
    pub(super) more: Value,
}

/// The story so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    step: &'static str,
    joined: bool,
    online: bool,
    sampled: bool,
}

impl Story {
    /// The step that is on.
    pub(super) fn step(&self) -> &'static str {
        self.step
    }

    /// Whether everything awaited has happened.
    pub(super) fn is_over(&self) -> bool {
        self.joined && self.online && self.sampled
    }

    /// What there is to tell once `happening` happened.
    pub(super) fn then(&mut self, happening: Happening) -> Vec<Step> {
        match happening {
            Happening::Connecting { host, port } => {
                self.one("connecting", format!("Establishing SSH connection to {host} port {port}…"), Value::Null)
            }
            Happening::HostKey { fingerprint, first_contact } => {
                let message = if first_contact {
                    format!("First contact: the host key is {fingerprint} and is recorded")
                } else {
                    format!("The host key is the recorded one: {fingerprint}")
                };
                let more = json!({ "host_key_fingerprint": fingerprint.as_str(), "first_contact": first_contact });
                self.one("host_key", message, more)
            }
            Happening::Authenticated => self.one("authenticated", "Logged in".to_owned(), Value::Null),
            Happening::Run(event) => self.run(event),
            Happening::Joined => {
                self.joined = true;
                if self.online { Vec::new() } else { self.one("waiting_for_agent", WAITING.to_owned(), Value::Null) }
            }
            Happening::Online if self.online => Vec::new(),
            Happening::Online => {
                self.online = true;
                self.one("online", "The agent is online".to_owned(), Value::Null)
            }
            Happening::Sampled if self.sampled => Vec::new(),
            // A sample comes over an open stream, even if its opening was not heard.
            Happening::Sampled => {
                let mut steps = self.then(Happening::Online);
                self.sampled = true;
                steps.extend(self.one("first_sample", "The first sample is here".to_owned(), Value::Null));
                steps
            }
        }
    }

    fn run(&mut self, event: RunEvent) -> Vec<Step> {
        match event {
            RunEvent::Greeted { arch, is_root } => {
                let through = if is_root { "as root" } else { "through sudo" };
                let message = format!("The host is {}, root is reached {through}", shown(&arch));
                self.one("detecting", message, json!({ "arch": shown(&arch), "is_root": is_root }))
            }
            RunEvent::Uploading { bytes } => {
                self.one("uploading", format!("Uploading the agent ({} kB)", bytes / 1000), json!({ "bytes": bytes }))
            }
            RunEvent::Running => self.one("installing", "Installing the agent".to_owned(), Value::Null),
            // Once the stream is open, what the agent had to say on the way there is old.
            RunEvent::Line(_) if self.online => Vec::new(),
            RunEvent::Line(line) => match shown(&line) {
                message if message.is_empty() => Vec::new(),
                message => self.one("joining", message, Value::Null),
            },
        }
    }

    fn one(&mut self, step: &'static str, message: String, more: Value) -> Vec<Step> {
        self.step = step;
        vec![Step { step, message, more }]
    }
}

/// The server that the agent says the host is.
pub(super) fn joined_as(event: &RunEvent) -> Option<ServerId> {
    let RunEvent::Line(line) = event else { return None };
    let (_, rest) = line.split_once("joined as server ")?;
    rest.split(|character: char| !character.is_ascii_hexdigit() && character != '-').next()?.parse().ok()
}

const WAITING: &str = "Joined: waiting for the agent to connect";

/// A host's words, fit to be shown.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(MAX_MESSAGE_CHARS)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(happenings: impl IntoIterator<Item = Happening>) -> (Vec<&'static str>, bool) {
        let mut story = Story::default();
        let steps = happenings.into_iter().flat_map(|happening| story.then(happening)).map(|step| step.step).collect();
        (steps, story.is_over())
    }

    fn line(text: &str) -> Happening {
        Happening::Run(RunEvent::Line(text.to_owned()))
    }

    #[test]
    fn a_run_is_told_in_order() {
        let fingerprint = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg".parse().expect("a fingerprint");
        let (steps, over) = told([
            Happening::Connecting { host: "203.0.113.10".into(), port: 22 },
            Happening::HostKey { fingerprint, first_contact: true },
            Happening::Authenticated,
            Happening::Run(RunEvent::Greeted { arch: "x86_64".into(), is_root: false }),
            Happening::Run(RunEvent::Uploading { bytes: 5_000_000 }),
            Happening::Run(RunEvent::Running),
            line("enrolled"),
            Happening::Joined,
            Happening::Online,
            Happening::Sampled,
        ]);
        let expected = [
            "connecting",
            "host_key",
            "authenticated",
            "detecting",
            "uploading",
            "installing",
            "joining",
            "waiting_for_agent",
            "online",
            "first_sample",
        ];
        assert_eq!((steps.as_slice(), over), (&expected[..], true));
    }

    #[test]
    fn an_agent_that_is_faster_than_its_installer_ends_the_run_too() {
        let (steps, over) = told([Happening::Sampled, line("started"), Happening::Online, Happening::Sampled]);
        assert_eq!((steps, over), (vec!["online", "first_sample"], false));
        let (steps, over) = told([Happening::Online, Happening::Sampled, Happening::Joined]);
        assert_eq!((steps, over), (vec!["online", "first_sample"], true));
    }

    #[test]
    fn who_the_host_is_can_be_read_from_the_agents_words() {
        let id = ServerId::generate();
        for text in
            [format!("joined as server {id}"), format!("this host has joined as server {id}; nothing was changed")]
        {
            assert_eq!(joined_as(&RunEvent::Line(text)), Some(id));
        }
        assert_eq!(joined_as(&RunEvent::Line("joined as server x".into())), None);
        assert_eq!(joined_as(&RunEvent::Running), None);
    }

    #[test]
    fn an_agents_words_are_cut_and_cleaned() {
        let mut story = Story::default();
        let steps = story.then(line(&format!("\u{1b}[31m{}", "x".repeat(9999))));
        assert!(steps[0].message.starts_with("[31mx") && steps[0].message.len() == MAX_MESSAGE_CHARS);
        assert_eq!(story.then(line("\u{7}  ")), []);
    }
}
