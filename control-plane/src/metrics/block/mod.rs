//! Many series over some time, in columns: what samples become once they are some minutes old. Pure.
//!
//! A block says of itself what its series are, so that it can be read whatever becomes of anything else that is stored.
//! Columns lie together in stripes, each compressed by itself: reading one series decompresses one stripe.
//!
//! ```text
//! payload  = version lanes(u8) part(directory) part(slots) stripe*
//! part     = varint(bytes plain) varint(bytes compressed) zstd
//! directory: JSON, the series in order; slots: their times in microseconds, one column
//! stripe   = varint(series in it) part(row*)
//! row      = presence column{lanes}
//! presence = varint(runs) varint(length)*     slots without a value and with one, by turns; 0 runs: one everywhere
//! ```
//! Raw samples have one lane, their integer; roll-ups have four: see [`rollup`].

mod column;
mod directory;
pub mod rollup;

pub use directory::Directories;

use std::collections::BTreeMap;

use muster_shared::metric::{
    Series,
    varint::{EndsEarly, put_varint, take_varint},
};

const VERSION: u8 = 1;
/// A stripe is closed once its rows have so many bytes: small enough to read for one series, large enough to compress.
const STRIPE_BYTES: usize = 64 * 1024;
/// Largest part, decompressed, in bytes: nothing written here comes near.
const MAX_PART_BYTES: u64 = 64 << 20;
/// Most slots of a block.
const MAX_SLOTS: usize = 1 << 20;
/// zstd's own default; higher levels gain little.
const COMPRESSION_LEVEL: i32 = 3;

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

/// Encodes `series`, each with its cells in order of time; those without any are left out. `None` of nothing.
#[must_use]
pub fn encode<const LANES: usize>(series: &BTreeMap<Series, Cells<LANES>>) -> Option<Encoded> {
    let rows: Vec<_> = series.iter().filter(|(_, cells)| !cells.is_empty()).collect();
    let mut slots: Vec<i64> = rows.iter().flat_map(|(_, cells)| cells.iter().map(|(at_us, _)| *at_us)).collect();
    slots.sort_unstable();
    slots.dedup();
    let (first_us, last_us) = (*slots.first()?, *slots.last()?);
    let mut payload = vec![VERSION, LANES as u8];
    put_part(&mut payload, &directory::encode(rows.iter().map(|(series, _)| *series)));
    let mut plain = Vec::new();
    put_varint(&mut plain, slots.len() as u64);
    column::put(&mut plain, &slots);
    put_part(&mut payload, &plain);
    let (mut stripe, mut held) = (Vec::with_capacity(STRIPE_BYTES), 0u64);
    for (at, (_, cells)) in rows.iter().enumerate() {
        put_row(&mut stripe, &slots, cells);
        held += 1;
        if stripe.len() >= STRIPE_BYTES || at + 1 == rows.len() {
            put_varint(&mut payload, held);
            put_part(&mut payload, &stripe);
            stripe.clear();
            held = 0;
        }
    }
    let samples = rows.iter().map(|(_, cells)| cells.len() as u64).sum();
    Some(Encoded { checksum: checksum(&payload), payload, first_us, last_us, samples })
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
    (payload, expected): (&[u8], u32),
    directories: &mut Directories,
    wanted: impl Fn(&Series) -> bool,
) -> Result<Vec<(Series, Cells<LANES>)>, Damaged> {
    if checksum(payload) != expected {
        return Err(Damaged::Checksum);
    }
    let [version, lanes, rest @ ..] = payload else { return Err(Damaged::Content) };
    if (*version, usize::from(*lanes)) != (VERSION, LANES) {
        return Err(Damaged::Version);
    }
    let mut input = rest;
    let listed = directories.read(take_compressed(&mut input)?)?;
    let slots = take_slots(&mut input)?;
    let mut found = Vec::new();
    let mut series = listed.iter();
    while !input.is_empty() {
        let held = usize::try_from(take_varint(&mut input)?).map_err(|_| Damaged::Content)?;
        let part = take_compressed(&mut input)?;
        let named = series.as_slice().get(..held).ok_or(Damaged::Content)?;
        series = series.as_slice()[held..].iter();
        let Some(last) = named.iter().rposition(&wanted) else { continue };
        let plain = part.decompress()?;
        let mut rows = &plain[..];
        for series in &named[..=last] {
            let row = take_row(&mut rows, &slots)?;
            if wanted(series) {
                found.push((series.clone(), row));
            }
        }
    }
    if series.as_slice().is_empty() { Ok(found) } else { Err(Damaged::Content) }
}

/// The times at which a block has any value.
///
/// # Errors
/// [`Damaged`].
pub fn slots(payload: &[u8], expected: u32) -> Result<Vec<i64>, Damaged> {
    if checksum(payload) != expected {
        return Err(Damaged::Checksum);
    }
    let mut input = payload.get(2..).ok_or(Damaged::Content)?;
    take_compressed(&mut input)?;
    take_slots(&mut input)
}

/// Compressed bytes of a block.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    plain_bytes: usize,
    compressed: &'a [u8],
}

