//! Whom the executor obeys and what its owner allows: two files of root's, read anew for every command, so that a new
//! enrolment and an edited policy count at once.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use muster_shared::{
    id::ServerId,
    policy::{Family, Policy},
    wire,
};
use serde::{Deserialize, Serialize};

use crate::durable;

/// Write permission for anybody but the owner.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Which server this host is, and whose commands it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    pub server_id: ServerId,
    pub keys: Vec<TrustedKey>,
}

/// A command key: raw Ed25519 as lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKey {
    pub key_id: String,
    pub public_key: String,
}

/// A file that can't be relied on.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("{} can't be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} can be written by others than its owner, so nothing in it is believed", path.display())]
    Insecure { path: PathBuf },
    #[error("{} is not understood: {detail}", path.display())]
    Malformed { path: PathBuf, detail: String },
}

impl Trust {
    /// Trust in one key.
    #[must_use]
    pub fn new(server_id: ServerId, key: &wire::CommandKey) -> Self {
        let public_key = hex::encode(&key.public_key);
        Self { server_id, keys: vec![TrustedKey { key_id: key.key_id.clone(), public_key }] }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`TrustError`] where it is missing, insecure or malformed.
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        let text = read_securely(path)?;
        serde_json::from_str(&text)
            .map_err(|error| TrustError::Malformed { path: path.to_owned(), detail: error.to_string() })
    }

    /// Replaces the file at `path`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        durable::write_atomically(path, &serde_json::to_vec_pretty(self)?, 0o600)
    }

    /// The keys as the verifier takes them; one that is no hex is left out.
    #[must_use]
    pub fn wire_keys(&self) -> Vec<wire::CommandKey> {
        self.keys
            .iter()
            .filter_map(|key| {
                Some(wire::CommandKey { key_id: key.key_id.clone(), public_key: hex::decode(&key.public_key).ok()? })
            })
            .collect()
    }
}

/// Reads the host's policy; where there is no file its owner has said nothing, and only reading is allowed.
///
/// # Errors
/// [`TrustError`] where the file is insecure or malformed; the caller then allows nothing.
pub fn load_policy(path: &Path) -> Result<Policy, TrustError> {
    match read_securely(path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| TrustError::Malformed { path: path.to_owned(), detail: error.message().to_owned() }),
        Err(TrustError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(Policy::default()),
        Err(error) => Err(error),
    }
}

/// The policy file's text for `allow`.
#[must_use]
pub fn policy_text(allow: &[Family]) -> String {
    let words: Vec<String> = allow.iter().map(|family| format!("\"{family}\"")).collect();
    format!(
        "# What the control plane may ask of this host: observe, fix, secure, power, update.\n\
         # Only this host's owner can change it; it counts from the next command on.\n\
         allow = [{}]\n",
        words.join(", ")
    )
}

fn read_securely(path: &Path) -> Result<String, TrustError> {
    let unreadable = |source| TrustError::Unreadable { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    let me = rustix::process::geteuid().as_raw();
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 || (metadata.uid() != me && metadata.uid() != 0) {
        return Err(TrustError::Insecure { path: path.to_owned() });
    }
    fs::read_to_string(path).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_policy_others_can_write_is_not_believed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.toml");
        assert_eq!(load_policy(&path).expect("no file"), Policy::default());
        durable::write_atomically(&path, policy_text(&[Family::Fix]).as_bytes(), 0o644).expect("written");
        let policy = load_policy(&path).expect("read");
        assert!(policy.allows(Family::Fix) && !policy.allows(Family::Observe));
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("set");
        assert!(matches!(load_policy(&path), Err(TrustError::Insecure { .. })));
    }

    #[test]
    fn unknown_words_in_a_policy_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.toml");
        for text in ["allow = [\"everything\"]", "allow = []\nalow = []", "allow"] {
            durable::write_atomically(&path, text.as_bytes(), 0o600).expect("written");
            assert!(matches!(load_policy(&path), Err(TrustError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn trust_reads_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trust.json");
        let key = wire::CommandKey { key_id: "k1".into(), public_key: vec![0, 171, 255] };
        let trust = Trust::new(ServerId::generate(), &key);
        trust.save(&path).expect("saved");
        let read = Trust::load(&path).expect("read");
        assert_eq!((read.wire_keys(), read), (vec![key], trust));
    }
}
