//! One segment file: a header, then frames as they were cut, each with the declarations of series that are new in
//! this file, and notes of what was acknowledged. So every segment can be read without any other.
//!
//! The header reaches the disk before the first sequence number is taken from it. It reserves numbers: whoever opens
//! the spool after a crash starts beyond them, so a number that was sent but lost from disk is never used again.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufReader, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use muster_shared::{metric::SeriesId, wire};
use prost::Message as _;

use super::FrameKey;
use crate::durable::{self, RECORD_HEADER_BYTES, Record};

const HEADER: u8 = 1;
const FRAME: u8 = 2;
const ACKNOWLEDGED: u8 = 3;
const HEADER_BYTES: usize = 20;
/// File names end with this.
pub(super) const SUFFIX: &str = "seg";

/// Where a record lies in its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    offset: u64,
    length: u32,
    ticks: u32,
    /// How many records with declarations there are up to and including this one.
    declaring: u32,
}

/// A segment file and the index of what it still holds.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) epoch: u64,
    pub(super) first_seq: u64,
    /// Lowest series id not given away when the segment was made.
    pub(super) next_series: SeriesId,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) frames: BTreeMap<u64, Slot>,
    /// Records with declarations, in file order.
    declaring: Vec<Slot>,
    pub(super) written_frames: u64,
}

/// What a scan found beside the frames.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) declarations: Vec<wire::SeriesDeclaration>,
    /// They may speak of frames in other segments.
    pub(super) acknowledged: Vec<wire::FrameAck>,
    pub(super) damaged_records: u64,
    pub(super) torn: bool,
}

impl Segment {
    /// What the spool knows it by.
    pub(super) fn key(&self) -> FrameKey {
        FrameKey { epoch: self.epoch, seq: self.first_seq }
    }

    /// Makes a new segment durable before anything is numbered by it.
    pub(super) fn create(
        folder: &Path,
        epoch: u64,
        first_seq: u64,
        next_series: SeriesId,
        durable: bool,
    ) -> io::Result<(Self, File)> {
        let path = folder.join(format!("{epoch:016x}-{first_seq:016x}.{SUFFIX}"));
        let mut body = Vec::with_capacity(HEADER_BYTES);
        body.extend_from_slice(&epoch.to_le_bytes());
        body.extend_from_slice(&first_seq.to_le_bytes());
        body.extend_from_slice(&next_series.to_le_bytes());
        let mut record = Vec::new();
        durable::put_record(&mut record, HEADER, &body);
        let temporary = path.with_extension("new");
        let made = Self::write_header(&temporary, &path, &record, durable);
        if made.is_err() {
            // On a full disk the half-made file would keep what little space there is.
            let _ = std::fs::remove_file(&temporary);
        }
        let file = made?;
        let bytes = record.len() as u64;
        let segment = Self {
            epoch,
            first_seq,
            next_series,
            path,
            bytes,
            frames: BTreeMap::new(),
            declaring: Vec::new(),
            written_frames: 0,
        };
        Ok((segment, file))
    }

