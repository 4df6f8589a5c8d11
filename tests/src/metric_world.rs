//! A server whose samples are known, what every question about them must be answered with, and the stores that keep them.
//! One suite asks all of them.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use muster::{
    clock::Clock,
    events::Events,
    metrics::{
        Asked, Budget, Declarations, History, MetricStore, Selection, SeriesQuery, Stepped,
        block::rollup::rounded,
        exchange::{Client, Destination},
        forward::Forwarder,
        query,
        seal::{GRACE_US, seal_due},
        steps::{Bucket, HOUR_US, Reader, SECOND_US, Steps, scaled},
    },
    store::{DatabaseUrl, FrameRow, Store},
};
use muster_shared::{
    id::{OrgId, ServerId},
    metric::{self, Columns, Series, SeriesKind},
};

use crate::{
    control_plane::{ControlPlane, Settings},
    engine::{Engine, Kind},
    fleet::{Host, now_us},
    wait,
};

pub const GAUGE: &str = "host_memory_available_bytes";
pub const LOAD: &str = "host_load_1m";
pub const COUNTER: &str = "host_network_receive_bytes_total";
pub const CPU: &str = "host_cpu_seconds_total";
/// Of containers: declared by themselves, some time later.
pub const PASSING: &str = "container_memory_bytes";
/// A label that wants to be more than a value.
pub const HOSTILE: &str = "a\"} or vector(1) {b=\"\\ ü$(x)'`";
/// How long frames may wait in these tests.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// When an engine has looked at series that are new to it: twice as long as VictoriaMetrics takes.
const NEW_SERIES_WITHIN: Duration = Duration::from_secs(20);

/// Microseconds since the epoch and integer, by series.
pub type Known = BTreeMap<Series, BTreeMap<i64, i64>>;

/// What keeps the samples.
#[derive(Debug)]
enum Keeper {
    Embedded,
    Engine { engine: Box<Engine>, forwarder: Box<Forwarder> },
}

/// The server, its samples and their store.
#[derive(Debug)]
pub struct World {
    control_plane: ControlPlane,
    store: Store,
    history: History,
    metric_store: MetricStore,
    keeper: Keeper,
    clock: Clock,
    org: OrgId,
    server: ServerId,
    known: Known,
    start_us: i64,
    seq: u64,
}

/// The series of a host.
#[must_use]
pub fn series() -> Vec<(u32, Series)> {
    let of = |name: &str, label: (&str, &str), scale, kind| Series {
        name: name.to_owned(),
        labels: [(label.0.to_owned(), label.1.to_owned())].into(),
        scale,
        kind,
    };
    vec![
        (1, of(GAUGE, ("node", "0"), 0, SeriesKind::Gauge)),
        (2, of(LOAD, ("name", HOSTILE), -2, SeriesKind::Gauge)),
        (4, of(COUNTER, ("device", "eth0"), 0, SeriesKind::Counter)),
        (5, of(COUNTER, ("device", "eth1"), 0, SeriesKind::Counter)),
        (6, of(CPU, ("mode", "user"), -6, SeriesKind::Counter)),
        (9, of(PASSING, ("container", "0123456789ab"), 0, SeriesKind::Gauge)),
        (10, of(PASSING, ("container", "ba9876543210"), 0, SeriesKind::Gauge)),
    ]
}

/// Values as hosts have them: gauges that wander, counters that grow and now and then begin anew.
fn value(id: u32, second: i64) -> i64 {
    let noise = (second.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i64::from(id)) >> 33).rem_euclid(1000);
    match id {
        1 | 9 | 10 => 5_000_000_000 + i64::from(id) * 40 * noise,
        2 => noise,
        4 => second.rem_euclid(5_000) * 1_000 + noise,
        6 => 777_777_123_456 + second * 731_234,
        _ => second * 7,
    }
}

