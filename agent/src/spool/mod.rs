//! What was sampled and is not yet durable at the control plane: on disk, bounded, in order.
//!
//! - A frame gets its sequence number when it is cut; (epoch, seq) names the same bytes for ever.
//! - Bound: [`Limits::max_bytes`] and [`Limits::max_ticks`]. Beyond either, or when the disk is full, the oldest segment
//!   is dropped whole and its frames are counted. Where nothing is left to drop, the last few frames wait in memory.
//! - fsync: when a segment is made, when a frame declares new series, and every [`SYNC_EVERY`] by the caller
//!   ([`Spool::take_unsynced`]). An fsync each second would keep a disk from ever resting and cost more than all of
//!   sampling, to save at most a minute of samples on a power cut that the control plane mostly has already. A killed
//!   process loses only the ticks that were not cut yet, at most [`cut::TICKS_PER_FRAME`].

pub mod cut;
mod found;
mod segment;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use muster_shared::{
    metric::{self, Columns, Series, SeriesId},
    wire,
};

use self::{
    cut::Cutter,
    found::{Found, segment_files},
    segment::Segment,
};
use crate::durable;

/// How often the caller should make the newest frames durable.
pub const SYNC_EVERY: Duration = Duration::from_secs(60);
/// Frames in a segment before the next is begun: an hour unwatched.
const MAX_SEGMENT_FRAMES: u64 = 360;
/// Bytes in a segment before the next is begun.
const MAX_SEGMENT_BYTES: u64 = 4 << 20;
/// Sequence numbers a segment reserves: far more than it holds, so that frames can go on while no segment can be made.
const RESERVED_SEQS: u64 = 1 << 20;
/// Series ids skipped at opening, in case some were given away and then lost with a full disk.
const RESERVED_SERIES: SeriesId = 4096;
/// Series without values that are remembered beside as many as have some. A series that returns after it was forgotten
/// has no values until its source declares it again.
const MAX_IDLE_SERIES: usize = 4096;
/// Frames kept in memory while the disk takes none; beyond that the oldest is dropped and counted.
const MAX_UNSTORED: usize = 32;

/// How much a spool may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes on disk. The default holds about two days of 400 series.
    pub max_bytes: u64,
    /// Ticks held: seconds of samples. Counted, not dated, so a jumping clock drops nothing.
    pub max_ticks: u64,
    /// Whether to fsync at all; simulated fleets don't.
    pub durable: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_ticks: 24 * 3600, durable: true }
    }
}

/// Names a frame for ever. Later epochs and numbers sort after earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKey {
    pub epoch: u64,
    pub seq: u64,
}

/// What was lost, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames dropped because a limit was reached or the disk was full.
    pub dropped_frames: u64,
    /// Records whose checksum was wrong.
    pub damaged_records: u64,
    /// Files that were no segments.
    pub damaged_segments: u64,
    /// Tails cut off after a crash.
    pub torn_tails: u64,
}

/// Which declarations a session has made; one a session.
#[derive(Debug, Default)]
pub struct Declared {
    /// By segment: how many of its declaring records were sent.
    segments: HashMap<FrameKey, u32>,
    series: HashSet<(u64, SeriesId)>,
}

/// The spool of one host.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limits: Limits,
    /// By epoch and first number; the last one is written to.
    segments: BTreeMap<FrameKey, Segment>,
    active: File,
    epoch: u64,
    next_seq: u64,
    next_series: SeriesId,
    ids: HashMap<Arc<Series>, SeriesId>,
    names: HashMap<SeriesId, Arc<Series>>,
    /// The source's numbers as ids.
    by_number: HashMap<u32, SeriesId>,
    /// Ids declared in the active segment.
    declared: HashSet<SeriesId>,
    unstored: BTreeMap<FrameKey, wire::Frame>,
    unsynced: bool,
    bytes: u64,
    ticks: u64,
    counters: Counters,
}

/// A frame that was cut, and those dropped to make room for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub key: FrameKey,
    pub dropped: Vec<FrameKey>,
}

