//! Many series over some time, in columns: what samples become once they are some minutes old. Pure.
//!
//! A block says of itself what its series are, so that it can be read whatever becomes of anything else that is stored.
//! Columns lie together in stripes, each compressed by itself: reading one series decompresses one stripe. A block with few
//! of them has them inside; those of a [`day`], and of a larger hour of single samples, are stored beside their [`Index`], so
//! that reading one series reads one of them.
//!
//! ```text
//! payload  = head (varint(series in it) part)*
//! head     = version lanes(u8) part(directory) part(slots)
//! part     = varint(bytes plain) varint(bytes compressed) zstd
//! directory: JSON, the series in order; slots: their times in microseconds, one column
//! ```
//! Raw samples have one lane, their integer; roll-ups have four: see [`rollup`]. Versions 1 and 2 knew fewer forms of columns.

mod column;
mod cursor;
pub mod day;
mod directory;
mod index;
mod part;
mod planes;
pub mod rollup;
mod room;
mod stripe;
mod table;

pub use directory::Directories;
pub use index::{EncodedStripe, Index, Striped};
pub use room::Room;
pub use table::{Rows, Table};

use std::collections::BTreeMap;

use muster_shared::metric::{
    Series,
    varint::{EndsEarly, put_varint},
};

use self::{
    stripe::Manner,
    table::{Builder, Built},
};

const VERSION: u8 = 3;

/// A block that can't be read. Nothing of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    #[error("the block's checksum does not match")]
    Checksum,
    #[error("the block's version is unknown")]
    Version,
    #[error("the block's content can't be read")]
    Content,
}

impl From<EndsEarly> for Damaged {
    fn from(EndsEarly: EndsEarly) -> Self {
        Self::Content
    }
}

/// A series' values by slot, in order of time.
pub type Cells<const LANES: usize> = Vec<(i64, [i64; LANES])>;

/// An encoded block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub payload: Vec<u8>,
    pub checksum: u32,
    pub first_us: i64,
    pub last_us: i64,
    /// Values in it, lanes not counted.
    pub samples: u64,
}

impl Encoded {
    /// `slots` are those of what is in it, in order.
    fn new(payload: Vec<u8>, slots: &[i64], samples: u64) -> Self {
        let [first_us, last_us] = [slots.first(), slots.last()].map(|slot| slot.copied().unwrap_or_default());
        Self { checksum: checksum(&payload), payload, first_us, last_us, samples }
    }
}

/// Encodes `series`, each with its cells in order of time; those without any are left out. `None` of nothing.
#[must_use]
pub fn encode<const LANES: usize>(series: &BTreeMap<Series, Cells<LANES>>) -> Option<Encoded> {
    let slots = slots_of(series, |(at_us, _)| *at_us);
    let mut builder = Builder::new(&slots, manner_of_hours::<LANES>());
    series.iter().for_each(|(series, cells)| builder.put(series, cells));
    Some(whole(builder.finish()?, &slots))
}

/// Encodes single samples, each series' in order of time; series without any are left out. `None` of nothing.
#[must_use]
pub fn encode_points(series: &BTreeMap<Series, Vec<(i64, i64)>>) -> Option<Striped> {
    let slots = slots_of(series, |(at_us, _)| *at_us);
    let mut builder = Builder::<1>::new(&slots, manner_of_hours::<1>());
    let mut cells = Cells::<1>::new();
    for (series, points) in series {
        cells.clear();
        cells.extend(points.iter().map(|(at_us, value)| (*at_us, [*value])));
        builder.put(series, &cells);
    }
    let built = builder.finish()?;
    // One stripe is read whole anyway.
    Some(if built.stripes.len() > 1 { Striped::apart(built, &slots) } else { whole(built, &slots).into() })
}

/// The times of all `series`, in order and each once. Mostly they have the same: only times that the longest does not have are
/// put in order.
fn slots_of<T>(series: &BTreeMap<Series, Vec<T>>, time: impl Fn(&T) -> i64) -> Vec<i64> {
    let longest = series.values().max_by_key(|row| row.len());
    let mut slots: Vec<i64> = longest.into_iter().flatten().map(&time).collect();
    let known = slots.len();
    for row in series.values() {
        let mut at = 0;
        for time in row.iter().map(&time) {
            at += slots[at..known].iter().take_while(|slot| **slot < time).count();
            if at == known || slots[at] != time {
                slots.push(time);
            }
        }
    }
    if slots.len() > known {
        slots.sort_unstable();
        slots.dedup();
    }
    slots
}

/// A block with its stripes inside.
fn whole(built: Built, slots: &[i64]) -> Encoded {
    let mut payload = built.head;
    for stripe in built.stripes {
        put_varint(&mut payload, stripe.series);
        payload.extend_from_slice(&stripe.part);
    }
    Encoded::new(payload, slots, built.samples)
}

