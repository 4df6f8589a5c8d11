//! What a block holds, before its rows are read: its series, its slots and its stripes. Pure.

use std::sync::Arc;

use muster_shared::metric::{
    Series,
    varint::{put_varint, take_varint},
};

use super::{
    Cells, Damaged, Directories, Room, VERSION, checksum, column, directory,
    part::{self, Part},
    stripe::{Manner, Reader, Stripe, Writer},
};

/// Most slots of a block.
const MAX_SLOTS: usize = 1 << 20;

/// A block's series and slots.
#[derive(Debug, Clone)]
pub(super) struct Head<'a> {
    pub(super) series: Arc<[Series]>,
    slots: Part<'a>,
}

impl<'a> Head<'a> {
    /// The same with its bytes in it.
    pub(super) fn into_owned(self) -> Head<'static> {
        Head { series: self.series, slots: self.slots.into_owned() }
    }

    /// Takes the head off the front of a payload.
    pub(super) fn take<const LANES: usize>(
        payload: &mut &'a [u8],
        expected: u32,
        directories: &Directories,
    ) -> Result<Self, Damaged> {
        if checksum(payload) != expected {
            return Err(Damaged::Checksum);
        }
        let [version, lanes, rest @ ..] = *payload else { return Err(Damaged::Content) };
        if !(1..=VERSION).contains(version) || usize::from(*lanes) != LANES {
            return Err(Damaged::Version);
        }
        *payload = rest;
        let series = directories.read(&Part::take(payload)?)?;
        Ok(Self { series, slots: Part::take(payload)? })
    }

    /// The times at which there is any value. Unpacking them is much of what reading a series costs.
    pub(super) fn slots(&self, room: &mut Room) -> Result<Vec<i64>, Damaged> {
        let plain = self.slots.decompress(room)?;
        let mut rest = &plain[..];
        let count = usize::try_from(take_varint(&mut rest)?).map_err(|_| Damaged::Content)?;
        if count == 0 || count > MAX_SLOTS {
            return Err(Damaged::Content);
        }
        let mut slots = room.slots(count);
        column::take(&plain, &mut (plain.len() - rest.len()), &mut None, &mut slots)?;
        room.give_plain(plain);
        Ok(slots)
    }

    /// Appends a head.
    pub(super) fn put<'s, const LANES: usize>(
        out: &mut Vec<u8>,
        series: impl Iterator<Item = &'s Series>,
        slots: &[i64],
        level: i32,
    ) {
        out.extend([VERSION, LANES as u8]);
        part::put(out, &directory::encode(series), level);
        let mut plain = Vec::new();
        put_varint(&mut plain, slots.len() as u64);
        column::put(&mut plain, slots, &[]);
        part::put(out, &plain, level);
    }
}

/// A block that can be read series by series.
#[derive(Debug)]
pub struct Table<'a, const LANES: usize> {
    pub(super) series: Arc<[Series]>,
    pub(super) slots: Vec<i64>,
    /// How many series each has, in order; `None` of those that are not at hand.
    pub(super) stripes: Vec<(usize, Option<Part<'a>>)>,
}

impl<'a, const LANES: usize> Table<'a, LANES> {
    /// Of a payload with its stripes inside.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn read(
        (payload, expected): (&'a [u8], u32),
        directories: &Directories,
        room: &mut Room,
    ) -> Result<Self, Damaged> {
        let mut input = payload;
        let head = Head::take::<LANES>(&mut input, expected, directories)?;
        let (mut stripes, mut left) = (Vec::new(), head.series.len());
        while !input.is_empty() {
            let series = usize::try_from(take_varint(&mut input)?).map_err(|_| Damaged::Content)?;
            left = left.checked_sub(series).ok_or(Damaged::Content)?;
            stripes.push((series, Some(Part::take(&mut input)?)));
        }
        if left > 0 {
            return Err(Damaged::Content);
        }
        Ok(Self { slots: head.slots(room)?, series: head.series, stripes })
    }

    /// Whether a series that is `wanted` is in a stripe that is not at hand.
    #[must_use]
    pub fn lacks(&self, wanted: impl Fn(&Series) -> bool) -> bool {
        let mut rest = &self.series[..];
        self.stripes.iter().any(|(series, part)| {
            let (named, others) = rest.split_at_checked(*series).unwrap_or_default();
            rest = others;
            part.is_none() && named.iter().any(&wanted)
        })
    }

    /// The times at which there is any value.
    #[must_use]
    pub fn slots(&self) -> &[i64] {
        &self.slots
    }

