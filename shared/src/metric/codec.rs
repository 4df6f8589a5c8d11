//! The columns' encoding: self-contained, small where values stand still.
//!
//! ```text
//! payload  = ticks column*
//! ticks    = varint(count) zigzag(first) zigzag(delta)*
//! column   = varint(id − previous id) flag body          ids ascend; the first counts from 0
//! flag 0   = zigzag(value)                               the same value at every tick
//! flag 1   = zigzag(first) zigzag(delta)*                a value at every tick
//! flag 2   = bitmap(count bits) zigzag(first) zigzag(delta)*   values where bits are set, at least one
//! ```
//! Deltas are against the value before in the same column and wrap, so any `i64` survives.

use std::cell::RefCell;

use super::{
    Columns, MAX_PAYLOAD_BYTES, MAX_SERIES_PER_HOST, MAX_TICKS_PER_FRAME, Newest, SeriesId,
    varint::{EndsEarly, put_deltas, put_varint, put_zigzag, take_varint, take_zigzag},
};
use crate::wire::FrameEncoding;

const CONSTANT: u8 = 0;
const DENSE: u8 = 1;
const SPARSE: u8 = 2;

/// A payload that can't be decoded. Nothing of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the frame ends early")]
    Truncated,
    #[error("the frame has no ticks or more than {MAX_TICKS_PER_FRAME}")]
    Ticks,
    #[error("the frame's ticks don't increase")]
    TicksOrder,
    #[error("the frame's series ids don't increase or are too many")]
    Series,
    #[error("the frame has a column of unknown form")]
    Flag,
    #[error("the frame is larger than {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge,
    #[error("the frame's compression is damaged or unknown")]
    Compression,
}

impl From<EndsEarly> for CodecError {
    fn from(EndsEarly: EndsEarly) -> Self {
        Self::Truncated
    }
}

/// Encodes `columns`, compressed where that is smaller. Columns without any value are left out.
#[must_use]
pub fn encode(columns: &Columns) -> (FrameEncoding, Vec<u8>) {
    let plain = encode_plain(columns);
    match zstd::bulk::compress(&plain, 1) {
        Ok(small) if small.len() < plain.len() => (FrameEncoding::ColumnsZstd, small),
        _ => (FrameEncoding::Columns, plain),
    }
}

fn encode_plain(columns: &Columns) -> Vec<u8> {
    let mut out = Vec::with_capacity(columns.values.len() * (columns.ticks_us.len() + 4));
    put_varint(&mut out, columns.ticks_us.len() as u64);
    put_deltas(&mut out, columns.ticks_us.iter().copied());
    let mut previous: SeriesId = 0;
    for (id, values) in &columns.values {
        let present = values.iter().flatten().copied();
        let Some(first) = present.clone().next() else { continue };
        put_varint(&mut out, u64::from(id - previous));
        previous = *id;
        let dense = values.iter().all(Option::is_some);
        if dense && present.clone().all(|value| value == first) {
            out.push(CONSTANT);
            put_zigzag(&mut out, first);
        } else if dense {
            out.push(DENSE);
            put_deltas(&mut out, present);
        } else {
            out.push(SPARSE);
            for eight in values.chunks(8) {
                out.push(
                    eight.iter().enumerate().fold(0, |bits, (at, value)| bits | (u8::from(value.is_some()) << at)),
                );
            }
            put_deltas(&mut out, present);
        }
    }
    out
}

/// Decodes a payload from outside, within the limits of [`super`].
///
/// # Errors
/// [`CodecError`] for anything that [`encode`] could not have made.
pub fn decode(encoding: FrameEncoding, payload: &[u8]) -> Result<Columns, CodecError> {
    let mut columns = Columns::default();
    read(encoding, payload, &mut columns)?;
    Ok(columns)
}

