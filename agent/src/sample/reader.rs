//! Reading small files again and again, cheaply.
//!
//! Opening a `/proc` file costs several times a read of it, so a [`KeptFile`] keeps its descriptor and reads at offset
//! 0, into one buffer that all share. Descriptors are bounded: those who come too late open, read and close each time.

use std::path::PathBuf;

use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags},
    io::Errno,
    process::{Resource, getrlimit},
};

/// The buffer's size at the start; it grows by doubling where a file is larger.
const INITIAL_BUFFER_BYTES: usize = 16 << 10;
/// Largest file that is read; the rest of a longer one is not looked at.
const MAX_FILE_BYTES: usize = 1 << 20;
/// The kernel cuts a file of many records short only where a page is nearly full, so a read that ends well before
/// that is a whole file and needs no second call to find its end.
const SURELY_WHOLE_BYTES: usize = 2048;
/// Descriptors left to the rest of the process: sockets, spool, journal.
const RESERVED_DESCRIPTORS: u64 = 256;
/// Most descriptors kept where the process may have any number.
const MAX_KEPT_DESCRIPTORS: usize = 32 << 10;

/// The shared buffer and the count of descriptors that may still be kept.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    descriptors_left: usize,
}

impl Reader {
    pub(super) fn new() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(RESERVED_DESCRIPTORS);
        let descriptors_left =
            usize::try_from(limit).map_or(MAX_KEPT_DESCRIPTORS, |limit| limit.min(MAX_KEPT_DESCRIPTORS));
        Self { buffer: vec![0; INITIAL_BUFFER_BYTES], descriptors_left }
    }

    fn fill(&mut self, file: &OwnedFd) -> Result<usize, Errno> {
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                if filled >= MAX_FILE_BYTES {
                    return Ok(filled);
                }
                self.buffer.resize(filled * 2, 0);
            }
            let read = rustix::io::pread(file, &mut self.buffer[filled..], filled as u64)?;
            filled += read;
            if read == 0 || filled < SURELY_WHOLE_BYTES {
                return Ok(filled);
            }
        }
    }
}

/// A file that is read each tick.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    kept: Option<OwnedFd>,
}

impl KeptFile {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), kept: None }
    }

    /// The file's content now; `None` where it is not there or can't be read. Whoever gives up a file must
    /// [`close`](Self::close) it, to return its descriptor.
    pub(super) fn read<'b>(&mut self, reader: &'b mut Reader) -> Option<&'b [u8]> {
        if let Some(kept) = &self.kept {
            match reader.fill(kept) {
                Ok(filled) => return Some(&reader.buffer[..filled]),
                // The file was removed; another of the same name may have taken its place.
                Err(_) => self.close(reader),
            }
        }
        let opened = rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let filled = reader.fill(&opened).ok()?;
        if reader.descriptors_left > 0 {
            reader.descriptors_left -= 1;
            self.kept = Some(opened);
        }
        Some(&reader.buffer[..filled])
    }

    pub(super) fn close(&mut self, reader: &mut Reader) {
        if self.kept.take().is_some() {
            reader.descriptors_left += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_kept_file_is_read_anew_each_time_whatever_its_size() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let mut reader = Reader::new();
        let mut file = KeptFile::new(&path);
        assert_eq!(file.read(&mut reader), None);
        for size in [10, INITIAL_BUFFER_BYTES * 3 + 1, SURELY_WHOLE_BYTES, 0] {
            fs::write(&path, vec![b'x'; size]).expect("written");
            assert_eq!(file.read(&mut reader).map(<[u8]>::len), Some(size));
        }
    }

    #[test]
    fn without_descriptors_to_spare_files_are_read_all_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, "1").expect("written");
        let mut reader = Reader::new();
        reader.descriptors_left = 1;
        let mut files = [KeptFile::new(&path), KeptFile::new(&path)];
        assert!(files.iter_mut().all(|file| file.read(&mut reader) == Some(b"1")));
        assert!(files[0].kept.is_some() && files[1].kept.is_none());
        files[0].close(&mut reader);
        assert_eq!(reader.descriptors_left, 1);
    }
}
