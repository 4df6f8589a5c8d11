//! Commands: the queue, its leases, and what hosts report.

use muster_shared::{
    command::{CommandBody, CommandState},
    id::{CommandId, OrgId, ServerId},
};
use sqlx::any::AnyRow;

use super::{
    Result, Store, StoreError, Tx,
    power::{await_target, mark_stopping},
    rows::Columns as _,
};
use crate::access::{Act, Actor};
use crate::audit::{Action, Record};
use crate::commands::{
    Cancelled, Command, CommandFilter, CommandResult, Finished, ReceiptStanding, Reporter, Step, Update, awaits_target,
    judge, next_state, on_record, powers_off,
};

/// How claiming a command ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// It is the claimant's until the lease runs out.
    Taken(Box<Command>),
    /// Another session holds it, and its lease runs.
    HeldByAnother,
    /// It was received, ended or is being cancelled meanwhile.
    NoLongerWaiting,
}

/// What became of a reported step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOutcome {
    Stored {
        org_id: OrgId,
    },
    Duplicate {
        org_id: OrgId,
    },
    Unknown,
    /// The command is another server's.
    Foreign,
}

/// A command that ended without its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedCommand {
    pub id: CommandId,
    pub org_id: OrgId,
    pub server_id: ServerId,
}

macro_rules! select_command {
    ($rest:literal) => {
        concat!(
            "SELECT id, org_id, server_id, body, state, code, detail, result, created_by, created_at_us, \
             expires_at_us, sent_at_us, started_at_us, finished_at_us, cancel_requested_at_us, receipt FROM commands ",
            $rest
        )
    };
}

/// How often a step is decided on anew when the command changes meanwhile.
const ATTEMPTS: usize = 8;

impl Store {
    /// Keeps a new command; answers false when its server has `max_unfinished` already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_command(&self, command: &Command, max_unfinished: u32, record: &Record) -> Result<bool> {
        let mut tx = self.begin().await?;
        let body = serde_json::to_string(&command.body).map_err(|_| StoreError::Unreadable { column: "body" })?;
        let done = sqlx::query(
            "INSERT INTO commands (id, org_id, server_id, kind, body, state, code, detail, created_by, \
             created_at_us, expires_at_us, target_server_id) \
             SELECT $1, s.org_id, s.id, $4, $5, $6, '', '', $7, $8, $9, $11 FROM servers s \
             WHERE s.org_id = $2 AND s.id = $3 AND s.deleted_at_us IS NULL \
             AND (SELECT COUNT(*) FROM commands c WHERE c.server_id = $3 AND c.finished_at_us IS NULL) < $10",
        )
        .bind(command.id.to_string())
        .bind(command.org_id.to_string())
        .bind(command.server_id.to_string())
        .bind(command.body.kind())
        .bind(body)
        .bind(command.state.as_str())
        .bind(command.created_by.to_string())
        .bind(command.created_at_us)
        .bind(command.expires_at_us)
        .bind(i64::from(max_unfinished))
        .bind(command.body.target().map(|target| target.to_string()))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The command `id`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn command(&self, org: OrgId, id: CommandId) -> Result<Option<Command>> {
        let row = sqlx::query(select_command!("WHERE org_id = $1 AND id = $2"))
            .bind(org.to_string())
            .bind(id.to_string())
            .fetch_optional(self.read())
            .await?;
        row.as_ref().map(command).transpose()
    }

