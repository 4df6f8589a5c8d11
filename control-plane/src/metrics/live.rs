//! Chosen series as they arrive: a host's stored frames go to whoever follows it, and each follower takes its own series
//! out of them. Nothing is held for a host that nobody follows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use muster_shared::{
    metric::{self, CodecError, Series, SeriesId, SeriesKind},
    wire::FrameEncoding,
};
use tokio::sync::broadcast;

use super::{
    Selection,
    head::AcceptedFrame,
    steps::{readings, scaled},
};

/// Frames waiting for a follower; a slower one loses the oldest, and sees a gap.
const WAITING_FRAMES: usize = 16;

/// A stored frame.
#[derive(Debug, Clone)]
pub struct LiveFrame {
    pub epoch: u64,
    pub encoding: FrameEncoding,
    pub payload: Bytes,
    /// Whether series may be new in it.
    pub declares: bool,
}

/// Those who follow one host.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<Option<broadcast::Sender<Arc<LiveFrame>>>>);

impl Followers {
    pub(super) fn follow(&self) -> broadcast::Receiver<Arc<LiveFrame>> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sender.get_or_insert_with(|| broadcast::Sender::new(WAITING_FRAMES)).subscribe()
    }

    pub(super) fn tell(&self, frame: &AcceptedFrame) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = slot.as_ref() else { return };
        let live = LiveFrame {
            epoch: frame.epoch,
            encoding: frame.encoding,
            payload: frame.payload.clone(),
            declares: !frame.declares.is_empty(),
        };
        if sender.send(Arc::new(live)).is_err() {
            *slot = None;
        }
    }
}

/// The values of followed series at one time; `NaN` stands for a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub at_us: i64,
    pub values: Vec<f64>,
}

/// What one follower has seen. Pure.
#[derive(Debug)]
pub struct Following {
    selection: Selection,
    epoch: Option<u64>,
    series: BTreeMap<SeriesId, Series>,
    before: BTreeMap<SeriesId, (i64, i64)>,
    told_us: i64,
}

impl Following {
    /// Of the series that `selection` takes.
    #[must_use]
    pub fn new(selection: Selection) -> Self {
        let (series, before) = (BTreeMap::new(), BTreeMap::new());
        Self { selection, epoch: None, series, before, told_us: i64::MIN }
    }

    /// Whether the host's series have to be [told](Self::learn) before `frame` is taken.
    #[must_use]
    pub fn must_learn(&self, frame: &LiveFrame) -> bool {
        frame.declares || self.epoch != Some(frame.epoch)
    }

    /// Takes note of what a host declared in `epoch`; answers whether other series are followed than before.
    pub fn learn(&mut self, epoch: u64, declared: Vec<(SeriesId, Series)>) -> bool {
        let series: BTreeMap<_, _> = declared.into_iter().filter(|(_, series)| self.selection.takes(series)).collect();
        if self.epoch.replace(epoch) != Some(epoch) {
            self.before.clear();
        } else if self.series == series {
            return false;
        }
        self.series = series;
        true
    }

    /// The series that points have values of, in their order.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.series.values()
    }

    /// The points of `frame` that are younger than any told before. A counter's first point is a gap.
    ///
    /// # Errors
    /// [`CodecError`]; then nothing of the frame is told.
    pub fn take(&mut self, frame: &LiveFrame) -> Result<Vec<Point>, CodecError> {
        let ids: Vec<_> = self.series.keys().copied().collect();
        let columns = metric::select(frame.encoding, &frame.payload, &ids)?;
        let fresh = columns.ticks_us.iter().filter(|at_us| **at_us > self.told_us);
        let mut points: Vec<_> =
            fresh.map(|at_us| Point { at_us: *at_us, values: vec![f64::NAN; ids.len()] }).collect();
        let skipped = columns.ticks_us.len() - points.len();
        for (id, values) in &columns.values {
            let (Some(series), Ok(place)) = (self.series.get(id), ids.binary_search(id)) else { continue };
            let own = columns.ticks_us.iter().zip(values).skip(skipped);
            let own: Vec<_> = own.filter_map(|(at_us, value)| Some((*at_us, (*value)?))).collect();
            let before = self.before.get(id).copied().filter(|_| series.kind == SeriesKind::Counter);
            for reading in readings(series, before.into_iter().chain(own.iter().copied())) {
                if let Ok(point) = points.binary_search_by_key(&reading.at_us, |point| point.at_us) {
                    points[point].values[place] = scaled(series, reading.value);
                }
            }
            if let Some(last) = own.last() {
                self.before.insert(*id, *last);
            }
        }
        if let Some(last) = points.last() {
            self.told_us = last.at_us;
        }
        Ok(points)
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::metric::{Columns, encode};

    use super::*;
    use crate::metrics::latest_tests::series;

    const SECOND_US: i64 = 1_000_000;

    fn frame(first: i64, columns: &[(SeriesId, &[i64])]) -> LiveFrame {
        let ticks = columns[0].1.len() as i64;
        let values = columns.iter().map(|(id, values)| (*id, values.iter().copied().map(Some).collect())).collect();
        let ticks_us = (first..first + ticks).map(|second| second * SECOND_US).collect();
        let (encoding, payload) = encode(&Columns { ticks_us, values });
        LiveFrame { epoch: 7, encoding, payload: payload.into(), declares: false }
    }

    fn following() -> Following {
        let selection = Selection::new(["up".to_owned(), "on_total".to_owned()], []).expect("good");
        let mut following = Following::new(selection);
        let declared = vec![(1, series("up", &[], -1)), (2, series("other", &[], 0)), (5, series("on_total", &[], 0))];
        assert!(following.must_learn(&frame(0, &[(1, &[1])])));
        assert!(following.learn(7, declared.clone()));
        assert!(!following.learn(7, declared));
        following
    }

    #[test]
    fn each_second_is_told_once_and_counters_are_rates() {
        let mut following = following();
        let first = following.take(&frame(10, &[(1, &[25]), (2, &[3]), (5, &[100])])).expect("a point");
        assert_eq!((first.len(), first[0].at_us, first[0].values[0]), (1, 10 * SECOND_US, 2.5));
        assert!(first[0].values[1].is_nan(), "one reading makes no rate");
        let next = following.take(&frame(10, &[(1, &[25, 30]), (5, &[100, 130])])).expect("a point");
        assert_eq!(next, [Point { at_us: 11 * SECOND_US, values: vec![3.0, 30.0] }]);
        assert_eq!(following.take(&frame(3, &[(1, &[9])])).expect("old"), [], "what comes late is no news");
    }
}