/// zstd's own default: what is written once an hour is written again at the end of the day.
fn manner_of_hours<const LANES: usize>() -> Manner {
    Manner { stripe_bytes: stripe_bytes::<LANES>(), level: 3 }
}

/// Rows of roll-ups are short: so are the stripes that they share.
const fn stripe_bytes<const LANES: usize>() -> usize {
    if LANES == 1 { 64 * 1024 } else { 16 * 1024 }
}

/// What a payload's checksum must be.
#[must_use]
pub fn checksum(payload: &[u8]) -> u32 {
    crc32fast::hash(payload)
}

/// The series of a block that are `wanted`, with their cells.
///
/// # Errors
/// [`Damaged`].
pub fn select<const LANES: usize>(
    content: (&[u8], u32),
    directories: &Directories,
    wanted: impl Fn(&Series) -> bool,
) -> Result<Vec<(Series, Cells<LANES>)>, Damaged> {
    Table::read(content, directories, &mut Room::default())?.select(wanted)
}

#[cfg(test)]
mod tests {
    use muster_shared::metric::SeriesKind;
    use proptest::prelude::*;

    use super::*;

    fn series(number: usize) -> Series {
        let labels = BTreeMap::from([("device".to_owned(), format!("d{number}"))]);
        Series { name: format!("m{}_total", number % 7), labels, scale: -3, kind: SeriesKind::Counter }
    }

    fn table() -> impl Strategy<Value = BTreeMap<Series, Cells<2>>> {
        let cells = prop::collection::btree_map(0i64..200, (any::<i64>(), 0i64..5), 0..80);
        prop::collection::vec(cells, 1..12).prop_map(|rows| {
            let rows = rows.into_iter().enumerate();
            rows.map(|(number, cells)| (series(number), cells.into_iter().map(|(at, (a, b))| (at, [a, b])).collect()))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn slots_are_all_times_once(table in table()) {
            let mut expected: Vec<i64> = table.values().flatten().map(|(at_us, _)| *at_us).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(slots_of(&table, |(at_us, _)| *at_us), expected);
        }

        #[test]
        fn points_are_encoded_as_cells_are(table in table()) {
            let points = |cells: &Cells<2>| cells.iter().map(|(at_us, [value, _])| (*at_us, *value)).collect();
            let points: BTreeMap<_, Vec<_>> = table.iter().map(|(series, cells)| (series.clone(), points(cells))).collect();
            let cells = |points: &Vec<(i64, i64)>| points.iter().map(|(at_us, value)| (*at_us, [*value])).collect();
            let cells: BTreeMap<_, Cells<1>> = points.iter().map(|(series, points)| (series.clone(), cells(points))).collect();
            prop_assert_eq!(encode_points(&points), encode(&cells).map(Into::into), "one stripe stays inside");
        }

        #[test]
        fn what_is_encoded_is_read_back(table in table(), skipped in 0usize..12) {
            let kept: BTreeMap<_, _> = table.into_iter().filter(|(_, cells)| !cells.is_empty()).collect();
            let Some(block) = encode(&kept) else { prop_assert!(kept.is_empty()); return Ok(()) };
            let wanted = |one: &Series| *one != series(skipped);
            let read = select::<2>((&block.payload, block.checksum), &Directories::default(), wanted).expect("whole");
            let expected: Vec<_> = kept.clone().into_iter().filter(|(one, _)| wanted(one)).collect();
            prop_assert_eq!(read, expected);
            let content = (&block.payload[..], block.checksum);
            let table = Table::<2>::read(content, &Directories::default(), &mut Room::default()).expect("whole");
            prop_assert_eq!((table.slots().first(), table.slots().last()), (Some(&block.first_us), Some(&block.last_us)));
            let mut rows = table.rows();
            for (series, cells) in kept {
                prop_assert_eq!(rows.next(), Some(Ok((series, cells))));
            }
            prop_assert_eq!(rows.next(), None);
        }

        #[test]
        fn damage_is_found_and_never_panics(table in table(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let Some(mut block) = encode(&table) else { return Ok(()) };
            let at = at.index(block.payload.len());
            block.payload[at] ^= 1 << bit;
            let read = |expected| select::<2>((&block.payload, expected), &Directories::default(), |_| true);
            prop_assert_eq!(read(block.checksum), Err(Damaged::Checksum));
            // Even with a checksum that matches, as another program might have written it.
            let _ = read(checksum(&block.payload));
        }
    }

    #[test]
    fn a_block_of_other_lanes_is_not_read() {
        let cells = vec![(1, [1, 2])];
        let block = encode(&BTreeMap::from([(series(1), cells)])).expect("a block");
        let read = select::<1>((&block.payload, block.checksum), &Directories::default(), |_| true);
        assert_eq!(read, Err(Damaged::Version));
    }
}
