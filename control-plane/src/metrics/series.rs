//! Raw samples of one metric over a range of time.

use std::collections::{BTreeMap, btree_map::Entry};

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{self, Series, SeriesId},
};

use crate::{
    error::{Error, ErrorKind},
    store::Store,
};

/// Most frames read for one answer: more than a week of one host's. A longer range is refused.
const MAX_FRAMES: u32 = 70_000;
/// Most points in one answer.
const MAX_POINTS: usize = 1_000_000;

/// One series' samples. Gaps are where no point is.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesPoints {
    pub series: Series,
    /// Sample time in microseconds, value in the unit the series' name ends with; counters as counted.
    pub points: Vec<(i64, f64)>,
}

/// The samples of every series called `metric` in `from_us..=to_us`, in order of time.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a range with more than [`MAX_POINTS`] points; [`Error`] when the store fails.
pub async fn series(
    store: &Store,
    (org, server): (OrgId, ServerId),
    metric: &str,
    (from_us, to_us): (i64, i64),
) -> Result<Vec<SeriesPoints>, Error> {
    let frames = store.frames_between(org, server, (from_us, to_us), MAX_FRAMES + 1).await?;
    if frames.len() > MAX_FRAMES as usize {
        return Err(too_much());
    }
    let mut wanted: BTreeMap<u64, BTreeMap<SeriesId, Series>> = BTreeMap::new();
    let mut found: BTreeMap<Series, BTreeMap<i64, f64>> = BTreeMap::new();
    let mut count = 0;
    for frame in frames {
        let of_metric = match wanted.entry(frame.epoch) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let of_epoch = store.series_of(org, server, frame.epoch).await?;
                place.insert(of_epoch.into_iter().filter(|(_, series)| series.name == metric).collect())
            }
        };
        let columns = metric::decode(frame.encoding, &frame.payload).map_err(Error::internal)?;
        for (id, values) in &columns.values {
            let Some(series) = of_metric.get(id) else { continue };
            let points = columns.ticks_us.iter().zip(values).filter_map(|(at_us, value)| Some((*at_us, (*value)?)));
            let points = points.filter(|(at_us, _)| (from_us..=to_us).contains(at_us));
            let into = found.entry(series.clone()).or_default();
            for (at_us, value) in points {
                into.insert(at_us, series.to_unit(value));
                count += 1;
            }
        }
        if count > MAX_POINTS {
            return Err(too_much());
        }
    }
    Ok(found
        .into_iter()
        .map(|(series, points)| SeriesPoints { series, points: points.into_iter().collect() })
        .collect())
}

fn too_much() -> Error {
    Error::new(ErrorKind::Invalid, "range_too_long", "the range holds too many samples: ask for a shorter one")
}
