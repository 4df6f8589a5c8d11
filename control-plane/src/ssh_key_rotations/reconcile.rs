//! What gives every server of every rotation its turn, and ends rotations.

use muster_shared::id::SshKeyRotationId;
use serde_json::json;
use tokio::{sync::Notify, task::JoinSet};

use super::{Conclusion, LEASE_US, MAX_TURNS, Result, Rotation, SshKeyRotations, Tally};
use crate::{
    access::Act,
    audit::{Action, Record},
    workload::Workload,
};

impl Workload for SshKeyRotations {
    const NAME: &'static str = "key rotations";

    fn wake(&self) -> &Notify {
        &self.wake
    }

    async fn pass(&self, turns: &mut JoinSet<()>) -> Result<()> {
        while turns.len() < MAX_TURNS {
            let (now_us, lease) = (self.clock.now_us(), SshKeyRotationId::generate().to_string());
            let Some(turn) = self.store.claim_key_turn(&lease, now_us, now_us + LEASE_US).await? else { break };
            let rotations = self.clone();
            turns.spawn(async move { rotations.take(turn).await });
        }
        for rotation in self.store.key_rotations_to_conclude().await? {
            self.conclude(&rotation).await?;
        }
        Ok(())
    }
}

impl SshKeyRotations {
    async fn conclude(&self, rotation: &Rotation) -> Result<()> {
        let now_us = self.clock.now_us();
        let record = |tally: &Tally, ends: Conclusion| {
            let act = Act::of_system(rotation.org_id, now_us);
            Record::new(&act, Action::SshKeyPairRotationEnded, rotation.old_pair, &rotation.name).after(json!({
                "rotation_id": rotation.id, "new_key_pair_id": rotation.new_pair,
                "old_key_pair_kept": ends == Conclusion::Partial, "rotated": tally.rotated, "failed": tally.failed,
                "lingering": tally.lingering, "skipped": tally.skipped,
            }))
        };
        let ends = self.store.conclude_key_rotation(rotation, now_us, record).await?;
        if ends == Conclusion::GoesOn {
            // Servers were given the old pair meanwhile.
            self.wake.notify_one();
        } else {
            tracing::info!(rotation = %rotation.id, old_pair_kept = ends == Conclusion::Partial, "key rotation ended");
        }
        self.changed.notify_waiters();
        Ok(())
    }
}
