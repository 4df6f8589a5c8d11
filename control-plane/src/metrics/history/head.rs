//! Samples that are in no block yet: frames as they arrived.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::try_join_all;
use muster_shared::{
    id::{OrgId, ServerId},
    metric::{self, Series, SeriesId},
};

use super::History;
use crate::{
    error::Error,
    metrics::{
        Budget, Points, Selection,
        samples::too_much,
        seal::{WINDOW_US, window_of},
    },
    store::{StoreError, StoredFrame},
};

/// Most frames read for one server: more than arrive while they wait to be sealed.
const MAX_FRAMES: u32 = 70_000;

impl History {
    /// Samples that are in no block yet.
    pub(in crate::metrics) async fn head(
        &self,
        (org, server): (OrgId, ServerId),
        selection: &Selection,
        (from_us, to_us): (i64, i64),
        budget: &mut Budget,
    ) -> Result<HeadSamples, Error> {
        let frames = self.store.frames_between(org, server, (from_us, to_us - 1), MAX_FRAMES + 1).await?;
        if frames.len() > MAX_FRAMES as usize {
            return Err(too_much());
        }
        let mut wanted = Wanted::new();
        for epoch in frames.iter().map(|frame| frame.epoch).collect::<BTreeSet<_>>() {
            let lists = match self.store.lists_of(org, server, epoch).await {
                Err(StoreError::Unreadable { .. }) => Vec::new(),
                read => read?,
            };
            let declared = lists.iter().flat_map(|list| list.series.iter());
            wanted.insert(epoch, declared.filter(|(_, series)| selection.takes(series)).cloned().collect());
        }
        let wanted = Arc::new(wanted);
        let shares = self.shares(frames).map(|frames| {
            let (wanted, left) = (Arc::clone(&wanted), Budget::of(budget.left()));
            self.unpacking.run(move |_| HeadSamples::of(&frames, &wanted, (from_us, to_us), left))
        });
        let mut head = HeadSamples::default();
        for share in try_join_all(shares).await? {
            budget.take(share.read)?;
            head.extend(share);
        }
        Ok(head)
    }
}

/// The series that are asked for, by epoch and number.
type Wanted = BTreeMap<u64, BTreeMap<SeriesId, Series>>;

/// Samples that are in no block yet, by window.
#[derive(Debug, Default)]
pub(in crate::metrics) struct HeadSamples {
    pub(super) points: BTreeMap<i64, BTreeMap<Series, Points>>,
    /// Windows that have any, of whatever series.
    pub(in crate::metrics) windows: BTreeSet<i64>,
    /// How many values were read for it.
    read: usize,
}

impl HeadSamples {
    /// Reads frames until there is more than `budget`, which is then exceeded by what was read.
    fn of(frames: &[StoredFrame], wanted: &Wanted, (from_us, to_us): (i64, i64), mut budget: Budget) -> Self {
        let (mut head, none) = (Self::default(), BTreeMap::new());
        for frame in frames {
            let of_epoch = wanted.get(&frame.epoch).unwrap_or(&none);
            let ids: Vec<_> = of_epoch.keys().copied().collect();
            let Ok(columns) = metric::select(frame.encoding, &frame.payload, &ids) else {
                // Sealing will put it into quarantine.
                metrics::counter!("muster_frames_unreadable_total").increment(1);
                continue;
            };
            let read = columns.values.len() * columns.ticks_us.len();
            head.read += read;
            head.windows.extend(columns.ticks_us.iter().map(|at_us| window_of(*at_us)));
            for (id, values) in &columns.values {
                let points = columns.ticks_us.iter().zip(values).filter_map(|(at_us, value)| Some((*at_us, (*value)?)));
                let points: Points = points.filter(|(at_us, _)| (from_us..to_us).contains(at_us)).collect();
                for of_window in points.chunk_by(|one, next| window_of(one.0) == window_of(next.0)) {
                    head.put(window_of(of_window[0].0), &of_epoch[id], of_window);
                }
            }
            if budget.take(read).is_err() {
                break;
            }
        }
        head
    }

    fn put(&mut self, window_us: i64, series: &Series, points: &[(i64, i64)]) {
        let of_window = self.points.entry(window_us).or_default();
        match of_window.get_mut(series) {
            Some(known) => known.extend_from_slice(points),
            None => drop(of_window.insert(series.clone(), points.to_vec())),
        }
    }

    fn extend(&mut self, later: Self) {
        for (window_us, of_window) in later.points {
            of_window.iter().for_each(|(series, points)| self.put(window_us, series, points));
        }
        self.windows.extend(later.windows);
        self.read += later.read;
    }

    /// Whether the roll-ups of an hour would be others with these samples.
    pub(super) fn touches(&self, hour: i64) -> bool {
        self.windows.contains(&hour) || self.windows.contains(&(hour - WINDOW_US))
    }

    pub(in crate::metrics) fn into_points(self) -> BTreeMap<Series, Points> {
        let mut found: BTreeMap<Series, Points> = BTreeMap::new();
        for (series, points) in self.points.into_values().flatten() {
            found.entry(series).or_default().extend(points);
        }
        found
    }
}
