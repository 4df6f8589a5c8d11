//! Which containers were last seen on which server.

use std::collections::BTreeMap;

use muster_shared::{
    facts::Docker,
    id::{OrgId, ServerId},
};

use super::{Result, Store, Tx, rows::Columns as _};
use crate::metrics::PlacedContainer;

/// Most matches looked at: where there are more, the name says nothing.
const MAX_MATCHES: i64 = 50;
/// Most containers kept of one server; beyond them, those with the greatest ids can't be found by name.
const MAX_CONTAINERS: usize = 5000;
/// Fewest digits that stand for an id.
const MIN_DIGITS: usize = 12;

impl Store {
    /// The organisation's containers whose id is or begins with `reference`, or whose name it is.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn containers_called(&self, org: OrgId, reference: &str) -> Result<Vec<PlacedContainer>> {
        let is_id = reference.len() >= MIN_DIGITS && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
        let first = if is_id { reference.to_ascii_lowercase() } else { String::new() };
        // No digit sorts behind it, and no id is below the empty text.
        let last = if is_id { format!("{first}g") } else { String::new() };
        sqlx::query(
            "SELECT c.server_id, c.container_id, c.name FROM server_containers c JOIN servers s ON s.id = c.server_id \
             WHERE s.org_id = $1 AND s.deleted_at_us IS NULL \
             AND (c.name = $2 OR (c.container_id >= $3 AND c.container_id < $4)) \
             ORDER BY c.server_id, c.container_id LIMIT $5",
        )
        .bind(org.to_string())
        .bind(reference)
        .bind(first)
        .bind(last)
        .bind(MAX_MATCHES)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| {
            Ok(PlacedContainer {
                server_id: row.parsed("server_id")?,
                id: row.value("container_id")?,
                name: row.value("name")?,
            })
        })
        .collect()
    }
}

/// Brings what is kept of a server up to the containers just seen on it.
pub(super) async fn keep(tx: &mut Tx, server: ServerId, docker: &Docker) -> Result<()> {
    let rows = sqlx::query("SELECT container_id, name FROM server_containers WHERE server_id = $1")
        .bind(server.to_string())
        .fetch_all(&mut **tx)
        .await?;
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for row in &rows {
        known.insert(row.value("container_id")?, row.value("name")?);
    }
    let seen: BTreeMap<_, _> = docker
        .containers
        .iter()
        .map(|container| (container.id.to_ascii_lowercase(), container.name.as_str()))
        .collect();
    for (id, name) in seen.iter().take(MAX_CONTAINERS) {
        if known.remove(id).as_deref() == Some(*name) {
            continue;
        }
        sqlx::query(
            "INSERT INTO server_containers (server_id, container_id, name) VALUES ($1, $2, $3) \
             ON CONFLICT (server_id, container_id) DO UPDATE SET name = excluded.name",
        )
        .bind(server.to_string())
        .bind(id.as_str())
        .bind(*name)
        .execute(&mut **tx)
        .await?;
    }
    for gone in known.keys() {
        sqlx::query("DELETE FROM server_containers WHERE server_id = $1 AND container_id = $2")
            .bind(server.to_string())
            .bind(gone.as_str())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}