impl Spool {
    /// Opens the spool in `folder`, making it where it is missing. `now_us` names a new epoch where one is needed.
    ///
    /// # Errors
    /// When the folder can't be read or no segment can be made.
    pub fn open(folder: &Path, limits: Limits, now_us: i64) -> io::Result<Self> {
        durable::create_directory(folder, 0o700)?;
        let mut found = Found::default();
        for path in segment_files(folder)? {
            found.add(&path)?;
        }
        found.apply_acknowledgements();
        let newest = found.segments.last_key_value().map(|(key, segment)| (*key, segment.next_series));
        let (epoch, next_seq, next_series) = match newest {
            // A damaged header may have been the newest: its reservation is unknown, so only a new epoch is safe.
            Some((key, watermark)) if found.counters.damaged_segments == 0 => {
                (key.epoch, key.seq + RESERVED_SEQS, watermark.max(found.next_series) + RESERVED_SERIES)
            }
            newest => {
                let after = newest.map_or(0, |(key, _)| key.epoch + 1);
                found.ids.clear();
                (after.max(now_us.max(1).unsigned_abs()), 1, 1)
            }
        };
        let (active, file) = Segment::create(folder, epoch, next_seq, next_series, limits.durable)?;
        found.segments.insert(active.key(), active);
        let ids: HashMap<Arc<Series>, SeriesId> = found
            .ids
            .into_iter()
            .filter(|(_, (of, _))| *of == epoch)
            .map(|(series, (_, id))| (Arc::new(series), id))
            .collect();
        let mut spool = Self {
            folder: folder.to_owned(),
            limits,
            bytes: found.segments.values().map(|segment| segment.bytes).sum(),
            ticks: found.segments.values().map(Segment::ticks).sum(),
            segments: found.segments,
            active: file,
            epoch,
            next_seq,
            next_series,
            names: ids.iter().map(|(series, id)| (*id, Arc::clone(series))).collect(),
            ids,
            by_number: HashMap::new(),
            declared: HashSet::new(),
            unstored: BTreeMap::new(),
            unsynced: false,
            counters: found.counters,
        };
        spool.remove_empty();
        spool.enforce_limits();
        Ok(spool)
    }

    /// Every frame waiting, oldest first.
    #[must_use]
    pub fn pending(&self) -> Vec<FrameKey> {
        let stored = self
            .segments
            .values()
            .flat_map(|segment| segment.frames.keys().map(|seq| FrameKey { epoch: segment.epoch, seq: *seq }));
        stored.chain(self.unstored.keys().copied()).collect()
    }

    /// What was lost so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file to fsync, when anything was written since the last time; its sync may happen on another thread.
    pub fn take_unsynced(&mut self) -> Option<File> {
        if !std::mem::take(&mut self.unsynced) || !self.limits.durable {
            return None;
        }
        self.active.try_clone().ok()
    }

    /// Learns what the source's numbers stand for, before ticks with them are cut.
    pub fn learn(&mut self, declared: &[(u32, Series)]) {
        for (number, series) in declared {
            let id = match self.ids.get(series) {
                Some(id) => *id,
                None => {
                    let (id, series) = (self.next_series, Arc::new(series.clone()));
                    self.next_series += 1;
                    self.ids.insert(Arc::clone(&series), id);
                    self.names.insert(id, series);
                    id
                }
            };
            self.by_number.insert(*number, id);
        }
    }

    /// Makes a frame of what waits in `cutter`. `None` when nothing waits.
    pub fn cut(&mut self, cutter: &mut Cutter) -> Option<Cut> {
        let columns = cutter.take(|number| self.by_number.get(&number).copied())?;
        let mut dropped = self.rotate_if_full();
        let new = columns.values.iter().map(|(id, _)| *id).filter(|id| !self.declared.contains(id));
        let declarations = new.filter_map(|id| Some(self.names.get(&id)?.declare(id))).collect();
        let key = FrameKey { epoch: self.epoch, seq: self.next_seq };
        self.next_seq += 1;
        dropped.extend(self.store(frame(key, &columns, declarations)));
        dropped.extend(self.enforce_limits());
        Some(Cut { key, dropped })
    }

