//! The machine's memory on disk: appended note by note, compacted when it has grown.
//!
//! A torn tail is what was being written when the host died: nothing had been done on its strength, so it is cut off.
//! A damaged record is passed over and counted. The file is root's alone.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{File, OpenOptions},
    io::{self, BufReader},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use muster_shared::{
    command::Envelope,
    id::CommandId,
    wire::{self, command_update::Kind},
};
use prost::Message as _;
use uuid::Uuid;

use super::machine::{Begun, Entry, Machine, Note, Stage};
use crate::durable::{self, Record};

const SUBMITTED: u8 = 1;
const UPDATE: u8 = 2;
const ACKNOWLEDGED: u8 = 3;
const KNOWN: u8 = 4;
const FORGOTTEN: u8 = 5;
/// Size beyond which the journal is rewritten with what is still needed.
const COMPACT_BEYOND_BYTES: u64 = 4 << 20;

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    compact_beyond: u64,
}

impl Journal {
    /// Opens the journal at `path` and answers the machine as it was.
    ///
    /// # Errors
    /// When the file can't be read or rewritten.
    pub fn open(path: &Path) -> io::Result<(Self, Machine)> {
        let machine = match File::open(path) {
            Ok(file) => read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Machine::default(),
            Err(error) => return Err(error),
        };
        let (file, bytes) = rewrite(path, &machine)?;
        let journal = Self { path: path.to_owned(), file, bytes, compact_beyond: COMPACT_BEYOND_BYTES.max(bytes * 2) };
        Ok((journal, machine))
    }

