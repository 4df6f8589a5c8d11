//! Rotations of key pairs as callers see them.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{filled, time::Time};
use crate::{
    error::Error,
    ssh_key_rotations::{self, Rotation, Started},
    ssh_keys::KeyType,
};

/// What the new key shall be.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "key_type": "ed25519" }))]
pub struct RotateRequest {
    /// `ed25519` or `rsa`; unless given, as the old one, and `ed25519` for a kind that is not made here.
    #[schema(pattern = "^(ed25519|rsa)$")]
    pub key_type: Option<String>,
}

/// A rotation that is under way, once with the new private key.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8070", "name": "production-servers", "state": "running",
    "old_key_pair_id": "01890a5d-ac96-774b-bcce-b302099a8062",
    "new_key_pair_id": "01890a5d-ac96-774b-bcce-b302099a8071", "public_key": "ssh-ed25519 AAAAC3Nz...",
    "fingerprint": "SHA256:abc123...", "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n...", "waiting": 2,
    "started_at": "2025-04-15T10:00:00Z"
}))]
pub struct RotationBegun {
    pub id: String,
    /// What the pair is called; the new one has the name from now on.
    pub name: String,
    /// `running`.
    pub state: String,
    pub old_key_pair_id: String,
    pub new_key_pair_id: String,
    /// The new pair's, a line for `authorized_keys`.
    pub public_key: String,
    pub fingerprint: String,
    /// The new pair's, shown this once; `null` where a rotation was taken up.
    pub private_key: Option<String>,
    /// How many servers have their turn to come.
    pub waiting: u64,
    pub started_at: Option<Time>,
}

/// A rotation, with a page of its servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8070", "name": "production-servers", "state": "partial",
    "old_key_pair_id": "01890a5d-ac96-774b-bcce-b302099a8062",
    "new_key_pair_id": "01890a5d-ac96-774b-bcce-b302099a8071", "old_key_pair_kept": true, "waiting": 0,
    "rotated": 1, "failed": 1, "lingering": 0, "skipped": 0, "started_at": "2025-04-15T10:00:00Z",
    "ended_at": "2025-04-15T10:00:07Z", "servers": [{
        "server_id": "01890a5d-ac96-774b-bcce-b302099a8057", "server_name": "web-1", "state": "failed", "step": null,
        "code": "ssh_auth_failed", "detail": "root was not let in with a key. Check the key.",
        "updated_at": "2025-04-15T10:00:06Z"
    }]
}))]
pub struct SshKeyRotation {
    pub id: String,
    /// What the pair is called; the new one has the name.
    pub name: String,
    /// `running`; `partial` where it ended and something still depends on the old pair, which stays; `done`.
    pub state: String,
    pub old_key_pair_id: String,
    pub new_key_pair_id: String,
    /// Whether the old pair is still there.
    pub old_key_pair_kept: bool,
    /// How many servers have their turn to come.
    pub waiting: u64,
    /// How many have the new key and not the old one.
    pub rotated: u64,
    /// How many are still entered with the old key.
    pub failed: u64,
    /// How many are entered with the new key and still let the old one in.
    pub lingering: u64,
    /// How many were deleted, or given another login meanwhile.
    pub skipped: u64,
    pub started_at: Option<Time>,
    pub ended_at: Option<Time>,
    /// In the order of their ids.
    pub servers: Vec<SshKeyRotationServer>,
}

/// A server's part in a rotation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SshKeyRotationServer {
    pub server_id: String,
    pub server_name: String,
    /// `waiting`, `switched`, `rotated`, `failed`, `lingering` or `skipped`.
    pub state: String,
    /// What is being done, while it has its turn.
    pub step: Option<String>,
    /// A machine's word for why.
    pub code: Option<String>,
    /// A person's words, with a remedy.
    pub detail: Option<String>,
    pub updated_at: Option<Time>,
}

impl RotateRequest {
    /// The kind of key that is asked for.
    ///
    /// # Errors
    /// A kind that is not made here.
    pub fn kind(&self) -> Result<Option<KeyType>, Error> {
        let kind = |word: &String| {
            let made = KeyType::parse(&word.to_ascii_lowercase()).filter(|kind| *kind != KeyType::Ecdsa);
            made.ok_or_else(|| Error::invalid("invalid_field", "key_type: expected ed25519 or rsa"))
        };
        self.key_type.as_ref().map(kind).transpose()
    }
}

