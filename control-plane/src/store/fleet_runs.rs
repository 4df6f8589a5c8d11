//! Fleet runs: their selections, how they go on, and how they stand. A run's servers are fixed when it is made.

use muster_shared::id::{FleetRunId, OrgId, ServerId};
use sqlx::any::AnyRow;

use super::{Result, Store, StoreError, Tx, rows::Columns as _};
use crate::{
    access::Actor,
    audit::Record,
    fleet_runs::{FleetRun, NewRun, RunServer, RunState, ServerOutcome, Step, Tally, Task, step},
};

const SELECT: &str = "SELECT r.id, r.org_id, r.task, r.filter, r.dry_run, r.dry_run_id, r.wave_size, r.max_failures, \
                      r.state, r.wave, r.created_by, r.created_by_name, r.created_at_us, r.ended_at_us FROM fleet_runs r ";

impl Store {
    /// Keeps a run and its servers, all of the organisation's own. Answers false where one of them is not, and keeps
    /// nothing then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_fleet_run(&self, run: &NewRun, created_with: &str, record: &Record) -> Result<bool> {
        let (org, now_us) = (record.act.org_id, record.act.at_us);
        let Actor::User { id: created_by, name, .. } = &record.act.actor else {
            return Err(StoreError::Unreadable { column: "created_by" });
        };
        let task = serde_json::to_string(&run.task).map_err(|_| StoreError::Unreadable { column: "task" })?;
        let (state, ended_at_us) =
            if run.only_shows { (RunState::Done, Some(now_us)) } else { (RunState::Running, None) };
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO fleet_runs (id, org_id, task, filter, dry_run, dry_run_id, wave_size, max_failures, state, \
             wave, created_by, created_by_name, created_with, created_at_us, ended_at_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13, $14)",
        )
        .bind(run.id.to_string())
        .bind(org.to_string())
        .bind(task)
        .bind(run.filter.as_str())
        .bind(i64::from(run.dry_run))
        .bind(run.dry_run_id.map(|id| id.to_string()))
        .bind(i64::from(run.wave_size))
        .bind(i64::from(run.max_failures))
        .bind(state.as_str())
        .bind(created_by.to_string())
        .bind(name.as_ref())
        .bind(created_with)
        .bind(now_us)
        .bind(ended_at_us)
        .execute(&mut *tx)
        .await?;
        for (place, server) in run.servers.iter().enumerate() {
            let wave = i64::try_from(place).unwrap_or(i64::MAX) / i64::from(run.wave_size.max(1));
            if !insert_server(&mut tx, org, run, *server, wave, now_us).await? {
                return Ok(false);
            }
        }
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The run `id`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fleet_run(&self, org: OrgId, id: FleetRunId) -> Result<Option<FleetRun>> {
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} WHERE r.org_id = $1 AND r.id = $2"));
        let row = sqlx::query(sql).bind(org.to_string()).bind(id.to_string()).fetch_optional(self.read()).await?;
        match row {
            Some(row) => Ok(Some(self.counted(&row).await?)),
            None => Ok(None),
        }
    }

    /// A page of runs, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_fleet_runs(&self, org: OrgId, skip: u32, limit: u32) -> Result<Vec<FleetRun>> {
        let sql = format!("{SELECT} WHERE r.org_id = $1 ORDER BY r.created_at_us DESC, r.id DESC LIMIT $2 OFFSET $3");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(org.to_string())
            .bind(i64::from(limit))
            .bind(i64::from(skip))
            .fetch_all(self.read())
            .await?;
        let mut runs = Vec::with_capacity(rows.len());
        for row in &rows {
            runs.push(self.counted(row).await?);
        }
        Ok(runs)
    }

    /// Every organisation's runs with servers that have not ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unended_fleet_runs(&self) -> Result<Vec<FleetRun>> {
        let sql = sqlx::AssertSqlSafe(format!("{SELECT} WHERE r.ended_at_us IS NULL"));
        let rows = sqlx::query(sql).fetch_all(self.read()).await?;
        rows.iter().map(|row| run(row, Tally::default())).collect()
    }

    /// A page of a run's servers, those that changed at or after `since_us`, in the order of their turns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fleet_run_servers(
        &self,
        org: OrgId,
        id: FleetRunId,
        since_us: i64,
        (skip, limit): (u32, u32),
    ) -> Result<Vec<RunServer>> {
        let rows = sqlx::query(
            "SELECT s.server_id, v.name, s.wave, s.state, s.code, s.detail, s.command_id, s.updated_at_us \
             FROM fleet_run_servers s JOIN servers v ON v.id = s.server_id \
             WHERE s.org_id = $1 AND s.run_id = $2 AND s.updated_at_us >= $3 \
             ORDER BY s.wave, s.server_id LIMIT $4 OFFSET $5",
        )
        .bind(org.to_string())
        .bind(id.to_string())
        .bind(since_us)
        .bind(i64::from(limit))
        .bind(i64::from(skip))
        .fetch_all(self.read())
        .await?;
        rows.iter().map(server).collect()
    }

    /// Looks at a run and takes it a step on: the next wave, its stop, its end. `record` is appended where it ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn step_fleet_run(
        &self,
        run: &FleetRun,
        now_us: i64,
        record: impl FnOnce(RunState, &Tally) -> Record,
    ) -> Result<Step> {
        let mut tx = self.begin().await?;
        let Some(locked) = lock_run(&mut tx, run.org_id, run.id).await? else { return Ok(Step::End) };
        let tally = tally(&mut tx, run.org_id, run.id).await?;
        let next = step(&tally, run.max_failures);
        match next {
            Step::Wait => return Ok(Step::Wait),
            Step::Advance => set(&mut tx, run, "wave = wave + 1 WHERE org_id = $1 AND id = $2").await?,
            Step::Stop => {
                set(&mut tx, run, "state = 'stopped' WHERE org_id = $1 AND id = $2 AND state = 'running'").await?;
                let detail = "more servers failed than may, so no other began";
                skip_waiting(&mut tx, run, ("failure_budget", detail), now_us).await?;
            }
            Step::End => {
                let state = if locked == RunState::Running { RunState::Done } else { locked };
                let ends = "state = CASE state WHEN 'running' THEN 'done' ELSE state END, ended_at_us = $3 \
                            WHERE org_id = $1 AND id = $2";
                sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE fleet_runs SET {ends}")))
                    .bind(run.org_id.to_string())
                    .bind(run.id.to_string())
                    .bind(now_us)
                    .execute(&mut *tx)
                    .await?;
                self.append_audit(&mut tx, &record(state, &tally)).await?;
            }
        }
        tx.commit().await?;
        Ok(next)
    }

    /// Stops a run by a person's decision: no other server begins. Answers false where it does not run any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cancel_fleet_run(&self, run: &FleetRun, record: &Record) -> Result<bool> {
        let mut tx = self.begin().await?;
        if lock_run(&mut tx, run.org_id, run.id).await? != Some(RunState::Running) {
            return Ok(false);
        }
        set(&mut tx, run, "state = 'cancelled' WHERE org_id = $1 AND id = $2").await?;
        skip_waiting(&mut tx, run, ("cancelled", "the run was cancelled before it began"), record.act.at_us).await?;
        self.append_audit(&mut tx, record).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn counted(&self, row: &AnyRow) -> Result<FleetRun> {
        let counts = sqlx::query(TALLY)
            .bind(row.value::<&str>("org_id")?)
            .bind(row.value::<&str>("id")?)
            .fetch_all(self.read())
            .await?;
        run(row, tally_of(&counts)?)
    }
}

