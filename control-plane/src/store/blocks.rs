//! Sealed blocks, and their stripes where those are stored by themselves.

use std::collections::{BTreeSet, HashMap};

use muster_shared::id::{OrgId, ServerId};
use sqlx::{
    Any,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use super::{
    Result, Store, StoreError, StripeRow, StripeRun, StripesKey, StripesOf, Tx,
    rows::Columns as _,
    stripes::{checksum, insert_stripes},
};

/// How often blocks are asked for anew when some were replaced between them and their stripes.
const MAX_TRIES: u32 = 5;

const HOUR_US: i64 = 3_600 * 1_000_000;

/// What a block's slots are: single samples, minutes or hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    Second,
    Minute,
    Hour,
}

impl Resolution {
    /// All of them, the finest first.
    pub const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    /// A day of hours, or of the hours of anything finer once it is over.
    pub const DAY_US: i64 = 24 * HOUR_US;

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    /// How long the window of a block is: an hour of samples or minutes, a day of hours.
    #[must_use]
    pub fn window_us(self) -> i64 {
        match self {
            Self::Second | Self::Minute => HOUR_US,
            Self::Hour => Self::DAY_US,
        }
    }
}

/// A block's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey {
    pub resolution: Resolution,
    pub window_us: i64,
    pub part: i64,
}

/// A stored block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRow {
    pub key: BlockKey,
    pub first_us: i64,
    pub last_us: i64,
    pub samples: u64,
    pub checksum: u32,
    /// An index where stripes are stored by themselves; everything otherwise.
    pub payload: Vec<u8>,
    /// How many stripes are stored by themselves.
    pub stripe_count: u32,
    /// The revision of the server that wrote it.
    pub generation: i64,
    /// Those of its stripes that are at hand.
    pub stripes: Vec<StripeRow>,
}

impl BlockRow {
    /// What its stripes are found by.
    #[must_use]
    pub fn stripes_key(&self) -> StripesKey {
        StripesKey { begin_us: self.key.window_us, part: self.key.part, generation: self.generation }
    }
}

impl Store {
    /// A server's blocks of `resolution` whose windows begin from the first to the last moment of `range_us`, by window and
    /// part, with their stripes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn blocks(
        &self,
        whose: (OrgId, ServerId),
        resolution: Resolution,
        range_us: (i64, i64),
    ) -> Result<Vec<BlockRow>> {
        self.blocks_with(whose, resolution, range_us, every_stripe).await
    }

    /// The same with those of the stripes that are stored by themselves that `wanted` names, ascending. Stripes that are
    /// missing are not among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn blocks_with(
        &self,
        whose: (OrgId, ServerId),
        resolution: Resolution,
        range_us: (i64, i64),
        wanted: impl Fn(&BlockRow) -> Vec<u32>,
    ) -> Result<Vec<BlockRow>> {
        let mut tries = 0;
        loop {
            let mut blocks = self.blocks_alone(whose, resolution, range_us).await?;
            let striped = blocks.iter().filter(|block| block.stripe_count > 0);
            let runs: Vec<_> = striped.flat_map(|block| StripeRun::of(block.stripes_key(), &wanted(block))).collect();
            let stripes = self.stripes(StripesOf::Blocks, whose, resolution, &runs).await?;
            tries += 1;
            if stripes.len() == StripeRun::count(&runs) || tries == MAX_TRIES {
                let mut of_block: HashMap<StripesKey, Vec<StripeRow>> = HashMap::new();
                stripes.into_iter().for_each(|stripe| of_block.entry(stripe.key).or_default().push(stripe));
                for block in &mut blocks {
                    block.stripes = of_block.remove(&block.stripes_key()).unwrap_or_default();
                }
                return Ok(blocks);
            }
            metrics::counter!("muster_blocks_read_again_total").increment(1);
        }
    }

    async fn blocks_alone(
        &self,
        whose: (OrgId, ServerId),
        resolution: Resolution,
        range_us: (i64, i64),
    ) -> Result<Vec<BlockRow>> {
        between(
            "SELECT b.window_us, b.part, b.first_us, b.last_us, b.samples, b.checksum, b.payload, b.stripes, b.generation \
             FROM metric_blocks b JOIN servers s ON s.id = b.server_id WHERE s.org_id = $1 AND b.server_id = $2 \
             AND b.resolution = $3 AND b.window_us >= $4 AND b.window_us <= $5 ORDER BY b.window_us, b.part",
            whose,
            resolution,
            range_us,
        )
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| block(row, resolution))
        .collect()
    }

    /// Where a server's blocks of `resolution` begin; `None` where it has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_block_us(&self, org: OrgId, server: ServerId, resolution: Resolution) -> Result<Option<i64>> {
        sqlx::query(
            "SELECT MIN(b.window_us) AS first_us FROM metric_blocks b JOIN servers s ON s.id = b.server_id \
             WHERE s.org_id = $1 AND b.server_id = $2 AND b.resolution = $3",
        )
        .bind(org.to_string())
        .bind(server.to_string())
        .bind(resolution.seconds())
        .fetch_one(self.read())
        .await?
        .value("first_us")
    }

    /// The windows that begin from the first to the last moment of `range_us` and have a block of `resolution`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn block_windows(
        &self,
        whose: (OrgId, ServerId),
        resolution: Resolution,
        range_us: (i64, i64),
    ) -> Result<BTreeSet<i64>> {
        between(
            "SELECT DISTINCT b.window_us FROM metric_blocks b JOIN servers s ON s.id = b.server_id \
             WHERE s.org_id = $1 AND b.server_id = $2 AND b.resolution = $3 AND b.window_us >= $4 AND b.window_us <= $5",
            whose,
            resolution,
            range_us,
        )
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| row.value("window_us"))
        .collect()
    }

    /// Remembers that a block is damaged; answers whether it was not known yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_damaged_block(&self, org: OrgId, server: ServerId, key: BlockKey, now_us: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE metric_blocks SET damaged_at_us = $5 WHERE server_id = $1 AND resolution = $2 AND window_us = $3 \
             AND part = $4 AND damaged_at_us IS NULL \
             AND EXISTS (SELECT 1 FROM servers s WHERE s.id = $1 AND s.org_id = $6)",
        )
        .bind(server.to_string())
        .bind(key.resolution.seconds())
        .bind(key.window_us)
        .bind(key.part)
        .bind(now_us)
        .bind(org.to_string())
        .execute(self.write())
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

