//! Commands: what can be asked of a host, the states a command goes through, and which changes are legal. Pure.

use serde::{Deserialize, Serialize};

use crate::{
    action::{ChangeArgs, ConfirmArgs, InvalidArgument},
    id::{CommandId, InvalidId, ServerId},
    policy::Family,
    power::{InvalidWake, WakeArgs},
    wire,
};

/// How long a command may wait for its host before it expires, unless the caller says otherwise.
pub const DEFAULT_TTL_SECONDS: i64 = 15 * 60;
/// Largest progress line kept, in bytes; the rest is cut.
pub const MAX_LINE_BYTES: usize = 4096;
/// Most progress updates a command may send; later ones are dropped on the host and counted there.
pub const MAX_PROGRESS_UPDATES: u64 = 10_000;
/// How far the clocks of host and control plane may differ before a fresh command looks issued in the future.
pub const MAX_CLOCK_SKEW_US: i64 = 60 * 1_000_000;

/// A typed command with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CommandBody {
    RefreshFacts,
    Preflight(PreflightArgs),
    /// Boot anew.
    Reboot,
    /// Power off, in order.
    Stop,
    /// Send a neighbour the packet that powers it on.
    Wake(WakeArgs),
    /// Plan, make or undo a change.
    Change(ChangeArgs),
    /// Keep a change that the host would take back otherwise.
    ConfirmChange(ConfirmArgs),
}

/// What a preflight run needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct PreflightArgs {
    /// The user deployments will use; empty means root.
    pub username: String,
    /// Ports that must be free; empty means 80 and 443.
    pub ports: Vec<u16>,
    /// `host:port` addresses that show Internet access; empty means the built-in list.
    pub connectivity_targets: Vec<String>,
}

impl CommandBody {
    /// The words of every kind there is.
    pub const KINDS: [&'static str; 7] =
        ["refresh_facts", "preflight", "reboot", "stop", "wake", "change", "confirm_change"];

    /// The command's word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RefreshFacts => "refresh_facts",
            Self::Preflight(_) => "preflight",
            Self::Reboot => "reboot",
            Self::Stop => "stop",
            Self::Wake(_) => "wake",
            Self::Change(_) => "change",
            Self::ConfirmChange(_) => "confirm_change",
        }
    }

    /// The family a host's policy decides by.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::RefreshFacts | Self::Preflight(_) => Family::Observe,
            Self::Reboot | Self::Stop | Self::Wake(_) => Family::Power,
            Self::Change(args) => args.family(),
            Self::ConfirmChange(args) => args.item.family(),
        }
    }

    /// The server it is about, where that is not the one it runs on.
    #[must_use]
    pub fn target(&self) -> Option<ServerId> {
        match self {
            Self::Wake(args) => Some(args.target),
            _ => None,
        }
    }

    /// Whether it ends the boot of the host it runs on.
    #[must_use]
    pub fn ends_the_boot(&self) -> bool {
        matches!(self, Self::Reboot | Self::Stop)
    }

    /// Whether running it again after a crash changes nothing on the host, so that a crash can be reported as a
    /// plain failure.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.family() == Family::Observe
    }
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Stored; no session has taken it.
    Queued,
    /// Pushed down a stream; may have been lost with it.
    Sent,
    /// In the host's journal.
    Received,
    /// The host wrote `started` before the effect: it never starts again.
    Started,
    Succeeded,
    Failed,
    Refused,
    Cancelled,
    Expired,
    Indeterminate,
}

impl CommandState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Sent,
        Self::Received,
        Self::Started,
        Self::Succeeded,
        Self::Failed,
        Self::Refused,
        Self::Cancelled,
        Self::Expired,
        Self::Indeterminate,
    ];

    /// The state's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Indeterminate => "indeterminate",
        }
    }

    /// The state named `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        self.rank() == 4
    }

    fn rank(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Sent => 1,
            Self::Received => 2,
            Self::Started => 3,
            _ => 4,
        }
    }

    /// Whether a command in this state may go to `next`. Everything arrives at least once and may arrive late, so
    /// states only move forward; steps may be skipped. `Sent` returns to `Queued` when its stream is lost.
    /// Cancelled, refused and expired mean "never started"; indeterminate means "started".
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Sent, Self::Queued) => true,
            (Self::Started, Self::Cancelled | Self::Refused | Self::Expired) => false,
            _ => !self.is_final() && next.rank() > self.rank(),
        }
    }
}

/// What a signed envelope says, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub command_id: CommandId,
    pub server_id: ServerId,
    pub issued_at_us: i64,
    pub expires_at_us: i64,
    pub body: CommandBody,
}

