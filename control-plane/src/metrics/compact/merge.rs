//! The hours of a day, and what the day had before, as one. Pure.

use std::collections::BTreeSet;

use muster_shared::metric::{Series, SeriesKind};

use crate::{
    metrics::{
        block::{Cells, Damaged, Directories, Index, Room, Rows, Striped, Table, day::DayBuilder, rollup},
        block_row,
        history::hours_of,
        seal::window_of,
        steps::Bucket,
    },
    store::{BlockKey, BlockRow, DayRow, StripeRow},
};

/// What became of a day.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// `None` where there is nothing new that can be read, or not everything of the day itself can.
    pub(super) day: Option<Striped>,
    /// The blocks that are in it.
    pub(super) absorbed: Vec<BlockKey>,
    pub(super) damaged: Vec<(BlockKey, Damaged)>,
    pub(super) damaged_day: Option<Damaged>,
}

/// A kind of cells, and what several of one slot are together.
pub(super) trait Joined<const LANES: usize> {
    /// Whether an hour by itself stands for that hour of the day as it was.
    const HOURS_REPLACE: bool;

    fn join(kind: SeriesKind, one: [i64; LANES], other: [i64; LANES]) -> [i64; LANES];
}

/// Single samples: a moment has one value, of two the lesser.
#[derive(Debug)]
pub(super) struct Samples;

impl Joined<1> for Samples {
    const HOURS_REPLACE: bool = false;

    fn join(_: SeriesKind, one: [i64; 1], other: [i64; 1]) -> [i64; 1] {
        one.min(other)
    }
}

/// Minutes: parts of one are put together.
#[derive(Debug)]
pub(super) struct Minutes;

impl Joined<{ rollup::LANES }> for Minutes {
    const HOURS_REPLACE: bool = true;

    fn join(kind: SeriesKind, one: [i64; rollup::LANES], other: [i64; rollup::LANES]) -> [i64; rollup::LANES] {
        let mut bucket: Bucket = rollup::from_lanes(kind, one);
        bucket.merge(&rollup::from_lanes(kind, other));
        rollup::to_lanes(kind, &bucket)
    }
}

/// Makes a day of `blocks` and the day as it was.
pub(super) fn merge<J: Joined<LANES>, const LANES: usize>(
    blocks: &[BlockRow],
    day: Option<&(DayRow, Vec<StripeRow>)>,
) -> Merged {
    let mut merged = Merged::default();
    loop {
        match attempt::<J, LANES>(blocks, day, &mut merged) {
            Ok(()) => return merged,
            // What it says of itself was right and its rows are not: without it, then.
            Err((Some(key), damage)) => merged.damaged.push((key, damage)),
            Err((None, damage)) => {
                merged.damaged_day = Some(damage);
                return merged;
            }
        }
    }
}

/// One of the sources, and its next row.
struct Source<'a, const LANES: usize> {
    /// Of a block; `None` of the day as it was.
    key: Option<BlockKey>,
    rows: Rows<'a, LANES>,
    next: Option<(Series, Cells<LANES>)>,
}

type Failed = (Option<BlockKey>, Damaged);

impl<const LANES: usize> Source<'_, LANES> {
    fn advance(&mut self) -> Result<(), Failed> {
        self.next = self.rows.next().transpose().map_err(|damage| (self.key, damage))?;
        Ok(())
    }
}

