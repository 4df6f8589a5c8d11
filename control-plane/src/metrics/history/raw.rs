//! Steps made of single samples: of days, of hours that are in no day yet, and of frames that are in no hour yet.
//!
//! What stands by itself, a day or an hour, is gathered by itself on whichever processor is free and joined with what was
//! before; its samples are never held. Only where times may be in two places, as those of an hour that came after its day was
//! made, are samples put together first.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use futures_util::future::try_join_all;
use muster_shared::{
    id::{OrgId, ServerId},
    metric::Series,
};

use super::{HeadSamples, History, Question, days::PackedDay};
use crate::{
    error::Error,
    metrics::{
        Budget, Points, Selection,
        block::{Cells, Damaged, Directories, Room},
        block_row,
        gathering::Gathering,
        seal::{DAY_US, WINDOW_US, day_of, merged, window_of},
        steps::{MAX_RATE_GAP_US, Steps},
    },
    store::{BlockKey, BlockRow, Resolution},
};

/// Days read at once where nothing stands beside them.
const DAYS_AT_ONCE: i64 = 8;

type PointsOf = BTreeMap<Series, Points>;

/// An hour that is in no day: its blocks, and what is in none of them yet.
#[derive(Debug, Default)]
struct Window {
    window_us: i64,
    blocks: Vec<BlockRow>,
    head: Option<PointsOf>,
}

/// What was gathered of a window, how many samples that were, and what can't be read.
#[derive(Debug)]
struct WindowGathered {
    gathering: Gathering,
    samples: usize,
    damaged: Vec<(BlockKey, Damaged)>,
}

impl History {
    /// Answers the hours of `run` from single samples.
    pub(super) async fn raw(
        &self,
        question: &mut Question<'_>,
        run: Range<i64>,
        head: &HeadSamples,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let (whose, selection, steps) = (question.whose, question.selection, question.gathering.steps());
        // The minute before makes the first rates.
        let (first, last) = (window_of(run.start - MAX_RATE_GAP_US), window_of(run.end - 1));
        // An hour that is sealed from here on is in the head as well.
        let mut hours = self.store.block_windows(whose, Resolution::Second, (first, last)).await?;
        hours.extend(head.points.range(first..=last).map(|(window, _)| window));
        question.gathering.begin_run();
        for (days, has_hours) in spans((day_of(first), day_of(last)), &hours) {
            let range_us = (first.max(days.start), (last + WINDOW_US).min(days.end));
            let windows =
                async { if has_hours { self.windows(whose, range_us, selection, head).await } else { Ok(Vec::new()) } };
            let days = self.packed_days::<1>(whose, Resolution::Second, range_us, selection.taken());
            let (windows, packed) = tokio::try_join!(windows, days)?;
            let gathered = if !has_hours {
                self.gathered_days(whose, packed, (steps, &run), budget, selection.taken()).await?
            } else if packed.is_empty() {
                self.gathered_windows(whose, windows, (steps, &run), budget, selection).await?
            } else {
                vec![
                    self.gathered_together(whose, (packed, windows), (range_us, steps, &run), budget, selection)
                        .await?,
                ]
            };
            gathered.into_iter().for_each(|later| question.gathering.join(later, &run));
        }
        Ok(())
    }

    /// The windows of a range that have samples by themselves, in order.
    async fn windows(
        &self,
        whose: (OrgId, ServerId),
        (from_us, to_us): (i64, i64),
        selection: &Selection,
        head: &HeadSamples,
    ) -> Result<Vec<Window>, Error> {
        let mut windows: BTreeMap<i64, Window> = BTreeMap::new();
        let new = |window_us| Window { window_us, ..Window::default() };
        let range_us = (from_us, to_us - WINDOW_US);
        for block in self.blocks::<1>(whose, Resolution::Second, range_us, selection).await? {
            let window_us = block.key.window_us;
            windows.entry(window_us).or_insert_with(|| new(window_us)).blocks.push(block);
        }
        for (window_us, points) in head.points.range(from_us..to_us) {
            windows.entry(*window_us).or_insert_with(|| new(*window_us)).head = Some(points.clone());
        }
        Ok(windows.into_values().collect())
    }

    /// What windows were, each by itself, in order.
    async fn gathered_windows(
        &self,
        whose: (OrgId, ServerId),
        windows: Vec<Window>,
        (steps, run): (Steps, &Range<i64>),
        budget: &mut Budget,
        selection: &Selection,
    ) -> Result<Vec<Gathering>, Error> {
        let shares = self.shares(windows).map(|windows| {
            let (run, wanted, directories) = (run.clone(), selection.taken(), self.directories.clone());
            let mut left = Budget::of(budget.left());
            self.unpacking.run(move |room| {
                let mut share = Vec::with_capacity(windows.len());
                for window in windows {
                    let gathered = window.gather((&directories, room), (steps, &run), &wanted);
                    let is_enough = left.take(gathered.samples).is_err();
                    share.push(gathered);
                    if is_enough {
                        break;
                    }
                }
                share
            })
        });
        let mut all = Vec::new();
        for window in try_join_all(shares).await?.into_iter().flatten() {
            budget.take(window.samples)?;
            for (key, damage) in window.damaged {
                self.note_damaged(whose, key, damage).await;
            }
            all.push(window.gathering);
        }
        Ok(all)
    }