    /// The series that are `wanted`, with their cells.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn select(&self, wanted: impl Fn(&Series) -> bool) -> Result<Vec<(Series, Cells<LANES>)>, Damaged> {
        self.select_within((i64::MIN, i64::MAX), wanted)
    }

    /// The series that are `wanted`, with their cells from `from_us` to before `to_us`, if any.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn select_within(
        &self,
        range_us: (i64, i64),
        wanted: impl Fn(&Series) -> bool,
    ) -> Result<Vec<(Series, Cells<LANES>)>, Damaged> {
        let mut found = Vec::new();
        self.visit(&mut Room::default(), wanted, |reader, series| {
            let cells = reader.take(&self.slots)?;
            match within(range_us, &cells) {
                [] => {}
                within if within.len() == cells.len() => found.push((series.clone(), cells)),
                within => found.push((series.clone(), within.to_vec())),
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Has every row of a series that is `wanted` read, as far as its stripe is at hand.
    fn visit(
        &self,
        room: &mut Room,
        wanted: impl Fn(&Series) -> bool,
        mut read: impl FnMut(&mut Reader<LANES>, &Series) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        let mut rest = &self.series[..];
        for (series, part) in &self.stripes {
            let (named, others) = rest.split_at_checked(*series).ok_or(Damaged::Content)?;
            rest = others;
            let Some(part) = part else { continue };
            let Some(last) = named.iter().rposition(&wanted) else { continue };
            let mut reader = Reader::<LANES>::new(part.decompress(room)?);
            for series in &named[..=last] {
                if wanted(series) {
                    read(&mut reader, series)?;
                } else {
                    reader.skip(&self.slots)?;
                }
            }
            room.give_plain(reader.into_plain());
        }
        Ok(())
    }

    /// Every row there is, in order of the series.
    #[must_use]
    pub fn rows(self) -> Rows<'a, LANES> {
        Rows { table: self, stripe: 0, series: 0, end: 0, reader: None }
    }
}

impl Table<'_, 1> {
    /// Tells the points of the series that are `wanted`: one series after the other, each in order of time, some points at
    /// a time. Nothing is held of them, and `room` has back what it gave.
    ///
    /// # Errors
    /// [`Damaged`]; something may have been told before.
    pub fn walk(
        self,
        room: &mut Room,
        wanted: impl Fn(&Series) -> bool,
        mut tell: impl FnMut(&Series, &[(i64, i64)]),
    ) -> Result<(), Damaged> {
        self.visit(room, wanted, |reader, series| reader.walk(&self.slots, |points| tell(series, points)))?;
        room.give_slots(self.slots);
        Ok(())
    }
}

/// `cells` from `from_us` to before `to_us`.
pub(super) fn within<const LANES: usize>(
    (from_us, to_us): (i64, i64),
    cells: &[(i64, [i64; LANES])],
) -> &[(i64, [i64; LANES])] {
    let begin = cells.partition_point(|(at_us, _)| *at_us < from_us);
    &cells[begin..cells.partition_point(|(at_us, _)| *at_us < to_us).max(begin)]
}

/// A block's rows, a stripe at a time in memory.
#[derive(Debug)]
pub struct Rows<'a, const LANES: usize> {
    table: Table<'a, LANES>,
    /// The next to be opened.
    stripe: usize,
    series: usize,
    /// Where the open stripe's series end.
    end: usize,
    reader: Option<Reader<LANES>>,
}

impl<const LANES: usize> Rows<'_, LANES> {
    fn advance(&mut self) -> Result<Option<(Series, Cells<LANES>)>, Damaged> {
        while self.series == self.end {
            let Some((series, part)) = self.table.stripes.get(self.stripe) else { return Ok(None) };
            self.stripe += 1;
            self.end += series;
            match part {
                Some(part) => self.reader = Some(Reader::new(part.decompress(&mut Room::default())?)),
                None => self.series = self.end,
            }
        }
        let series = self.table.series.get(self.series).ok_or(Damaged::Content)?;
        let reader = self.reader.as_mut().ok_or(Damaged::Content)?;
        self.series += 1;
        Ok(Some((series.clone(), reader.take(&self.table.slots)?)))
    }
}

/// Ends with the first row that can't be read.
impl<const LANES: usize> Iterator for Rows<'_, LANES> {
    type Item = Result<(Series, Cells<LANES>), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            (self.series, self.end, self.stripe) = (0, 0, usize::MAX);
        }
        next.transpose()
    }
}

/// A block in the making: its series come one after the other, in order.
#[derive(Debug)]
pub(super) struct Builder<'a, const LANES: usize> {
    slots: &'a [i64],
    level: i32,
    series: Vec<Series>,
    writer: Writer<'a, LANES>,
    samples: u64,
}

/// What a [`Builder`] made.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) head: Vec<u8>,
    pub(super) stripes: Vec<Stripe>,
    /// Values in it, lanes not counted.
    pub(super) samples: u64,
}

impl<'a, const LANES: usize> Builder<'a, LANES> {
    /// `slots` are all times at which any series has a value, in order.
    pub(super) fn new(slots: &'a [i64], manner: Manner) -> Self {
        Self { slots, level: manner.level, series: Vec::new(), writer: Writer::new(slots, manner), samples: 0 }
    }

    /// Puts a series; one without cells is left out.
    pub(super) fn put(&mut self, series: &Series, cells: &[(i64, [i64; LANES])]) {
        if !cells.is_empty() {
            self.series.push(series.clone());
            self.samples += cells.len() as u64;
            self.writer.put(cells);
        }
    }

    /// `None` of nothing.
    pub(super) fn finish(self) -> Option<Built> {
        if self.series.is_empty() {
            return None;
        }
        let mut head = Vec::new();
        Head::put::<LANES>(&mut head, self.series.iter(), self.slots, self.level);
        Some(Built { head, stripes: self.writer.finish(), samples: self.samples })
    }
}