/// When a host's second is sampled: a little late, and never twice the same.
fn tick_us(start_us: i64, second: i64) -> i64 {
    start_us + second * SECOND_US + 137 + second.rem_euclid(97) * 331
}

impl World {
    /// One whose samples begin `hours` before this one, kept in the database or in an engine.
    ///
    /// # Errors
    /// When something can't be started.
    pub async fn new(engine: Option<Kind>, hours: i64) -> Result<Self> {
        let mut control_plane = Settings::new().start().await?;
        let server: ServerId = Host::enrol(&control_plane, "week", 1).await?.server_id().parse()?;
        let shown = control_plane.server(&server.to_string()).await?;
        let org: OrgId = shown["organization_id"].as_str().context("an id")?.parse()?;
        control_plane.terminate().await?;
        let store = Store::open(&DatabaseUrl::sqlite_in(control_plane.directory())).await?;
        let start_us = now_us() / HOUR_US * HOUR_US - hours * HOUR_US;
        let clock = Clock::standing_at(start_us);
        let history = History::new(store.clone(), Events::default(), clock.clone());
        let metric_store = MetricStore::new(history.clone(), None)?;
        let (keeper, known) = (Keeper::Embedded, Known::new());
        let mut world =
            Self { control_plane, store, history, metric_store, keeper, clock, org, server, known, start_us, seq: 0 };
        if let Some(kind) = engine {
            world.keep_in(kind).await?;
        }
        Ok(world)
    }

    /// Keeps samples in an engine from now on.
    ///
    /// # Errors
    /// When it can't be started.
    pub async fn keep_in(&mut self, kind: Kind) -> Result<()> {
        self.store.forward_frames();
        let engine = Engine::keeping(kind).await?;
        let writer = Client::new(destination(&engine.write_url())?)?;
        let from = (self.store.clone(), self.clock.clone());
        let mut forwarder = Forwarder::new(from, writer, Events::default(), Arc::default(), PATIENCE);
        forwarder.tidy().await?;
        self.metric_store = MetricStore::new(self.history.clone(), Some(destination(&engine.url())?))?;
        self.metric_store.check().await?;
        self.keeper = Keeper::Engine { engine: Box::new(engine), forwarder: Box::new(forwarder) };
        Ok(())
    }

    /// Frames of ten seconds over `seconds` from the start, remembered. One in ten values of a gauge is left out.
    pub fn frames(&mut self, epoch: u64, seconds: Range<i64>) -> Vec<FrameRow> {
        seconds.step_by(10).map(|second| self.frame(epoch, second)).collect()
    }

    fn frame(&mut self, epoch: u64, second: i64) -> FrameRow {
        self.seq += 1;
        let seconds = second..second + 10;
        let ticks_us: Vec<_> = seconds.clone().map(|second| tick_us(self.start_us, second)).collect();
        let mut columns = Columns { ticks_us, values: Vec::new() };
        for (id, series) in series() {
            let values: Vec<_> =
                seconds.clone().map(|second| (id != 1 || second % 10 != 3).then(|| value(id, second))).collect();
            let known = columns.ticks_us.iter().zip(&values).filter_map(|(at_us, value)| Some((*at_us, (*value)?)));
            self.known.entry(series).or_default().extend(known);
            columns.values.push((id, values));
        }
        row(self.server, (epoch, self.seq), &columns)
    }

    /// Stores frames, as a host's arrive.
    ///
    /// # Errors
    /// When the database doesn't take them.
    pub async fn store_frames(&self, frames: &[FrameRow]) -> Result<()> {
        for some in frames.chunks(300) {
            self.store.insert_frames(some).await?;
        }
        Ok(())
    }

