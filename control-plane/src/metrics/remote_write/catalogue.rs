//! What servers and series are called, read when it is needed and held while it is used.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{Series, SeriesId},
};

use crate::{
    clock::Clock,
    store::{Store, StoreError},
};

/// How long a server's name stands without another look.
const NAME_FOR_US: i64 = 60 * 1_000_000;
/// Servers known at once; with one more, all are read anew.
const MAX_SERVERS: usize = 20_000;
/// Series known at once, by what they are and not whose; with one more, those that nobody has go.
const MAX_SERIES: usize = 500_000;

/// What is known of one server.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Known {
    /// What every series of it is labelled with.
    pub labels: BTreeMap<String, String>,
    named_at_us: i64,
    epoch: u64,
    /// `None` for a number that nothing was declared under.
    series: HashMap<SeriesId, Option<Arc<Series>>>,
}

impl Known {
    #[cfg(test)]
    pub(in crate::metrics) fn of(
        labels: BTreeMap<String, String>,
        series: impl IntoIterator<Item = (SeriesId, Series)>,
    ) -> Self {
        let series = series.into_iter().map(|(id, series)| (id, Some(Arc::new(series)))).collect();
        Self { labels, series, ..Self::default() }
    }

    /// The series called `id` in the epoch that was asked for.
    pub(in crate::metrics) fn series(&self, id: SeriesId) -> Option<&Series> {
        self.series.get(&id)?.as_deref()
    }
}

#[derive(Debug)]
pub(in crate::metrics) struct Catalogue {
    store: Store,
    clock: Clock,
    servers: HashMap<ServerId, Known>,
    /// Hosts of one shape have the same series.
    shared: HashSet<Arc<Series>>,
}

impl Catalogue {
    pub(in crate::metrics) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, servers: HashMap::new(), shared: HashSet::new() }
    }

    /// What is known of a server, with the series `ids` of `epoch` where they were declared; `None` of one that is no more.
    pub(in crate::metrics) async fn know(
        &mut self,
        (org, server): (OrgId, ServerId),
        epoch: u64,
        mut ids: impl Iterator<Item = SeriesId> + Clone,
    ) -> Result<Option<&Known>, StoreError> {
        if self.servers.len() >= MAX_SERVERS && !self.servers.contains_key(&server) {
            self.servers.clear();
        }
        let now_us = self.clock.now_us();
        let known = self.servers.entry(server).or_default();
        if known.labels.is_empty() || now_us.saturating_sub(known.named_at_us) > NAME_FOR_US {
            let Some(row) = self.store.server(org, server).await? else {
                self.servers.remove(&server);
                return Ok(None);
            };
            let labels = [
                ("organization_id", org.to_string()),
                ("server", row.name.to_string()),
                ("server_id", server.to_string()),
            ];
            known.labels = labels.map(|(name, value)| (name.to_owned(), value)).into();
            known.named_at_us = now_us;
        }
        if known.epoch != epoch {
            known.series.clear();
            known.epoch = epoch;
        }
        let wanted = ids.clone();
        if ids.any(|id| !known.series.contains_key(&id)) {
            for (id, series) in self.store.series_of(org, server, epoch).await? {
                known.series.insert(id, Some(share(&mut self.shared, series)));
            }
            for id in wanted {
                known.series.entry(id).or_insert(None);
            }
        }
        Ok(self.servers.get(&server))
    }
}

fn share(shared: &mut HashSet<Arc<Series>>, series: Series) -> Arc<Series> {
    if let Some(known) = shared.get(&series) {
        return Arc::clone(known);
    }
    if shared.len() >= MAX_SERIES {
        shared.retain(|series| Arc::strong_count(series) > 1);
    }
    let series = Arc::new(series);
    shared.insert(Arc::clone(&series));
    series
}
