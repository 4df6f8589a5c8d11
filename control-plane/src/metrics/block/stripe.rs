//! Rows of neighbouring series, compressed together. Pure.
//!
//! ```text
//! stripe   = row*
//! row      = presence column{lanes}
//! presence = varint(runs) varint(length)*     slots without a value and with one, by turns; 0 runs: one everywhere
//! ```

use muster_shared::metric::varint::{put_varint, take_varint};

use super::{
    Cells, Damaged,
    column::{self, CHUNK, Place},
    cursor::Cursor,
    part,
};

/// How rows are put into stripes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// A stripe is closed once its rows have so many bytes: small enough to read for one series, large enough to compress.
    pub(super) stripe_bytes: usize,
    /// zstd's.
    pub(super) level: i32,
}

/// A closed stripe: how many series are in it, and their rows as a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stripe {
    pub(super) series: u64,
    pub(super) part: Vec<u8>,
}

/// Stripes in the making.
#[derive(Debug)]
pub(super) struct Writer<'a, const LANES: usize> {
    slots: &'a [i64],
    manner: Manner,
    rows: Vec<u8>,
    series: u64,
    before: [Vec<i64>; LANES],
    stripes: Vec<Stripe>,
}

impl<'a, const LANES: usize> Writer<'a, LANES> {
    pub(super) fn new(slots: &'a [i64], manner: Manner) -> Self {
        let before = [const { Vec::new() }; LANES];
        Self { slots, manner, rows: Vec::with_capacity(manner.stripe_bytes), series: 0, before, stripes: Vec::new() }
    }

    /// Puts the next series' cells, at least one, in order of time and all of them at slots.
    pub(super) fn put(&mut self, cells: &[(i64, [i64; LANES])]) {
        put_presence(&mut self.rows, self.slots, cells);
        for (lane, before) in self.before.iter_mut().enumerate() {
            let values: Vec<i64> = cells.iter().map(|(_, lanes)| lanes[lane]).collect();
            column::put(&mut self.rows, &values, before);
            *before = values;
        }
        self.series += 1;
        if self.rows.len() >= self.manner.stripe_bytes {
            self.close();
        }
    }

    fn close(&mut self) {
        let mut part = Vec::new();
        part::put(&mut part, &self.rows, self.manner.level);
        self.stripes.push(Stripe { series: self.series, part });
        self.rows.clear();
        self.series = 0;
        self.before.iter_mut().for_each(Vec::clear);
    }

    pub(super) fn finish(mut self) -> Vec<Stripe> {
        if self.series > 0 {
            self.close();
        }
        self.stripes
    }
}

/// Reads a stripe's rows, one after the other.
#[derive(Debug)]
pub(super) struct Reader<const LANES: usize> {
    plain: Vec<u8>,
    at: usize,
    known: [Option<Place>; LANES],
}

impl<const LANES: usize> Reader<LANES> {
    /// Of a stripe's decompressed rows.
    pub(super) fn new(plain: Vec<u8>) -> Self {
        Self { plain, at: 0, known: [None; LANES] }
    }

    /// The rows' bytes, to be used again.
    pub(super) fn into_plain(self) -> Vec<u8> {
        self.plain
    }

    /// The next row's cells.
    pub(super) fn take(&mut self, slots: &[i64]) -> Result<Cells<LANES>, Damaged> {
        let mut cells = Cells::<LANES>::with_capacity(slots.len());
        self.presence(slots, |present| cells.extend(present.iter().map(|slot| (*slot, [0; LANES]))))?;
        for (lane, known) in self.known.iter_mut().enumerate() {
            let mut values = vec![0; cells.len()];
            column::take(&self.plain, &mut self.at, known, &mut values)?;
            cells.iter_mut().zip(values).for_each(|((_, lanes), value)| lanes[lane] = value);
        }
        Ok(cells)
    }

    /// Passes over the next row.
    pub(super) fn skip(&mut self, slots: &[i64]) -> Result<(), Damaged> {
        let mut count = 0;
        self.presence(slots, |present| count += present.len())?;
        self.known.iter_mut().try_for_each(|known| column::skip(&self.plain, &mut self.at, count, known).map(drop))
    }

    /// Tells of the runs of slots that have a value; there is at least one.
    fn presence<'s>(&mut self, slots: &'s [i64], mut tell: impl FnMut(&'s [i64])) -> Result<(), Damaged> {
        let mut input = self.plain.get(self.at..).ok_or(Damaged::Content)?;
        let runs = take_varint(&mut input)?;
        let (mut rest, mut present, mut is_any) = (slots, false, runs == 0);
        if runs == 0 {
            tell(slots);
        }
        for _ in 0..runs {
            let run = usize::try_from(take_varint(&mut input)?).map_err(|_| Damaged::Content)?;
            let (these, others) = rest.split_at_checked(run).ok_or(Damaged::Content)?;
            if present {
                tell(these);
                is_any |= run > 0;
            }
            (rest, present) = (others, !present);
        }
        self.at = self.plain.len() - input.len();
        if is_any { Ok(()) } else { Err(Damaged::Content) }
    }
}

impl Reader<1> {
    /// Tells the next row's points in order of time, some at a time.
    pub(super) fn walk(&mut self, slots: &[i64], mut tell: impl FnMut(&[(i64, i64)])) -> Result<(), Damaged> {
        let mut runs = Vec::new();
        self.presence(slots, |present| runs.push(present))?;
        let count = runs.iter().map(|run| run.len()).sum();
        let [known] = &mut self.known;
        let mut cursor = Cursor::open(&self.plain, &mut self.at, count, known)?;
        let (mut points, mut values, mut filled) = ([(0, 0); CHUNK], [0; CHUNK], 0);
        let mut tell = |points: &mut [(i64, i64)]| {
            let values = &mut values[..points.len()];
            cursor.next(values)?;
            points.iter_mut().zip(values).for_each(|(point, value)| point.1 = *value);
            tell(points);
            Ok::<_, Damaged>(())
        };
        for mut run in runs {
            while !run.is_empty() {
                let (these, rest) = run.split_at(run.len().min(CHUNK - filled));
                points[filled..].iter_mut().zip(these).for_each(|(point, slot)| point.0 = *slot);
                (run, filled) = (rest, filled + these.len());
                if filled == CHUNK {
                    tell(&mut points)?;
                    filled = 0;
                }
            }
        }
        if filled > 0 { tell(&mut points[..filled]) } else { Ok(()) }
    }
}

fn put_presence<const LANES: usize>(out: &mut Vec<u8>, slots: &[i64], cells: &[(i64, [i64; LANES])]) {
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
}
