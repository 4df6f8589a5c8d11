//! Agents: opening sessions by generation, who is online, and withdrawing identities.

use muster_shared::{
    id::{OrgId, ServerId},
    policy::Family,
};
use sqlx::any::AnyRow;

use super::{Result, Store, Tx, certificates::may_connect, certificates::revoke_certificates, rows::Columns as _};
use crate::{
    audit,
    servers::AgentStatus,
    sessions::{
        Closing,
        generation::{CloneSign, Decision, Presented, Record, decide},
    },
};

/// What a host shows when it opens its stream.
#[derive(Debug, Clone)]
pub struct SessionClaim {
    /// Of the certificate that the TLS handshake proved.
    pub serial: String,
    /// The server the certificate names.
    pub server_id: ServerId,
    pub generation: u64,
    /// Empty where the host has none.
    pub machine_id_sha256: String,
    pub boot_id: String,
    pub agent_version: String,
    pub allowed_families: Vec<Family>,
}

/// How opening a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOutcome {
    /// The host gets `generation`, and is online.
    Opened {
        org_id: OrgId,
        generation: u64,
    },
    /// A copy of the host connected; both are quarantined now.
    Clone {
        org_id: OrgId,
        sign: CloneSign,
    },
    Quarantined,
    Revoked,
    Retired,
    /// No such certificate, or it names another server.
    Unknown,
}

/// How often opening starts over when another session of the same host opens at the same moment.
const ATTEMPTS: usize = 8;
/// How long after a host said that it powers off its disconnecting means that it did.
const STOPS_WITHIN_US: i64 = 5 * 60 * 1_000_000;

struct Standing {
    org_id: OrgId,
    agent_status: AgentStatus,
    is_deleted: bool,
    is_revoked: bool,
    record: Record,
}

impl Store {
    /// When the process starts or stops: no stream outlives it, so nobody is online, and what was pushed and not
    /// answered is put back. Answers how many hosts were online.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn close_every_session(&self) -> Result<u64> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE commands SET state = 'queued', lease_owner = NULL, lease_expires_at_us = NULL \
             WHERE state = 'sent' AND finished_at_us IS NULL",
        )
        .execute(&mut *tx)
        .await?;
        // A host that was powering off when it was last seen has gone, also if nobody saw it go.
        let done = sqlx::query(
            "UPDATE servers SET agent_status = 'offline', status = CASE WHEN stopping_at_us IS NOT NULL \
             AND stopping_at_us >= COALESCE(last_seen_at_us, 0) - $1 THEN 'stopped' ELSE status END \
             WHERE agent_status = 'online'",
        )
        .bind(STOPS_WITHIN_US)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }

    /// Every agent that may not connect though it has an identity, whoever withdrew it.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn withdrawn_agents(&self) -> Result<Vec<(ServerId, AgentStatus)>> {
        sqlx::query("SELECT id, agent_status FROM servers WHERE agent_status IN ('quarantined', 'revoked', 'retired')")
            .fetch_all(self.read())
            .await?
            .iter()
            .map(|row| Ok((row.parsed("id")?, row.word("agent_status", AgentStatus::parse)?)))
            .collect()
    }

    /// Records when hosts were last heard of, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn record_seen(&self, seen: &[(ServerId, i64)]) -> Result<()> {
        if seen.is_empty() {
            return Ok(());
        }
        // In the order in which every transaction of many servers takes their rows.
        let mut seen = seen.to_vec();
        seen.sort_unstable();
        let mut tx = self.begin().await?;
        for (server, at_us) in seen {
            sqlx::query("UPDATE servers SET last_seen_at_us = $2 WHERE id = $1 AND COALESCE(last_seen_at_us, 0) < $2")
                .bind(server.to_string())
                .bind(at_us)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Withdraws the agent's identity: every certificate it has is refused from now on. Answers whether there is such
    /// a server.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn revoke_agent(&self, server: ServerId, record: &audit::Record) -> Result<bool> {
        let (org, now_us) = (record.act.org_id, record.act.at_us);
        let mut tx = self.begin().await?;
        if !set_agent_status(&mut tx, org, server, AgentStatus::Revoked, None, now_us).await? {
            return Ok(false);
        }
        revoke_certificates(&mut tx, server, "revoked", now_us).await?;
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Ends a quarantine: one machine may enrol again, while every identity given out before stays refused. Answers
    /// whether the server was quarantined.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn release_quarantine(&self, server: ServerId, record: &audit::Record) -> Result<bool> {
        let (org, now_us) = (record.act.org_id, record.act.at_us);
        let mut tx = self.begin().await?;
        let released =
            set_agent_status(&mut tx, org, server, AgentStatus::Pending, Some(AgentStatus::Quarantined), now_us)
                .await?;
        if released {
            self.append_audit(&mut tx, record).await?;
        }
        tx.commit().await?;
        Ok(released)
    }
}

/// Opens a session for the host that proved `claim.serial`, or says why not.
pub(super) async fn open_session(tx: &mut Tx, claim: &SessionClaim, now_us: i64) -> Result<SessionOutcome> {
    for _ in 0..ATTEMPTS {
        let Some(standing) = standing(tx, claim).await? else { return Ok(SessionOutcome::Unknown) };
        if let Some(refusal) = standing.refusal() {
            return Ok(refusal);
        }
        let presented = Presented { generation: claim.generation, machine_id_sha256: &claim.machine_id_sha256 };
        let org_id = standing.org_id;
        match decide(&standing.record, &presented) {
            Decision::Clone(sign) => {
                quarantine(tx, claim.server_id, now_us).await?;
                return Ok(SessionOutcome::Clone { org_id, sign });
            }
            Decision::Open { generation, confirmed } => {
                if issue(tx, claim, &standing.record, generation, confirmed, now_us).await? {
                    return Ok(SessionOutcome::Opened { org_id, generation });
                }
            }
        }
    }
    Err(sqlx::Error::PoolTimedOut.into())
}