impl RotationBegun {
    /// What is told of a rotation at its beginning.
    #[must_use]
    pub fn of(started: &Started) -> Self {
        let (rotation, pair) = (&started.rotation, &started.new_pair);
        Self {
            id: rotation.id.to_string(),
            name: rotation.name.clone(),
            state: rotation.state.as_str().to_owned(),
            old_key_pair_id: rotation.old_pair.to_string(),
            new_key_pair_id: rotation.new_pair.to_string(),
            public_key: pair.public_key.clone(),
            fingerprint: pair.fingerprint.clone(),
            private_key: started.private_key.as_ref().map(|key| key.as_str().to_owned()),
            waiting: rotation.tally.open,
            started_at: Some(Time(rotation.started_at_us)),
        }
    }
}

impl SshKeyRotation {
    /// `rotation` as it is, with `servers` of it.
    #[must_use]
    pub fn of(rotation: &Rotation, servers: &[ssh_key_rotations::RotationServer]) -> Self {
        let server = |server: &ssh_key_rotations::RotationServer| SshKeyRotationServer {
            server_id: server.server.to_string(),
            server_name: server.name.clone(),
            state: server.state.as_str().to_owned(),
            step: server.step.clone(),
            code: filled(server.code.clone()),
            detail: filled(server.detail.clone()),
            updated_at: Some(Time(server.updated_at_us)),
        };
        Self {
            id: rotation.id.to_string(),
            name: rotation.name.clone(),
            state: rotation.state.as_str().to_owned(),
            old_key_pair_id: rotation.old_pair.to_string(),
            new_key_pair_id: rotation.new_pair.to_string(),
            old_key_pair_kept: rotation.old_pair_kept,
            waiting: rotation.tally.open,
            rotated: rotation.tally.rotated,
            failed: rotation.tally.failed,
            lingering: rotation.tally.lingering,
            skipped: rotation.tally.skipped,
            started_at: Some(Time(rotation.started_at_us)),
            ended_at: rotation.ended_at_us.map(Time),
            servers: servers.iter().map(server).collect(),
        }
    }
}

impl From<wire::RotateSshKeyPairRequest> for RotateRequest {
    fn from(request: wire::RotateSshKeyPairRequest) -> Self {
        Self { key_type: filled(request.key_type) }
    }
}

impl From<SshKeyRotation> for wire::SshKeyRotation {
    fn from(rotation: SshKeyRotation) -> Self {
        Self {
            id: rotation.id,
            name: rotation.name,
            old_key_pair_id: rotation.old_key_pair_id,
            new_key_pair_id: rotation.new_key_pair_id,
            state: rotation.state,
            old_key_pair_kept: rotation.old_key_pair_kept,
            waiting: rotation.waiting,
            rotated: rotation.rotated,
            failed: rotation.failed,
            lingering: rotation.lingering,
            skipped: rotation.skipped,
            started_at: rotation.started_at.map(Into::into),
            ended_at: rotation.ended_at.map(Into::into),
            servers: rotation.servers.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<wire::SshKeyRotation> for SshKeyRotation {
    fn from(rotation: wire::SshKeyRotation) -> Self {
        Self {
            id: rotation.id,
            name: rotation.name,
            old_key_pair_id: rotation.old_key_pair_id,
            new_key_pair_id: rotation.new_key_pair_id,
            state: rotation.state,
            old_key_pair_kept: rotation.old_key_pair_kept,
            waiting: rotation.waiting,
            rotated: rotation.rotated,
            failed: rotation.failed,
            lingering: rotation.lingering,
            skipped: rotation.skipped,
            started_at: rotation.started_at.map(Into::into),
            ended_at: rotation.ended_at.map(Into::into),
            servers: rotation.servers.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<SshKeyRotationServer> for wire::SshKeyRotationServer {
    fn from(server: SshKeyRotationServer) -> Self {
        Self {
            server_id: server.server_id,
            server_name: server.server_name,
            state: server.state,
            step: server.step.unwrap_or_default(),
            code: server.code.unwrap_or_default(),
            detail: server.detail.unwrap_or_default(),
            updated_at: server.updated_at.map(Into::into),
        }
    }
}

impl From<wire::SshKeyRotationServer> for SshKeyRotationServer {
    fn from(server: wire::SshKeyRotationServer) -> Self {
        Self {
            server_id: server.server_id,
            server_name: server.server_name,
            state: server.state,
            step: filled(server.step),
            code: filled(server.code),
            detail: filled(server.detail),
            updated_at: server.updated_at.map(Into::into),
        }
    }
}
