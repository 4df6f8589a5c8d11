//! A week of seconds: what it weighs in the database and how quickly a chart of it is answered, beside Prometheus and
//! VictoriaMetrics, which were written the same samples.
//!
//! `cargo test --bench series` makes a day and a half of a few series; `just bench series` a week of 400, made from a quarter of
//! an hour of this machine or from the recording that `MUSTER_BENCH_RECORDING` names. `MUSTER_BENCH_HOURS`, `MUSTER_BENCH_SERIES`,
//! `MUSTER_BENCH_RECORD_SECONDS` and `MUSTER_BENCH_SEED` change that.
//!
//! The last sample is one of noon, so that half a day is in hours, as it is on the average, and the last hour in frames as they
//! arrived: those are put back once the control plane has looked for what is to be sealed. A call is timed to the last byte of
//! its answer, over a connection that is kept; Muster's is over TLS. The ways take turns.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use muster::{
    clock::Clock,
    events::Events,
    metrics::{
        Budget, Declarations, History, Selection,
        compact::compact_due,
        remote_write::{Client, Destination, Queue, Queued, RemoteWrite},
        seal::seal_due,
        steps::Steps,
    },
    store::{DatabaseUrl, FrameRow, Store},
};
use muster_shared::{
    id::{OrgId, ServerId},
    metric::{Columns, Series, SeriesKind, encode, names},
};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    engine::{Engine, Kind},
    fleet::{Host, mixed, now_us},
    measure::percentile_ms,
    patience::SOON,
    recording::Recording,
    wait,
};
use tokio_util::sync::CancellationToken;

const SECOND_US: i64 = 1_000_000;
const HOUR_S: i64 = 3_600;
/// Seconds of a frame, as of a host that nobody watches.
const TICKS: i64 = 10;
/// The series that is charted: a gauge that moves all the time.
const CHARTED: &str = names::HOST_MEMORY_AVAILABLE_BYTES;

struct Plan {
    hours: i64,
    series: usize,
    calls: usize,
    recorded_seconds: usize,
    seed: u64,
}

impl Plan {
    /// `cargo bench` says `--bench`; `cargo test` does not.
    fn from_arguments() -> Result<Self> {
        let is_full = std::env::args().any(|argument| argument == "--bench");
        let (hours, series, calls, recorded_seconds) = if is_full { (168, 400, 200, 900) } else { (36, 3, 3, 5) };
        let set =
            |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().context(name.to_owned())).transpose();
        Ok(Self {
            hours: set("MUSTER_BENCH_HOURS")?.map_or(Ok(hours), i64::try_from)?,
            series: set("MUSTER_BENCH_SERIES")?.map_or(Ok(series), usize::try_from)?,
            calls,
            recorded_seconds: set("MUSTER_BENCH_RECORD_SECONDS")?.map_or(Ok(recorded_seconds), usize::try_from)?,
            seed: set("MUSTER_BENCH_SEED")?.unwrap_or(1),
        })
    }
}

/// Samples without end, made from a recording: a round is as long as it, and what a series does in it is the sum of what it
/// did in two stretches of the recording, drawn anew for each. So no stretch comes twice, and nothing is gained from storing
/// the second as the first.
struct Generator {
    series: Vec<(Series, Vec<i64>)>,
    /// Microseconds after the whole second of each tick.
    late_us: Vec<i64>,
    seed: u64,
    /// Where each counter stands.
    stand: Vec<i64>,
}

impl Generator {
    /// Of the recording's series that were there all the time, the charted one first; more copies of them, labelled as such,
    /// where there are too few.
    fn of(recording: &Recording, wanted: usize, seed: u64) -> Result<Self> {
        let whole = recording.samples().values().map(Vec::len).max().context("nothing was recorded")?;
        let mut recorded: Vec<_> = recording.samples().iter().filter(|(_, points)| points.len() == whole).collect();
        recorded.sort_by_key(|(series, _)| series.name != CHARTED);
        let (charted, points) = recorded.first().context("nothing was recorded all the time")?;
        ensure!(charted.name == CHARTED, "no {CHARTED} was recorded");
        let late_us = points.iter().map(|(at_us, _)| at_us.rem_euclid(SECOND_US)).collect();
        let series = (0..wanted).map(|at| {
            let (series, points) = recorded[at % recorded.len()];
            let mut series = series.clone();
            if at >= recorded.len() {
                series.labels.insert("copy".to_owned(), (at / recorded.len()).to_string());
            }
            (series, points.iter().map(|(_, value)| *value).collect())
        });
        let series: Vec<(Series, Vec<i64>)> = series.collect();
        let stand = series.iter().map(|(_, recorded)| recorded[0]).collect();
        Ok(Self { series, late_us, seed, stand })
    }