/// An envelope that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvelope {
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error("the envelope carries no command this version knows")]
    UnknownKind,
    #[error("port {0} is out of range")]
    Port(u32),
    #[error(transparent)]
    Wake(#[from] InvalidWake),
    #[error(transparent)]
    Argument(#[from] InvalidArgument),
}

impl From<&Envelope> for wire::CommandEnvelope {
    fn from(envelope: &Envelope) -> Self {
        Self {
            command_id: envelope.command_id.to_string(),
            server_id: envelope.server_id.to_string(),
            issued_at_us: envelope.issued_at_us,
            expires_at_us: envelope.expires_at_us,
            body: Some(wire::CommandBody::from(&envelope.body)),
        }
    }
}

impl TryFrom<wire::CommandEnvelope> for Envelope {
    type Error = InvalidEnvelope;

    fn try_from(envelope: wire::CommandEnvelope) -> Result<Self, InvalidEnvelope> {
        Ok(Self {
            command_id: envelope.command_id.parse()?,
            server_id: envelope.server_id.parse()?,
            issued_at_us: envelope.issued_at_us,
            expires_at_us: envelope.expires_at_us,
            body: envelope.body.ok_or(InvalidEnvelope::UnknownKind)?.try_into()?,
        })
    }
}

impl From<&CommandBody> for wire::CommandBody {
    fn from(body: &CommandBody) -> Self {
        use wire::command_body::Kind;
        let kind = match body {
            CommandBody::RefreshFacts => Kind::RefreshFacts(wire::RefreshFacts {}),
            CommandBody::Preflight(args) => Kind::Preflight(wire::Preflight {
                username: args.username.clone(),
                ports: args.ports.iter().copied().map(u32::from).collect(),
                connectivity_targets: args.connectivity_targets.clone(),
            }),
            CommandBody::Reboot => Kind::Reboot(wire::Reboot {}),
            CommandBody::Stop => Kind::Stop(wire::Stop {}),
            CommandBody::Wake(args) => Kind::Wake(wire::Wake {
                mac: args.mac.to_string(),
                interface: args.interface.to_string(),
                target_server_id: args.target.to_string(),
            }),
            CommandBody::Change(args) => Kind::Change(args.into()),
            CommandBody::ConfirmChange(args) => Kind::ConfirmChange(args.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<wire::CommandBody> for CommandBody {
    type Error = InvalidEnvelope;

    fn try_from(body: wire::CommandBody) -> Result<Self, InvalidEnvelope> {
        use wire::command_body::Kind;
        match body.kind.ok_or(InvalidEnvelope::UnknownKind)? {
            Kind::RefreshFacts(_) => Ok(Self::RefreshFacts),
            Kind::Preflight(args) => Ok(Self::Preflight(PreflightArgs {
                username: args.username,
                ports: args
                    .ports
                    .into_iter()
                    .map(|port| u16::try_from(port).map_err(|_| InvalidEnvelope::Port(port)))
                    .collect::<Result<_, _>>()?,
                connectivity_targets: args.connectivity_targets,
            })),
            Kind::Reboot(_) => Ok(Self::Reboot),
            Kind::Stop(_) => Ok(Self::Stop),
            Kind::Wake(args) => Ok(Self::Wake(WakeArgs {
                mac: args.mac.parse()?,
                interface: args.interface.parse()?,
                target: args.target_server_id.parse()?,
            })),
            Kind::Change(change) => Ok(Self::Change(change.try_into()?)),
            Kind::ConfirmChange(confirm) => Ok(Self::ConfirmChange(confirm.try_into()?)),
        }
    }
}

impl From<wire::CommandOutcome> for CommandState {
    /// An outcome this version doesn't know is reported as indeterminate: the host did something we can't name.
    fn from(outcome: wire::CommandOutcome) -> Self {
        match outcome {
            wire::CommandOutcome::Succeeded => Self::Succeeded,
            wire::CommandOutcome::Failed => Self::Failed,
            wire::CommandOutcome::Refused => Self::Refused,
            wire::CommandOutcome::Cancelled => Self::Cancelled,
            wire::CommandOutcome::Expired => Self::Expired,
            wire::CommandOutcome::Indeterminate | wire::CommandOutcome::Unspecified => Self::Indeterminate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Item, ItemName, Mode};

    #[test]
    fn words_read_back() {
        for state in CommandState::ALL {
            assert_eq!(CommandState::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn final_states_stay() {
        for state in CommandState::ALL.into_iter().filter(|state| state.is_final()) {
            assert!(CommandState::ALL.into_iter().all(|next| !state.may_become(next)), "{state:?}");
        }
    }

    #[test]
    fn a_started_command_was_never_refused() {
        assert!(!CommandState::Started.may_become(CommandState::Cancelled));
        assert!(!CommandState::Started.may_become(CommandState::Queued));
        assert!(CommandState::Started.may_become(CommandState::Indeterminate));
        assert!(CommandState::Sent.may_become(CommandState::Succeeded));
    }

    #[test]
    fn bodies_survive_the_wire() {
        let bodies = [
            CommandBody::RefreshFacts,
            CommandBody::Preflight(PreflightArgs {
                username: "deploy".into(),
                ports: vec![80],
                connectivity_targets: vec!["127.0.0.1:9".into()],
            }),
            CommandBody::Reboot,
            CommandBody::Stop,
            CommandBody::Wake(WakeArgs {
                mac: "02:42:ac:12:00:03".parse().expect("an address"),
                interface: "eth0".parse().expect("a name"),
                target: ServerId::generate(),
            }),
            CommandBody::Change(ChangeArgs { item: Item::Auditd, mode: Mode::Undo }),
            CommandBody::ConfirmChange(ConfirmArgs { change: CommandId::generate(), item: ItemName::Sshd }),
        ];
        for body in bodies {
            assert_eq!(CommandBody::try_from(wire::CommandBody::from(&body)), Ok(body));
        }
    }
}
