//! A rotation as the fleet knows it, and each server's part in it.

use muster_shared::id::{OrgId, ServerId, SshKeyPairId, SshKeyRotationId};

use crate::servers::words;

words! {
    /// Where a rotation stands.
    RotationState {
        /// Servers have their turns.
        Running = "running",
        /// Every server had its turn and something still depends on the old pair, which stays. It can be taken up again.
        Partial = "partial",
        /// Nothing depends on the old pair any more, and it is gone.
        Done = "done",
    }
}

words! {
    /// Where a server stands in a rotation.
    ServerState {
        /// It has the old key alone, or both.
        Waiting = "waiting",
        /// It is entered with the new key; the old one may still let in.
        Switched = "switched",
        /// It has the new key and not the old one.
        Rotated = "rotated",
        /// It is still entered with the old key.
        Failed = "failed",
        /// It is entered with the new key, and the old one still lets in.
        Lingering = "lingering",
        /// It is not entered with the old key any more for another reason, or was deleted.
        Skipped = "skipped",
    }
}

impl ServerState {
    /// Whether a turn is to come.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Switched)
    }
}

/// A rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    pub id: SshKeyRotationId,
    pub org_id: OrgId,
    pub old_pair: SshKeyPairId,
    pub new_pair: SshKeyPairId,
    /// What the pair is called, before and after.
    pub name: String,
    pub state: RotationState,
    pub started_at_us: i64,
    pub ended_at_us: Option<i64>,
    pub tally: Tally,
    /// Whether the old pair is still kept.
    pub old_pair_kept: bool,
}

/// How many servers stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// [`ServerState::Waiting`] and [`ServerState::Switched`].
    pub open: u64,
    pub rotated: u64,
    pub failed: u64,
    pub lingering: u64,
    pub skipped: u64,
}

/// A server's part in a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationServer {
    pub server: ServerId,
    pub name: String,
    pub state: ServerState,
    /// What is being done, while it has its turn.
    pub step: Option<String>,
    /// A machine's word for why; empty where there is nothing to say.
    pub code: String,
    /// The same in a person's words.
    pub detail: String,
    pub updated_at_us: i64,
}

/// One server's turn, held by a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub rotation: SshKeyRotationId,
    pub org: OrgId,
    pub server: ServerId,
    pub server_name: String,
    pub state: ServerState,
    /// How often a turn was begun, this one included.
    pub claims: u32,
    /// Whose turn it is.
    pub lease: String,
    pub old_pair: SshKeyPairId,
    pub new_pair: SshKeyPairId,
    /// As a line of `authorized_keys`.
    pub old_public_key: String,
}