/// Decodes a payload as [`decode`] does, and keeps the columns of `wanted` series only; those are named once, ascending.
///
/// # Errors
/// [`CodecError`] for anything that [`encode`] could not have made.
pub fn select(encoding: FrameEncoding, payload: &[u8], wanted: &[SeriesId]) -> Result<Columns, CodecError> {
    let mut sink = SelectedSink { columns: Columns::default(), wanted, takes: false };
    read(encoding, payload, &mut sink)?;
    Ok(sink.columns)
}

/// Checks a payload as [`decode`] does, and keeps no more of it than [`Newest`] holds: nothing is allocated per series.
/// Each wanted series is named once.
///
/// # Errors
/// [`CodecError`] for anything that [`encode`] could not have made.
pub fn newest(encoding: FrameEncoding, payload: &[u8], wanted: &[SeriesId]) -> Result<Newest, CodecError> {
    let mut places: Vec<_> = wanted.iter().copied().zip(0..).collect();
    places.sort_unstable();
    let newest = Newest { values: vec![[None; 2]; wanted.len()], ..Newest::default() };
    let mut sink = NewestSink { newest, places, place: None };
    read(encoding, payload, &mut sink)?;
    Ok(sink.newest)
}

/// Where decoded values go.
trait Sink {
    /// The ticks, once and first.
    fn ticks(&mut self, ticks_us: Vec<i64>);
    /// The next series.
    fn series(&mut self, id: SeriesId);
    /// A value of the series named last.
    fn value(&mut self, tick: usize, value: i64);
}

impl Sink for Columns {
    fn ticks(&mut self, ticks_us: Vec<i64>) {
        self.ticks_us = ticks_us;
    }

    fn series(&mut self, id: SeriesId) {
        self.values.push((id, vec![None; self.ticks_us.len()]));
    }

    fn value(&mut self, tick: usize, value: i64) {
        if let Some(place) = self.values.last_mut().and_then(|(_, column)| column.get_mut(tick)) {
            *place = Some(value);
        }
    }
}

struct SelectedSink<'a> {
    columns: Columns,
    wanted: &'a [SeriesId],
    takes: bool,
}

impl Sink for SelectedSink<'_> {
    fn ticks(&mut self, ticks_us: Vec<i64>) {
        self.columns.ticks(ticks_us);
    }

    fn series(&mut self, id: SeriesId) {
        self.takes = self.wanted.binary_search(&id).is_ok();
        if self.takes {
            self.columns.series(id);
        }
    }

    fn value(&mut self, tick: usize, value: i64) {
        if self.takes {
            self.columns.value(tick, value);
        }
    }
}

struct NewestSink {
    newest: Newest,
    /// Wanted series by id, and where their values go.
    places: Vec<(SeriesId, usize)>,
    place: Option<usize>,
}

impl Sink for NewestSink {
    fn ticks(&mut self, ticks_us: Vec<i64>) {
        self.newest.ticks_us = ticks_us;
    }

    fn series(&mut self, id: SeriesId) {
        self.place = self.places.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| self.places[at].1);
    }

    fn value(&mut self, tick: usize, value: i64) {
        let Some(place) = self.place else { return };
        let from_the_end = self.newest.ticks_us.len() - tick;
        if from_the_end <= 2 {
            self.newest.values[place][2 - from_the_end] = Some(value);
        }
    }
}

/// What a thread needs to decompress, made once: a context is far larger than most frames.
struct Decompression {
    context: Option<zstd::bulk::Decompressor<'static>>,
    plain: Vec<u8>,
}

thread_local! {
    static DECOMPRESSION: RefCell<Decompression> = const { RefCell::new(Decompression { context: None, plain: Vec::new() }) };
}

/// Room for decompressed bytes that a thread keeps; most frames have less.
const KEPT_BYTES: usize = 64 * 1024;

