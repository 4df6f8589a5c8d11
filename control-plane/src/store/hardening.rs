//! How servers stand towards the hardening profile.

use muster_shared::{
    action::ItemName,
    hardening::{ItemStanding, PROFILE, Standing, score},
    id::{OrgId, ServerId},
};
use sqlx::any::AnyRow;

use super::{Result, Store, Tx, rows::Columns as _};
use crate::hardening::{ItemRecord, Moved, moved};

impl Store {
    /// A server's items, in the profile's order; none before its host told of any.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError).
    pub async fn hardening(&self, org: OrgId, server: ServerId) -> Result<Vec<ItemRecord>> {
        read(self.read(), org, server).await
    }
}

/// Takes in what a host told at `at_us`; answers whether anything stands otherwise than before. A host that tells of no
/// items takes none away: it is one of an older version.
pub(super) async fn keep_hardening(
    tx: &mut Tx,
    org: OrgId,
    server: ServerId,
    standings: &[ItemStanding],
    at_us: i64,
) -> Result<bool> {
    if standings.is_empty() {
        return Ok(false);
    }
    let before = read(&mut **tx, org, server).await?;
    let mut is_news = false;
    for standing in standings.iter().filter(|standing| PROFILE.contains(&standing.item)) {
        let known = before.iter().find(|known| known.item == standing.item);
        let Moved { record, is_news: moves, is_drift } = moved(known, standing, at_us);
        is_news |= moves;
        if is_drift {
            metrics::counter!("muster_hardening_drifts_total").increment(1);
        }
        put(tx, org, server, &record).await?;
    }
    if is_news {
        keep_score(tx, org, server).await?;
    }
    Ok(is_news)
}

/// Writes beside the server what its items add up to, so that a list need not read them.
async fn keep_score(tx: &mut Tx, org: OrgId, server: ServerId) -> Result<()> {
    let items = read(&mut **tx, org, server).await?;
    sqlx::query("UPDATE servers SET hardening_score = $3 WHERE org_id = $1 AND id = $2")
        .bind(org.to_string())
        .bind(server.to_string())
        .bind(score(items.iter().map(|item| item.standing)).map(i64::from))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn put(tx: &mut Tx, org: OrgId, server: ServerId, record: &ItemRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO server_hardening (server_id, org_id, item, standing, detail, since_us, held_until_us, seen_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (server_id, item) DO UPDATE SET \
         standing = excluded.standing, detail = excluded.detail, since_us = excluded.since_us, \
         held_until_us = excluded.held_until_us, seen_at_us = excluded.seen_at_us",
    )
    .bind(server.to_string())
    .bind(org.to_string())
    .bind(record.item.as_str())
    .bind(record.standing.as_str())
    .bind(record.detail.as_str())
    .bind(record.since_us)
    .bind(record.held_until_us)
    .bind(record.seen_at_us)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn read<'e>(
    from: impl sqlx::Executor<'e, Database = sqlx::Any>,
    org: OrgId,
    server: ServerId,
) -> Result<Vec<ItemRecord>> {
    let rows = sqlx::query(
        "SELECT item, standing, detail, since_us, held_until_us, seen_at_us FROM server_hardening \
         WHERE org_id = $1 AND server_id = $2",
    )
    .bind(org.to_string())
    .bind(server.to_string())
    .fetch_all(from)
    .await?;
    let mut items: Vec<ItemRecord> = rows.iter().map(record).collect::<Result<_>>()?;
    items.sort_by_key(|item| PROFILE.iter().position(|known| *known == item.item));
    Ok(items)
}

fn record(row: &AnyRow) -> Result<ItemRecord> {
    Ok(ItemRecord {
        item: row.parsed::<ItemName>("item")?,
        standing: row.word("standing", Standing::parse)?,
        detail: row.value("detail")?,
        since_us: row.value("since_us")?,
        held_until_us: row.value("held_until_us")?,
        seen_at_us: row.value("seen_at_us")?,
    })
}