/// Records that the host has `generation` on its disk; an older one changes nothing.
pub(super) async fn confirm_generation(tx: &mut Tx, org: OrgId, server: ServerId, generation: u64) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE servers SET agent_confirmed_generation = $3 WHERE org_id = $1 AND id = $2 \
         AND agent_confirmed_generation < $3 AND agent_generation >= $3",
    )
    .bind(org.to_string())
    .bind(server.to_string())
    .bind(generation.cast_signed())
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records that a session is over, and of a host that powers off that its server is stopped; answers false when a younger one took its place or the agent has lost its identity
/// meanwhile.
pub(super) async fn close_session(tx: &mut Tx, closing: &Closing) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE servers SET agent_status = 'offline', last_seen_at_us = $4, \
         status = CASE WHEN stopping_at_us >= $5 THEN 'stopped' ELSE status END \
         WHERE org_id = $1 AND id = $2 AND agent_generation = $3 AND agent_status = 'online'",
    )
    .bind(closing.org.to_string())
    .bind(closing.server.to_string())
    .bind(closing.generation.cast_signed())
    .bind(closing.last_seen_at_us)
    .bind(closing.last_seen_at_us.saturating_sub(STOPS_WITHIN_US))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

impl Standing {
    fn refusal(&self) -> Option<SessionOutcome> {
        match self.agent_status {
            AgentStatus::Quarantined => Some(SessionOutcome::Quarantined),
            AgentStatus::Retired => Some(SessionOutcome::Retired),
            _ if self.is_deleted => Some(SessionOutcome::Retired),
            status if self.is_revoked || !may_connect(status) => Some(SessionOutcome::Revoked),
            _ => None,
        }
    }
}

async fn standing(tx: &mut Tx, claim: &SessionClaim) -> Result<Option<Standing>> {
    let row = sqlx::query(
        "SELECT s.org_id, s.agent_status, s.deleted_at_us, c.revoked_at_us, s.agent_generation, \
         s.agent_confirmed_generation, COALESCE(s.agent_machine_id_sha256, '') AS machine_id_sha256 \
         FROM certificates c JOIN servers s ON s.id = c.server_id AND s.org_id = c.org_id \
         WHERE c.serial = $1 AND c.server_id = $2",
    )
    .bind(claim.serial.as_str())
    .bind(claim.server_id.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    row.as_ref().map(read_standing).transpose()
}

fn read_standing(row: &AnyRow) -> Result<Standing> {
    Ok(Standing {
        org_id: row.parsed("org_id")?,
        agent_status: row.word("agent_status", AgentStatus::parse)?,
        is_deleted: row.value::<Option<i64>>("deleted_at_us")?.is_some(),
        is_revoked: row.value::<Option<i64>>("revoked_at_us")?.is_some(),
        record: Record {
            issued: row.value::<i64>("agent_generation")?.cast_unsigned(),
            confirmed: row.value::<i64>("agent_confirmed_generation")?.cast_unsigned(),
            machine_id_sha256: row.value("machine_id_sha256")?,
        },
    })
}

/// Writes the new generation where the record is still the one decided on; answers whether it was.
async fn issue(
    tx: &mut Tx,
    claim: &SessionClaim,
    decided_on: &Record,
    generation: u64,
    confirmed: u64,
    now_us: i64,
) -> Result<bool> {
    let families = claim.allowed_families.iter().map(|family| family.as_str()).collect::<Vec<_>>().join(",");
    let done = sqlx::query(
        "UPDATE servers SET agent_status = 'online', agent_generation = $4, agent_confirmed_generation = $5, \
         status = CASE WHEN status = 'stopped' THEN 'running' ELSE status END, \
         stopping_at_us = CASE WHEN agent_boot_id = $6 THEN stopping_at_us END, agent_boot_id = $6, agent_version = $7, agent_allowed_families = $8, last_seen_at_us = $9 \
         WHERE id = $1 AND agent_generation = $2 AND agent_confirmed_generation = $3 \
         AND agent_status IN ('pending', 'online', 'offline')",
    )
    .bind(claim.server_id.to_string())
    .bind(decided_on.issued.cast_signed())
    .bind(decided_on.confirmed.cast_signed())
    .bind(generation.cast_signed())
    .bind(confirmed.cast_signed())
    .bind(claim.boot_id.as_str())
    .bind(claim.agent_version.as_str())
    .bind(families)
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn quarantine(tx: &mut Tx, server: ServerId, now_us: i64) -> Result<()> {
    sqlx::query("UPDATE servers SET agent_status = 'quarantined', updated_at_us = $2 WHERE id = $1")
        .bind(server.to_string())
        .bind(now_us)
        .execute(&mut **tx)
        .await?;
    revoke_certificates(tx, server, "quarantined", now_us).await
}

async fn set_agent_status(
    tx: &mut Tx,
    org: OrgId,
    server: ServerId,
    status: AgentStatus,
    only_from: Option<AgentStatus>,
    now_us: i64,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE servers SET agent_status = $3, updated_at_us = $4 \
         WHERE org_id = $1 AND id = $2 AND deleted_at_us IS NULL AND ($5 = '' OR agent_status = $5)",
    )
    .bind(org.to_string())
    .bind(server.to_string())
    .bind(status.as_str())
    .bind(now_us)
    .bind(only_from.map_or("", AgentStatus::as_str))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
