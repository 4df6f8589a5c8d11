//! Stripes that are stored by themselves, of days and of larger hours.
//!
//! They are written in one transaction with the index that says which series are in which, under a generation of their own.
//! Whoever read an index before and does not find its stripes reads the index again.

use std::fmt::Write as _;

use muster_shared::id::{OrgId, ServerId};
use sqlx::AssertSqlSafe;

use super::{Resolution, Result, Store, StoreError, Tx, rows::Columns as _};

/// Runs of stripes asked for in one statement; few sizes, so that few statements need preparing.
const RUNS_PER_STATEMENT: [usize; 4] = [1, 4, 8, 16];

/// What stripes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StripesOf {
    Blocks,
    Days,
}

/// What wrote stripes where: a block or a day as it was written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StripesKey {
    pub begin_us: i64,
    /// A block's; a day has none other than 0.
    pub part: i64,
    /// The revision of the server that wrote them.
    pub generation: i64,
}

/// Neighbouring stripes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StripeRun {
    pub key: StripesKey,
    pub first: u32,
    pub last: u32,
}

/// A stored stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeRow {
    pub key: StripesKey,
    pub stripe: u32,
    pub checksum: u32,
    pub payload: Vec<u8>,
}

impl StripeRow {
    /// Its number; payload and checksum.
    #[must_use]
    pub fn content(&self) -> (u32, (&[u8], u32)) {
        (self.stripe, (&self.payload, self.checksum))
    }
}

impl StripeRun {
    /// Stripes, ascending, in runs of neighbours.
    #[must_use]
    pub fn of(key: StripesKey, stripes: &[u32]) -> Vec<Self> {
        let runs = stripes.chunk_by(|one, next| one + 1 == *next);
        runs.filter_map(|run| Some(Self { key, first: *run.first()?, last: *run.last()? })).collect()
    }

    /// How many stripes `runs` name.
    #[must_use]
    pub fn count(runs: &[Self]) -> usize {
        runs.iter().map(|run| (run.last - run.first) as usize + 1).sum()
    }
}

impl StripesOf {
    /// Table, the column with the beginning, and the one with the part.
    fn place(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Blocks => ("metric_block_stripes", "window_us", "part"),
            Self::Days => ("metric_day_stripes", "day_us", "CAST(0 AS BIGINT)"),
        }
    }

    /// `$1` to `$3` are the organisation, the server and the resolution; then each run's beginning, generation, first, last and
    /// part.
    fn select(self, runs: usize) -> String {
        let (table, begin, part) = self.place();
        let mut sql = format!(
            "SELECT {begin} AS begin_us, {part} AS part, generation, stripe, checksum, payload FROM {table} \
             WHERE server_id = $2 AND EXISTS (SELECT 1 FROM servers s WHERE s.org_id = $1 AND s.id = $2) \
             AND resolution = $3 AND ("
        );
        for run in 0..runs {
            let (or, at) = (if run > 0 { " OR " } else { "" }, 4 + 5 * run);
            // Writing to a string does not fail.
            let _ = write!(
                sql,
                "{or}({begin} = ${at} AND generation = ${} AND stripe >= ${} AND stripe <= ${} AND {part} = ${})",
                at + 1,
                at + 2,
                at + 3,
                at + 4
            );
        }
        sql.push(')');
        sql
    }
}

impl Store {
    /// The stripes in `runs` of a server; those that are gone meanwhile are not among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stripes(
        &self,
        of: StripesOf,
        (org, server): (OrgId, ServerId),
        resolution: Resolution,
        runs: &[StripeRun],
    ) -> Result<Vec<StripeRow>> {
        let mut found = Vec::new();
        let [.., most] = RUNS_PER_STATEMENT;
        for some in runs.chunks(most) {
            let size = RUNS_PER_STATEMENT.into_iter().find(|size| *size >= some.len()).unwrap_or(most);
            let mut query = sqlx::query(AssertSqlSafe(of.select(size)))
                .bind(org.to_string())
                .bind(server.to_string())
                .bind(resolution.seconds());
            // A run that is named again is found once.
            for StripeRun { key, first, last } in some.iter().chain(some.last().into_iter().cycle()).take(size) {
                let (first, last) = (i64::from(*first), i64::from(*last));
                query = query.bind(key.begin_us).bind(key.generation).bind(first).bind(last).bind(key.part);
            }
            for row in query.fetch_all(self.read()).await? {
                let stripe = row.value::<i64>("stripe")?;
                found.push(StripeRow {
                    key: StripesKey {
                        begin_us: row.value("begin_us")?,
                        part: row.value("part")?,
                        generation: row.value("generation")?,
                    },
                    stripe: u32::try_from(stripe).map_err(|_| StoreError::Unreadable { column: "stripe" })?,
                    checksum: checksum(row.value("checksum")?),
                    payload: row.value("payload")?,
                });
            }
        }
        Ok(found)
    }
}

/// Stores stripes.
pub(super) async fn insert_stripes(
    tx: &mut Tx,
    of: StripesOf,
    (server, resolution): (ServerId, Resolution),
    stripes: &[StripeRow],
) -> Result<()> {
    let sql = match of {
        StripesOf::Blocks => {
            "INSERT INTO metric_block_stripes (server_id, resolution, window_us, generation, stripe, checksum, payload, \
             part) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        }
        StripesOf::Days => {
            "INSERT INTO metric_day_stripes (server_id, resolution, day_us, generation, stripe, checksum, payload) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)"
        }
    };
    for StripeRow { key, stripe, checksum, payload } in stripes {
        let mut query = sqlx::query(sql)
            .bind(server.to_string())
            .bind(resolution.seconds())
            .bind(key.begin_us)
            .bind(key.generation)
            .bind(i64::from(*stripe))
            .bind(i64::from(*checksum))
            .bind(&payload[..]);
        if of == StripesOf::Blocks {
            query = query.bind(key.part);
        }
        query.execute(&mut **tx).await?;
    }
    Ok(())
}

/// A checksum that fits no such number matches nothing, and what it belongs to is damaged.
pub(super) fn checksum(stored: i64) -> u32 {
    u32::try_from(stored).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_asked_for_together() {
        let key = StripesKey { begin_us: 7, part: 0, generation: 3 };
        let runs = StripeRun::of(key, &[0, 1, 2, 5, 7, 8]);
        assert_eq!(runs.iter().map(|run| (run.first, run.last)).collect::<Vec<_>>(), [(0, 2), (5, 5), (7, 8)]);
        assert_eq!((StripeRun::count(&runs), StripeRun::of(key, &[])), (6, Vec::new()));
    }
}
