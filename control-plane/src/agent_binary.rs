//! The agent's binaries, as they are given to hosts: over SSH, and to those who fetch them.
//!
//! A folder holds them as `muster-agent-<arch>`, `<arch>/muster-agent`, or plain `muster-agent` for whichever
//! architecture it was built. The ELF header decides what a file is; its name is only where to look. A binary is read
//! once and again when its file changes, so replacing the file is all an operator has to do.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;

/// Architectures there can be agents for, and their ELF machine numbers.
const MACHINES: [(&str, u16); 2] = [("x86_64", 62), ("aarch64", 183)];
/// Largest file taken for an agent, in bytes.
const MAX_BINARY_BYTES: u64 = 64 << 20;
const NAME: &str = "muster-agent";

/// One binary, whole.
#[derive(Debug, Clone)]
pub struct AgentBinary {
    pub bytes: Bytes,
    /// SHA-256 of the bytes, in lower-case hex.
    pub sha256: String,
}

/// The folder of binaries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentBinaries {
    dir: PathBuf,
    read: Arc<Mutex<HashMap<PathBuf, (Stamp, AgentBinary)>>>,
}

/// What tells one version of a file from the next.
type Stamp = (u64, Option<SystemTime>);

impl AgentBinaries {
    /// The binaries in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), read: Arc::default() }
    }

    /// The agent for `arch`, named as `uname -m` does; `None` where there is none.
    ///
    /// # Errors
    /// A file is there but can't be read.
    pub async fn get(&self, arch: &str) -> io::Result<Option<AgentBinary>> {
        let Some((name, machine)) = MACHINES.iter().find(|(name, _)| *name == arch) else { return Ok(None) };
        let candidates = [format!("{NAME}-{name}"), format!("{name}/{NAME}"), NAME.to_owned()];
        for candidate in candidates {
            if let Some(binary) = self.load(&self.dir.join(candidate)).await?
                && elf_machine(&binary.bytes) == Some(*machine)
            {
                return Ok(Some(binary));
            }
        }
        Ok(None)
    }

    async fn load(&self, path: &Path) -> io::Result<Option<AgentBinary>> {
        let metadata = match tokio::fs::metadata(path).await {
            Ok(metadata) if metadata.is_file() && metadata.len() <= MAX_BINARY_BYTES => metadata,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stamp = (metadata.len(), metadata.modified().ok());
        if let Some((known, binary)) = self.read.lock().unwrap_or_else(PoisonError::into_inner).get(path)
            && *known == stamp
        {
            return Ok(Some(binary.clone()));
        }
        let bytes = Bytes::from(tokio::fs::read(path).await?);
        let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, &bytes));
        let binary = AgentBinary { bytes, sha256 };
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), (stamp, binary.clone()));
        Ok(Some(binary))
    }
}

/// The machine a little-endian 64-bit ELF file is for.
fn elf_machine(bytes: &[u8]) -> Option<u16> {
    let header = bytes.get(..20)?;
    (header.starts_with(b"\x7fELF\x02\x01")).then(|| u16::from_le_bytes([header[18], header[19]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u16, body: &str) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
        bytes.extend(machine.to_le_bytes());
        bytes.extend(body.as_bytes());
        bytes
    }

    #[tokio::test]
    async fn the_header_decides_for_whom_a_file_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let binaries = AgentBinaries::new(dir.path());
        assert!(binaries.get("x86_64").await.expect("readable").is_none());

        std::fs::write(dir.path().join("muster-agent"), elf(62, "one")).expect("written");
        let found = binaries.get("x86_64").await.expect("readable").expect("found");
        assert_eq!(found.bytes, elf(62, "one"));
        assert!(binaries.get("aarch64").await.expect("readable").is_none());
        assert!(binaries.get("../../etc").await.expect("readable").is_none());

        std::fs::write(dir.path().join("muster-agent-aarch64"), elf(183, "arm")).expect("written");
        assert!(binaries.get("aarch64").await.expect("readable").is_some());
    }

    #[tokio::test]
    async fn a_replaced_file_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let binaries = AgentBinaries::new(dir.path());
        std::fs::write(dir.path().join("muster-agent"), elf(62, "one")).expect("written");
        let first = binaries.get("x86_64").await.expect("readable").expect("found");
        std::fs::write(dir.path().join("muster-agent"), elf(62, "longer")).expect("written");
        let second = binaries.get("x86_64").await.expect("readable").expect("found");
        assert_ne!(first.sha256, second.sha256);
        assert_eq!(second.bytes, elf(62, "longer"));
    }

    #[tokio::test]
    async fn other_files_are_no_agents() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("muster-agent"), "#!/bin/sh\n").expect("written");
        assert!(AgentBinaries::new(dir.path()).get("x86_64").await.expect("readable").is_none());
    }
}