fn every_stripe(block: &BlockRow) -> Vec<u32> {
    (0..block.stripe_count).collect()
}

/// A question about what a server has of `resolution` from one moment to another: the organisation, the server, the
/// resolution and the two moments are bound to `$1` to `$5`.
pub(super) fn between(
    sql: &'static str,
    (org, server): (OrgId, ServerId),
    resolution: Resolution,
    (from_us, to_us): (i64, i64),
) -> Query<'static, Any, AnyArguments> {
    sqlx::query(sql).bind(org.to_string()).bind(server.to_string()).bind(resolution.seconds()).bind(from_us).bind(to_us)
}

pub(super) async fn delete_block(tx: &mut Tx, server: ServerId, key: BlockKey) -> Result<()> {
    for sql in [
        "DELETE FROM metric_block_stripes WHERE server_id = $1 AND resolution = $2 AND window_us = $3 AND part = $4",
        "DELETE FROM metric_blocks WHERE server_id = $1 AND resolution = $2 AND window_us = $3 AND part = $4",
    ] {
        sqlx::query(sql)
            .bind(server.to_string())
            .bind(key.resolution.seconds())
            .bind(key.window_us)
            .bind(key.part)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

pub(super) async fn insert_block(tx: &mut Tx, server: ServerId, block: &BlockRow) -> Result<()> {
    insert_stripes(tx, StripesOf::Blocks, (server, block.key.resolution), &block.stripes).await?;
    sqlx::query(
        "INSERT INTO metric_blocks (server_id, resolution, window_us, part, first_us, last_us, samples, checksum, \
         payload, stripes, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(server.to_string())
    .bind(block.key.resolution.seconds())
    .bind(block.key.window_us)
    .bind(block.key.part)
    .bind(block.first_us)
    .bind(block.last_us)
    .bind(block.samples.cast_signed())
    .bind(i64::from(block.checksum))
    .bind(&block.payload[..])
    .bind(i64::from(block.stripe_count))
    .bind(block.generation)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn block(row: &AnyRow, resolution: Resolution) -> Result<BlockRow> {
    let key = BlockKey { resolution, window_us: row.value("window_us")?, part: row.value("part")? };
    let checksum = checksum(row.value("checksum")?);
    Ok(BlockRow {
        key,
        first_us: row.value("first_us")?,
        last_us: row.value("last_us")?,
        samples: row.unsigned("samples").map_err(|_| StoreError::Unreadable { column: "samples" })?,
        checksum,
        payload: row.value("payload")?,
        stripe_count: u32::try_from(row.value::<i64>("stripes")?)
            .map_err(|_| StoreError::Unreadable { column: "stripes" })?,
        generation: row.value("generation")?,
        stripes: Vec::new(),
    })
}
