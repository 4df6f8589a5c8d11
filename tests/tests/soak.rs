//! Links drop and both sides are killed by chance while a fleet samples: every sample is there in the end, exactly once
//! and with the value its generator makes, and the control plane's memory is flat.
//!
//! Small here, and big by `just soak`. `MUSTER_SOAK_AGENTS`, `MUSTER_SOAK_SERIES`, `MUSTER_SOAK_SECONDS`,
//! `MUSTER_SOAK_KILLS` (of either side), `MUSTER_SOAK_SPEED` (of the hosts' time), `MUSTER_SOAK_SEALING` (seconds between
//! passes) and `MUSTER_SOAK_SEED` change it.

#![allow(clippy::print_stdout, reason = "what was counted is what the run shows")]

use std::{str::FromStr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    measure,
    soak::{Size, Soaked, soak},
};

/// A life of the control plane is warm after this: the caches of its nine connections to the database are full, and what the
/// allocator keeps for each of its threads has found its size.
const WARM_UP: Duration = Duration::from_secs(1_080);
/// A run of this length in which nobody kills the control plane tells whether memory is flat.
const TELLS_GROWTH: Duration = Duration::from_secs(1_500);
/// What flat means: how much a warm control plane's memory may grow, fitted over all lives, and what it may ever hold.
const GROWTH_MIB_A_MINUTE: f64 = 0.5;
const PEAK_MIB: u64 = 160;
const PEAK_KIB_AN_AGENT: u64 = 128;

fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(name: &str, otherwise: T) -> Result<T> {
    std::env::var(name).map_or(Ok(otherwise), |text| text.parse().with_context(|| name.to_owned()))
}

fn size() -> Result<Size> {
    Ok(Size {
        agents: number("MUSTER_SOAK_AGENTS", 8)?,
        series: number("MUSTER_SOAK_SERIES", 250)?,
        length: Duration::from_secs(number("MUSTER_SOAK_SECONDS", 12)?),
        kills: number("MUSTER_SOAK_KILLS", 2)?,
        speed: number("MUSTER_SOAK_SPEED", 20)?,
        sealing: Duration::from_secs(number("MUSTER_SOAK_SEALING", 1)?),
        seed: number("MUSTER_SOAK_SEED", 20_261_127)?,
    })
}

fn show(size: &Size, soaked: &Soaked) {
    let every = if size.length < Duration::from_secs(180) { size.length / 6 } else { Duration::from_secs(60) };
    println!("{}", soaked.memory.table(every));
    let (compared, ready) = (soaked.compared, &soaked.ready_after);
    println!("| | |\n| --- | --- |");
    println!("| hosts killed, control plane killed | {}, {} times |", soaked.agents_killed, ready.len());
    println!("| ready again after, at most | {} ms |", ready.iter().max().map_or(0, Duration::as_millis));
    println!("| frames, seconds in them | {}, {} |", compared.frames, compared.ticks);
    println!("| samples stored exactly once, with their values | {} |", compared.samples);
    println!("| of them in sealed blocks | {} |", compared.sealed);
    println!("| values asked for over REST at a step of a second | {} |", soaked.asked);
    println!("| most memory | {:.1} MiB |", soaked.memory.peak_bytes() as f64 / f64::from(1 << 20));
}

/// Loads the whole machine, so by itself.
mod alone {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_sample_is_there_once_whatever_drops_and_whoever_is_killed() -> Result<()> {
        measure::raise_descriptor_limit();
        let size = size()?;
        println!("{size:?}");
        let soaked = soak(size).await.with_context(|| format!("MUSTER_SOAK_SEED={}", size.seed))?;
        show(&size, &soaked);
        ensure!(soaked.compared.samples == soaked.compared.ticks * u64::from(size.series), "{:?}", soaked.compared);
        ensure!(soaked.compared.sealed > 0, "nothing was sealed");
        ensure!(soaked.compared.sealed < soaked.compared.samples, "everything was sealed");
        let killed = (soaked.agents_killed, soaked.ready_after.len());
        ensure!(killed.1 == size.kills && (killed.0 > 0) == (size.kills > 0), "killed were {killed:?}");
        let peak_mib = soaked.memory.peak_bytes() >> 20;
        let may_mib = PEAK_MIB + PEAK_KIB_AN_AGENT * size.agents as u64 / 1024;
        ensure!(peak_mib <= may_mib, "the control plane held {peak_mib} MiB of {may_mib}");
        let growth = soaked.memory.growth_bytes_a_minute(WARM_UP).map(|bytes| bytes / f64::from(1 << 20));
        let tells = size.kills == 0 && size.length >= TELLS_GROWTH;
        ensure!(growth.is_some() || !tells, "no life was long enough to tell how memory grows");
        if let Some(growth) = growth {
            println!("| growth after warming up | {growth:.3} MiB a minute |");
            ensure!(growth <= GROWTH_MIB_A_MINUTE, "memory grows by {growth:.3} MiB a minute");
        }
        Ok(())
    }
}