    fn seconds(&self) -> i64 {
        self.late_us.len() as i64
    }

    /// The values of `ticks` seconds from `second` on, which never goes back.
    fn values(&mut self, at: usize, second: i64, ticks: i64) -> Vec<Option<i64>> {
        let (round, seconds) = (second.div_euclid(self.seconds()), self.seconds());
        let (series, recorded) = &self.series[at];
        let dice = |which: u64| mixed(mixed(mixed(self.seed ^ round.unsigned_abs()) ^ at as u64) ^ which) >> 33;
        let shifts = [0, 1].map(|which| i64::try_from(dice(which)).unwrap_or(0) % seconds);
        let of = |place: i64| recorded[usize::try_from(place.rem_euclid(seconds)).unwrap_or(0)];
        // What a counter adds at a place; the recording's end is no step.
        let step = |place: i64| if place % seconds == 0 { 0 } else { of(place) - of(place - 1) };
        let stands = &mut self.stand[at];
        let mut values = Vec::with_capacity(usize::try_from(ticks).unwrap_or(0));
        for second in second..second + ticks {
            let place = second.rem_euclid(seconds);
            let value = match series.kind {
                SeriesKind::Gauge => of(place + shifts[0]) + of(place + shifts[1]) - of(shifts[1]),
                SeriesKind::Counter => {
                    *stands += shifts.iter().map(|shift| step(place + shift)).sum::<i64>();
                    *stands
                }
            };
            values.push(Some(value));
        }
        values
    }

    /// Seconds from `second` on that are of one round and before `end`.
    fn columns(&mut self, start_us: i64, second: i64, end: i64) -> Columns {
        let ticks = TICKS.min(self.seconds() - second.rem_euclid(self.seconds())).min(end - second);
        let late_us = |second: i64| self.late_us[usize::try_from(second.rem_euclid(self.seconds())).unwrap_or(0)];
        let ticks_us = (second..second + ticks).map(|second| start_us + second * SECOND_US + late_us(second)).collect();
        let values = (0..).zip(0..self.series.len()).map(|(id, at)| (id, self.values(at, second, ticks))).collect();
        Columns { ticks_us, values }
    }
}

/// Where the samples go as well.
struct Peer {
    name: &'static str,
    engine: Engine,
    queue: Queue,
}

impl Peer {
    async fn start(name: &'static str, kind: Kind, store: &Store, stop: &CancellationToken) -> Result<Self> {
        let engine = Engine::start(kind).await?;
        let (url, queue) = (engine.write_url().parse()?, Queue::default());
        let destination = Destination { url, bearer_token: None, headers: Vec::new(), authorities: Vec::new() };
        let sender = RemoteWrite::new(queue.clone(), Client::new(destination)?, store.clone(), Clock::system());
        tokio::spawn(sender.run(stop.clone()));
        Ok(Self { name, engine, queue })
    }