fn read(encoding: FrameEncoding, payload: &[u8], sink: &mut impl Sink) -> Result<(), CodecError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(CodecError::TooLarge);
    }
    match encoding {
        FrameEncoding::Columns => read_plain(payload, sink),
        FrameEncoding::ColumnsZstd => DECOMPRESSION.with_borrow_mut(|decompression| {
            let plain = decompression.decompress(payload)?;
            let read = read_plain(plain, sink);
            if decompression.plain.capacity() > KEPT_BYTES {
                decompression.plain = Vec::new();
            }
            read
        }),
        FrameEncoding::Unspecified => Err(CodecError::Compression),
    }
}

impl Decompression {
    fn decompress(&mut self, payload: &[u8]) -> Result<&[u8], CodecError> {
        // The frame header may lie about its size; `decompress_to_buffer` never writes past the capacity given.
        let size = zstd::zstd_safe::get_frame_content_size(payload)
            .ok()
            .flatten()
            .and_then(|size| usize::try_from(size).ok())
            .ok_or(CodecError::Compression)?;
        if size > MAX_PAYLOAD_BYTES {
            return Err(CodecError::TooLarge);
        }
        let context = match &mut self.context {
            Some(context) => context,
            empty => empty.insert(zstd::bulk::Decompressor::new().map_err(|_| CodecError::Compression)?),
        };
        self.plain.clear();
        self.plain.reserve_exact(size);
        context.decompress_to_buffer(payload, &mut self.plain).map_err(|_| CodecError::Compression)?;
        if self.plain.len() > MAX_PAYLOAD_BYTES {
            return Err(CodecError::TooLarge);
        }
        Ok(&self.plain)
    }
}

fn read_plain(payload: &[u8], sink: &mut impl Sink) -> Result<(), CodecError> {
    let mut input = payload;
    let count = usize::try_from(take_varint(&mut input)?).map_err(|_| CodecError::Ticks)?;
    if count == 0 || count > MAX_TICKS_PER_FRAME {
        return Err(CodecError::Ticks);
    }
    let mut ticks_us = Vec::with_capacity(count);
    take_deltas(&mut input, 0..count, |_, tick| ticks_us.push(tick))?;
    if ticks_us.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(CodecError::TicksOrder);
    }
    sink.ticks(ticks_us);
    let (mut previous, mut series) = (None, 0);
    while !input.is_empty() {
        let step = take_varint(&mut input)?;
        if series >= MAX_SERIES_PER_HOST || (previous.is_some() && step == 0) {
            return Err(CodecError::Series);
        }
        let id = previous.map_or(0, u64::from).checked_add(step).and_then(|id| SeriesId::try_from(id).ok());
        let id = id.ok_or(CodecError::Series)?;
        (previous, series) = (Some(id), series + 1);
        sink.series(id);
        read_column(&mut input, count, sink)?;
    }
    Ok(())
}

fn read_column(input: &mut &[u8], count: usize, sink: &mut impl Sink) -> Result<(), CodecError> {
    let (flag, rest) = input.split_first().ok_or(CodecError::Truncated)?;
    *input = rest;
    match *flag {
        CONSTANT => {
            let value = take_zigzag(input)?;
            (0..count).for_each(|tick| sink.value(tick, value));
            Ok(())
        }
        DENSE => take_deltas(input, 0..count, |tick, value| sink.value(tick, value)),
        SPARSE => {
            let (bitmap, rest) = input.split_at_checked(count.div_ceil(8)).ok_or(CodecError::Truncated)?;
            *input = rest;
            let mut present = (0..count).filter(|at| bitmap[at / 8] >> (at % 8) & 1 == 1).peekable();
            if present.peek().is_none() {
                return Err(CodecError::Flag);
            }
            take_deltas(input, present, |tick, value| sink.value(tick, value))
        }
        _ => Err(CodecError::Flag),
    }
}