    /// Appends `notes`, and makes them durable if asked. On failure nothing of them stays.
    ///
    /// # Errors
    /// When the disk takes them not.
    pub fn append(&mut self, notes: &[Note], durable: bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        for note in notes {
            match note {
                Note::Submitted(command) => durable::put_record(&mut bytes, SUBMITTED, &command.encode_to_vec()),
                Note::Update(update) => durable::put_record(&mut bytes, UPDATE, &update.encode_to_vec()),
                Note::Acknowledged { id, seq } => {
                    let ack = wire::AckUpdates { command_id: id.to_string(), seq: *seq };
                    durable::put_record(&mut bytes, ACKNOWLEDGED, &ack.encode_to_vec());
                }
            }
        }
        let written = self
            .file
            .write_all_at(&bytes, self.bytes)
            .and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Rewrites the journal when it has grown; what `machine` holds is all that is needed.
    ///
    /// # Errors
    /// When the new file can't be written; the old one then goes on being used.
    pub fn compact_if_grown(&mut self, machine: &Machine) -> io::Result<()> {
        if self.bytes <= self.compact_beyond {
            return Ok(());
        }
        let (file, bytes) = rewrite(&self.path, machine)?;
        (self.file, self.bytes) = (file, bytes);
        self.compact_beyond = COMPACT_BEYOND_BYTES.max(bytes * 2);
        Ok(())
    }
}

fn rewrite(path: &Path, machine: &Machine) -> io::Result<(File, u64)> {
    let mut bytes = Vec::new();
    durable::put_record(&mut bytes, FORGOTTEN, &machine.forgotten_until_us.to_le_bytes());
    for (id, entry) in &machine.entries {
        if let Some((signed, _)) = &entry.command {
            durable::put_record(&mut bytes, SUBMITTED, &signed.encode_to_vec());
        }
        durable::put_record(&mut bytes, KNOWN, &known(*id, entry));
        for update in &entry.updates {
            durable::put_record(&mut bytes, UPDATE, &update.encode_to_vec());
        }
    }
    durable::write_atomically(path, &bytes, 0o600)?;
    let file = OpenOptions::new().read(true).write(true).mode(0o600).open(path)?;
    Ok((file, bytes.len() as u64))
}

fn read(file: File) -> io::Result<Machine> {
    let mut input = BufReader::new(file);
    let mut entries = BTreeMap::new();
    let mut forgotten_until_us = 0;
    loop {
        let (record, taken) = durable::take_record(&mut input)?;
        match record {
            Record::Whole { kind: FORGOTTEN, body } => {
                forgotten_until_us = body.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
            }
            Record::Whole { kind, body } => {
                if learn(&mut entries, kind, &body).is_none() {
                    tracing::warn!(kind, "passing over a journal record that can't be read");
                }
            }
            Record::Damaged => tracing::warn!("passing over a damaged journal record"),
            Record::Torn => tracing::warn!("cutting off the journal's torn tail"),
            Record::End => {}
        }
        if taken == 0 {
            return Ok(Machine::remembering(entries, forgotten_until_us));
        }
    }
}

fn learn(entries: &mut BTreeMap<CommandId, Entry>, kind: u8, body: &[u8]) -> Option<()> {
    match kind {
        SUBMITTED => {
            let signed = wire::SignedCommand::decode(body).ok()?;
            let envelope = wire::CommandEnvelope::decode(signed.envelope.as_slice()).ok()?;
            let envelope = Envelope::try_from(envelope).ok()?;
            let entry = Entry {
                issued_at_us: envelope.issued_at_us,
                stage: Stage::Received,
                last_seq: 0,
                updates: VecDeque::new(),
                command: Some((signed, envelope.clone())),
            };
            entries.insert(envelope.command_id, entry);
        }
        KNOWN => {
            let (id, issued_at_us, last_seq, stage) = parse_known(body)?;
            let entry = entries.entry(id).or_insert_with(|| Entry {
                command: None,
                issued_at_us,
                stage: stage.clone(),
                last_seq,
                updates: VecDeque::new(),
            });
            (entry.stage, entry.last_seq) = (stage, last_seq);
        }
        UPDATE => {
            let update = wire::CommandUpdate::decode(body).ok()?;
            let entry = entries.get_mut(&update.command_id.parse().ok()?)?;
            match update.kind {
                Some(Kind::Started(ref started)) if entry.stage == Stage::Received => {
                    entry.stage = Stage::Started(Begun { at_us: update.at_us, boot: started.boot.clone() });
                }
                Some(Kind::Finished(_)) => (entry.stage, entry.command) = (Stage::Finished, None),
                _ => {}
            }
            entry.last_seq = entry.last_seq.max(update.seq);
            entry.updates.push_back(update);
        }
        ACKNOWLEDGED => {
            let ack = wire::AckUpdates::decode(body).ok()?;
            entries.get_mut(&ack.command_id.parse().ok()?)?.updates.retain(|update| update.seq > ack.seq);
        }
        _ => return None,
    }
    Some(())
}

fn known(id: CommandId, entry: &Entry) -> Vec<u8> {
    let mut body = id.as_uuid().as_bytes().to_vec();
    body.extend_from_slice(&entry.issued_at_us.to_le_bytes());
    body.extend_from_slice(&entry.last_seq.to_le_bytes());
    match &entry.stage {
        Stage::Received => body.push(0),
        Stage::Started(begun) => {
            body.push(1);
            body.extend_from_slice(&begun.at_us.to_le_bytes());
            body.extend_from_slice(begun.boot.as_bytes());
        }
        Stage::Finished => body.push(2),
    }
    body
}

fn parse_known(body: &[u8]) -> Option<(CommandId, i64, u64, Stage)> {
    let (id, rest) = body.split_first_chunk::<16>()?;
    let (issued_at_us, rest) = rest.split_first_chunk::<8>()?;
    let (last_seq, rest) = rest.split_first_chunk::<8>()?;
    let (stage, rest) = rest.split_first()?;
    let stage = match stage {
        0 => Stage::Received,
        1 => Stage::Started(parse_begun(rest)),
        _ => Stage::Finished,
    };
    Some((Uuid::from_bytes(*id).into(), i64::from_le_bytes(*issued_at_us), u64::from_le_bytes(*last_seq), stage))
}

/// An earlier version wrote nothing of the start.
fn parse_begun(rest: &[u8]) -> Begun {
    let Some((at_us, boot)) = rest.split_first_chunk::<8>() else { return Begun::default() };
    Begun { at_us: i64::from_le_bytes(*at_us), boot: String::from_utf8_lossy(boot).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/dev/null` takes every byte and can't be synced, so it shows whether a sync was asked for.
    #[test]
    fn what_must_be_durable_is_synced_and_a_failed_sync_is_told() {
        let file = OpenOptions::new().write(true).open("/dev/null").expect("there");
        let mut journal = Journal { path: "/dev/null".into(), file, bytes: 0, compact_beyond: u64::MAX };
        let note = || [Note::Acknowledged { id: CommandId::generate(), seq: 1 }];
        journal.append(&note(), false).expect("written");
        let written = journal.bytes;
        assert!(written > 0 && journal.append(&note(), true).is_err());
        assert_eq!(journal.bytes, written, "what could not be made durable is written over");
    }
}
