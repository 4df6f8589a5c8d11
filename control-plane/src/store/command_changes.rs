//! What is written about commands one by one: that they are asked for, claimed, and how they go on. Many share a
//! transaction.

use muster_shared::{
    command::CommandState,
    id::{CommandId, OrgId, ServerId},
};

use super::{
    Result, Store, StoreError, Tx,
    commands::{command, select_command},
    power::{await_target, mark_stopping},
};
use crate::{
    access::{Act, Actor},
    audit::{Action, Record},
    commands::{
        Command, CommandResult, Finished, ReceiptStanding, Reporter, Step, Update, awaits_target, judge, next_state,
        on_record, powers_off,
    },
};

/// How often steps are decided on anew when a command changes meanwhile.
const ATTEMPTS: usize = 8;

/// One change of one command.
#[derive(Debug, Clone)]
pub(super) enum CommandChange {
    /// A new command, unless its server has `max_unfinished` already.
    Insert { command: Box<Command>, max_unfinished: u32, record: Box<Record> },
    /// A session's claim until `lease_until_us`.
    Claim { server: ServerId, id: CommandId, lease_owner: String, now_us: i64, lease_until_us: i64 },
    /// A step that a host reported.
    Step { from: Box<Reporter>, id: CommandId, update: Box<Update>, now_us: i64 },
}

impl CommandChange {
    /// Whose rows it changes.
    fn server(&self) -> ServerId {
        match self {
            Self::Insert { command, .. } => command.server_id,
            Self::Claim { server, .. } => *server,
            Self::Step { from, .. } => from.server,
        }
    }
}

/// What became of a change.
#[derive(Debug)]
pub(super) enum CommandChanged {
    /// Of [`CommandChange::Insert`]: false when too many wait.
    Inserted(bool),
    /// Of [`CommandChange::Claim`].
    Claimed(Claim),
    /// Of [`CommandChange::Step`].
    Recorded(RecordOutcome),
}

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

/// What a change came to, and what goes on record with it.
type Made = (CommandChanged, Option<Record>);

impl Store {
    /// Makes `changes` in one transaction, and answers what became of each, in their order. Those of one server are made
    /// in the order given; servers take turns by id, so that two processes never wait for each other's rows.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them is made.
    pub(super) async fn change_commands(&self, changes: &[CommandChange]) -> Result<Vec<CommandChanged>> {
        for _ in 0..ATTEMPTS {
            if let Some(changed) = self.try_to_change_commands(changes).await? {
                return Ok(changed);
            }
        }
        Err(sqlx::Error::PoolTimedOut.into())
    }

    /// `None` when a command was moved on by somebody else while its step was decided on.
    async fn try_to_change_commands(&self, changes: &[CommandChange]) -> Result<Option<Vec<CommandChanged>>> {
        let mut order: Vec<_> = changes.iter().enumerate().collect();
        order.sort_by_key(|(_, change)| change.server());
        let mut tx = self.begin().await?;
        let (mut changed, mut records) = (Vec::with_capacity(changes.len()), Vec::new());
        for (at, change) in order {
            let Some((outcome, record)) = make(&mut tx, change).await? else { return Ok(None) };
            changed.push((at, outcome));
            records.extend(record);
        }
        // Last, and in one order of organisations: a chain's end is what others wait for.
        records.sort_by_key(|record| record.act.org_id);
        for record in &records {
            self.append_audit(&mut tx, record).await?;
        }
        tx.commit().await?;
        changed.sort_unstable_by_key(|(at, _)| *at);
        Ok(Some(changed.into_iter().map(|(_, outcome)| outcome).collect()))
    }
}

