//! A day in columns: its index, and stripes that are stored by themselves. Pure.
//!
//! A week of one series is then seven indexes and seven stripes, and what series have in common over a day is
//! compressed once.

use std::collections::{BTreeMap, BTreeSet};

use muster_shared::metric::Series;

use super::{
    Damaged, Encoded, Striped, manner_of_hours,
    stripe::Manner,
    stripe_bytes,
    table::{Builder, Table, within},
    whole,
};

/// zstd's: days are written once, and a tenth smaller than with its default.
const LEVEL: i32 = 9;

/// A day in the making: its series come one after the other, in order.
#[derive(Debug)]
pub struct DayBuilder<'a, const LANES: usize> {
    slots: &'a [i64],
    builder: Builder<'a, LANES>,
}

impl<'a, const LANES: usize> DayBuilder<'a, LANES> {
    /// `slots` are all times at which any series has a value, in order.
    #[must_use]
    pub fn new(slots: &'a [i64]) -> Self {
        let manner = Manner { stripe_bytes: stripe_bytes::<LANES>(), level: LEVEL };
        Self { slots, builder: Builder::new(slots, manner) }
    }

    /// Puts a series; one without cells is left out.
    pub fn put(&mut self, series: &Series, cells: &[(i64, [i64; LANES])]) {
        self.builder.put(series, cells);
    }

    /// `None` of nothing.
    #[must_use]
    pub fn finish(self) -> Option<Striped> {
        Some(Striped::apart(self.builder.finish()?, self.slots))
    }
}

