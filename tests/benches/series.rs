//! A week of seconds: what it weighs in the database and how quickly a chart of it is answered, beside Prometheus and
//! VictoriaMetrics, which were written the same samples.
//!
//! `cargo test --bench series` makes two hours of a few series; `just bench series` a week of 400, made from a quarter of an hour
//! of this machine or from the hour that `MUSTER_BENCH_RECORDING` names. `MUSTER_BENCH_HOURS`, `MUSTER_BENCH_SERIES`,
//! `MUSTER_BENCH_RECORD_SECONDS` and `MUSTER_BENCH_SEED` change that. A call is a whole one, a new connection included; Muster's is over TLS.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use muster::{
    clock::Clock,
    events::Events,
    metrics::{
        Declarations, History,
        remote_write::{Client, Destination, Queue, Queued, RemoteWrite},
        seal::seal_due,
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
    fleet::{Host, now_us},
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
        let (hours, series, calls, recorded_seconds) = if is_full { (168, 400, 100, 900) } else { (2, 12, 3, 5) };
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

/// Samples without end, made from a recording.
struct Generator {
    series: Vec<(Series, Vec<i64>)>,
    seconds: i64,
    seed: u64,
}

impl Generator {
    /// Of the recording's series that were there all the time, the charted one first; more copies of them, labelled as such,
    /// where there are too few.
    fn of(recording: &Recording, wanted: usize, seed: u64) -> Result<Self> {
        let whole = recording.samples().values().map(Vec::len).max().context("nothing was recorded")?;
        let mut recorded: Vec<_> = recording.samples().iter().filter(|(_, points)| points.len() == whole).collect();
        recorded.sort_by_key(|(series, _)| series.name != CHARTED);
        ensure!(recorded.first().is_some_and(|(series, _)| series.name == CHARTED), "no {CHARTED} was recorded");
        let series = (0..wanted).map(|at| {
            let (series, points) = recorded[at % recorded.len()];
            let mut series = series.clone();
            if at >= recorded.len() {
                series.labels.insert("copy".to_owned(), (at / recorded.len()).to_string());
            }
            (series, points.iter().map(|(_, value)| *value).collect())
        });
        Ok(Self { series: series.collect(), seconds: i64::try_from(whole)?, seed })
    }

    /// A counter goes on from where the recording ends; a gauge begins each round of it somewhere else.
    fn value(&self, at: usize, second: i64) -> i64 {
        let (series, recorded) = &self.series[at];
        let (round, place) = (second / self.seconds, second % self.seconds);
        let of =
            |place: i64| usize::try_from(place).ok().and_then(|place| recorded.get(place)).copied().unwrap_or_default();
        match series.kind {
            SeriesKind::Counter => {
                let per_round = of(self.seconds - 1) - of(0) + (of(self.seconds - 1) - of(self.seconds - 2));
                of(place) + round * per_round
            }
            SeriesKind::Gauge => {
                let dice = (self.seed ^ round.unsigned_abs()).wrapping_mul(6_364_136_223_846_793_005) >> 33;
                of((place + i64::try_from(dice).unwrap_or(0)) % self.seconds)
            }
        }
    }

    fn columns(&self, start_us: i64, second: i64) -> Columns {
        let column = |at: usize| (0..TICKS).map(|tick| Some(self.value(at, second + tick))).collect();
        let values = (0..).zip(0..self.series.len()).map(|(id, at)| (id, column(at))).collect();
        Columns { ticks_us: (0..TICKS).map(|tick| start_us + (second + tick) * SECOND_US).collect(), values }
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
            let newest = self.engine.query(&format!("{CHARTED}{{copy=\"\"}}[2s]"), until_us / 1000).await?;
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
    let generator = Generator::of(&recording, plan.series, plan.seed)?;
    // Nothing of it is too old, however long ago it is.
    let mut control_plane = Settings::new().argument("--frame-retention").argument("1000d").start().await?;
    let server: ServerId = Host::enrol(&control_plane, "week", 1).await?.server_id().parse()?;
    let org: OrgId =
        control_plane.server(&server.to_string()).await?["organization_id"].as_str().context("an id")?.parse()?;
    control_plane.terminate().await?;

    let file = control_plane.directory().join("muster.db");
    let empty_bytes = std::fs::metadata(&file)?.len();
    let start_us = (now_us() / SECOND_US / HOUR_S - plan.hours - 1) * HOUR_S * SECOND_US;
    let end_us = start_us + plan.hours * HOUR_S * SECOND_US;
    let (mut peers, took) = fill(&plan, &generator, (org, server), start_us, &control_plane).await?;
    let samples = (plan.hours * HOUR_S) as f64 * plan.series as f64;

    println!(
        "{} series over {} h from {} s recorded, seed {}: {:.1} M samples",
        plan.series,
        plan.hours,
        generator.seconds,
        plan.seed,
        samples / 1e6
    );
    println!("\n| stored, index included | bytes | bytes a sample |\n| --- | --- | --- |");
    let row = |name: &str, bytes: u64| println!("| {name} | {bytes} | {:.3} |", bytes as f64 / samples);
    row("muster, SQLite", std::fs::metadata(&file)?.len().saturating_sub(empty_bytes));
    for peer in &mut peers {
        // In order, so that what is in memory is in files; a head that is not compacted yet is in Prometheus' log.
        peer.engine.terminate().await?;
        row(peer.name, peer.engine.disk_bytes()?);
        peer.engine.start_again().await?;
    }
    println!("\nfilled in {:.0} s: made, stored and sealed here, written to both engines", took.as_secs_f64());

    control_plane.start_again().await?;
    let charts = charts(&plan, &control_plane, &peers, server, (start_us / SECOND_US, end_us / SECOND_US)).await?;
    println!(
        "\n| a chart of one series over {} h, whole calls | p50 | p99 | points |\n| --- | --- | --- | --- |",
        plan.hours
    );
    for (name, times, points) in charts {
        let [p50, p99] = [50, 99].map(|percent| percentile_ms(&times, percent));
        println!("| {name} | {p50:.1} ms | {p99:.1} ms | {points} |");
    }
    Ok(())
}

/// Stores and seals every hour as if it had just passed, and writes it to both engines.
async fn fill(
    plan: &Plan,
    generator: &Generator,
    (org, server): (OrgId, ServerId),
    start_us: i64,
    control_plane: &ControlPlane,
) -> Result<(Vec<Peer>, Duration)> {
    let (begun, stop) = (Instant::now(), CancellationToken::new());
    let store = Store::open(&DatabaseUrl::sqlite_in(control_plane.directory())).await?;
    let peers = vec![
        Peer::start("prometheus", Kind::Prometheus, &store, &stop).await?,
        Peer::start("victoria-metrics", Kind::VictoriaMetrics, &store, &stop).await?,
    ];
    let clock = Clock::standing_at(start_us);
    let history = History::new(store.clone(), Events::default(), clock.clone());
    let declared = Arc::new(Declarations::of((0..).zip(generator.series.iter().map(|(series, _)| series.clone()))));
    for hour in 0..plan.hours {
        let seconds = (hour * HOUR_S..(hour + 1) * HOUR_S).step_by(TICKS as usize);
        let frames = seconds.map(|second| {
            let columns = generator.columns(start_us, second);
            let (encoding, payload) = encode(&columns);
            FrameRow {
                server_id: server,
                epoch: 1,
                seq: second.unsigned_abs() / TICKS.unsigned_abs() + 1,
                first_us: columns.ticks_us[0],
                last_us: columns.ticks_us[columns.ticks_us.len() - 1],
                ticks: TICKS as u32,
                encoding,
                payload: payload.into(),
                declares: vec![Arc::clone(&declared)],
            }
        });
        let frames: Vec<_> = frames.collect();
        for some in frames.chunks(120) {
            store.insert_frames(some).await?;
        }
        for (peer, frame) in peers.iter().flat_map(|peer| frames.iter().map(move |frame| (peer, frame))) {
            let FrameRow { epoch, first_us, last_us, encoding, ref payload, .. } = *frame;
            let payload = payload.clone();
            peer.queue.offer(Queued { org, server, epoch, first_us, last_us, encoding, payload });
        }
        clock.advance(HOUR_S * SECOND_US);
        seal_due(&history).await?;
        for peer in &peers {
            peer.has_through(start_us + ((hour + 1) * HOUR_S - 1) * SECOND_US).await?;
        }
    }
    clock.advance(HOUR_S * SECOND_US);
    seal_due(&history).await?;
    store.close().await;
    stop.cancel();
    Ok((peers, begun.elapsed()))
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
    for _ in 0..plan.calls {
        for (chart, (_, step_s)) in charts.iter_mut().zip(own) {
            let range = format!("from={from_s}&to={to_s}&step={step_s}s");
            let path = format!("/api/v1/monitoring/servers/{server}/series?metric={CHARTED}&{range}");
            let begun = Instant::now();
            let answer = control_plane.rest().get(&path).await?;
            chart.1.push(begun.elapsed());
            chart.2 =
                answer["series"][0]["avg"].as_array().context("a series")?.iter().filter(|it| !it.is_null()).count();
        }
        for (chart, peer) in charts.iter_mut().skip(own.len()).zip(peers) {
            let query = format!("avg_over_time({CHARTED}{{copy=\"\"}}[{step_s}s])");
            let begun = Instant::now();
            chart.2 = peer.engine.query_range(&query, (from_s, to_s), step_s).await?;
            chart.1.push(begun.elapsed());
        }
    }
    for (name, _, points) in &charts {
        ensure!(*points as i64 >= (to_s - from_s) / step_s - 20, "{name}: {points} points");
    }
    Ok(charts)
}