    /// What days were together with the windows beside them.
    async fn gathered_together(
        &self,
        whose: (OrgId, ServerId),
        (packed, windows): (Vec<PackedDay<1>>, Vec<Window>),
        (range_us, steps, run): ((i64, i64), Steps, &Range<i64>),
        budget: &mut Budget,
        selection: &Selection,
    ) -> Result<Gathering, Error> {
        let mut points = PointsOf::new();
        let (mut blocks, mut gathering) = (Vec::new(), Gathering::new(steps));
        for window in windows {
            blocks.extend(window.blocks);
            for (series, of_head) in window.head.into_iter().flatten() {
                points.entry(series).or_default().extend(of_head);
            }
        }
        let (hours, _) = self.unpacked_hours::<1>(whose, blocks, budget, selection).await?;
        hours.into_iter().for_each(|hour| add_points(&mut points, hour.found));
        let days = self.read_days(whose, packed, range_us, budget, selection.taken()).await?;
        days.into_iter().for_each(|day| add_points(&mut points, day.found));
        for (series, mut points) in points {
            merged(&mut points);
            gathering.take(&series, &points, run);
        }
        Ok(gathering)
    }
}

impl Window {
    fn gather(
        self,
        (directories, room): (&Directories, &mut Room),
        (steps, run): (Steps, &Range<i64>),
        wanted: impl Fn(&Series) -> bool,
    ) -> WindowGathered {
        let new = || Gathering::new(steps.part(&(self.window_us..self.window_us + WINDOW_US)));
        let (mut gathering, mut samples, mut damaged) = (new(), 0, Vec::new());
        match (&self.blocks[..], self.head) {
            ([block], None) => {
                let walked = block_row::table(block, (directories, room), &wanted).and_then(|table| {
                    table.walk(room, &wanted, |series, points| {
                        gathering.take(series, points, run);
                        samples += points.len();
                    })
                });
                if let Err(damage) = walked {
                    gathering = new();
                    damaged.push((block.key, damage));
                }
            }
            (blocks, head) => {
                let mut points = head.unwrap_or_default();
                for block in blocks {
                    let table = block_row::table(block, (directories, room), &wanted);
                    match table.and_then(|table| table.select(&wanted)) {
                        Ok(found) => {
                            samples += found.iter().map(|(_, cells)| cells.len()).sum::<usize>();
                            add_points(&mut points, found);
                        }
                        Err(damage) => damaged.push((block.key, damage)),
                    }
                }
                for (series, mut points) in points {
                    merged(&mut points);
                    gathering.take(&series, &points, run);
                }
            }
        }
        WindowGathered { gathering, samples, damaged }
    }
}

fn add_points(known: &mut PointsOf, found: Vec<(Series, Cells<1>)>) {
    for (series, cells) in found {
        let points = cells.into_iter().map(|(at_us, [value])| (at_us, value));
        match known.get_mut(&series) {
            Some(known) => known.extend(points),
            None => drop(known.insert(series, points.collect())),
        }
    }
}

/// The days from `first` to `last`, each with `hours` by itself and some without at once; and which they are.
fn spans((first, last): (i64, i64), hours: &BTreeSet<i64>) -> Vec<(Range<i64>, bool)> {
    let mut spans: Vec<(Range<i64>, bool)> = Vec::new();
    for day in (first..=last).step_by(DAY_US as usize) {
        let has_hours = hours.range(day..day + DAY_US).next().is_some();
        match spans.last_mut() {
            Some((span, false)) if !has_hours && span.end - span.start < DAYS_AT_ONCE * DAY_US => span.end += DAY_US,
            _ => spans.push((day..day + DAY_US, has_hours)),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::steps::HOUR_US;

    #[test]
    fn days_without_hours_are_read_together() {
        let day = |days: i64| days * DAY_US;
        let hours = BTreeSet::from([day(2) + HOUR_US, day(3)]);
        let expected = [(0..day(2), false), (day(2)..day(3), true), (day(3)..day(4), true), (day(4)..day(12), false)];
        assert_eq!(spans((0, day(12)), &hours)[..4], expected);
        assert_eq!(spans((0, day(12)), &hours)[4..], [(day(12)..day(13), false)]);
        assert_eq!(spans((0, 0), &BTreeSet::new()), [(0..DAY_US, false)]);
    }
}