    /// Waits until the samples of the second that ends at `until_us` are there.
    async fn has_through(&self, until_us: i64) -> Result<()> {
        wait::until("the hour's samples", 10 * SOON, || async {
            self.engine.flush().await?;
            // A tick is up to a second late.
            let newest = self.engine.query(&format!("{CHARTED}{{copy=\"\"}}[3s]"), until_us / 1000 + 1000).await?;
            Ok(newest.iter().any(|(_, points)| points.iter().any(|(at_ms, _)| *at_ms >= until_us / 1000)).then_some(()))
        })
        .await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::from_arguments()?;
    let recording = match std::env::var_os("MUSTER_BENCH_RECORDING") {
        Some(path) => Recording::read(path.as_ref())?,
        None => Recording::of_this_machine(plan.recorded_seconds),
    };
    let mut generator = Generator::of(&recording, plan.series, plan.seed)?;
    let (series, seconds) = (generator.series.len(), generator.seconds());
    let moves = |(_, recorded): &&(Series, Vec<i64>)| recorded.iter().any(|value| *value != recorded[0]);
    let moving = generator.series.iter().filter(moves).count();
    // Nothing of it is too old, however long ago it is.
    let arguments = ["--frame-retention", "1000d", "--seal-interval", "1h"];
    let mut control_plane = arguments.into_iter().fold(Settings::new(), Settings::argument).start().await?;
    let server: ServerId = Host::enrol(&control_plane, "week", 1).await?.server_id().parse()?;
    let org: OrgId =
        control_plane.server(&server.to_string()).await?["organization_id"].as_str().context("an id")?.parse()?;
    control_plane.terminate().await?;

    let file = control_plane.directory().join("muster.db");
    let empty_bytes = std::fs::metadata(&file)?.len();
    // Up to the last noon, so that half a day is in hours.
    let noon_s = (now_us() / SECOND_US - 14 * HOUR_S) / (24 * HOUR_S) * 24 * HOUR_S + 12 * HOUR_S;
    let start_us = (noon_s - plan.hours * HOUR_S) * SECOND_US;
    let end_us = start_us + plan.hours * HOUR_S * SECOND_US;
    let (mut peers, took) = fill(&plan, &mut generator, (org, server), start_us, &control_plane).await?;
    let samples = (plan.hours * HOUR_S) as f64 * plan.series as f64;

    println!(
        "{series} series, {moving} of them not constant, over {} h from {seconds} s recorded, seed {}: {:.1} M samples",
        plan.hours,
        plan.seed,
        samples / 1e6
    );
    println!("\n| stored, index included | bytes | bytes a sample |\n| --- | --- | --- |");
    let row = |name: &str, bytes: u64| println!("| {name} | {bytes} | {:.3} |", bytes as f64 / samples);
    row("muster, SQLite, roll-ups included", std::fs::metadata(&file)?.len().saturating_sub(empty_bytes));
    for peer in &mut peers {
        // In order, so that what is in memory is in files; a head that is not compacted yet is in Prometheus' log.
        peer.engine.terminate().await?;
        row(peer.name, peer.engine.disk_bytes()?);
        peer.engine.start_again().await?;
    }
    for (what, bytes) in parts(control_plane.directory()).await? {
        row(&format!("muster: {what}"), bytes);
    }
    println!(
        "\nfilled in {:.0} s: made, stored, sealed and compacted here, written to both engines; sealing took {:.1} s of \
         processor time and wall clock together, making days {:.1} s",
        took.all.as_secs_f64(),
        took.sealing.as_secs_f64(),
        took.compacting.as_secs_f64()
    );

    start_with(&took.last_hour, &mut control_plane).await?;
    let charts = charts(&plan, &control_plane, &peers, server, (start_us / SECOND_US, end_us / SECOND_US)).await?;
    println!("\n| a chart of one series over {} h | p50 | p99 | points |\n| --- | --- | --- | --- |", plan.hours);
    for (name, times, points) in charts {
        let [p50, p99] = [50, 99].map(|percent| percentile_ms(&times, percent));
        println!("| {name} | {p50:.1} ms | {p99:.1} ms | {points} |");
    }
    Ok(())
}

/// Starts the control plane with the last hour in `frames`: it seals what is due when it starts and an hour later, so they are
/// kept from it until then.
async fn start_with(frames: &[FrameRow], control_plane: &mut ControlPlane) -> Result<()> {
    let pool = pool(control_plane.directory(), "rw").await?;
    sqlx::query("DELETE FROM metric_frames").execute(&pool).await?;
    pool.close().await;
    control_plane.start_again().await?;
    let store = Store::open(&DatabaseUrl::sqlite_in(control_plane.directory())).await?;
    ensure!(store.insert_frames(frames).await? == frames.len() as u64, "frames were there");
    store.close().await;
    Ok(())
}

async fn pool(directory: &std::path::Path, mode: &str) -> Result<sqlx::AnyPool> {
    sqlx::any::install_default_drivers();
    let database = format!("sqlite://{}?mode={mode}", directory.join("muster.db").display());
    Ok(sqlx::AnyPool::connect(&database).await?)
}

/// What the payloads of samples weigh, by what they are.
async fn parts(directory: &std::path::Path) -> Result<Vec<(&'static str, u64)>> {
    let pool = pool(directory, "ro").await?;
    let of = [
        ("days of samples, indexes", "metric_days WHERE resolution = 1"),
        ("days of samples, stripes", "metric_day_stripes WHERE resolution = 1"),
        ("days of minutes", "metric_day_stripes WHERE resolution = 60"),
        ("hours of samples, half a day, indexes", "metric_blocks WHERE resolution = 1"),
        ("hours of samples, half a day, stripes", "metric_block_stripes WHERE resolution = 1"),
        ("hours of minutes, half a day", "metric_blocks WHERE resolution = 60"),
        ("hours", "metric_blocks WHERE resolution = 3600"),
        ("frames, an hour", "metric_frames"),
    ];
    let mut parts = Vec::new();
    for (what, table) in of {
        let sql = format!("SELECT COALESCE(SUM(LENGTH(payload)), 0) FROM {table}");
        let bytes: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&pool).await?;
        parts.push((what, bytes.unsigned_abs()));
    }
    pool.close().await;
    Ok(parts)
}