    fn write_header(temporary: &Path, path: &Path, record: &[u8], durable: bool) -> io::Result<File> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
        file.write_all(record)?;
        if durable {
            file.sync_all()?;
        }
        std::fs::rename(temporary, path)?;
        if durable {
            durable::sync_parent(path)?;
        }
        Ok(file)
    }

    /// Reads a segment file's index; `None` when its header is no header. Damaged records are skipped, a torn tail ends the scan.
    pub(super) fn scan(path: &Path) -> io::Result<Option<(Self, Findings)>> {
        let mut input = BufReader::new(File::open(path)?);
        let (record, taken) = durable::take_record(&mut input)?;
        let Record::Whole { kind: HEADER, body } = record else { return Ok(None) };
        let Some((epoch, first_seq, next_series)) = parse_header(&body) else { return Ok(None) };
        let mut segment = Self {
            epoch,
            first_seq,
            next_series,
            path: path.to_owned(),
            bytes: taken,
            frames: BTreeMap::new(),
            declaring: Vec::new(),
            written_frames: 0,
        };
        let mut findings = Findings::default();
        loop {
            let (record, taken) = durable::take_record(&mut input)?;
            match record {
                Record::Whole { kind, body } => segment.learn(kind, &body, &mut findings),
                Record::Damaged => findings.damaged_records += 1,
                Record::Torn => findings.torn = true,
                Record::End => {}
            }
            segment.bytes += taken;
            if taken == 0 {
                return Ok(Some((segment, findings)));
            }
        }
    }

    fn learn(&mut self, kind: u8, body: &[u8], findings: &mut Findings) {
        match kind {
            FRAME => match wire::Frame::decode(body) {
                Ok(frame) => {
                    self.index(&frame, self.bytes, body.len());
                    findings.declarations.extend(frame.declarations);
                }
                Err(_) => findings.damaged_records += 1,
            },
            ACKNOWLEDGED => match wire::FrameAck::decode(body) {
                Ok(ack) => findings.acknowledged.push(ack),
                Err(_) => findings.damaged_records += 1,
            },
            // A later version's record: not ours to judge.
            _ => {}
        }
    }

    fn index(&mut self, frame: &wire::Frame, offset: u64, length: usize) {
        let mut slot =
            Slot { offset, length: u32::try_from(length).unwrap_or(u32::MAX), ticks: frame.ticks, declaring: 0 };
        if !frame.declarations.is_empty() {
            self.declaring.push(slot);
        }
        slot.declaring = u32::try_from(self.declaring.len()).unwrap_or(u32::MAX);
        self.frames.insert(frame.seq, slot);
        self.written_frames += 1;
    }

    /// Appends a frame; on failure the file is cut back to what it was.
    pub(super) fn append(&mut self, file: &File, frame: &wire::Frame) -> io::Result<()> {
        let body = frame.encode_to_vec();
        let offset = self.bytes;
        self.append_record(file, FRAME, &body)?;
        self.index(frame, offset, body.len());
        Ok(())
    }

    /// Notes that frames were acknowledged, so that they aren't sent again after a restart.
    pub(super) fn note_acknowledged(&mut self, file: &File, ack: &wire::FrameAck) -> io::Result<()> {
        self.append_record(file, ACKNOWLEDGED, &ack.encode_to_vec())
    }

    fn append_record(&mut self, file: &File, kind: u8, body: &[u8]) -> io::Result<()> {
        let mut record = Vec::with_capacity(body.len() + RECORD_HEADER_BYTES + 1);
        durable::put_record(&mut record, kind, body);
        if let Err(error) = file.write_all_at(&record, self.bytes) {
            let _ = file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += record.len() as u64;
        Ok(())
    }

    /// Removes frames `first..=last` from the index; returns their numbers and ticks.
    pub(super) fn forget(&mut self, first: u64, last: u64) -> Vec<(u64, u32)> {
        if first > last {
            return Vec::new();
        }
        let gone: Vec<(u64, u32)> = self.frames.range(first..=last).map(|(seq, slot)| (*seq, slot.ticks)).collect();
        for (seq, _) in &gone {
            self.frames.remove(seq);
        }
        gone
    }

    /// Ticks in all frames the index holds.
    pub(super) fn ticks(&self) -> u64 {
        self.frames.values().map(|slot| u64::from(slot.ticks)).sum()
    }

    /// Reads a frame with every declaration of this segment that it may need beyond the first `declared` records
    /// with declarations, and says how many such records that makes. `None` when it isn't there or is damaged.
    pub(super) fn read(&self, seq: u64, declared: u32) -> io::Result<Option<(wire::Frame, u32)>> {
        let Some(slot) = self.frames.get(&seq).copied() else { return Ok(None) };
        let file = File::open(&self.path)?;
        let Some(mut frame) = read_frame(&file, slot)? else { return Ok(None) };
        frame.declarations.clear();
        for at in declared..slot.declaring {
            let Some(slot) = self.declaring.get(at as usize) else { break };
            let Some(declaring) = read_frame(&file, *slot)? else { return Ok(None) };
            frame.declarations.extend(declaring.declarations);
        }
        Ok(Some((frame, slot.declaring.max(declared))))
    }
}

fn read_frame(file: &File, slot: Slot) -> io::Result<Option<wire::Frame>> {
    let mut record = vec![0; RECORD_HEADER_BYTES + 1 + slot.length as usize];
    file.read_exact_at(&mut record, slot.offset)?;
    match durable::take_record(&mut record.as_slice())?.0 {
        Record::Whole { kind: FRAME, body } => Ok(wire::Frame::decode(Bytes::from(body)).ok()),
        _ => Ok(None),
    }
}

fn parse_header(body: &[u8]) -> Option<(u64, u64, SeriesId)> {
    let (epoch, rest) = body.split_first_chunk::<8>()?;
    let (first_seq, rest) = rest.split_first_chunk::<8>()?;
    let (next_series, _) = rest.split_first_chunk::<4>()?;
    Some((u64::from_le_bytes(*epoch), u64::from_le_bytes(*first_seq), SeriesId::from_le_bytes(*next_series)))
}
