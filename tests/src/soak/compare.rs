//! Every sample of every host, as its generator makes it, beside what is stored: by the store's rows, where a sample that
//! is there twice is seen twice, and by the reader that answers people's questions.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use muster::{
    clock::Clock,
    events::Events,
    metrics::{Budget, History, Points, Selection, seal::WINDOW_US},
    store::{DatabaseUrl, Store},
};
use muster_shared::{
    id::{OrgId, ServerId},
    metric::{self, Series, SeriesId},
    wire::FrameEncoding,
};
use sqlx::{AnyPool, Row as _};

use crate::{control_plane::ScratchDatabase, fleet::Host, stored};

/// Series by themselves, each in order of time.
pub(super) type Samples = BTreeMap<Series, Points>;

/// What was compared, and found to be the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Samples of all hosts.
    pub samples: u64,
    /// Those of them that were in a sealed block.
    pub sealed: u64,
    /// Frames that hosts made, and seconds in them.
    pub frames: u64,
    pub ticks: u64,
}

/// Everything that a host has made.
pub(super) fn made(host: &Host) -> Samples {
    let history = host.history();
    let (ticks, values) = (history.made_us(), history.values());
    let column = |id, kind| ticks.iter().map(|at_us| (*at_us, values.of(id, kind, *at_us))).collect();
    history.series().map(|(id, series)| (series.clone(), column(id, series.kind))).collect()
}

/// Fails unless everything each host has made is stored exactly once, and nothing else is.
pub(super) async fn with_stored(hosts: &[Arc<Host>], org: OrgId, database: &ScratchDatabase) -> Result<Compared> {
    let store = Store::open(&database.address().parse::<DatabaseUrl>()?).await?;
    let history = History::new(store.clone(), Events::default(), Clock::system());
    let pool = AnyPool::connect(database.address()).await?;
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let compared = stream::iter(hosts.to_vec())
        .map(|host| tokio::spawn(of_host(host, org, pool.clone(), history.clone())))
        .buffer_unordered(at_once)
        .map(|ended| ended?)
        .try_fold(Compared::default(), async |all, of_host| Ok(all.and(of_host)))
        .await;
    pool.close().await;
    store.close().await;
    compared
}

async fn of_host(host: Arc<Host>, org: OrgId, pool: AnyPool, history: History) -> Result<Compared> {
    let made = made(&host);
    let (stored, sealed) = rows(&pool, &host).await.with_context(|| host.name().to_owned())?;
    ensure_same(&made, &stored).with_context(|| format!("{}: stored rows", host.name()))?;
    let read = reader(&history, (org, host.server_id().parse()?), &made).await?;
    ensure_same(&made, &read).with_context(|| format!("{}: the store's reader", host.name()))?;
    let samples = made.values().map(|points| points.len() as u64).sum();
    let history = host.history();
    Ok(Compared { samples, sealed, frames: history.acknowledged().len() as u64, ticks: history.ticks() })
}

impl Compared {
    fn and(self, other: Self) -> Self {
        Self {
            samples: self.samples + other.samples,
            sealed: self.sealed + other.sealed,
            frames: self.frames + other.frames,
            ticks: self.ticks + other.ticks,
        }
    }
}

/// Every sample in a host's frames and blocks, however often; and how many were in blocks.
async fn rows(pool: &AnyPool, host: &Host) -> Result<(Samples, u64)> {
    let series: BTreeMap<_, _> = host.history().series().map(|(id, series)| (id, series.clone())).collect();
    let mut by_id: BTreeMap<SeriesId, Points> = BTreeMap::new();
    let frames = "SELECT encoding, payload FROM metric_frames WHERE server_id = $1 AND in_block = 0";
    for row in sqlx::query(frames).bind(host.server_id()).fetch_all(pool).await? {
        let encoding = FrameEncoding::try_from(i32::try_from(row.try_get::<i64, _>(0)?)?)?;
        let columns = metric::decode(encoding, &row.try_get::<Vec<u8>, _>(1)?)?;
        for (id, values) in &columns.values {
            let points = columns.ticks_us.iter().zip(values).filter_map(|(at_us, value)| Some((*at_us, (*value)?)));
            by_id.entry(*id).or_default().extend(points);
        }
    }
    let mut samples = Samples::new();
    for (id, points) in by_id {
        samples.insert(series.get(&id).with_context(|| format!("series {id} is no series"))?.clone(), points);
    }
    let mut sealed = 0;
    for (series, points) in stored::sealed(pool, host.server_id()).await? {
        sealed += points.len() as u64;
        samples.entry(series).or_default().extend(points);
    }
    samples.values_mut().for_each(|points| points.sort_unstable());
    Ok((samples, sealed))
}

/// The same by the control plane's own reader.
async fn reader(history: &History, whose: (OrgId, ServerId), made: &Samples) -> Result<Samples> {
    let selection = Selection::new(made.keys().map(|series| series.name.clone()), [])?;
    let ticks = || made.values().flatten().map(|(at_us, _)| *at_us);
    let (first_us, last_us) = (ticks().min().context("a sample")?, ticks().max().context("a sample")?);
    // A little around it: what is there and was never made is to be seen.
    let range = (first_us - WINDOW_US, last_us + WINDOW_US);
    Ok(history.samples(whose, &selection, range, &mut Budget::of(usize::MAX)).await?)
}

/// Fails with the first difference.
fn ensure_same(made: &Samples, found: &Samples) -> Result<()> {
    for (series, points) in made {
        let found = found.get(series).map(Vec::as_slice).unwrap_or_default();
        if points != found {
            let place = points.iter().zip(found).take_while(|(made, found)| made == found).count();
            let (made, found) = (points.get(place), found.get(place));
            anyhow::bail!("{series:?}: {made:?} was made, {found:?} is there, after {place} that are the same");
        }
    }
    let strange: Vec<_> = found.keys().filter(|series| !made.contains_key(*series)).take(3).collect();
    ensure!(strange.is_empty(), "never made: {strange:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_shared::metric::SeriesKind;

    use super::*;

    fn samples(name: &str, points: &[(i64, i64)]) -> Samples {
        let series = Series { name: name.to_owned(), labels: [].into(), scale: 0, kind: SeriesKind::Gauge };
        [(series, points.to_vec())].into()
    }

    #[test]
    fn what_is_lost_doubled_altered_moved_or_strange_is_a_difference() {
        let made = samples("a", &[(1, 10), (2, 20), (3, 30)]);
        let differs = |found: &Samples| ensure_same(&made, found).is_err();
        assert!(!differs(&made));
        for found in [
            &[(1, 10), (3, 30)][..],
            &[(1, 10), (2, 20)],
            &[(1, 10), (2, 20), (2, 20), (3, 30)],
            &[(1, 10), (2, 21), (3, 30)],
            &[(1, 10), (2, 20), (4, 30)],
            &[],
        ] {
            assert!(differs(&samples("a", found)), "{found:?}");
        }
        let mut more = made.clone();
        more.extend(samples("b", &[(1, 1)]));
        assert!(differs(&more));
    }
}