/// How long filling took, and what of it; and what is left to be sealed.
#[derive(Debug, Default)]
struct Took {
    last_hour: Vec<FrameRow>,
    all: Duration,
    sealing: Duration,
    compacting: Duration,
}

/// Stores and seals every hour and makes every day as if it had just passed, and writes them to both engines.
async fn fill(
    plan: &Plan,
    generator: &mut Generator,
    (org, server): (OrgId, ServerId),
    start_us: i64,
    control_plane: &ControlPlane,
) -> Result<(Vec<Peer>, Took)> {
    let (begun, stop) = (Instant::now(), CancellationToken::new());
    let (mut took, mut seq) = (Took::default(), 0);
    let store = Store::open(&DatabaseUrl::sqlite_in(control_plane.directory())).await?;
    let peers = vec![
        Peer::start("prometheus", Kind::Prometheus, &store, &stop).await?,
        Peer::start("victoria-metrics", Kind::VictoriaMetrics, &store, &stop).await?,
    ];
    let clock = Clock::standing_at(start_us);
    let history = History::new(store.clone(), Events::default(), clock.clone());
    let declared = Arc::new(Declarations::of((0..).zip(generator.series.iter().map(|(series, _)| series.clone()))));
    for hour in 0..plan.hours {
        let (mut second, end, mut frames) = (hour * HOUR_S, (hour + 1) * HOUR_S, Vec::new());
        while second < end {
            let columns = generator.columns(start_us, second, end);
            second += columns.ticks_us.len() as i64;
            seq += 1;
            let (encoding, payload) = encode(&columns);
            frames.push(FrameRow {
                server_id: server,
                epoch: 1,
                seq,
                first_us: columns.ticks_us[0],
                last_us: columns.ticks_us[columns.ticks_us.len() - 1],
                ticks: u32::try_from(columns.ticks_us.len())?,
                encoding,
                payload: payload.into(),
                declares: vec![Arc::clone(&declared)],
            });
        }
        for some in frames.chunks(120) {
            store.insert_frames(some).await?;
        }
        for (peer, frame) in peers.iter().flat_map(|peer| frames.iter().map(move |frame| (peer, frame))) {
            let FrameRow { epoch, first_us, last_us, encoding, ref payload, .. } = *frame;
            let payload = payload.clone();
            peer.queue.offer(Queued { org, server, epoch, first_us, last_us, encoding, payload });
        }
        clock.advance(HOUR_S * SECOND_US);
        maintain(&history, &mut took).await?;
        took.last_hour = frames;
        for peer in &peers {
            peer.has_through(start_us + ((hour + 1) * HOUR_S - 1) * SECOND_US).await?;
        }
    }
    store.close().await;
    stop.cancel();
    took.all = begun.elapsed();
    Ok((peers, took))
}

async fn maintain(history: &History, took: &mut Took) -> Result<()> {
    let begun = Instant::now();
    ensure!(seal_due(history).await?.failed == 0, "sealing failed");
    let sealed = Instant::now();
    ensure!(compact_due(history).await?.failed == 0, "compaction failed");
    took.sealing += sealed - begun;
    took.compacting += sealed.elapsed();
    Ok(())
}

