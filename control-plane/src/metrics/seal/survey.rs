//! What frames hold, before anything is made of them. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muster_shared::metric::{self, Series, SeriesId};

use super::{Points, window_of};
use crate::store::{DeclaredList, PoisonFrame, StoredFrame};

/// What an epoch's host declared; `None` where that can't be read.
pub(super) type Declared = HashMap<u64, Option<Vec<DeclaredList>>>;

/// Frames that can be read, and what is in them.
#[derive(Debug, Default)]
pub(super) struct Survey {
    frames: Vec<StoredFrame>,
    names: HashMap<u64, BTreeMap<SeriesId, Series>>,
    pub(super) poison: Vec<PoisonFrame>,
    pub(super) windows: BTreeSet<i64>,
    pub(super) series: BTreeSet<Series>,
    pub(super) ticks: usize,
    pub(super) used: Vec<(u64, Vec<u8>)>,
}

impl Survey {
    /// Looks at every frame once and keeps none of its values.
    pub(super) fn of(frames: Vec<Result<StoredFrame, PoisonFrame>>, declared: &Declared) -> Self {
        let mut survey = Self::default();
        let mut used: HashMap<u64, BTreeSet<SeriesId>> = HashMap::new();
        for (epoch, lists) in declared {
            let names = lists.iter().flatten().flat_map(|list| list.series.iter().cloned()).collect();
            survey.names.insert(*epoch, names);
        }
        for frame in frames {
            match frame {
                Ok(frame) => match survey.look_at(&frame, declared, used.entry(frame.epoch).or_default()) {
                    Ok(()) => survey.frames.push(frame),
                    Err(reason) => {
                        survey.poison.push(PoisonFrame { epoch: frame.epoch, seq: frame.seq, reason });
                    }
                },
                Err(poison) => survey.poison.push(poison),
            }
        }
        for (epoch, ids) in &used {
            survey.series.extend(ids.iter().filter_map(|id| survey.names.get(epoch)?.get(id).cloned()));
            let lists = declared.get(epoch).into_iter().flatten().flatten();
            let in_use = lists.filter(|list| list.series.iter().any(|(id, _)| ids.contains(id)));
            survey.used.extend(in_use.map(|list| (*epoch, list.sha256.clone())));
        }
        survey
    }

    fn look_at(
        &mut self,
        frame: &StoredFrame,
        declared: &Declared,
        used: &mut BTreeSet<SeriesId>,
    ) -> Result<(), &'static str> {
        let names = match declared.get(&frame.epoch) {
            Some(Some(_)) => self.names.get(&frame.epoch).ok_or("undeclared")?,
            Some(None) => return Err("declarations"),
            None => return Err("undeclared"),
        };
        let columns = metric::decode(frame.encoding, &frame.payload).map_err(|_| "payload")?;
        let known = columns.values.iter().map(|(id, _)| *id).filter(|id| names.contains_key(id));
        let known: Vec<SeriesId> = known.collect();
        if known.is_empty() && !columns.values.is_empty() {
            return Err("undeclared");
        }
        used.extend(known);
        self.windows.extend(columns.ticks_us.iter().map(|at_us| window_of(*at_us)));
        self.ticks += columns.ticks_us.len();
        Ok(())
    }

    /// Epochs and sequences of the frames that can be read.
    pub(super) fn keys(&self) -> Vec<(u64, u64)> {
        self.frames.iter().map(|frame| (frame.epoch, frame.seq)).collect()
    }

    /// The samples of `group`'s series, by window.
    pub(super) fn points(&self, group: &[Series]) -> BTreeMap<i64, BTreeMap<Series, Points>> {
        let mut found: BTreeMap<i64, BTreeMap<Series, Points>> = BTreeMap::new();
        let wanted: HashMap<u64, Vec<SeriesId>> = self
            .names
            .iter()
            .map(|(epoch, names)| {
                let ids = names.iter().filter(|(_, series)| group.binary_search(series).is_ok()).map(|(id, _)| *id);
                (*epoch, ids.collect())
            })
            .collect();
        // By number first: a series is looked for by its name once, and not for every frame.
        let mut told: BTreeMap<(u64, SeriesId), Points> = BTreeMap::new();
        for frame in &self.frames {
            let Some(ids) = wanted.get(&frame.epoch) else { continue };
            // It was decoded a moment ago.
            let Ok(columns) = metric::select(frame.encoding, &frame.payload, ids) else { continue };
            for (id, values) in &columns.values {
                let points = columns.ticks_us.iter().zip(values).filter_map(|(at_us, value)| Some((*at_us, (*value)?)));
                told.entry((frame.epoch, *id)).or_default().extend(points);
            }
        }
        for ((epoch, id), points) in told {
            let Some(series) = self.names.get(&epoch).and_then(|names| names.get(&id)) else { continue };
            for points in points.chunk_by(|one, next| window_of(one.0) == window_of(next.0)) {
                let of_window = found.entry(window_of(points[0].0)).or_default();
                match of_window.get_mut(series) {
                    Some(known) => known.extend_from_slice(points),
                    None => drop(of_window.insert(series.clone(), points.to_vec())),
                }
            }
        }
        found
    }
}
