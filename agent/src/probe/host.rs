//! The host's files, below an injected root.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::os::text;

/// Largest file read; the rest of a longer one is not looked at.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most entries of a directory looked at.
const MAX_ENTRIES: usize = 65_536;

/// A host as its file system shows it. Paths are absolute, as on the host itself.
#[derive(Debug, Clone)]
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether this is the running host and not a recorded tree.
    pub(super) fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The file's text, invalid UTF-8 replaced.
    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        let mut content = Vec::new();
        fs::File::open(self.path(path))?.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// The file as one cleaned string; `None` where it can't be read or is empty.
    pub(super) fn read_word(&self, path: &str) -> Option<String> {
        self.read(path).ok().map(|content| text::clean(&content)).filter(|word| !word.is_empty())
    }

    pub(super) fn read_number(&self, path: &str) -> Option<u64> {
        self.read(path).ok()?.trim().parse().ok()
    }

    /// The names in a directory, sorted; none where it can't be read.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten().take(MAX_ENTRIES);
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether a program of this name is installed for the system.
    pub(super) fn has_program(&self, name: &str) -> bool {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"]
            .iter()
            .any(|directory| self.exists(&format!("{directory}/{name}")))
    }
}
