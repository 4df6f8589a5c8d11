//! Samples as hosts took them, read back from what is stored.

use std::collections::BTreeMap;

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{self, Series, SeriesId},
};

use super::{Selection, steps::MAX_RATE_GAP_US};
use crate::{
    error::{Error, ErrorKind},
    store::Store,
};

/// Most frames read for one server: more than a week of one that is watched all the time is sealed into blocks.
const MAX_FRAMES: u32 = 70_000;

/// How much one question may still read.
#[derive(Debug)]
pub struct Budget {
    samples: usize,
}

impl Budget {
    /// At most `samples`.
    #[must_use]
    pub fn of(samples: usize) -> Self {
        Self { samples }
    }

    /// Takes `samples` from it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it has not so many.
    pub fn take(&mut self, samples: usize) -> Result<(), Error> {
        self.samples = self.samples.checked_sub(samples).ok_or_else(too_much)?;
        Ok(())
    }
}

fn too_much() -> Error {
    let detail = "the range holds too many samples: ask for a shorter one, fewer series or fewer servers";
    Error::new(ErrorKind::Invalid, "range_too_long", detail)
}

/// A series' integers by time, in microseconds since the epoch.
pub type Points = Vec<(i64, i64)>;

/// The samples of `from_us..to_us` that `selection` takes, and those just before that a counter's first rate needs. In
/// order of time, each once.
///
/// # Errors
/// [`ErrorKind::Invalid`] for more than `budget`; [`Error`] when the store fails.
pub async fn samples(
    store: &Store,
    (org, server): (OrgId, ServerId),
    selection: &Selection,
    (from_us, to_us): (i64, i64),
    budget: &mut Budget,
) -> Result<BTreeMap<Series, Points>, Error> {
    let range_us = (from_us.saturating_sub(MAX_RATE_GAP_US), to_us);
    let mut found = BTreeMap::new();
    from_frames(store, (org, server), selection, range_us, budget, &mut found).await?;
    for points in found.values_mut() {
        if !points.is_sorted_by(|one, other| one.0 < other.0) {
            points.sort_unstable();
            points.dedup_by_key(|point| point.0);
        }
    }
    found.retain(|_, points| !points.is_empty());
    Ok(found)
}

async fn from_frames(
    store: &Store,
    (org, server): (OrgId, ServerId),
    selection: &Selection,
    (from_us, to_us): (i64, i64),
    budget: &mut Budget,
    found: &mut BTreeMap<Series, Points>,
) -> Result<(), Error> {
    let frames = store.frames_between(org, server, (from_us, to_us - 1), MAX_FRAMES + 1).await?;
    if frames.len() > MAX_FRAMES as usize {
        return Err(too_much());
    }
    let mut wanted: BTreeMap<u64, BTreeMap<SeriesId, Series>> = BTreeMap::new();
    for frame in frames {
        if !wanted.contains_key(&frame.epoch) {
            let of_epoch = store.series_of(org, server, frame.epoch).await?;
            wanted.insert(frame.epoch, of_epoch.into_iter().filter(|(_, series)| selection.takes(series)).collect());
        }
        let of_epoch = &wanted[&frame.epoch];
        let ids: Vec<_> = of_epoch.keys().copied().collect();
        let columns = metric::select(frame.encoding, &frame.payload, &ids).map_err(Error::internal)?;
        budget.take(columns.values.len() * columns.ticks_us.len())?;
        for (id, values) in &columns.values {
            let points = columns.ticks_us.iter().zip(values).filter_map(|(at_us, value)| Some((*at_us, (*value)?)));
            let points = points.filter(|(at_us, _)| (from_us..to_us).contains(at_us));
            found.entry(of_epoch[id].clone()).or_default().extend(points);
        }
    }
    Ok(())
}