fn attempt<J: Joined<LANES>, const LANES: usize>(
    blocks: &[BlockRow],
    day: Option<&(DayRow, Vec<StripeRow>)>,
    merged: &mut Merged,
) -> Result<(), Failed> {
    let (directories, mut sources) = (Directories::default(), Vec::new());
    let (mut slots, mut own) = (Vec::new(), BTreeSet::new());
    merged.absorbed.clear();
    for block in blocks {
        if merged.damaged.iter().any(|(key, _)| *key == block.key) {
            continue;
        }
        match block_row::table::<LANES>(block, (&directories, &mut Room::default()), |_| true) {
            Err(damage) => merged.damaged.push((block.key, damage)),
            Ok(table) => {
                slots.extend_from_slice(table.slots());
                own.extend(hours_of(table.slots()));
                merged.absorbed.push(block.key);
                sources.push(Source { key: Some(block.key), rows: table.rows(), next: None });
            }
        }
    }
    if sources.is_empty() {
        return Ok(());
    }
    if let Some((row, stripes)) = day {
        let table = table_of_day::<LANES>(row, stripes, &directories).map_err(|damage| (None, damage))?;
        slots.extend_from_slice(table.slots());
        sources.push(Source { key: None, rows: table.rows(), next: None });
    }
    slots.sort();
    slots.dedup();
    sources.iter_mut().try_for_each(Source::advance)?;
    let mut builder = DayBuilder::new(&slots);
    while let Some(series) = sources.iter().filter_map(|source| Some(&source.next.as_ref()?.0)).min().cloned() {
        let mut cells: Cells<LANES> = Vec::new();
        for source in &mut sources {
            let Some((_, row)) = source.next.take_if(|(next, _)| *next == series) else { continue };
            if J::HOURS_REPLACE && source.key.is_none() {
                cells.extend(row.into_iter().filter(|(slot, _)| !own.contains(&window_of(*slot))));
            } else {
                cells.extend(row);
            }
            source.advance()?;
        }
        builder.put(&series, &in_order::<J, LANES>(series.kind, cells));
    }
    merged.day = builder.finish();
    Ok(())
}

fn table_of_day<'a, const LANES: usize>(
    row: &DayRow,
    stripes: &'a [StripeRow],
    directories: &Directories,
) -> Result<Table<'a, LANES>, Damaged> {
    let index = Index::<LANES>::read((&row.payload, row.checksum), directories)?;
    if stripes.len() < index.stripes().len() {
        return Err(Damaged::Content);
    }
    let (table, damage) = index.with(stripes.iter().map(StripeRow::content), &mut Room::default())?;
    damage.map_or(Ok(table), Err)
}