    /// A page of the organisation's commands, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_commands(&self, org: OrgId, filter: &CommandFilter) -> Result<Vec<Command>> {
        // Two texts, so that each finds its index.
        let query = match filter.server {
            Some(_) => sqlx::query(select_command!(
                "WHERE org_id = $1 AND ($4 IS NULL OR state = $4) AND ($5 IS NULL OR kind = $5) \
                 AND created_at_us >= $6 AND (server_id = $7 OR target_server_id = $7) \
                 ORDER BY created_at_us DESC, id DESC LIMIT $2 OFFSET $3"
            )),
            None => sqlx::query(select_command!(
                "WHERE org_id = $1 AND ($4 IS NULL OR state = $4) AND ($5 IS NULL OR kind = $5) \
                 AND created_at_us >= $6 ORDER BY created_at_us DESC, id DESC LIMIT $2 OFFSET $3"
            )),
        };
        let query = query
            .bind(org.to_string())
            .bind(i64::from(filter.limit))
            .bind(i64::from(filter.skip))
            .bind(filter.state.map(CommandState::as_str))
            .bind(filter.kind)
            .bind(filter.since_us.unwrap_or(i64::MIN));
        let query = match filter.server {
            Some(server) => query.bind(server.to_string()),
            None => query,
        };
        query.fetch_all(self.read()).await?.iter().map(command).collect()
    }

    /// The steps of a command after `after_seq`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn command_updates(&self, org: OrgId, id: CommandId, after_seq: u64) -> Result<Vec<Update>> {
        let rows = sqlx::query(
            "SELECT u.body FROM command_updates u JOIN commands c ON c.id = u.command_id \
             WHERE c.org_id = $1 AND u.command_id = $2 AND u.seq > $3 ORDER BY u.seq",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(after_seq.cast_signed())
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| from_json(row.value("body")?, "body")).collect()
    }

    /// Ids of the commands that a session of `server` may claim, oldest first: queued, or pushed under a lease that
    /// ran out. The session's identity proved which server it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn waiting_commands(&self, server: ServerId, limit: u32, now_us: i64) -> Result<Vec<CommandId>> {
        let rows = sqlx::query(
            "SELECT id FROM commands WHERE server_id = $1 AND finished_at_us IS NULL AND expires_at_us > $2 \
             AND cancel_requested_at_us IS NULL \
             AND (state = 'queued' OR (state = 'sent' AND lease_expires_at_us <= $2)) \
             ORDER BY created_at_us, id LIMIT $3",
        )
        .bind(server.to_string())
        .bind(now_us)
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| row.parsed("id")).collect()
    }

    /// Claims one command for `lease_owner` until `lease_until_us`, where nobody else has it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_command(
        &self,
        server: ServerId,
        id: CommandId,
        lease_owner: &str,
        now_us: i64,
        lease_until_us: i64,
    ) -> Result<Claim> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE commands SET state = 'sent', lease_owner = $3, lease_expires_at_us = $5, \
             sent_at_us = COALESCE(sent_at_us, $4) WHERE server_id = $1 AND id = $2 AND expires_at_us > $4 \
             AND cancel_requested_at_us IS NULL \
             AND (state = 'queued' OR (state = 'sent' AND lease_expires_at_us <= $4))",
        )
        .bind(server.to_string())
        .bind(id.to_string())
        .bind(lease_owner)
        .bind(now_us)
        .bind(lease_until_us)
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query(select_command!("WHERE server_id = $1 AND id = $2"))
            .bind(server.to_string())
            .bind(id.to_string())
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        let Some(found) = row.as_ref().map(command).transpose()? else { return Ok(Claim::NoLongerWaiting) };
        Ok(match (done.rows_affected(), found.state) {
            (1, _) => Claim::Taken(Box::new(found)),
            (_, CommandState::Sent) if found.cancel_requested_at_us.is_none() => Claim::HeldByAnother,
            _ => Claim::NoLongerWaiting,
        })
    }

    /// Commands of `server` that are to be cancelled on the host.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cancellations(&self, server: ServerId, limit: u32) -> Result<Vec<CommandId>> {
        let rows = sqlx::query(
            "SELECT id FROM commands WHERE server_id = $1 AND finished_at_us IS NULL \
             AND cancel_requested_at_us IS NOT NULL AND state IN ('queued', 'sent', 'received') \
             ORDER BY created_at_us, id LIMIT $2",
        )
        .bind(server.to_string())
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| row.parsed("id")).collect()
    }

    /// Cancels a command that never left, or records that its host is to cancel it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cancel_command(&self, id: CommandId, record: &Record) -> Result<Cancelled> {
        let (org, now_us) = (record.act.org_id, record.act.at_us);
        let mut tx = self.begin().await?;
        let at_once = sqlx::query(
            "UPDATE commands SET state = 'cancelled', cancel_requested_at_us = $3, finished_at_us = $3 \
             WHERE org_id = $1 AND id = $2 AND state = 'queued' AND sent_at_us IS NULL",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(now_us)
        .execute(&mut *tx)
        .await?;
        let requested = sqlx::query(
            "UPDATE commands SET cancel_requested_at_us = COALESCE(cancel_requested_at_us, $3) \
             WHERE org_id = $1 AND id = $2 AND state IN ('queued', 'sent', 'received')",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(now_us)
        .execute(&mut *tx)
        .await?;
        let outcome = match (at_once.rows_affected(), requested.rows_affected()) {
            (1, _) => Cancelled::AtOnce,
            (_, 1) => Cancelled::Requested,
            _ => return Ok(Cancelled::TooLate),
        };
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(outcome)
    }

    /// Stores a step that a server reported, once, and moves its command on. The end goes on record with its receipt.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record_update(
        &self,
        from: &Reporter<'_>,
        id: CommandId,
        update: &Update,
        now_us: i64,
    ) -> Result<RecordOutcome> {
        for _ in 0..ATTEMPTS {
            let mut tx = self.begin().await?;
            let row =
                sqlx::query(select_command!("WHERE id = $1")).bind(id.to_string()).fetch_optional(&mut *tx).await?;
            let Some(row) = row else { return Ok(RecordOutcome::Unknown) };
            let found = command(&row)?;
            let (org_id, state, body) = (found.org_id, found.state, &found.body);
            if found.server_id != from.server {
                return Ok(RecordOutcome::Foreign);
            }
            if !insert_update(&mut tx, id, update, now_us).await? {
                return Ok(RecordOutcome::Duplicate { org_id });
            }
            let moved = match &update.step {
                Step::Finished(end) if awaits_target(body, &update.step) => {
                    state.is_final() || await_target(&mut tx, id, state, (&end.code, &end.detail), now_us).await?
                }
                step => move_on(&mut tx, id, state, step, now_us).await?,
            };
            if powers_off(body, &update.step) {
                mark_stopping(&mut tx, from.server, now_us).await?;
            }
            if moved {
                if let Step::Finished(end) = &update.step
                    && next_state(state, &update.step).is_some()
                {
                    self.record_end(&mut tx, &found, end, from, now_us).await?;
                }
                tx.commit().await?;
                return Ok(RecordOutcome::Stored { org_id });
            }
        }
        Err(sqlx::Error::PoolTimedOut.into())
    }

    /// Puts on record how a host ended `command`, as the last step before the commit.
    async fn record_end(
        &self,
        tx: &mut Tx,
        command: &Command,
        end: &Finished,
        from: &Reporter<'_>,
        now_us: i64,
    ) -> Result<()> {
        let judged = judge(&command.envelope(), end, from);
        if let Err(why) = &judged
            && why.is_false()
        {
            metrics::counter!("muster_commands_false_receipts_total").increment(1);
            tracing::warn!(server = %from.server, command = %command.id, %why, "a command's receipt does not prove its end");
        }
        let standing = serde_json::to_string(&ReceiptStanding::of(&judged));
        sqlx::query("UPDATE commands SET receipt = $2 WHERE id = $1")
            .bind(command.id.to_string())
            .bind(standing.map_err(|_| StoreError::Unreadable { column: "receipt" })?)
            .execute(&mut **tx)
            .await?;
        let act = Act { actor: Actor::Host(Some(from.server)), ..Act::of_system(command.org_id, now_us) };
        let record = Record::new(&act, Action::CommandFinished, command.id, command.body.kind());
        self.append_audit(tx, &record.after(on_record(end, from, &judged))).await
    }

    /// Ends commands that nobody will report on any more: those that never left at their expiry as expired, the others
    /// `grace_us` after it as indeterminate. Of every organisation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn expire_commands(&self, now_us: i64, grace_us: i64) -> Result<Vec<EndedCommand>> {
        let expired = sqlx::query(
            "UPDATE commands SET state = 'expired', finished_at_us = $1, code = 'expired', \
             detail = 'the server did not fetch it in time; check that its agent is online' \
             WHERE finished_at_us IS NULL AND state = 'queued' AND sent_at_us IS NULL AND expires_at_us <= $1 \
             RETURNING id, org_id, server_id",
        )
        .bind(now_us)
        .fetch_all(self.write())
        .await?;
        let lost = sqlx::query(
            "UPDATE commands SET state = 'indeterminate', finished_at_us = $1, code = 'no_report', \
             lease_owner = NULL, lease_expires_at_us = NULL, \
             detail = 'the server may have started it and never reported how it ended; look at the server itself' \
             WHERE finished_at_us IS NULL AND awaiting_since_us IS NULL AND expires_at_us <= $2 AND (sent_at_us IS NOT NULL OR state <> 'queued') \
             RETURNING id, org_id, server_id",
        )
        .bind(now_us)
        .bind(now_us.saturating_sub(grace_us))
        .fetch_all(self.write())
        .await?;
        expired
            .iter()
            .chain(&lost)
            .map(|row| {
                Ok(EndedCommand {
                    id: row.parsed("id")?,
                    org_id: row.parsed("org_id")?,
                    server_id: row.parsed("server_id")?,
                })
            })
            .collect()
    }

    /// Servers for which something can be claimed or is to be cancelled, of every organisation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn servers_with_waiting_commands(&self, now_us: i64) -> Result<Vec<ServerId>> {
        let rows = sqlx::query(
            "SELECT DISTINCT server_id FROM commands WHERE finished_at_us IS NULL AND ((state IN ('queued', 'sent', \
             'received') AND cancel_requested_at_us IS NOT NULL) OR (expires_at_us > $1 \
             AND (state = 'queued' OR (state = 'sent' AND lease_expires_at_us <= $1))))",
        )
        .bind(now_us)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(|row| row.parsed("server_id")).collect()
    }
}