/// Takes a value for each of `ticks`.
fn take_deltas(
    input: &mut &[u8],
    ticks: impl Iterator<Item = usize>,
    mut take: impl FnMut(usize, i64),
) -> Result<(), CodecError> {
    let mut previous = 0i64;
    for tick in ticks {
        previous = previous.wrapping_add(take_zigzag(input)?);
        take(tick, previous);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn columns() -> impl Strategy<Value = Columns> {
        (1usize..=MAX_TICKS_PER_FRAME, 0usize..20).prop_flat_map(|(ticks, series)| {
            let times = proptest::collection::vec(1i64..3_000_000, ticks);
            let column = proptest::collection::vec(proptest::option::of(any::<i64>()), ticks);
            let still = any::<i64>().prop_map(move |value| vec![Some(value); ticks]);
            let values = proptest::collection::vec(prop_oneof![column, still], series);
            let ids = proptest::collection::btree_set(any::<u32>(), series);
            (times, values, ids).prop_map(|(steps, values, ids)| {
                let ticks_us = steps
                    .into_iter()
                    .scan(1_700_000_000_000_000i64, |now, step| {
                        *now += step;
                        Some(*now)
                    })
                    .collect();
                let values =
                    ids.into_iter().zip(values).filter(|(_, column)| column.iter().any(Option::is_some)).collect();
                Columns { ticks_us, values }
            })
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(columns in columns()) {
            let (encoding, payload) = encode(&columns);
            prop_assert_eq!(decode(encoding, &payload), Ok(columns));
        }

        #[test]
        fn the_newest_are_those_of_the_columns(columns in columns(), wanted in proptest::collection::vec(any::<u32>(), 0..9)) {
            let (encoding, payload) = encode(&columns);
            let ids = columns.values.iter().rev().step_by(2).map(|(id, _)| *id);
            let wanted: std::collections::BTreeSet<_> = wanted.into_iter().chain(ids).collect();
            let wanted: Vec<_> = wanted.into_iter().rev().collect();
            let newest = newest(encoding, &payload, &wanted).expect("encoded here");
            for (id, found) in wanted.iter().zip(&newest.values) {
                let column = columns.values.iter().find(|(known, _)| known == id).map(|(_, column)| column);
                let from_the_end = |back: usize| column?[column?.len().checked_sub(back)?];
                prop_assert_eq!(*found, [from_the_end(2), from_the_end(1)]);
            }
            prop_assert_eq!(newest.ticks_us, columns.ticks_us);
        }

        #[test]
        fn what_is_selected_is_what_was_decoded(columns in columns()) {
            let (encoding, payload) = encode(&columns);
            let wanted: Vec<_> = columns.values.iter().map(|(id, _)| *id).step_by(2).collect();
            let selected = select(encoding, &payload, &wanted).expect("encoded here");
            let values = columns.values.into_iter().step_by(2).collect();
            prop_assert_eq!(selected, Columns { ticks_us: columns.ticks_us, values });
        }

        #[test]
        fn outside_bytes_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
            for encoding in [FrameEncoding::Columns, FrameEncoding::ColumnsZstd] {
                let decoded = decode(encoding, &payload);
                prop_assert_eq!(select(encoding, &payload, &[0, 7]).map(|columns| columns.ticks_us), decoded.clone().map(|columns| columns.ticks_us));
                prop_assert_eq!(newest(encoding, &payload, &[0, 7]).map(|newest| newest.ticks_us), decoded.map(|columns| columns.ticks_us));
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_grows() {
        let bomb = zstd::bulk::compress(&vec![0u8; MAX_PAYLOAD_BYTES * 4], 1).expect("compressed");
        assert_eq!(decode(FrameEncoding::ColumnsZstd, &bomb), Err(CodecError::TooLarge));
    }

    #[test]
    fn still_series_cost_a_few_bytes() {
        let values = (0..400).map(|id| (id, vec![Some(123_456); 10])).collect();
        let columns = Columns { ticks_us: (0..10).map(|s| s * 1_000_000).collect(), values };
        let (_, payload) = encode(&columns);
        assert!(payload.len() < 100, "{} bytes", payload.len());
    }
}