    /// Lets time pass to `hours` after the start and a little more, and everything that is due be done: hours are sealed, or
    /// frames are forwarded and then deleted here. Answers how many frames went.
    ///
    /// # Errors
    /// When something fails.
    pub async fn pass(&mut self, hours: i64) -> Result<usize> {
        self.clock.advance(self.start_us + hours * HOUR_US + GRACE_US - self.clock.now_us());
        match &mut self.keeper {
            Keeper::Embedded => Ok(seal_due(&self.history).await?.frames),
            Keeper::Engine { engine, forwarder } => {
                let turn = forwarder.forward_due().await?;
                ensure!(!turn.is_away && turn.quarantined == 0, "{turn:?}");
                engine.flush().await?;
                forwarder.tidy().await?;
                Ok(turn.frames)
            }
        }
    }

    /// Sends everything that is still in the database once more, where an engine keeps the samples.
    ///
    /// # Errors
    /// When something fails.
    pub async fn repeat(&mut self) -> Result<()> {
        let database = self.control_plane.database();
        database.rows("UPDATE metric_frames SET forwarding = 1 WHERE forwarding = 2").await?;
        let hours = (self.clock.now_us() - self.start_us) / HOUR_US;
        self.pass(hours).await.map(drop)
    }

    /// The engine, where there is one.
    pub fn engine(&mut self) -> Option<&mut Engine> {
        match &mut self.keeper {
            Keeper::Embedded => None,
            Keeper::Engine { engine, .. } => Some(engine),
        }
    }

    /// How many frames the database has.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub async fn frames_here(&self) -> Result<i64> {
        self.control_plane.database().number("SELECT COUNT(*) FROM metric_frames").await
    }

    /// What the metric store answers of a range in seconds since the start.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn ask(&self, metrics: &[&str], (from, to, step): (i64, i64, i64)) -> Result<Vec<Stepped>> {
        self.ask_as(self.org, metrics, &[], (from, to, step)).await
    }

    /// The same as another organisation, or with labels.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn ask_as(
        &self,
        org: OrgId,
        metrics: &[&str],
        labels: &[(&str, &str)],
        range: (i64, i64, i64),
    ) -> Result<Vec<Stepped>> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let selection = Selection::new(metrics.iter().map(|name| (*name).to_owned()), labels)?;
        let asked = SeriesQuery { selection, steps: self.steps(range)?, group: None, top: None };
        let whom = [Asked { server: self.server, labels: BTreeMap::new() }];
        Ok(query(&self.metric_store, org, &whom, &asked).await?)
    }

    fn steps(&self, (from, to, step): (i64, i64, i64)) -> Result<Steps> {
        let (from_us, to_us) = (self.start_us + from * SECOND_US, self.start_us + to * SECOND_US - 1);
        Ok(Steps::new(from_us, to_us, Some(step * SECOND_US))?)
    }

    /// Fails unless questions about `hours` from the start have the answers that the known samples give. Answers how many values
    /// were compared.
    ///
    /// # Errors
    /// When one is not answered, or the answer is wrong: at once, or with an engine that looks at new series now and then only,
    /// when it stays so.
    pub async fn check(&self, hours: i64) -> Result<usize> {
        match &self.keeper {
            Keeper::Engine { engine, .. } if engine.remembers_what_was_not_there() => {
                let compared = || async { self.compare(hours).await.map(Some) };
                wait::until("the engine to look at new series", NEW_SERIES_WITHIN, compared).await
            }
            _ => self.compare(hours).await,
        }
    }

    async fn compare(&self, hours: i64) -> Result<usize> {
        let mut compared = 0;
        for range in questions(hours) {
            compared += self.check_question(range).await?;
        }
        let all_us = (self.start_us - HOUR_US, self.start_us + hours * HOUR_US);
        let selection = Selection::new(METRICS.map(str::to_owned), [])?;
        let mut budget = Budget::of(100_000_000);
        let read = self.metric_store.samples((self.org, self.server), &selection, all_us, &mut budget).await?;
        for (series, points) in &self.known {
            let expected: Vec<_> = points.range(all_us.0..all_us.1).map(|(at_us, value)| (*at_us, *value)).collect();
            let found = read.get(series).cloned().unwrap_or_default();
            let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
            ensure!(found == expected, "{series:?}: {} of {}: {differs:?}", found.len(), expected.len());
            compared += found.len();
        }
        Ok(compared)
    }

    async fn check_question(&self, range: (i64, i64, i64)) -> Result<usize> {
        let (found, steps) = (self.ask(&METRICS, range).await?, self.steps(range)?);
        let expected = expected(&self.known, steps);
        let named: BTreeMap<_, _> = found.iter().map(|one| ((&one.metric, &one.labels), one)).collect();
        ensure!(named.len() == expected.len(), "{range:?}: {} of {} series", named.len(), expected.len());
        let mut compared = 0;
        for (series, buckets) in &expected {
            let found = named.get(&(&series.name, &series.labels)).context("a series that nobody asked for")?;
            for (at, bucket) in buckets.iter().enumerate() {
                let found = (found.min[at], found.avg[at], found.max[at]);
                let place = || format!("{} at step {at} of {range:?}: {found:?}, {bucket:?}", series.name);
                let Some(mean) = bucket.mean(series.kind) else {
                    ensure!(found.1.is_nan(), "{}", place());
                    continue;
                };
                let is_rounded = series.kind == SeriesKind::Counter && steps.step_us >= 60 * SECOND_US;
                let end = |end: f64| scaled(series, if is_rounded { rounded(end) } else { end });
                ensure!(found == (end(bucket.min), scaled(series, mean), end(bucket.max)), "{}", place());
                compared += 3;
            }
        }
        Ok(compared)
    }
}