    /// Reads a frame for sending, with the declarations that `declared` lacks. `None` when it is gone or damaged; it
    /// is then forgotten and counted.
    pub fn read(&mut self, key: FrameKey, declared: &mut Declared) -> Option<wire::Frame> {
        let mut frame = if let Some(frame) = self.unstored.get(&key) {
            frame.clone()
        } else {
            let (segment_key, segment) = self.segments.range(..=key).next_back()?;
            let sent = declared.segments.get(segment_key).copied().unwrap_or(0);
            match segment.read(key.seq, sent) {
                Ok(Some((frame, sent))) if segment.epoch == key.epoch => {
                    declared.segments.insert(*segment_key, sent);
                    frame
                }
                _ => {
                    self.forget_damaged(key);
                    return None;
                }
            }
        };
        frame.declarations.retain(|declaration| declared.series.insert((key.epoch, declaration.id)));
        Some(frame)
    }

    /// Frees the frames the control plane has made durable. Numbers that aren't held are passed over.
    pub fn acknowledge(&mut self, ack: &wire::FrameAck) {
        let mut any = false;
        for range in ack.ranges.iter().filter(|range| range.first <= range.last) {
            let epoch = ack.epoch;
            for segment in self.segments.values_mut().filter(|segment| segment.epoch == epoch) {
                for (_, ticks) in segment.forget(range.first, range.last) {
                    self.ticks = self.ticks.saturating_sub(u64::from(ticks));
                    any = true;
                }
            }
            self.unstored.retain(|key, _| key.epoch != epoch || !(range.first..=range.last).contains(&key.seq));
        }
        if any {
            // Lost notes cost a repeated frame after a restart, nothing more.
            let bytes = self.note(ack);
            self.bytes += bytes.unwrap_or(0);
            self.remove_empty();
        }
    }

    fn note(&mut self, ack: &wire::FrameAck) -> Option<u64> {
        let mut newest = self.segments.last_entry()?;
        let before = newest.get().bytes;
        newest.get_mut().note_acknowledged(&self.active, ack).ok()?;
        Some(newest.get().bytes - before)
    }

    /// Writes `frame`, making room on a full disk; what can't be written waits in memory.
    fn store(&mut self, frame: wire::Frame) -> Vec<FrameKey> {
        let mut dropped = Vec::new();
        while let Err(error) = self.append(&frame) {
            match self.drop_oldest() {
                Some(keys) => dropped.extend(keys),
                None => {
                    tracing::warn!(%error, "the disk takes no frame; keeping it in memory");
                    self.unstored.insert(FrameKey { epoch: frame.epoch, seq: frame.seq }, frame);
                    if self.unstored.len() > MAX_UNSTORED
                        && let Some((key, _)) = self.unstored.pop_first()
                    {
                        self.counters.dropped_frames += 1;
                        dropped.push(key);
                    }
                    break;
                }
            }
        }
        dropped
    }

    fn append(&mut self, frame: &wire::Frame) -> io::Result<()> {
        let mut newest = self.segments.last_entry().ok_or(io::ErrorKind::NotFound)?;
        let before = newest.get().bytes;
        newest.get_mut().append(&self.active, frame)?;
        self.bytes += newest.get().bytes - before;
        self.ticks += u64::from(frame.ticks);
        self.unsynced = true;
        if !frame.declarations.is_empty() {
            self.declared.extend(frame.declarations.iter().map(|declaration| declaration.id));
            if self.limits.durable {
                self.active.sync_data()?;
            }
        }
        Ok(())
    }

    fn rotate_if_full(&mut self) -> Vec<FrameKey> {
        let full = self.segments.last_key_value().is_some_and(|(_, segment)| {
            segment.written_frames >= MAX_SEGMENT_FRAMES
                || segment.bytes >= MAX_SEGMENT_BYTES.min(self.limits.max_bytes / 4)
        });
        if full { self.rotate() } else { Vec::new() }
    }