impl Part<'_> {
    fn decompress(self) -> Result<Vec<u8>, Damaged> {
        let plain = zstd::bulk::decompress(self.compressed, self.plain_bytes).map_err(|_| Damaged::Content)?;
        if plain.len() == self.plain_bytes { Ok(plain) } else { Err(Damaged::Content) }
    }
}

fn put_part(out: &mut Vec<u8>, plain: &[u8]) {
    // Memory is all that compressing needs.
    let compressed = zstd::bulk::compress(plain, COMPRESSION_LEVEL).unwrap_or_default();
    put_varint(out, plain.len() as u64);
    put_varint(out, compressed.len() as u64);
    out.extend_from_slice(&compressed);
}

fn take_compressed<'a>(input: &mut &'a [u8]) -> Result<Part<'a>, Damaged> {
    let plain_bytes = take_varint(input)?;
    let bytes = usize::try_from(take_varint(input)?).map_err(|_| Damaged::Content)?;
    if plain_bytes > MAX_PART_BYTES {
        return Err(Damaged::Content);
    }
    let (compressed, rest) = input.split_at_checked(bytes).ok_or(Damaged::Content)?;
    *input = rest;
    Ok(Part { plain_bytes: usize::try_from(plain_bytes).map_err(|_| Damaged::Content)?, compressed })
}

fn take_slots(input: &mut &[u8]) -> Result<Vec<i64>, Damaged> {
    let plain = take_compressed(input)?.decompress()?;
    let mut plain = &plain[..];
    let count = usize::try_from(take_varint(&mut plain)?).map_err(|_| Damaged::Content)?;
    if count == 0 || count > MAX_SLOTS {
        return Err(Damaged::Content);
    }
    column::take(&mut plain, count)
}

fn put_row<const LANES: usize>(out: &mut Vec<u8>, slots: &[i64], cells: &Cells<LANES>) {
    let mut runs: Vec<u64> = Vec::new();
    if cells.len() < slots.len() {
        let (mut at, mut present, mut length) = (0, false, 0);
        for slot in slots {
            let has = cells.get(at).is_some_and(|(at_us, _)| at_us == slot);
            at += usize::from(has);
            if has != present {
                runs.push(length);
                (present, length) = (has, 0);
            }
            length += 1;
        }
        runs.push(length);
    }
    put_varint(out, runs.len() as u64);
    runs.iter().for_each(|run| put_varint(out, *run));
    let mut values = Vec::with_capacity(cells.len());
    for lane in 0..LANES {
        values.clear();
        values.extend(cells.iter().map(|(_, lanes)| lanes[lane]));
        column::put(out, &values);
    }
}

fn take_row<const LANES: usize>(input: &mut &[u8], slots: &[i64]) -> Result<Cells<LANES>, Damaged> {
    let runs = take_varint(input)?;
    let mut cells: Cells<LANES> = Vec::with_capacity(slots.len());
    if runs == 0 {
        cells.extend(slots.iter().map(|slot| (*slot, [0; LANES])));
    }
    let (mut rest, mut present) = (slots, false);
    for _ in 0..runs {
        let run = usize::try_from(take_varint(input)?).map_err(|_| Damaged::Content)?;
        let (these, others) = rest.split_at_checked(run).ok_or(Damaged::Content)?;
        if present {
            cells.extend(these.iter().map(|slot| (*slot, [0; LANES])));
        }
        (rest, present) = (others, !present);
    }
    if cells.is_empty() {
        return Err(Damaged::Content);
    }
    for lane in 0..LANES {
        let values = column::take(input, cells.len())?;
        cells.iter_mut().zip(values).for_each(|((_, lanes), value)| lanes[lane] = value);
    }
    Ok(cells)
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
        fn what_is_encoded_is_read_back(table in table(), skipped in 0usize..12) {
            let kept: BTreeMap<_, _> = table.into_iter().filter(|(_, cells)| !cells.is_empty()).collect();
            let Some(block) = encode(&kept) else { prop_assert!(kept.is_empty()); return Ok(()) };
            let wanted = |one: &Series| *one != series(skipped);
            let read = select::<2>((&block.payload, block.checksum), &mut Directories::default(), wanted).expect("whole");
            let expected: Vec<_> = kept.clone().into_iter().filter(|(one, _)| wanted(one)).collect();
            prop_assert_eq!(read, expected);
            let times = slots(&block.payload, block.checksum).expect("whole");
            prop_assert_eq!((times.first(), times.last()), (Some(&block.first_us), Some(&block.last_us)));
        }

        #[test]
        fn damage_is_found_and_never_panics(table in table(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let Some(mut block) = encode(&table) else { return Ok(()) };
            let at = at.index(block.payload.len());
            block.payload[at] ^= 1 << bit;
            let read = |expected| select::<2>((&block.payload, expected), &mut Directories::default(), |_| true);
            prop_assert_eq!(read(block.checksum), Err(Damaged::Checksum));
            // Even with a checksum that matches, as another program might have written it.
            let _ = read(checksum(&block.payload));
        }
    }

    #[test]
    fn a_block_of_other_lanes_is_not_read() {
        let cells = vec![(1, [1, 2])];
        let block = encode(&BTreeMap::from([(series(1), cells)])).expect("a block");
        let read = select::<1>((&block.payload, block.checksum), &mut Directories::default(), |_| true);
        assert_eq!(read, Err(Damaged::Version));
    }
}