/// Makes whoever decides about the run wait for whoever does so already; `None` where it has ended.
pub(super) async fn lock_run(tx: &mut Tx, org: OrgId, id: FleetRunId) -> Result<Option<RunState>> {
    sqlx::query("UPDATE fleet_runs SET state = state WHERE org_id = $1 AND id = $2 AND ended_at_us IS NULL")
        .bind(org.to_string())
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    let row = sqlx::query("SELECT state FROM fleet_runs WHERE org_id = $1 AND id = $2 AND ended_at_us IS NULL")
        .bind(org.to_string())
        .bind(id.to_string())
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| row.word("state", RunState::parse)).transpose()
}

async fn set(tx: &mut Tx, run: &FleetRun, what: &'static str) -> Result<()> {
    sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE fleet_runs SET {what}")))
        .bind(run.org_id.to_string())
        .bind(run.id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn skip_waiting(tx: &mut Tx, run: &FleetRun, (code, detail): (&str, &str), now_us: i64) -> Result<()> {
    sqlx::query(
        "UPDATE fleet_run_servers SET state = 'skipped', code = $3, detail = $4, updated_at_us = $5 \
         WHERE org_id = $1 AND run_id = $2 AND state = 'waiting'",
    )
    .bind(run.org_id.to_string())
    .bind(run.id.to_string())
    .bind(code)
    .bind(detail)
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Only a server of the organisation, and one that is not deleted.
async fn insert_server(
    tx: &mut Tx,
    org: OrgId,
    run: &NewRun,
    server: ServerId,
    wave: i64,
    now_us: i64,
) -> Result<bool> {
    let (state, code) = if run.only_shows { ("skipped", "dry_run") } else { ("waiting", "") };
    let done = sqlx::query(
        "INSERT INTO fleet_run_servers (run_id, server_id, org_id, wave, state, code, detail, updated_at_us) \
         SELECT $1, s.id, s.org_id, $4, $5, $6, '', $7 FROM servers s \
         WHERE s.org_id = $2 AND s.id = $3 AND s.deleted_at_us IS NULL",
    )
    .bind(run.id.to_string())
    .bind(org.to_string())
    .bind(server.to_string())
    .bind(wave)
    .bind(state)
    .bind(code)
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

const TALLY: &str = "SELECT s.state, CASE WHEN s.wave <= r.wave THEN 1 ELSE 0 END AS begun, COUNT(*) AS found \
                     FROM fleet_run_servers s JOIN fleet_runs r ON r.id = s.run_id \
                     WHERE s.org_id = $1 AND s.run_id = $2 \
                     GROUP BY s.state, CASE WHEN s.wave <= r.wave THEN 1 ELSE 0 END";

async fn tally(tx: &mut Tx, org: OrgId, id: FleetRunId) -> Result<Tally> {
    let rows = sqlx::query(TALLY).bind(org.to_string()).bind(id.to_string()).fetch_all(&mut **tx).await?;
    tally_of(&rows)
}

fn tally_of(rows: &[AnyRow]) -> Result<Tally> {
    let mut tally = Tally::default();
    for row in rows {
        let has_begun = row.unsigned("begun")? == 1;
        let counted = match row.word("state", ServerOutcome::parse)? {
            ServerOutcome::Waiting if has_begun => &mut tally.waiting_now,
            ServerOutcome::Waiting => &mut tally.waiting_later,
            ServerOutcome::Running => &mut tally.running,
            ServerOutcome::Succeeded => &mut tally.succeeded,
            ServerOutcome::Failed => &mut tally.failed,
            ServerOutcome::Skipped => &mut tally.skipped,
        };
        *counted += row.unsigned("found")?;
    }
    Ok(tally)
}

/// A stored task; one that this version does not know is unreadable, never another.
pub(super) fn task(row: &AnyRow) -> Result<Task> {
    serde_json::from_str(row.value("task")?).map_err(|_| StoreError::Unreadable { column: "task" })
}

fn small(row: &AnyRow, column: &'static str) -> Result<u32> {
    u32::try_from(row.unsigned(column)?).map_err(|_| StoreError::Unreadable { column })
}

fn run(row: &AnyRow, tally: Tally) -> Result<FleetRun> {
    Ok(FleetRun {
        id: row.parsed("id")?,
        org_id: row.parsed("org_id")?,
        task: task(row)?,
        filter: row.value("filter")?,
        dry_run: row.unsigned("dry_run")? == 1,
        dry_run_id: row.parsed_if_any("dry_run_id")?,
        wave_size: small(row, "wave_size")?,
        max_failures: small(row, "max_failures")?,
        state: row.word("state", RunState::parse)?,
        wave: small(row, "wave")?,
        created_by: row.parsed("created_by")?,
        created_by_name: row.value("created_by_name")?,
        created_at_us: row.value("created_at_us")?,
        ended_at_us: row.value("ended_at_us")?,
        tally,
    })
}

fn server(row: &AnyRow) -> Result<RunServer> {
    Ok(RunServer {
        server: row.parsed("server_id")?,
        name: row.value("name")?,
        wave: small(row, "wave")?,
        state: row.word("state", ServerOutcome::parse)?,
        code: row.value("code")?,
        detail: row.value("detail")?,
        command: row.parsed_if_any("command_id")?,
        updated_at_us: row.value("updated_at_us")?,
    })
}
