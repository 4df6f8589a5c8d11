//! What the control plane has stored of one server, read past its API: every tick of a series, and every sequence.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use muster::metrics::{
    Declarations,
    block::{self, Cells, Directories, Index, Room},
};
use muster_shared::{
    metric::{self, Series, SeriesId},
    wire::FrameEncoding,
};
use sqlx::{AnyPool, Row as _, any::AnyRow};

use crate::control_plane::ScratchDatabase;

/// Every stored value of the series called `name` (one without labels), in sample time: (microseconds, integer). A tick
/// that is stored twice is there twice.
///
/// # Errors
/// When a frame can't be decoded.
pub async fn ticks_of(database: &ScratchDatabase, server_id: &str, name: &str) -> Result<Vec<(i64, i64)>> {
    let ids = series_ids(database, server_id, name).await?;
    let mut ticks = Vec::new();
    for row in database.rows("SELECT server_id, epoch, encoding, payload FROM metric_frames").await? {
        let (server, epoch, encoding): (String, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let Some(ids) = ids.get(&epoch).filter(|_| server == server_id) else { continue };
        let encoding = FrameEncoding::try_from(i32::try_from(encoding)?)?;
        let columns = metric::decode(encoding, &row.try_get::<Vec<u8>, _>(3)?)?;
        for (_, column) in columns.values.iter().filter(|(id, _)| ids.contains(&i64::from(*id))) {
            ticks.extend(columns.ticks_us.iter().zip(column).filter_map(|(at, value)| Some((*at, (*value)?))));
        }
    }
    ticks.sort_unstable();
    Ok(ticks)
}

/// Ids of the series called `name`, by epoch.
async fn series_ids(database: &ScratchDatabase, server_id: &str, name: &str) -> Result<BTreeMap<i64, Vec<i64>>> {
    let mut ids = BTreeMap::<_, Vec<_>>::new();
    for (server, epoch, declared) in declared(database).await? {
        if server == server_id {
            let named = declared.iter().filter(|(_, series)| series.name == name);
            ids.entry(epoch).or_default().extend(named.map(|(id, _)| i64::from(*id)));
        }
    }
    Ok(ids)
}

/// Single samples of a server's series in blocks of hours and in days, in no order: one that is in two blocks is there
/// twice. What stands in an hour beside its day may be in both, and is there once.
///
/// # Errors
/// When something can't be read, or differs between an hour and its day.
pub async fn sealed(pool: &AnyPool, server_id: &str) -> Result<BTreeMap<Series, Vec<(i64, i64)>>> {
    let mut of_days: BTreeMap<Series, BTreeMap<i64, i64>> = BTreeMap::new();
    for (series, at_us, value) in sealed_in_days(pool, server_id).await? {
        let earlier = of_days.entry(series).or_default().insert(at_us, value);
        ensure!(earlier.is_none(), "a sample of {server_id} at {at_us} is in two days");
    }
    let mut sealed: BTreeMap<Series, Vec<(i64, i64)>> = BTreeMap::new();
    for (series, cells) in sealed_in_hours(pool, server_id).await? {
        let of_day = of_days.get(&series);
        let points = sealed.entry(series.clone()).or_default();
        for (at_us, [value]) in cells {
            match of_day.and_then(|known| known.get(&at_us)) {
                Some(known) => ensure!(*known == value, "{series:?} at {at_us} is {known} in its day and {value}"),
                None => points.push((at_us, value)),
            }
        }
    }
    for (series, points) in of_days {
        sealed.entry(series).or_default().extend(points);
    }
    Ok(sealed)
}

async fn sealed_in_hours(pool: &AnyPool, server_id: &str) -> Result<Vec<(Series, Cells<1>)>> {
    let mut found = Vec::new();
    let blocks = "SELECT window_us, part, generation, stripes, checksum, payload FROM metric_blocks \
                  WHERE server_id = $1 AND resolution = 1";
    for row in sqlx::query(blocks).bind(server_id).fetch_all(pool).await? {
        let (checksum, payload): (i64, Vec<u8>) = (row.try_get("checksum")?, row.try_get("payload")?);
        let head = (&payload[..], u32::try_from(checksum)?);
        if row.try_get::<i64, _>("stripes")? == 0 {
            found.extend(block::select::<1>(head, &Directories::default(), |_| true)?);
            continue;
        }
        let stripes = "SELECT stripe, checksum, payload FROM metric_block_stripes \
                       WHERE server_id = $1 AND resolution = 1 AND window_us = $2 AND part = $3 AND generation = $4";
        let mut query = sqlx::query(stripes).bind(server_id);
        for column in ["window_us", "part", "generation"] {
            query = query.bind(row.try_get::<i64, _>(column)?);
        }
        for row in rows_of(head, query.fetch_all(pool).await?)? {
            found.push(row);
        }
    }
    Ok(found)
}

async fn sealed_in_days(pool: &AnyPool, server_id: &str) -> Result<Vec<(Series, i64, i64)>> {
    let mut found = Vec::new();
    let days = "SELECT day_us, checksum, payload FROM metric_days WHERE server_id = $1 AND resolution = 1";
    for row in sqlx::query(days).bind(server_id).fetch_all(pool).await? {
        let (day_us, checksum, payload): (i64, i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let stripes = "SELECT stripe, checksum, payload FROM metric_day_stripes \
                       WHERE server_id = $1 AND resolution = 1 AND day_us = $2";
        let stripes = sqlx::query(stripes).bind(server_id).bind(day_us).fetch_all(pool).await?;
        for (series, cells) in rows_of((&payload, u32::try_from(checksum)?), stripes)? {
            found.extend(cells.into_iter().map(|(at_us, [value])| (series.clone(), at_us, value)));
        }
    }
    Ok(found)
}

/// What is in an index with its stripes: rows of stripe, checksum and payload.
fn rows_of(index: (&[u8], u32), stripes: Vec<AnyRow>) -> Result<Vec<(Series, Cells<1>)>> {
    let index = Index::<1>::read(index, &Directories::default())?;
    let mut contents = Vec::<(u32, Vec<u8>, u32)>::new();
    for row in stripes {
        let (stripe, checksum): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        contents.push((u32::try_from(stripe)?, row.try_get(2)?, u32::try_from(checksum)?));
    }
    ensure!(contents.len() == index.stripes().len(), "an index has other stripes");
    let stripes = contents.iter().map(|(stripe, payload, checksum)| (*stripe, (&payload[..], *checksum)));
    let (table, damage) = index.with(stripes, &mut Room::default())?;
    ensure!(damage.is_none(), "a stripe: {damage:?}");
    Ok(table.rows().collect::<Result<_, _>>()?)
}

/// How many series all servers have declared.
///
/// # Errors
/// When the database can't be read.
pub async fn series_count(database: &ScratchDatabase) -> Result<usize> {
    let declared = declared(database).await?;
    let ids = declared.iter().flat_map(|(server, epoch, list)| list.iter().map(move |(id, _)| (server, *epoch, *id)));
    Ok(ids.collect::<BTreeSet<_>>().len())
}

/// Server, epoch and one list of what was declared in it.
type Declared = (String, i64, Vec<(SeriesId, Series)>);

async fn declared(database: &ScratchDatabase) -> Result<Vec<Declared>> {
    let query = "SELECT d.server_id, d.epoch, l.declarations FROM metric_declarations d \
                 JOIN declaration_lists l ON l.sha256 = d.list_sha256";
    let rows = database.rows(query).await?;
    let declared = rows.iter().map(|row| {
        let list = Declarations::series(&row.try_get::<Vec<u8>, _>(2)?)?;
        Ok((row.try_get(0)?, row.try_get(1)?, list))
    });
    declared.collect()
}

/// The stored sequences of one server by epoch, ascending.
///
/// # Errors
/// When a sequence is stored twice.
pub async fn sequences_of(database: &ScratchDatabase, server_id: &str) -> Result<BTreeMap<i64, Vec<i64>>> {
    let mut sequences = BTreeMap::<_, Vec<i64>>::new();
    let query = "SELECT server_id, epoch, seq FROM metric_frames ORDER BY epoch, seq";
    for row in database.rows(query).await? {
        if row.try_get::<String, _>(0)? == server_id {
            let kept = sequences.entry(row.try_get(1)?).or_default();
            let seq: i64 = row.try_get(2)?;
            ensure!(kept.last() != Some(&seq), "sequence {seq} is stored twice");
            kept.push(seq);
        }
    }
    Ok(sequences)
}

/// Fails unless each second from the first to the last has its one tick.
///
/// # Errors
/// Naming the first gap or repetition.
pub fn ensure_gapless(ticks: &[(i64, i64)]) -> Result<()> {
    for pair in ticks.windows(2) {
        let [(before, _), (after, _)] = pair else { continue };
        // A tick falls into its second, later on a busy machine; a timer may be a little early.
        let second_of = |at_us: i64| (at_us + 50_000) / 1_000_000;
        ensure!(second_of(*after) - second_of(*before) == 1, "ticks at {before} and {after} are not neighbours");
    }
    ticks.first().context("no tick at all").map(drop)
}