/// Puts back what `lease_owner` holds and no host has answered; answers how many commands.
pub(super) async fn requeue_commands(tx: &mut Tx, lease_owner: &str) -> Result<u64> {
    let done = sqlx::query(
        "UPDATE commands SET state = 'queued', lease_owner = NULL, lease_expires_at_us = NULL \
         WHERE lease_owner = $1 AND state = 'sent' AND finished_at_us IS NULL",
    )
    .bind(lease_owner)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

async fn insert_update(tx: &mut Tx, id: CommandId, update: &Update, now_us: i64) -> Result<bool> {
    let body = serde_json::to_string(update).map_err(|_| StoreError::Unreadable { column: "body" })?;
    let done = sqlx::query(
        "INSERT INTO command_updates (command_id, seq, at_us, body, stored_at_us) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT DO NOTHING",
    )
    .bind(id.to_string())
    .bind(update.seq.cast_signed())
    .bind(update.at_us)
    .bind(body)
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Moves a command in `state` on by `step`; answers false when it is in another state meanwhile.
async fn move_on(tx: &mut Tx, id: CommandId, state: CommandState, step: &Step, now_us: i64) -> Result<bool> {
    let Some(next) = next_state(state, step) else { return Ok(true) };
    let finished = match step {
        Step::Finished(finished) => Some(finished),
        _ => None,
    };
    // Times are the control plane's own: a host's clock may be wrong.
    let done = sqlx::query(
        "UPDATE commands SET state = $3, code = COALESCE($4, code), detail = COALESCE($5, detail), \
         result = COALESCE($6, result), started_at_us = CASE WHEN $3 = 'started' THEN $7 ELSE started_at_us END, \
         finished_at_us = CASE WHEN $8 = 1 THEN $7 ELSE finished_at_us END, lease_owner = NULL, \
         lease_expires_at_us = NULL WHERE id = $1 AND state = $2",
    )
    .bind(id.to_string())
    .bind(state.as_str())
    .bind(next.as_str())
    .bind(finished.map(|finished| finished.code.as_str()))
    .bind(finished.map(|finished| finished.detail.as_str()))
    .bind(result_json(finished)?)
    .bind(now_us)
    .bind(i64::from(next.is_final()))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn result_json(finished: Option<&Finished>) -> Result<Option<String>> {
    match finished.and_then(|finished| finished.result.as_ref()) {
        Some(CommandResult::Facts(json)) => Ok(Some(json.clone())),
        Some(CommandResult::Change(report)) => {
            serde_json::to_string(report).map(Some).map_err(|_| StoreError::Unreadable { column: "result" })
        }
        Some(CommandResult::Reboot(report)) => {
            serde_json::to_string(report).map(Some).map_err(|_| StoreError::Unreadable { column: "result" })
        }
        Some(CommandResult::Preflight(report)) => {
            serde_json::to_string(report).map(Some).map_err(|_| StoreError::Unreadable { column: "result" })
        }
        None => Ok(None),
    }
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str, column: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| StoreError::Unreadable { column })
}

fn command(row: &AnyRow) -> Result<Command> {
    let result: Option<&str> = row.value("result")?;
    Ok(Command {
        id: row.parsed("id")?,
        org_id: row.parsed("org_id")?,
        server_id: row.parsed("server_id")?,
        body: from_json::<CommandBody>(row.value("body")?, "body")?,
        state: row.word("state", CommandState::parse)?,
        code: row.value("code")?,
        detail: row.value("detail")?,
        result: result.map(|text| from_json(text, "result")).transpose()?,
        created_by: row.parsed("created_by")?,
        created_at_us: row.value("created_at_us")?,
        expires_at_us: row.value("expires_at_us")?,
        sent_at_us: row.value("sent_at_us")?,
        started_at_us: row.value("started_at_us")?,
        finished_at_us: row.value("finished_at_us")?,
        cancel_requested_at_us: row.value("cancel_requested_at_us")?,
        receipt: row.value::<Option<&str>>("receipt")?.map(|text| from_json(text, "receipt")).transpose()?,
    })
}
