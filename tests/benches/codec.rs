//! What a sample costs stored, and how quickly it is read back: the control plane's blocks beside other encodings of the
//! same columns.
//!
//! `cargo test --bench codec` records this machine for a few seconds; `just bench codec` for a quarter of an hour, or
//! reads what `MUSTER_BENCH_RECORDING` names: see [`muster_tests::recording`].

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use muster::metrics::block::{self, Cells, Directories, Index, Room, day::DayBuilder};
use muster_shared::metric::{Series, varint::put_deltas};
use muster_tests::recording::{Recording, Samples};
use pco::{ChunkConfig, standalone};

/// Seconds of a block.
const BLOCKS: [usize; 3] = [900, 1800, 3600];
/// Bytes of varints compressed together.
const STRIPE_BYTES: usize = 64 * 1024;

/// How columns are encoded: what it is called, and how.
type Candidate = (&'static str, fn(&[Vec<i64>]) -> Result<Cost>);

#[derive(Debug, Default, Clone, Copy)]
struct Cost {
    bytes: usize,
    encode: Duration,
    decode: Duration,
}

fn main() -> Result<()> {
    let is_full = std::env::args().any(|argument| argument == "--bench");
    let recording = match std::env::var_os("MUSTER_BENCH_RECORDING") {
        Some(path) => Recording::read(path.as_ref())?,
        None => Recording::of_this_machine(if is_full { 900 } else { 5 }),
    };
    let samples = recording.samples();
    let seconds = samples.values().map(Vec::len).max().context("nothing was recorded")?;
    let moving: BTreeMap<_, _> =
        samples.iter().filter(|(_, points)| points.iter().any(|point| point.1 != points[0].1)).collect();
    println!("{} series over {seconds} s, {} of them not constant", samples.len(), moving.len());
    println!("{:<34} {:>6} {:>9} {:>11} {:>11}", "encoding", "block", "B/sample", "encode M/s", "decode M/s");
    for length in BLOCKS.into_iter().filter(|length| *length <= seconds || *length == BLOCKS[0]) {
        compare(samples, length.min(seconds))?;
    }
    Ok(())
}

fn compare(samples: &Samples, length: usize) -> Result<()> {
    let candidates: [Candidate; 6] = [
        ("pco level 8", |columns| with_pco(columns, 8)),
        ("pco level 4", |columns| with_pco(columns, 4)),
        ("delta varint + zstd 1", |columns| with_zstd(columns, 1)),
        ("delta varint + zstd 3", |columns| with_zstd(columns, 3)),
        ("delta varint + zstd 9", |columns| with_zstd(columns, 9)),
        ("delta varint + zstd 3 each", each_with_zstd),
    ];
    let columns: Vec<Vec<i64>> = samples.values().map(|points| points.iter().map(|point| point.1).collect()).collect();
    let pieces: Vec<Vec<Vec<i64>>> = pieces(&columns, length);
    let count: usize = pieces.iter().flatten().map(Vec::len).sum();
    for (name, encode) in candidates {
        let mut total = Cost::default();
        for piece in &pieces {
            let cost = encode(piece)?;
            total.bytes += cost.bytes;
            total.encode += cost.encode;
            total.decode += cost.decode;
        }
        row(name, length, count, total);
    }
    let (total, count) = blocks(samples, length)?;
    row("block, with times and series", length, count, total);
    let (total, count) = day(samples)?;
    row("as a day, with times and series", samples.values().map(Vec::len).max().unwrap_or(0), count, total);
    Ok(())
}

fn row(name: &str, length: usize, count: usize, cost: Cost) {
    let rate = |time: Duration| count as f64 / time.as_secs_f64().max(1e-9) / 1e6;
    let bytes = cost.bytes as f64 / count as f64;
    println!("{name:<34} {length:>6} {bytes:>9.4} {:>11.1} {:>11.1}", rate(cost.encode), rate(cost.decode));
}

/// Every column cut into pieces of `length`; a last short one is left out, unless it is the only one.
fn pieces(columns: &[Vec<i64>], length: usize) -> Vec<Vec<Vec<i64>>> {
    let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let whole = (longest / length).max(1);
    let piece = |at: usize| columns.iter().filter_map(move |column| column.chunks(length).nth(at).map(<[i64]>::to_vec));
    (0..whole).map(|at| piece(at).collect()).collect()
}

fn with_pco(columns: &[Vec<i64>], level: usize) -> Result<Cost> {
    let config = ChunkConfig::default().with_compression_level(level);
    let mut cost = Cost::default();
    for column in columns {
        // A constant costs its value anyhow.
        if column.iter().all(|value| value == &column[0]) {
            cost.bytes += 6;
            continue;
        }
        let started = Instant::now();
        let encoded = standalone::simple_compress(column, &config)?;
        cost.encode += started.elapsed();
        cost.bytes += encoded.len();
        let started = Instant::now();
        let decoded: Vec<i64> = standalone::simple_decompress(&encoded)?;
        cost.decode += started.elapsed();
        ensure!(&decoded == column, "pco answers something else");
    }
    Ok(cost)
}

fn with_zstd(columns: &[Vec<i64>], level: i32) -> Result<Cost> {
    let mut cost = Cost::default();
    let (mut stripe, mut lengths) = (Vec::new(), Vec::new());
    for (at, column) in columns.iter().enumerate() {
        let started = Instant::now();
        put_deltas(&mut stripe, column.iter().copied());
        cost.encode += started.elapsed();
        lengths.push(column.len());
        if stripe.len() >= STRIPE_BYTES || at + 1 == columns.len() {
            one_stripe(&stripe, &lengths, level, &mut cost)?;
            stripe.clear();
            lengths.clear();
        }
    }
    Ok(cost)
}

fn each_with_zstd(columns: &[Vec<i64>]) -> Result<Cost> {
    let mut cost = Cost::default();
    for column in columns {
        let started = Instant::now();
        let mut plain = Vec::new();
        put_deltas(&mut plain, column.iter().copied());
        cost.encode += started.elapsed();
        one_stripe(&plain, &[column.len()], 3, &mut cost)?;
    }
    Ok(cost)
}

fn one_stripe(plain: &[u8], lengths: &[usize], level: i32, cost: &mut Cost) -> Result<()> {
    let started = Instant::now();
    let encoded = zstd::bulk::compress(plain, level)?;
    cost.encode += started.elapsed();
    cost.bytes += encoded.len();
    let started = Instant::now();
    let plain = zstd::bulk::decompress(&encoded, plain.len())?;
    let mut input = &plain[..];
    let mut last = 0;
    for length in lengths {
        let mut value = 0i64;
        for _ in 0..*length {
            value = value.wrapping_add(muster_shared::metric::varint::take_zigzag(&mut input)?);
        }
        last ^= value;
    }
    std::hint::black_box(last);
    cost.decode += started.elapsed();
    Ok(())
}

/// What the control plane stores, whole.
fn blocks(samples: &Samples, length: usize) -> Result<(Cost, usize)> {
    let mut cost = Cost::default();
    let mut count = 0;
    let longest = samples.values().map(Vec::len).max().unwrap_or(0);
    for at in 0..(longest / length).max(1) {
        let piece = |points: &Vec<(i64, i64)>| -> Cells<1> {
            points.chunks(length).nth(at).unwrap_or_default().iter().map(|(at_us, value)| (*at_us, [*value])).collect()
        };
        let table: BTreeMap<Series, Cells<1>> =
            samples.iter().map(|(series, points)| (series.clone(), piece(points))).collect();
        let started = Instant::now();
        let block = block::encode(&table).context("an empty block")?;
        cost.encode += started.elapsed();
        cost.bytes += block.payload.len();
        count += usize::try_from(block.samples)?;
        let started = Instant::now();
        let read = block::select::<1>((&block.payload, block.checksum), &Directories::default(), |_| true)?;
        cost.decode += started.elapsed();
        ensure!(
            read.into_iter().eq(table.into_iter().filter(|(_, cells)| !cells.is_empty())),
            "a block answers something else"
        );
    }
    Ok((cost, count))
}

/// What the control plane makes of it once its day is over.
fn day(samples: &Samples) -> Result<(Cost, usize)> {
    let mut slots: Vec<i64> = samples.values().flatten().map(|(at_us, _)| *at_us).collect();
    slots.sort_unstable();
    slots.dedup();
    let started = Instant::now();
    let mut builder = DayBuilder::<1>::new(&slots);
    for (series, points) in samples {
        builder.put(series, &points.iter().map(|(at_us, value)| (*at_us, [*value])).collect::<Cells<1>>());
    }
    let day = builder.finish().context("an empty day")?;
    let encode = started.elapsed();
    let bytes = day.head.payload.len() + day.stripes.iter().map(|stripe| stripe.payload.len()).sum::<usize>();
    let started = Instant::now();
    let index = Index::<1>::read((&day.head.payload, day.head.checksum), &Directories::default())?;
    let stripes = (0..).zip(day.stripes.iter().map(|stripe| (&stripe.payload[..], stripe.checksum)));
    let (table, damage) = index.with(stripes, &mut Room::default())?;
    let read = table.select(|_| true)?;
    let decode = started.elapsed();
    ensure!(damage.is_none(), "a day is damaged");
    let points = read
        .into_iter()
        .map(|(series, cells)| (series, cells.into_iter().map(|(at_us, [value])| (at_us, value)).collect::<Vec<_>>()));
    ensure!(points.eq(samples.clone()), "a day answers something else");
    Ok((Cost { bytes, encode, decode }, usize::try_from(day.head.samples)?))
}
