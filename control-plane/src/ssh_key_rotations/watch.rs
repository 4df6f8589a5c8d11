//! How a rotation is followed.

use muster_shared::id::ServerId;
use serde_json::json;
use tokio::sync::Notify;

use super::{Result, Rotation, RotationServer, RotationState, ServerState, SshKeyRotations};
use crate::{
    progress::ProgressStream,
    workload::{Followed, follow},
};

impl SshKeyRotations {
    /// The rotation's events: `server` whenever one stands otherwise than before, and `complete` when it has ended. It
    /// goes on when its listener leaves.
    #[must_use]
    pub fn watch(&self, rotation: &Rotation) -> ProgressStream {
        follow(self, rotation.clone())
    }
}

impl Followed for SshKeyRotations {
    type Whole = Rotation;
    type Server = RotationServer;
    /// Its state, and the step that is on.
    type Standing = (ServerState, Option<String>);
    const NAME: &'static str = "key rotation";

    fn changed(&self) -> &Notify {
        &self.changed
    }

    async fn now(&self, rotation: &Rotation) -> Result<Rotation> {
        self.get(rotation.org_id, rotation.old_pair).await
    }

    async fn servers_since(&self, rotation: &Rotation, since_us: i64, page: (u32, u32)) -> Result<Vec<RotationServer>> {
        Ok(self.store.key_rotation_servers(rotation.org_id, rotation.id, since_us, page).await?)
    }

    fn has_ended(rotation: &Rotation) -> bool {
        rotation.state != RotationState::Running
    }

    fn place(server: &RotationServer) -> (ServerId, i64) {
        (server.server, server.updated_at_us)
    }

    fn standing(server: &RotationServer) -> Option<Self::Standing> {
        let standing = (server.state, server.step.clone());
        (standing != (ServerState::Waiting, None)).then_some(standing)
    }

    fn shown(server: &RotationServer) -> serde_json::Value {
        shown(server)
    }

    fn complete(rotation: &Rotation) -> serde_json::Value {
        complete(rotation)
    }
}

fn shown(server: &RotationServer) -> serde_json::Value {
    json!({
        "server_id": server.server, "server_name": server.name, "state": server.state.as_str(), "step": server.step,
        "code": server.code, "detail": server.detail,
    })
}

fn complete(rotation: &Rotation) -> serde_json::Value {
    let tally = &rotation.tally;
    let left = tally.failed + tally.lingering;
    let message = match (rotation.state, left) {
        (RotationState::Done, _) => "the new key is in use everywhere, and the old pair is gone".to_owned(),
        (_, 0) => "servers that were deleted, or given the old key pair again, still depend on it: it stays".to_owned(),
        (_, left) => format!("{left} servers still depend on the old key pair: it stays; rotate it again to go on"),
    };
    json!({
        "status": rotation.state.as_str(), "message": message, "rotation_id": rotation.id,
        "old_key_pair_id": rotation.old_pair, "new_key_pair_id": rotation.new_pair,
        "old_key_pair_kept": rotation.old_pair_kept, "rotated": tally.rotated, "failed": tally.failed,
        "lingering": tally.lingering, "skipped": tally.skipped,
    })
}
