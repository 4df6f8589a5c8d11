//! Commands that were carried out and still wait: a waking packet was sent, and the server it was for is not back yet.

use muster_shared::{
    command::{CommandBody, CommandState},
    id::{CommandId, OrgId, ServerId},
};

use super::{Commands, Step};
use crate::{error::Error, events::EventKind, servers::AgentStatus};

/// How long a woken server may take until its agent connects.
pub const UP_WITHIN_US: i64 = 5 * 60 * 1_000_000;

/// A command that waits for its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    pub id: CommandId,
    pub org_id: OrgId,
    /// The server that carried it out.
    pub server_id: ServerId,
    pub since_us: i64,
    /// What was done, in the host's words.
    pub sent: String,
    /// How the target's agent stands.
    pub target: AgentStatus,
}

/// Whether a command goes on after its host reported `step` as the end: its target is awaited.
#[must_use]
pub fn awaits_target(body: &CommandBody, step: &Step) -> bool {
    let has_target = matches!(body, CommandBody::Wake(_));
    has_target && matches!(step, Step::Finished(end) if end.state == CommandState::Succeeded)
}

/// How a command that waits for its target ends at `now_us`: state, word and words; `None` while it goes on waiting.
#[must_use]
fn end_of(awaited: &Awaited, now_us: i64) -> Option<(CommandState, &'static str, String)> {
    let waited_us = now_us.saturating_sub(awaited.since_us);
    let seconds = waited_us / 1_000_000;
    let sent = &awaited.sent;
    match awaited.target {
        AgentStatus::Online => {
            Some((CommandState::Succeeded, "back", format!("{sent}; the server was back {seconds} s later")))
        }
        _ if waited_us >= UP_WITHIN_US => Some((
            CommandState::Failed,
            "not_up_yet",
            format!(
                "{sent}, and the server has not come up in {seconds} s; look whether Wake-on-LAN is switched on in its \
                 firmware and its network card, and whether it is plugged in"
            ),
        )),
        _ => None,
    }
}

impl Commands {
    /// Ends what has waited for its target long enough, one way or the other.
    pub(super) async fn end_awaited(&self, now_us: i64) -> Result<(), Error> {
        for awaited in self.store.awaited_commands().await? {
            let Some((state, code, detail)) = end_of(&awaited, now_us) else { continue };
            let ended = self.store.end_awaited_command(&awaited, state, code, &detail, now_us).await?;
            if let Some(ended) = ended {
                self.events.publish(ended.org_id, ended.server_id, EventKind::CommandChanged(ended.id));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::power::WakeArgs;

    use super::*;
    use crate::commands::Finished;

    fn awaited(target: AgentStatus) -> Awaited {
        Awaited {
            id: CommandId::generate(),
            org_id: OrgId::generate(),
            server_id: ServerId::generate(),
            since_us: 0,
            sent: "the packet was sent".into(),
            target,
        }
    }

    #[test]
    fn a_server_that_comes_back_ends_it_well_and_one_that_does_not_ends_it_in_time() {
        let ends = |target, now_us| end_of(&awaited(target), now_us).map(|(state, code, _)| (state, code));
        assert_eq!(ends(AgentStatus::Offline, UP_WITHIN_US - 1), None);
        assert_eq!(ends(AgentStatus::Online, 1), Some((CommandState::Succeeded, "back")));
        assert_eq!(ends(AgentStatus::Online, UP_WITHIN_US), Some((CommandState::Succeeded, "back")));
        assert_eq!(ends(AgentStatus::Offline, UP_WITHIN_US), Some((CommandState::Failed, "not_up_yet")));
        let (_, _, words) = end_of(&awaited(AgentStatus::Offline), UP_WITHIN_US).expect("an end");
        assert!(words.starts_with("the packet was sent, and the server has not come up in 300 s"), "{words}");
    }

    #[test]
    fn only_a_packet_that_was_sent_is_waited_on() {
        let end = |state| {
            Step::Finished(Finished { state, code: String::new(), detail: String::new(), result: None, receipt: None })
        };
        let wake = CommandBody::Wake(WakeArgs {
            mac: "02:00:00:00:00:01".parse().expect("an address"),
            interface: "eth0".parse().expect("a name"),
            target: ServerId::generate(),
        });
        assert!(awaits_target(&wake, &end(CommandState::Succeeded)));
        assert!(!awaits_target(&wake, &end(CommandState::Failed)) && !awaits_target(&wake, &Step::Started));
        assert!(!awaits_target(&CommandBody::Reboot, &end(CommandState::Succeeded)));
    }
}
