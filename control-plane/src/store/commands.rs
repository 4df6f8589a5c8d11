//! Commands: the queue, its leases, and what hosts report.

use muster_shared::{
    command::{CommandBody, CommandState},
    id::{CommandId, OrgId, ServerId},
};
use sqlx::any::AnyRow;

use super::{Result, Store, StoreError, Tx, rows::Columns as _};
use crate::{
    audit::Record,
    commands::{Cancelled, Command, CommandFilter, Update},
};

/// A command that ended without its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedCommand {
    pub id: CommandId,
    pub org_id: OrgId,
    pub server_id: ServerId,
}

/// A query for whole commands; [`command`] reads its rows.
macro_rules! select_command {
    ($rest:literal) => {
        concat!(
            "SELECT id, org_id, server_id, body, state, code, detail, result, created_by, created_at_us, \
             expires_at_us, sent_at_us, started_at_us, finished_at_us, cancel_requested_at_us, receipt FROM commands ",
            $rest
        )
    };
}

pub(super) use select_command;

impl Store {
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

    /// The newest steps of a command, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_command_updates(&self, org: OrgId, id: CommandId, limit: usize) -> Result<Vec<Update>> {
        let rows = sqlx::query(
            "SELECT u.body FROM command_updates u JOIN commands c ON c.id = u.command_id \
             WHERE c.org_id = $1 AND u.command_id = $2 ORDER BY u.seq DESC LIMIT $3",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
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

fn from_json<T: serde::de::DeserializeOwned>(text: &str, column: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| StoreError::Unreadable { column })
}

/// The command in a row of [`select_command`].
pub(super) fn command(row: &AnyRow) -> Result<Command> {
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
