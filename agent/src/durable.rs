//! Writing files so that a crash leaves the old content or the new one, and framing records so that damage shows.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use ring::digest;

/// Bytes before each record's body: its length and its checksum.
pub const RECORD_HEADER_BYTES: usize = 12;
/// Largest record body read back; anything larger is damage.
pub const MAX_RECORD_BYTES: usize = 8 << 20;

/// Replaces `path` by `bytes` with `mode`: temporary file, fsync, rename, fsync of the directory.
///
/// # Errors
/// Any failure of the file system; `path` then still has its old content.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    // An old temporary file keeps its mode when opened again.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

/// Makes creations, renames and removals beside `path` durable.
///
/// # Errors
/// When the directory can't be opened or synced.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Creates `path` and its parents, and sets its mode.
///
/// # Errors
/// When the directory can't be created or its mode not set.
pub fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Appends `kind` and `body` to `out` as one record: length, checksum, kind, body.
pub fn put_record(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let length = u32::try_from(body.len() + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(kind, body));
    out.push(kind);
    out.extend_from_slice(body);
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Whole {
        kind: u8,
        body: Vec<u8>,
    },
    /// Complete but altered: its length was plausible, its checksum is not.
    Damaged,
    /// The file ends inside it, or its length is implausible: nothing after it can be trusted.
    Torn,
    End,
}

/// Reads the next record and says how many bytes it took.
///
/// # Errors
/// Failures of the reader other than its end.
pub fn take_record(input: &mut impl Read) -> io::Result<(Record, u64)> {
    let mut header = [0; RECORD_HEADER_BYTES];
    match read_fully(input, &mut header)? {
        0 => return Ok((Record::End, 0)),
        RECORD_HEADER_BYTES => {}
        _ => return Ok((Record::Torn, 0)),
    }
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    if length == 0 || length > MAX_RECORD_BYTES {
        return Ok((Record::Torn, 0));
    }
    let mut body = Vec::new();
    if input.by_ref().take(length as u64).read_to_end(&mut body)? < length {
        return Ok((Record::Torn, 0));
    }
    let taken = (RECORD_HEADER_BYTES + length) as u64;
    let kind = body.remove(0);
    if checksum(kind, &body) != header[4..] {
        return Ok((Record::Damaged, taken));
    }
    Ok((Record::Whole { kind, body }, taken))
}

fn read_fully(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn checksum(kind: u8, body: &[u8]) -> [u8; 8] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[kind]);
    context.update(body);
    let mut sum = [0; 8];
    sum.copy_from_slice(&context.finish().as_ref()[..8]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(kind: u8, body: &[u8]) -> Record {
        Record::Whole { kind, body: body.to_vec() }
    }

    #[test]
    fn records_read_back_until_the_torn_tail() {
        let mut bytes = Vec::new();
        put_record(&mut bytes, 1, b"first");
        put_record(&mut bytes, 2, b"");
        put_record(&mut bytes, 3, b"third");
        for cut in 0..bytes.len() {
            let mut input = &bytes[..cut];
            let mut read = Vec::new();
            loop {
                match take_record(&mut input).expect("a slice reads").0 {
                    Record::Whole { kind, .. } => read.push(kind),
                    Record::End | Record::Torn => break,
                    Record::Damaged => panic!("a torn record is not damage"),
                }
            }
            let expected: &[u8] = match cut {
                0..18 => &[],
                18..31 => &[1],
                _ => &[1, 2],
            };
            assert_eq!(read, expected, "cut at {cut}");
        }
    }

    #[test]
    fn damage_is_seen_and_passed_over() {
        let mut bytes = Vec::new();
        put_record(&mut bytes, 1, b"first");
        let end = bytes.len() - 1;
        bytes[end] ^= 1;
        put_record(&mut bytes, 2, b"second");
        let mut input = bytes.as_slice();
        assert_eq!(take_record(&mut input).expect("reads").0, Record::Damaged);
        assert_eq!(take_record(&mut input).expect("reads").0, whole(2, b"second"));
    }

    #[test]
    fn files_are_replaced_whole_with_their_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        write_atomically(&path, b"old", 0o644).expect("written");
        write_atomically(&path, b"new", 0o600).expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