/// Every metric of the world.
pub const METRICS: [&str; 5] = [GAUGE, LOAD, COUNTER, CPU, PASSING];

/// A frame as it is stored, with what it declares.
#[must_use]
pub fn row(server_id: ServerId, (epoch, seq): (u64, u64), columns: &Columns) -> FrameRow {
    let (encoding, payload) = metric::encode(columns);
    let (host, container): (Vec<_>, Vec<_>) = series().into_iter().partition(|(id, _)| *id < 9);
    FrameRow {
        server_id,
        epoch,
        seq,
        first_us: columns.ticks_us[0],
        last_us: columns.ticks_us[columns.ticks_us.len() - 1],
        ticks: u32::try_from(columns.ticks_us.len()).unwrap_or(u32::MAX),
        encoding,
        payload: payload.into(),
        declares: vec![Arc::new(Declarations::of(host)), Arc::new(Declarations::of(container))],
    }
}

fn destination(url: &str) -> Result<Destination> {
    Ok(Destination { url: url.parse()?, bearer_token: None, headers: Vec::new(), authorities: Vec::new() })
}

/// From, to and step in seconds since the start: within an hour, over edges, coarse and fine.
fn questions(hours: i64) -> Vec<(i64, i64, i64)> {
    let end = hours * 3_600;
    vec![
        (0, end, 7),
        (3_590, 3_615, 1),
        (3_500, 7_300, 10),
        (0, end, 60),
        (3_600, 7_200, 60),
        (1_800, end - 900, 300),
        (0, end, 3_600),
        (0, end, 5_400),
        (0, end, 86_400),
    ]
}

/// What the samples say, made of them one by one.
fn expected(known: &Known, steps: Steps) -> BTreeMap<Series, Vec<Bucket>> {
    let mut expected = BTreeMap::new();
    for (series, points) in known {
        let (mut buckets, mut reader) = (vec![Bucket::default(); steps.count()], Reader::default());
        for (at_us, value) in points {
            if let Some(reading) = reader.read(series.kind, (*at_us, *value))
                && let Some(place) = steps.place(reading.at_us)
            {
                buckets[place].take(&reading);
            }
        }
        if buckets.iter().any(|bucket| bucket.weight > 0) {
            expected.insert(series.clone(), buckets);
        }
    }
    expected
}
