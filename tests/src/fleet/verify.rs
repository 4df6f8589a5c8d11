//! Whether the control plane has what its hosts were told it has, once each and unaltered.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use anyhow::{Result, ensure};
use muster_shared::{
    metric::{self, Series, SeriesId},
    wire,
};
use sqlx::{AnyPool, Row as _};

use super::host::Host;
use crate::{control_plane::ScratchDatabase, stored};

/// What was found stored, and found right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    pub frames: usize,
    pub ticks: u64,
    pub commands: usize,
}

/// Stored frames of one server: sequence → payload, first time.
type Frames = BTreeMap<u64, (Vec<u8>, i64)>;

pub(super) async fn verify(hosts: &[Arc<Host>], database: &ScratchDatabase) -> Result<Stored> {
    let mut stored = Stored::default();
    let mut frames = all_frames(database).await?;
    let updates = all_updates(database).await?;
    let is_missing = |host: &Arc<Host>| {
        let history = host.history();
        let kept = frames.get(&(host.server_id().to_owned(), history.epoch()));
        history.acknowledged().keys().any(|seq| kept.is_none_or(|kept| !kept.contains_key(seq)))
    };
    // Whose hour is over is in a block.
    let sealed = if hosts.iter().any(is_missing) { sealed_samples(hosts, database).await? } else { HashMap::new() };
    for host in hosts {
        let history = host.history();
        let strange = history.strange_acknowledgements();
        ensure!(strange.is_empty(), "{}: acknowledged but never sent: {strange:?}", host.name());
        let kept = frames.remove(&(host.server_id().to_owned(), history.epoch())).unwrap_or_default();
        for (seq, frame) in history.acknowledged() {
            stored.ticks += u64::from(frame.ticks);
            let Some((payload, first_us)) = kept.get(seq) else {
                let samples = sealed.get(host.server_id());
                let is_sealed = samples.is_some_and(|samples| holds(samples, &history.declarations(), frame));
                ensure!(is_sealed, "{}: frame {seq} is lost", host.name());
                continue;
            };
            ensure!(*payload == frame.payload, "{}: frame {seq} is not what was sent", host.name());
            ensure!(*first_us == frame.first_us, "{}: frame {seq} is stored under another time", host.name());
        }
        let unknown = |seq: &&u64| !history.acknowledged().contains_key(*seq) && !history.waiting().contains_key(*seq);
        if let Some(seq) = kept.keys().find(unknown) {
            anyhow::bail!("{}: frame {seq} is stored but was never made", host.name());
        }
        stored.frames += history.acknowledged().len();
        for (id, command) in history.commands() {
            ensure!(command.started == 1, "command {id} was started {} times", command.started);
            let kept = updates.get(id).map(Vec::as_slice).unwrap_or_default();
            let expected: Vec<_> = (1..=command.acknowledged_through).collect();
            ensure!(kept.starts_with(&expected), "command {id}: acknowledged {expected:?}, stored {kept:?}");
            stored.commands += 1;
        }
    }
    Ok(stored)
}

/// Frames of every server and epoch. A sequence that is stored twice is an error.
async fn all_frames(database: &ScratchDatabase) -> Result<BTreeMap<(String, u64), Frames>> {
    let mut frames = BTreeMap::<_, Frames>::new();
    for row in database.rows("SELECT server_id, epoch, seq, payload, first_us FROM metric_frames").await? {
        let (server, epoch, seq): (String, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let frame = (row.try_get(3)?, row.try_get(4)?);
        let earlier =
            frames.entry((server.clone(), epoch.cast_unsigned())).or_default().insert(seq.cast_unsigned(), frame);
        ensure!(earlier.is_none(), "frame {seq} of {server} is stored twice");
    }
    Ok(frames)
}

/// One server's samples by series and microseconds since the epoch.
type Samples = HashMap<(Series, i64), i64>;

/// Sealed samples of the hosts, by server. A moment of a series that is stored twice is an error.
async fn sealed_samples(hosts: &[Arc<Host>], database: &ScratchDatabase) -> Result<HashMap<String, Samples>> {
    let (pool, mut sealed) = (AnyPool::connect(database.address()).await?, HashMap::<String, Samples>::new());
    for host in hosts {
        let server = host.server_id();
        let samples = sealed.entry(server.to_owned()).or_default();
        for (series, points) in stored::sealed(&pool, server).await? {
            for (at_us, value) in points {
                let earlier = samples.insert((series.clone(), at_us), value);
                ensure!(earlier.is_none(), "a sample of {server} at {at_us} is in two blocks");
            }
        }
    }
    pool.close().await;
    Ok(sealed)
}

/// Whether every value of `frame` is among `samples`.
fn holds(samples: &Samples, declarations: &[wire::SeriesDeclaration], frame: &wire::Frame) -> bool {
    let Ok(columns) = metric::decode(frame.encoding(), &frame.payload) else { return false };
    let series = |id: &SeriesId| {
        let declared = declarations.iter().find(|declared| declared.id == *id)?;
        Series::try_from(declared.clone()).ok()
    };
    columns.values.iter().all(|(id, values)| {
        series(id).is_some_and(|series| {
            let mut points = columns.ticks_us.iter().zip(values);
            points.all(|(at_us, value)| value.is_none() || samples.get(&(series.clone(), *at_us)) == value.as_ref())
        })
    })
}

/// Sequences of stored updates by command, ascending.
async fn all_updates(database: &ScratchDatabase) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut updates = BTreeMap::<_, Vec<_>>::new();
    for row in database.rows("SELECT command_id, seq FROM command_updates ORDER BY command_id, seq").await? {
        let (command, seq): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        updates.entry(command).or_default().push(seq.cast_unsigned());
    }
    Ok(updates)
}