/// Cells in order of time, those of one slot joined.
fn in_order<J: Joined<LANES>, const LANES: usize>(kind: SeriesKind, mut cells: Cells<LANES>) -> Cells<LANES> {
    if cells.is_sorted_by(|one, next| one.0 < next.0) {
        return cells;
    }
    cells.sort_by_key(|(slot, _)| *slot);
    let mut joined: Cells<LANES> = Vec::with_capacity(cells.len());
    for (slot, lanes) in cells {
        match joined.last_mut() {
            Some((last, known)) if *last == slot => *known = J::join(kind, *known, lanes),
            _ => joined.push((slot, lanes)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        metrics::{
            block::{encode, select},
            steps::HOUR_US,
        },
        store::Resolution,
    };

    type Hours<const LANES: usize> = BTreeMap<i64, BTreeMap<Series, Cells<LANES>>>;

    fn series(number: usize) -> Series {
        Series { name: format!("m{number}"), labels: [].into(), scale: 0, kind: SeriesKind::Gauge }
    }

    fn blocks<const LANES: usize>(resolution: Resolution, hours: &Hours<LANES>) -> Vec<BlockRow> {
        let block = |(hour, table): (&i64, &BTreeMap<Series, Cells<LANES>>)| {
            let key = BlockKey { resolution, window_us: hour * HOUR_US, part: 0 };
            Some(block_row::row(key, 1, encode(table)?.into()))
        };
        hours.iter().filter_map(block).collect()
    }

    fn rows(day: Striped) -> (DayRow, Vec<StripeRow>) {
        let Striped { head: index, stripes } = day;
        let row = DayRow {
            resolution: Resolution::Second,
            day_us: 0,
            generation: 1,
            first_us: index.first_us,
            last_us: index.last_us,
            samples: index.samples,
            checksum: index.checksum,
            payload: index.payload,
        };
        let stripes = block_row::stripe_rows(row.stripes_key(), stripes);
        (row, stripes)
    }

    fn read<const LANES: usize>((row, stripes): &(DayRow, Vec<StripeRow>)) -> BTreeMap<Series, Cells<LANES>> {
        let table = table_of_day::<LANES>(row, stripes, &Directories::default()).expect("whole");
        table.select(|_| true).expect("whole").into_iter().collect()
    }

    fn some_hours() -> impl Strategy<Value = Hours<1>> {
        let cells = prop::collection::btree_map(0i64..60, -3i64..3, 0..9);
        prop::collection::btree_map(0i64..24, prop::collection::btree_map(0usize..4, cells, 1..4), 1..6).prop_map(
            |hours| {
                let of_hour = |hour: i64, table: BTreeMap<usize, BTreeMap<i64, i64>>| {
                    let cell = |(minute, value)| (hour * HOUR_US + minute * 60_000_000, [value]);
                    table.into_iter().map(|(at, cells)| (series(at), cells.into_iter().map(cell).collect())).collect()
                };
                hours.into_iter().map(|(hour, table)| (hour, of_hour(hour, table))).collect()
            },
        )
    }

    proptest! {
        #[test]
        fn samples_of_days_and_hours_are_all_there_once(before in some_hours(), late in some_hours()) {
            let mut expected: BTreeMap<Series, BTreeMap<i64, i64>> = BTreeMap::new();
            for (series, cells) in before.values().chain(late.values()).flatten() {
                for (at_us, [value]) in cells {
                    let known = expected.entry(series.clone()).or_default().entry(*at_us).or_insert(*value);
                    *known = (*known).min(*value);
                }
            }
            let first = merge::<Samples, 1>(&blocks(Resolution::Second, &before), None);
            let day = first.day.map(rows);
            let second = merge::<Samples, 1>(&blocks(Resolution::Second, &late), day.as_ref());
            let day = second.day.map(rows).or(day);
            let found = day.as_ref().map(read::<1>).unwrap_or_default();
            let found: BTreeMap<Series, BTreeMap<i64, i64>> = found
                .into_iter()
                .map(|(series, cells)| (series, cells.into_iter().map(|(at_us, [value])| (at_us, value)).collect()))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_hour_s_minutes_stand_for_those_of_the_day() {
        let minute = |hour: i64, value: i64| (hour * HOUR_US, [value, 0, 0, 60]);
        let table = |cells: Cells<4>| BTreeMap::from([(series(0), cells)]);
        let before = Hours::from([(1, table(vec![minute(1, 10)])), (2, table(vec![minute(2, 20)]))]);
        let late = Hours::from([(2, table(vec![minute(2, 5)]))]);
        let day = merge::<Minutes, 4>(&blocks(Resolution::Minute, &before), None).day.map(rows).expect("a day");
        let day = merge::<Minutes, 4>(&blocks(Resolution::Minute, &late), Some(&day)).day.map(rows).expect("a day");
        assert_eq!(read::<4>(&day), table(vec![minute(1, 10), minute(2, 5)]));
    }

    #[test]
    fn what_is_damaged_is_named_and_stays_where_it_is() {
        let table = |hour: i64| BTreeMap::from([(series(0), vec![(hour * HOUR_US, [hour])])]);
        let hours = Hours::from([(1, table(1)), (2, table(2)), (3, table(3))]);
        let mut blocks = blocks(Resolution::Second, &hours);
        let last = blocks[1].payload.len() - 1;
        blocks[1].payload[last] ^= 1;
        // Its checksum is right, and its rows are not.
        let end = blocks[2].payload.len() - 3;
        blocks[2].payload[end] ^= 0xff;
        blocks[2].checksum = crate::metrics::block::checksum(&blocks[2].payload);
        assert!(select::<1>((&blocks[2].payload, blocks[2].checksum), &Directories::default(), |_| true).is_err());
        let merged = merge::<Samples, 1>(&blocks, None);
        assert_eq!(merged.absorbed, [blocks[0].key]);
        let damaged: Vec<_> = merged.damaged.iter().map(|(key, _)| *key).collect();
        assert_eq!(damaged, [blocks[1].key, blocks[2].key]);
        let mut day = rows(merged.day.expect("what is left"));
        assert_eq!(read::<1>(&day), table(1));
        day.1[0].payload[2] ^= 1;
        let merged = merge::<Samples, 1>(&blocks[..1], Some(&day));
        assert!(merged.day.is_none() && merged.damaged_day.is_some());
    }
}
