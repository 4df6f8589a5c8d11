//! Samples that are in no block yet: frames as they arrived.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

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
    store::StoreError,
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
        let mut wanted: BTreeMap<u64, BTreeMap<SeriesId, Series>> = BTreeMap::new();
        let mut head = HeadSamples::default();
        for frame in frames {
            let of_epoch = match wanted.entry(frame.epoch) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let of_epoch = match self.store.series_of(org, server, frame.epoch).await {
                        Err(StoreError::Unreadable { .. }) => Vec::new(),
                        read => read?,
                    };
                    place.insert(of_epoch.into_iter().filter(|(_, series)| selection.takes(series)).collect())
                }
            };
            let ids: Vec<_> = of_epoch.keys().copied().collect();
            let Ok(columns) = metric::select(frame.encoding, &frame.payload, &ids) else {
                // Sealing will put it into quarantine.
                metrics::counter!("muster_frames_unreadable_total").increment(1);
                continue;
            };
            budget.take(columns.values.len() * columns.ticks_us.len())?;
            head.windows.extend(columns.ticks_us.iter().map(|at_us| window_of(*at_us)));
            for (id, values) in &columns.values {
                let points = columns.ticks_us.iter().zip(values).filter_map(|(at_us, value)| Some((*at_us, (*value)?)));
                for point in points.filter(|(at_us, _)| (from_us..to_us).contains(at_us)) {
                    head.put(&of_epoch[id], point);
                }
            }
        }
        Ok(head)
    }
}

/// Samples that are in no block yet, by window.
#[derive(Debug, Default)]
pub(in crate::metrics) struct HeadSamples {
    pub(super) points: BTreeMap<i64, BTreeMap<Series, Points>>,
    /// Windows that have any, of whatever series.
    pub(in crate::metrics) windows: BTreeSet<i64>,
}

impl HeadSamples {
    fn put(&mut self, series: &Series, point: (i64, i64)) {
        let of_window = self.points.entry(window_of(point.0)).or_default();
        match of_window.get_mut(series) {
            Some(points) => points.push(point),
            None => drop(of_window.insert(series.clone(), vec![point])),
        }
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