    /// Begins a new segment; on a full disk the oldest goes first. Without room the old segment goes on being used.
    fn rotate(&mut self) -> Vec<FrameKey> {
        let mut dropped = Vec::new();
        loop {
            match Segment::create(&self.folder, self.epoch, self.next_seq, self.next_series, self.limits.durable) {
                Ok((segment, file)) => {
                    self.bytes += segment.bytes;
                    self.segments.insert(segment.key(), segment);
                    self.active = file;
                    self.forget_old_series();
                    self.remove_empty();
                    return dropped;
                }
                Err(error) => match self.drop_oldest() {
                    Some(keys) => dropped.extend(keys),
                    None => {
                        tracing::warn!(%error, "no new spool segment can be made; going on with the last one");
                        return dropped;
                    }
                },
            }
        }
    }

    /// Where containers come and go, forgets the series that the last segment did not have.
    fn forget_old_series(&mut self) {
        let alive = std::mem::take(&mut self.declared);
        if self.ids.len() > 2 * alive.len() + MAX_IDLE_SERIES {
            self.ids.retain(|_, id| alive.contains(id));
            self.names.retain(|id, _| alive.contains(id));
            self.by_number.retain(|_, id| alive.contains(id));
        }
    }

    fn enforce_limits(&mut self) -> Vec<FrameKey> {
        let mut dropped = Vec::new();
        while self.bytes > self.limits.max_bytes || self.ticks > self.limits.max_ticks {
            if self.segments.len() == 1 {
                dropped.extend(self.rotate());
            }
            match self.drop_oldest() {
                Some(keys) => dropped.extend(keys),
                None => break,
            }
        }
        dropped
    }

    /// Drops the oldest segment, unless it is the one written to.
    fn drop_oldest(&mut self) -> Option<Vec<FrameKey>> {
        if self.segments.len() < 2 {
            return None;
        }
        let (_, segment) = self.segments.pop_first()?;
        let keys: Vec<FrameKey> =
            segment.frames.keys().map(|seq| FrameKey { epoch: segment.epoch, seq: *seq }).collect();
        self.counters.dropped_frames += keys.len() as u64;
        self.release(&segment);
        Some(keys)
    }

    fn remove_empty(&mut self) {
        let newest = self.segments.last_key_value().map(|(key, _)| *key);
        let empty = self.segments.extract_if(.., |key, segment| segment.frames.is_empty() && Some(*key) != newest);
        for (_, segment) in empty.collect::<Vec<_>>() {
            self.release(&segment);
        }
    }

    fn release(&mut self, segment: &Segment) {
        self.bytes = self.bytes.saturating_sub(segment.bytes);
        self.ticks = self.ticks.saturating_sub(segment.ticks());
        if let Err(error) = fs::remove_file(&segment.path) {
            tracing::warn!(%error, path = %segment.path.display(), "a spool segment can't be removed");
        }
    }

    fn forget_damaged(&mut self, key: FrameKey) {
        if let Some((_, segment)) = self.segments.range_mut(..=key).next_back() {
            for (_, ticks) in segment.forget(key.seq, key.seq) {
                self.ticks = self.ticks.saturating_sub(u64::from(ticks));
                self.counters.damaged_records += 1;
            }
        }
    }
}

fn frame(key: FrameKey, columns: &Columns, declarations: Vec<wire::SeriesDeclaration>) -> wire::Frame {
    let (encoding, payload) = metric::encode(columns);
    wire::Frame {
        epoch: key.epoch,
        seq: key.seq,
        declarations,
        encoding: encoding.into(),
        payload: Bytes::from(payload),
        first_us: columns.ticks_us.first().copied().unwrap_or_default(),
        last_us: columns.ticks_us.last().copied().unwrap_or_default(),
        ticks: u32::try_from(columns.ticks_us.len()).unwrap_or(u32::MAX),
        backfill: false,
    }
}

#[cfg(test)]
mod tests;