async fn make(tx: &mut Tx, change: &CommandChange) -> Result<Option<Made>> {
    Ok(match change {
        CommandChange::Insert { command, max_unfinished, record } => {
            let is_inserted = insert(tx, command, *max_unfinished).await?;
            Some((CommandChanged::Inserted(is_inserted), is_inserted.then(|| Record::clone(record))))
        }
        CommandChange::Claim { server, id, lease_owner, now_us, lease_until_us } => {
            let claim = claim(tx, (*server, *id), lease_owner, *now_us, *lease_until_us).await?;
            Some((CommandChanged::Claimed(claim), None))
        }
        CommandChange::Step { from, id, update, now_us } => {
            let recorded = record_step(tx, from, *id, update, *now_us).await?;
            recorded.map(|(outcome, record)| (CommandChanged::Recorded(outcome), record))
        }
    })
}

async fn insert(tx: &mut Tx, command: &Command, max_unfinished: u32) -> Result<bool> {
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
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn claim(
    tx: &mut Tx,
    (server, id): (ServerId, CommandId),
    lease_owner: &str,
    now_us: i64,
    lease_until_us: i64,
) -> Result<Claim> {
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
    .execute(&mut **tx)
    .await?;
    let row = sqlx::query(select_command!("WHERE server_id = $1 AND id = $2"))
        .bind(server.to_string())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    let Some(found) = row.as_ref().map(command).transpose()? else { return Ok(Claim::NoLongerWaiting) };
    Ok(match (done.rows_affected(), found.state) {
        (1, _) => Claim::Taken(Box::new(found)),
        (_, CommandState::Sent) if found.cancel_requested_at_us.is_none() => Claim::HeldByAnother,
        _ => Claim::NoLongerWaiting,
    })
}

/// Stores a step, once, and moves its command on; the end goes on record with its receipt. `None` when the command is in
/// another state meanwhile: then what was written so far must not stay.
async fn record_step(
    tx: &mut Tx,
    from: &Reporter,
    id: CommandId,
    update: &Update,
    now_us: i64,
) -> Result<Option<(RecordOutcome, Option<Record>)>> {
    let row = sqlx::query(select_command!("WHERE id = $1")).bind(id.to_string()).fetch_optional(&mut **tx).await?;
    let Some(row) = row else { return Ok(Some((RecordOutcome::Unknown, None))) };
    let found = command(&row)?;
    let (org_id, state, body) = (found.org_id, found.state, &found.body);
    if found.server_id != from.server {
        return Ok(Some((RecordOutcome::Foreign, None)));
    }
    if !insert_update(tx, id, update, now_us).await? {
        return Ok(Some((RecordOutcome::Duplicate { org_id }, None)));
    }
    let moved = match &update.step {
        Step::Finished(end) if awaits_target(body, &update.step) => {
            state.is_final() || await_target(tx, id, state, (&end.code, &end.detail), now_us).await?
        }
        step => move_on(tx, id, state, step, now_us).await?,
    };
    if !moved {
        return Ok(None);
    }
    if powers_off(body, &update.step) {
        mark_stopping(tx, from.server, now_us).await?;
    }
    let record = match &update.step {
        Step::Finished(end) if next_state(state, &update.step).is_some() => {
            Some(judge_end(tx, &found, end, from, now_us).await?)
        }
        _ => None,
    };
    Ok(Some((RecordOutcome::Stored { org_id }, record)))
}

/// Keeps how the receipt for the end of `command` stands; answers what goes on record.
async fn judge_end(tx: &mut Tx, command: &Command, end: &Finished, from: &Reporter, now_us: i64) -> Result<Record> {
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
    Ok(record.after(on_record(end, from, &judged)))
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
    let Some(result) = finished.and_then(|finished| finished.result.as_ref()) else { return Ok(None) };
    let json = match result {
        CommandResult::Facts(json) => return Ok(Some(json.clone())),
        CommandResult::Change(report) => serde_json::to_string(report),
        CommandResult::Reboot(report) => serde_json::to_string(report),
        CommandResult::Preflight(report) => serde_json::to_string(report),
    };
    json.map(Some).map_err(|_| StoreError::Unreadable { column: "result" })
}