/// The hours of a day that begin at `windows`, as blocks by themselves; and the damage that kept rows out of them, if any.
#[must_use]
pub fn hours<const LANES: usize>(
    table: Table<'_, LANES>,
    windows: &BTreeSet<i64>,
    hour_us: i64,
) -> (BTreeMap<i64, Encoded>, Option<Damaged>) {
    let slots = table.slots().to_vec();
    let of_hour = |window: i64| {
        let begin = slots.partition_point(|slot| *slot < window);
        &slots[begin..slots.partition_point(|slot| *slot < window + hour_us)]
    };
    let mut builders: Vec<_> = windows
        .iter()
        .map(|window| (*window, of_hour(*window), Builder::<LANES>::new(of_hour(*window), manner_of_hours::<LANES>())))
        .collect();
    let mut damage = None;
    for row in table.rows() {
        match row {
            Ok((series, cells)) => {
                for (window, _, builder) in &mut builders {
                    builder.put(&series, within((*window, *window + hour_us), &cells));
                }
            }
            Err(damaged) => damage = Some(damaged),
        }
    }
    let whole = |(window, slots, builder): (_, _, Builder<'_, LANES>)| Some((window, whole(builder.finish()?, slots)));
    (builders.into_iter().filter_map(whole).collect(), damage)
}

#[cfg(test)]
mod tests {
    use muster_shared::metric::SeriesKind;

    use super::*;
    use crate::metrics::block::{Cells, Directories, Index, Room, checksum};

    fn series(number: usize) -> Series {
        let labels = [("n".to_owned(), format!("{number:03}"))].into();
        Series { name: "m".into(), labels, scale: 0, kind: SeriesKind::Gauge }
    }

    /// Every series has something of its own, and some has nothing at every third slot.
    fn day(count: usize) -> (Vec<i64>, Vec<Cells<1>>) {
        let slots: Vec<i64> = (0..30_000).map(|second| second * 1_000_000 + second % 7).collect();
        let cell = |number: usize, slot: i64| (slot, [(slot / 1_000_000 * 7_919 + number as i64 * 31) % 1_009]);
        let cells = (0..count).map(|number| {
            let cells = slots.iter().enumerate().filter(|(at, _)| number % 5 != 4 || at % 3 > 0);
            cells.map(|(_, slot)| cell(number, *slot)).collect()
        });
        let cells = cells.collect();
        (slots, cells)
    }

    fn encoded(slots: &[i64], cells: &[Cells<1>]) -> Striped {
        let mut builder = DayBuilder::<1>::new(slots);
        cells.iter().enumerate().for_each(|(number, cells)| builder.put(&series(number), cells));
        builder.finish().expect("a day")
    }

    fn index(day: &Striped) -> Index<1> {
        Index::read((&day.head.payload, day.head.checksum), &Directories::default()).expect("whole")
    }

    #[test]
    fn one_series_is_read_from_one_stripe() {
        let (slots, cells) = day(12);
        let day = encoded(&slots, &cells);
        assert!(day.stripes.len() > 5, "{}", day.stripes.len());
        assert_eq!(day.head.samples, cells.iter().map(|cells| cells.len() as u64).sum::<u64>());
        for (number, cells) in cells.iter().enumerate() {
            let index = index(&day);
            let wanted = |one: &Series| *one == series(number);
            let [stripe] = index.stripes_with(wanted)[..] else { panic!("in one stripe") };
            let (content, others) = (&day.stripes[stripe as usize], day.stripes.len() - 1);
            let (table, damage) =
                index.with([(stripe, (&content.payload[..], content.checksum))], &mut Room::default()).expect("whole");
            assert_eq!(table.slots(), slots);
            assert_eq!((damage, table.stripes.iter().filter(|(_, part)| part.is_none()).count()), (None, others));
            assert_eq!(table.select(wanted), Ok(vec![(series(number), cells.clone())]));
        }
    }

    #[test]
    fn an_hour_is_taken_out_as_a_block() {
        let (slots, cells) = day(7);
        let (day, hour_us) = (encoded(&slots, &cells), 3_600_000_000);
        let stripes = (0..).zip(day.stripes.iter().map(|stripe| (&stripe.payload[..], stripe.checksum)));
        let (table, _) = index(&day).with(stripes, &mut Room::default()).expect("whole");
        let (hours, damage) = hours(table, &BTreeSet::from([hour_us, 20 * hour_us]), hour_us);
        assert_eq!((damage, hours.keys().copied().collect::<Vec<_>>()), (None, vec![hour_us]), "the other has nothing");
        let block = &hours[&hour_us];
        let read =
            crate::metrics::block::select::<1>((&block.payload, block.checksum), &Directories::default(), |_| true);
        let expected = cells
            .iter()
            .enumerate()
            .map(|(number, cells)| (series(number), within((hour_us, 2 * hour_us), cells).to_vec()));
        assert_eq!(read, Ok(expected.collect()));
    }

    #[test]
    fn a_damaged_stripe_costs_its_series_and_no_other() {
        let (slots, cells) = day(12);
        let mut day = encoded(&slots, &cells);
        let middle = day.stripes[2].payload.len() / 2;
        day.stripes[2].payload[middle] ^= 4;
        let is_lost = |number: &usize| index(&day).stripes_with(|one| *one == series(*number)) == [2];
        let lost = (0..12).filter(is_lost).count();
        let stripes = (0..).zip(day.stripes.iter().map(|stripe| (&stripe.payload[..], stripe.checksum)));
        let (table, damage) = index(&day).with(stripes, &mut Room::default()).expect("whole");
        assert_eq!(damage, Some(Damaged::Checksum));
        let read: Vec<_> = table.rows().collect::<Result<_, _>>().expect("whole");
        assert_eq!(read.len(), cells.len() - lost);
        assert!(read.iter().all(|(one, row)| (0..12).any(|number| *one == series(number) && *row == cells[number])));
    }

    #[test]
    fn a_damaged_index_and_stripes_of_another_day_are_found_out() {
        let (slots, cells) = day(3);
        let day = encoded(&slots, &cells);
        let mut payload = day.head.payload.clone();
        for bit in 0..8 {
            payload[11] ^= 1 << bit;
            let read = |expected| Index::<1>::read((&payload, expected), &Directories::default());
            assert_eq!(read(day.head.checksum).err(), Some(Damaged::Checksum));
            // Even with a checksum that matches, as another program might have written it.
            drop(read(checksum(&payload)));
        }
        let content = &day.stripes[0];
        let (_, damage) =
            index(&day).with([(99, (&content.payload[..], content.checksum))], &mut Room::default()).expect("whole");
        assert_eq!(damage, Some(Damaged::Content));
        assert!(Index::<4>::read((&day.head.payload, day.head.checksum), &Directories::default()).is_err());
    }
}