/// Each way's name, times and points; the ways take turns.
async fn charts(
    plan: &Plan,
    control_plane: &ControlPlane,
    peers: &[Peer],
    server: ServerId,
    (from_s, to_s): (i64, i64),
) -> Result<Vec<(String, Vec<Duration>, usize)>> {
    // About a thousand points; a step that is no whole number of minutes is answered from single samples.
    let step_s = (plan.hours * HOUR_S / 1_000 / 60).max(1) * 60;
    let own = [("muster, from minutes", step_s), ("muster, from samples", step_s + 1)];
    let mut charts: Vec<_> = own.iter().map(|(name, _)| ((*name).to_owned(), Vec::new(), 0)).collect();
    charts.extend(peers.iter().map(|peer| (format!("{}, avg_over_time", peer.name), Vec::new(), 0)));
    let mut reading = Reading::open(control_plane, server).await?;
    let mut muster = control_plane.rest().keep().await?;
    let mut kept = Vec::new();
    for peer in peers {
        kept.push(peer.engine.keep().await?);
    }
    for _ in 0..plan.calls {
        for (chart, (_, step_s)) in charts.iter_mut().zip(own) {
            let range = format!("from={from_s}&to={to_s}&step={step_s}s");
            let path = format!("/api/v1/monitoring/servers/{server}/series?metric={CHARTED}&{range}");
            let (body, took) = muster.get(&path).await?;
            chart.1.push(took);
            let answer: serde_json::Value = serde_json::from_slice(&body)?;
            chart.2 =
                answer["series"][0]["avg"].as_array().context("a series")?.iter().filter(|it| !it.is_null()).count();
        }
        for (name, step_s) in own {
            reading.once(format!("{name}, reading alone"), (from_s, to_s), step_s).await?;
            // The end is noon, and the last hour is in frames.
            let (midnight_s, frames_s) = (to_s - 12 * HOUR_S, to_s - HOUR_S);
            for (what, range_s) in
                [("days", (from_s, midnight_s)), ("hours", (midnight_s, frames_s)), ("frames", (frames_s, to_s))]
            {
                reading.once(format!("{name}, its {what} alone"), range_s, step_s).await?;
            }
        }
        for (chart, peer) in charts.iter_mut().skip(own.len()).zip(&mut kept) {
            let query = format!("avg_over_time({CHARTED}{{copy=\"\"}}[{step_s}s])");
            let (body, took) = peer.get(&Engine::range_path(&query, (from_s, to_s), step_s)).await?;
            chart.1.push(took);
            chart.2 = Engine::points_of_range(&body)?;
        }
    }
    for (name, _, points) in &charts {
        ensure!(*points as i64 >= (to_s - from_s) / step_s - 20, "{name}: {points} points");
    }
    ensure!(reading.frames().await? > 0, "the last hour was sealed meanwhile");
    charts.extend(reading.done().await);
    Ok(charts)
}

/// The same charts read in this process, and parts of them: what is left of a call is HTTP, permissions and JSON.
struct Reading {
    store: Store,
    history: History,
    whose: (OrgId, ServerId),
    charts: BTreeMap<String, (Vec<Duration>, usize)>,
}

impl Reading {
    async fn open(control_plane: &ControlPlane, server: ServerId) -> Result<Self> {
        let org =
            control_plane.server(&server.to_string()).await?["organization_id"].as_str().context("an id")?.parse()?;
        let store = Store::open(&DatabaseUrl::sqlite_in(control_plane.directory())).await?;
        let history = History::new(store.clone(), Events::default(), Clock::system());
        Ok(Self { store, history, whose: (org, server), charts: BTreeMap::new() })
    }

    async fn once(&mut self, name: String, (from_s, to_s): (i64, i64), step_s: i64) -> Result<()> {
        let selection = Selection::new([CHARTED.to_owned()], [])?;
        let steps = Steps::new(from_s * SECOND_US, to_s * SECOND_US, Some(step_s * SECOND_US))?;
        let begun = Instant::now();
        let read = self.history.buckets(self.whose, &selection, steps, &mut Budget::of(usize::MAX)).await?;
        let took = begun.elapsed();
        let points = read.values().next().context("a series")?.iter().filter(|bucket| bucket.weight > 0).count();
        let chart = self.charts.entry(name).or_default();
        chart.0.push(took);
        chart.1 = points;
        Ok(())
    }

    /// How many frames are in no block.
    async fn frames(&self) -> Result<usize> {
        let (org, server) = self.whose;
        Ok(self.store.frames_between(org, server, (0, i64::MAX - 1), 10_000).await?.len())
    }

    async fn done(self) -> impl Iterator<Item = (String, Vec<Duration>, usize)> {
        self.store.close().await;
        self.charts.into_iter().map(|(name, (times, points))| (name, times, points))
    }
}
