//! Everything a server said last. Read from what is stored when somebody asks: nothing of it is held in memory.

use std::collections::BTreeMap;

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{self, Columns, Series, rate_per_second},
};

use crate::{
    error::Error,
    store::{Store, StoredFrame},
};

/// Frames read: two, since the newest may hold a single tick.
const FRAMES: u32 = 2;
/// A counter's two readings further apart than this make no rate of the moment.
const MAX_APART_US: i64 = 60 * 1_000_000;

/// A series' newest value, and the one before where it is near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    before: Option<(i64, i64)>,
    newest: (i64, i64),
}

/// A server's newest readings, of every series that had a value at the newest tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    pub server_id: ServerId,
    /// When the host took them.
    pub at_us: i64,
    readings: BTreeMap<Series, Reading>,
}

/// The newest readings of `server`; `None` before the first.
///
/// # Errors
/// [`Error`] when the store fails.
pub async fn latest(store: &Store, org: OrgId, server: ServerId) -> Result<Option<Latest>, Error> {
    let frames = store.newest_frames(org, server, FRAMES).await?;
    let Some(epoch) = frames.first().map(|frame| frame.epoch) else { return Ok(None) };
    let series: BTreeMap<_, _> = store.series_of(org, server, epoch).await?.into_iter().collect();
    let columns = frames.iter().rev().filter(|frame| frame.epoch == epoch).filter_map(decoded);
    let columns = columns.map(|columns| {
        let named = columns.values.into_iter().filter_map(|(id, values)| Some((series.get(&id)?.clone(), values)));
        (columns.ticks_us, named.collect())
    });
    Ok(Latest::of(server, columns))
}

/// What was stored was accepted once; what no longer can be read says nothing.
fn decoded(frame: &StoredFrame) -> Option<Columns> {
    metric::decode(frame.encoding, &frame.payload).ok()
}

type Named = (Vec<i64>, Vec<(Series, Vec<Option<i64>>)>);

impl Latest {
    /// Of columns in order of time.
    fn of(server_id: ServerId, columns: impl Iterator<Item = Named>) -> Option<Self> {
        let (mut readings, mut at_us) = (BTreeMap::<Series, Reading>::new(), None);
        for (ticks_us, values) in columns {
            at_us = at_us.max(ticks_us.last().copied());
            for (series, column) in values {
                for newest in ticks_us.iter().zip(column).filter_map(|(at_us, value)| Some((*at_us, value?))) {
                    let before = readings.get(&series).map(|reading| reading.newest);
                    if before.is_none_or(|before| before.0 < newest.0) {
                        readings.insert(series.clone(), Reading { before, newest });
                    }
                }
            }
        }
        let at_us = at_us?;
        readings.retain(|_, reading| reading.newest.0 == at_us);
        Some(Self { server_id, at_us, readings })
    }

    /// The series called `name`.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Series> {
        let first =
            Series { name: name.to_owned(), labels: BTreeMap::new(), scale: i32::MIN, kind: metric::SeriesKind::Gauge };
        let name = name.to_owned();
        self.readings.range(first..).map(|(series, _)| series).take_while(move |series| series.name == name)
    }

    /// Every series.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.readings.keys()
    }

    /// Every series with its newest value in its unit.
    pub fn values(&self) -> impl Iterator<Item = (&Series, f64)> {
        self.readings.iter().map(|(series, reading)| (series, series.to_unit(reading.newest.1)))
    }

    /// A series' newest value in its unit.
    #[must_use]
    pub fn value(&self, series: &Series) -> Option<f64> {
        self.readings.get(series).map(|reading| series.to_unit(reading.newest.1))
    }

    /// A counter's newest rate, per second in its unit.
    #[must_use]
    pub fn rate(&self, series: &Series) -> Option<f64> {
        let reading = self.readings.get(series)?;
        let before = reading.before.filter(|before| reading.newest.0 - before.0 <= MAX_APART_US)?;
        rate_per_second(before, reading.newest).map(|rate| scaled(rate, series.scale))
    }

    /// The value of the series called `name` with these labels among its own.
    #[must_use]
    pub fn value_of(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.named(name).find(|series| has(series, labels)).and_then(|series| self.value(series))
    }

    /// The rates of the series called `name` with these labels, together; 0 where none has one yet.
    #[must_use]
    pub fn rate_of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.named(name).filter(|series| has(series, labels)).filter_map(|series| self.rate(series)).sum()
    }

    /// The values of a label that the series called `name` have, in order.
    #[must_use]
    pub fn labels(&self, name: &str, label: &str) -> Vec<String> {
        self.named(name).filter_map(|series| series.labels.get(label).cloned()).collect()
    }
}

fn has(series: &Series, labels: &[(&str, &str)]) -> bool {
    labels.iter().all(|(label, value)| series.labels.get(*label).is_some_and(|own| own == value))
}

fn scaled(value: f64, scale: i32) -> f64 {
    if scale < 0 { value / 10f64.powi(-scale) } else { value * 10f64.powi(scale) }
}

#[cfg(test)]
pub(crate) mod tests {
    use muster_shared::metric::SeriesKind;

    use super::*;

    /// A series as hosts declare it: counters end with `_total`.
    pub(crate) fn series(name: &str, labels: &[(&str, &str)], scale: i32) -> Series {
        let kind = if name.ends_with("_total") { SeriesKind::Counter } else { SeriesKind::Gauge };
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Series { name: name.to_owned(), labels, scale, kind }
    }

    /// Readings one second apart: series, value before, value now.
    pub(crate) fn latest_of(readings: &[(Series, i64, i64)]) -> Latest {
        let values = readings.iter().map(|(series, before, now)| (series.clone(), vec![Some(*before), Some(*now)]));
        let named = (vec![1_000_000, 2_000_000], values.collect());
        Latest::of(ServerId::generate(), std::iter::once(named)).expect("two ticks")
    }

    #[test]
    fn rates_are_of_the_last_second_and_what_is_gone_is_not_there() {
        let (gauge, counter) = (series("up", &[], 0), series("bytes_total", &[("device", "a")], 0));
        let old = (vec![1_000_000], vec![(series("gone", &[], 0), vec![Some(1)]), (counter.clone(), vec![Some(5)])]);
        let new = (vec![2_000_000], vec![(gauge.clone(), vec![Some(7)]), (counter.clone(), vec![Some(25)])]);
        let latest = Latest::of(ServerId::generate(), [old, new].into_iter()).expect("readings");
        assert_eq!(latest.at_us, 2_000_000);
        assert_eq!(latest.value_of("up", &[]), Some(7.0));
        assert_eq!(latest.rate_of("bytes_total", &[("device", "a")]), 20.0);
        assert_eq!(latest.rate_of("bytes_total", &[("device", "b")]), 0.0);
        assert_eq!(latest.value_of("gone", &[]), None);
        assert_eq!(latest.labels("bytes_total", "device"), ["a"]);
    }

    #[test]
    fn readings_far_apart_make_no_rate() {
        let counter = series("bytes_total", &[], 0);
        let at = |at_us: i64, value: i64| (vec![at_us], vec![(counter.clone(), vec![Some(value)])]);
        let latest =
            Latest::of(ServerId::generate(), [at(0, 0), at(MAX_APART_US + 1, 9)].into_iter()).expect("readings");
        assert_eq!(latest.rate(&counter), None);
    }
}
