//! Who stands in which network, and the commands that wait for another server than the one that carried them out.

use muster_shared::{
    command::CommandState,
    id::{CommandId, OrgId, ServerId},
    policy::Family,
};
use sqlx::any::AnyRow;

use super::{EndedCommand, Result, Store, Tx, rows::Columns as _, servers::families};
use crate::{
    commands::Awaited,
    power::neighbours::{Neighbour, Place},
    servers::{AgentStatus, Server},
};

/// Most servers of one network looked at.
const MAX_NEIGHBOURS: i64 = 64;
/// Most awaited commands looked at in a turn; the next turn looks again.
const MAX_AWAITED: i64 = 256;

impl Store {
    /// The networks a server stands in.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn places(&self, org: OrgId, server: ServerId) -> Result<Vec<Place>> {
        read_places(self.read(), org, server).await
    }

    /// Servers of the same organisation whose agents are connected and that stand in one of `places`' networks.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn neighbours(&self, org: OrgId, target: &Server, places: &[Place]) -> Result<Vec<Neighbour>> {
        let mut neighbours = Vec::new();
        for subnet in places.iter().map(|place| place.subnet.to_string()) {
            let rows = sqlx::query(
                "SELECT s.id, s.org_id, s.name, s.provider, s.region, s.agent_allowed_families, n.interface, n.mac, \
                 n.subnet FROM server_networks n JOIN servers s ON s.id = n.server_id AND s.org_id = n.org_id \
                 WHERE n.org_id = $1 AND n.subnet = $2 AND n.server_id <> $3 AND s.agent_status = 'online' \
                 AND s.deleted_at_us IS NULL ORDER BY s.id LIMIT $4",
            )
            .bind(org.to_string())
            .bind(subnet)
            .bind(target.id.to_string())
            .bind(MAX_NEIGHBOURS)
            .fetch_all(self.read())
            .await?;
            for row in &rows {
                neighbours.push(neighbour(row, target)?);
            }
        }
        Ok(neighbours)
    }

    /// Unfinished commands that were carried out and wait for their target, of every organisation.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn awaited_commands(&self) -> Result<Vec<Awaited>> {
        let rows = sqlx::query(
            "SELECT c.id, c.org_id, c.server_id, c.awaiting_since_us, c.detail, s.agent_status FROM commands c \
             JOIN servers s ON s.id = c.target_server_id AND s.org_id = c.org_id \
             WHERE c.awaiting_since_us IS NOT NULL AND c.finished_at_us IS NULL ORDER BY c.awaiting_since_us LIMIT $1",
        )
        .bind(MAX_AWAITED)
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Awaited {
                    id: row.parsed("id")?,
                    org_id: row.parsed("org_id")?,
                    server_id: row.parsed("server_id")?,
                    since_us: row.value("awaiting_since_us")?,
                    sent: row.value("detail")?,
                    target: row.word("agent_status", AgentStatus::parse)?,
                })
            })
            .collect()
    }

    /// Ends a command that waited for its target; answers false when it has ended meanwhile.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn end_awaited_command(
        &self,
        awaited: &Awaited,
        state: CommandState,
        code: &str,
        detail: &str,
        now_us: i64,
    ) -> Result<Option<EndedCommand>> {
        let done = sqlx::query(
            "UPDATE commands SET state = $3, code = $4, detail = $5, finished_at_us = $6 WHERE org_id = $1 AND id = $2 \
             AND awaiting_since_us IS NOT NULL AND finished_at_us IS NULL",
        )
        .bind(awaited.org_id.to_string())
        .bind(awaited.id.to_string())
        .bind(state.as_str())
        .bind(code)
        .bind(detail)
        .bind(now_us)
        .execute(self.write())
        .await?;
        let ended = EndedCommand { id: awaited.id, org_id: awaited.org_id, server_id: awaited.server_id };
        Ok((done.rows_affected() == 1).then_some(ended))
    }
}

/// Keeps the networks a server stands in. Its last one is what it can be woken by, so a document that knows of none
/// takes none away; and most documents say what is known already.
pub(super) async fn keep_places(tx: &mut Tx, org: OrgId, server: ServerId, places: &[Place]) -> Result<()> {
    if places.is_empty() || read_places(&mut **tx, org, server).await? == places {
        return Ok(());
    }
    sqlx::query("DELETE FROM server_networks WHERE org_id = $1 AND server_id = $2")
        .bind(org.to_string())
        .bind(server.to_string())
        .execute(&mut **tx)
        .await?;
    for place in places {
        sqlx::query(
            "INSERT INTO server_networks (server_id, org_id, interface, mac, subnet) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT DO NOTHING",
        )
        .bind(server.to_string())
        .bind(org.to_string())
        .bind(place.interface.as_str())
        .bind(place.mac.to_string())
        .bind(place.subnet.to_string())
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

async fn read_places<'e>(
    from: impl sqlx::Executor<'e, Database = sqlx::Any>,
    org: OrgId,
    server: ServerId,
) -> Result<Vec<Place>> {
    let rows = sqlx::query("SELECT interface, mac, subnet FROM server_networks WHERE org_id = $1 AND server_id = $2")
        .bind(org.to_string())
        .bind(server.to_string())
        .fetch_all(from)
        .await?;
    let mut places: Vec<Place> = rows.iter().map(place).collect::<Result<_>>()?;
    // As their makers sort them; databases order texts their own ways.
    places.sort();
    Ok(places)
}

/// Records that a command was carried out and waits for its target now.
pub(super) async fn await_target(
    tx: &mut Tx,
    id: CommandId,
    state: CommandState,
    (code, detail): (&str, &str),
    now_us: i64,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE commands SET state = 'started', code = $3, detail = $4, awaiting_since_us = $5, \
         started_at_us = COALESCE(started_at_us, $5), lease_owner = NULL, lease_expires_at_us = NULL \
         WHERE id = $1 AND state = $2",
    )
    .bind(id.to_string())
    .bind(state.as_str())
    .bind(code)
    .bind(detail)
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records that the host of `server`, which proved who it is, powers off.
pub(super) async fn mark_stopping(tx: &mut Tx, server: ServerId, now_us: i64) -> Result<()> {
    sqlx::query("UPDATE servers SET stopping_at_us = $2 WHERE id = $1")
        .bind(server.to_string())
        .bind(now_us)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn place(row: &AnyRow) -> Result<Place> {
    Ok(Place { interface: row.parsed("interface")?, mac: row.parsed("mac")?, subnet: row.parsed("subnet")? })
}

fn neighbour(row: &AnyRow, target: &Server) -> Result<Neighbour> {
    let (provider, region): (&str, &str) = (row.value("provider")?, row.value("region")?);
    Ok(Neighbour {
        server: row.parsed("id")?,
        org: row.parsed("org_id")?,
        name: row.value("name")?,
        allows_power: families(row.value("agent_allowed_families")?).contains(&Family::Power),
        is_near: provider == target.provider.as_str() && region == target.region.as_str(),
        place: place(row)?,
    })
}
