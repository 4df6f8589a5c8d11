//! What an enrolled host keeps on disk. `link/` is the link user's; `executor/` and the policy are root's alone, so
//! that a compromised link can't choose whom the executor obeys. The folder around them is root's too: whoever owns a
//! folder can rename what is in it.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use muster_shared::{
    id::ServerId,
    tls::CaPin,
    wire::{self, Endpoints},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::durable;

/// Where an installed agent keeps its state, its owner's settings and its socket.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/muster-agent";
const DEFAULT_CONFIG_DIR: &str = "/etc/muster-agent";
const DEFAULT_RUN_DIR: &str = "/run/muster-agent";

/// Every path the agent uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub state_dir: PathBuf,
    pub config_dir: PathBuf,
    pub run_dir: PathBuf,
}

impl Paths {
    /// The installed agent's paths for the default state directory; any other holds everything itself.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        if state_dir == Path::new(DEFAULT_STATE_DIR) {
            Self { state_dir: state_dir.into(), config_dir: DEFAULT_CONFIG_DIR.into(), run_dir: DEFAULT_RUN_DIR.into() }
        } else {
            Self { state_dir: state_dir.into(), config_dir: state_dir.into(), run_dir: state_dir.join("run") }
        }
    }

    /// The link's own part of the state.
    #[must_use]
    pub fn link(&self) -> LinkState {
        LinkState::new(&self.link_dir())
    }

    #[must_use]
    pub fn link_dir(&self) -> PathBuf {
        self.state_dir.join("link")
    }

    #[must_use]
    pub fn executor_dir(&self) -> PathBuf {
        self.state_dir.join("executor")
    }

    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.executor_dir().join("trust.json")
    }

    /// The key that signs receipts.
    #[must_use]
    pub fn receipt_key(&self) -> PathBuf {
        self.executor_dir().join("receipt.key")
    }

    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.executor_dir().join("journal")
    }

    /// Where changes to the host are recorded, with what they replaced.
    #[must_use]
    pub fn changes(&self) -> PathBuf {
        self.executor_dir().join("changes")
    }

    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.config_dir.join("policy.toml")
    }

    /// The owner's settings file.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.config_dir.join("agent.toml")
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("executor.sock")
    }

    /// Makes the folders; `link_owner` is the link's user and group where that isn't the caller.
    ///
    /// # Errors
    /// When a folder can't be made or given away.
    pub fn create(&self, link_owner: Option<(u32, u32)>) -> io::Result<()> {
        let shared_mode = if link_owner.is_some() { 0o750 } else { 0o700 };
        let group = link_owner.map(|(_, group)| group);
        for folder in [&self.state_dir, &self.run_dir] {
            durable::create_directory(folder, shared_mode)?;
            give_to_group(folder, group)?;
        }
        durable::create_directory(&self.executor_dir(), 0o700)?;
        if self.config_dir != self.state_dir {
            durable::create_directory(&self.config_dir, 0o755)?;
        }
        let link = self.link_dir();
        durable::create_directory(&link, 0o700)?;
        if let Some((user, group)) = link_owner {
            give_away(&link, user, group)?;
        }
        Ok(())
    }

    /// Makes the folder of the socket, which may lie on a file system that starts empty.
    ///
    /// # Errors
    /// When it can't be made or given away.
    pub fn create_run_dir(&self, link_group: Option<u32>) -> io::Result<()> {
        durable::create_directory(&self.run_dir, if link_group.is_some() { 0o750 } else { 0o700 })?;
        give_to_group(&self.run_dir, link_group)
    }
}

fn give_to_group(path: &Path, group: Option<u32>) -> io::Result<()> {
    match group {
        Some(group) if fs::metadata(path)?.gid() != group => chown(path, None, Some(group)),
        _ => Ok(()),
    }
}

fn give_away(path: &Path, user: u32, group: u32) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(user), Some(group))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give_away(&entry?.path(), user, group)?;
        }
    }
    Ok(())
}

/// The link's files.
#[derive(Debug, Clone)]
pub struct LinkState {
    folder: PathBuf,
}

/// Who this host is, to the control plane.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub server_id: ServerId,
    pub trust_domain: String,
    /// PKCS#8; never leaves the host.
    pub key: Zeroizing<Vec<u8>>,
    /// Leaf first.
    pub chain: Vec<Vec<u8>>,
    pub not_before_us: i64,
    pub not_after_us: i64,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("server_id", &self.server_id).finish_non_exhaustive()
    }
}

/// State that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("this host has not joined a control plane")]
    NotEnrolled,
    #[error("{} can't be read or written", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is damaged: {detail}", path.display())]
    Damaged { path: PathBuf, detail: String },
}

/// Key and chain are one file, so that a crash never leaves a key beside another key's certificate.
#[derive(Serialize, Deserialize)]
struct IdentityFile {
    server_id: ServerId,
    trust_domain: String,
    key_pkcs8: Zeroizing<String>,
    chain: Vec<String>,
    not_before_us: i64,
    not_after_us: i64,
}

#[derive(Serialize, Deserialize)]
struct EndpointsFile {
    urls: Vec<String>,
    ca_certificates: Vec<String>,
}

impl Identity {
    /// The identity that a control plane signed for `key`.
    #[must_use]
    pub fn signed(server_id: ServerId, trust_domain: String, key: Zeroizing<Vec<u8>>, signed: wire::Identity) -> Self {
        Self {
            server_id,
            trust_domain,
            key,
            chain: signed.certificate_chain_der,
            not_before_us: signed.not_before_us,
            not_after_us: signed.not_after_us,
        }
    }

    /// Whether its certificate is valid at `now_us`.
    #[must_use]
    pub fn is_valid(&self, now_us: i64) -> bool {
        (self.not_before_us..self.not_after_us).contains(&now_us)
    }

    /// Chain and key as TLS takes them.
    #[must_use]
    pub fn for_tls(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = self.chain.iter().cloned().map(CertificateDer::from).collect();
        (chain, PrivatePkcs8KeyDer::from(self.key.to_vec()).into())
    }
}

impl LinkState {
    /// The state in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Where frames are spooled.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        self.folder.join("spool")
    }

    /// Makes the folder, for a state that [`Paths::create`] does not make.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(&self) -> Result<(), StateError> {
        durable::create_directory(&self.folder, 0o700).map_err(|source| self.io("", source))
    }

    /// # Errors
    /// [`StateError::NotEnrolled`] where there is none.
    pub fn identity(&self) -> Result<Identity, StateError> {
        let file: IdentityFile = self.read("identity.json")?.ok_or(StateError::NotEnrolled)?;
        let damaged = |_| self.damaged("identity.json", "a field is no hexadecimal text");
        Ok(Identity {
            server_id: file.server_id,
            trust_domain: file.trust_domain,
            key: Zeroizing::new(hex::decode(file.key_pkcs8.as_bytes()).map_err(damaged)?),
            chain: file.chain.iter().map(hex::decode).collect::<Result<_, _>>().map_err(damaged)?,
            not_before_us: file.not_before_us,
            not_after_us: file.not_after_us,
        })
    }

    /// # Errors
    /// When it can't be written; the old one then still stands.
    pub fn save_identity(&self, identity: &Identity) -> Result<(), StateError> {
        let file = IdentityFile {
            server_id: identity.server_id,
            trust_domain: identity.trust_domain.clone(),
            key_pkcs8: Zeroizing::new(hex::encode(&*identity.key)),
            chain: identity.chain.iter().map(hex::encode).collect(),
            not_before_us: identity.not_before_us,
            not_after_us: identity.not_after_us,
        };
        self.write("identity.json", &file)
    }

    /// Forgets who this host was, and the session it was in. What was spooled goes too: it was that server's.
    ///
    /// # Errors
    /// When a file can't be removed.
    pub fn remove_identity(&self) -> Result<(), StateError> {
        for name in ["identity.json", "endpoints.json", "generation.json"] {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.io(name, error)),
                _ => {}
            }
        }
        self.remove_spool()
    }

    /// # Errors
    /// When it can't be removed.
    pub fn remove_spool(&self) -> Result<(), StateError> {
        match fs::remove_dir_all(self.spool_dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.io("spool", error)),
            _ => Ok(()),
        }
    }

    /// Where to dial and whom to believe.
    ///
    /// # Errors
    /// [`StateError::NotEnrolled`] where there are none.
    pub fn endpoints(&self) -> Result<Endpoints, StateError> {
        let file: EndpointsFile = self.read("endpoints.json")?.ok_or(StateError::NotEnrolled)?;
        let certificates = file.ca_certificates.iter().map(hex::decode).collect::<Result<_, _>>();
        let damaged = |_| self.damaged("endpoints.json", "a certificate is no hexadecimal text");
        Ok(Endpoints { urls: file.urls, ca_certificates_der: certificates.map_err(damaged)? })
    }

    /// # Errors
    /// When they can't be written.
    pub fn save_endpoints(&self, endpoints: &Endpoints) -> Result<(), StateError> {
        let file = EndpointsFile {
            urls: endpoints.urls.clone(),
            ca_certificates: endpoints.ca_certificates_der.iter().map(hex::encode).collect(),
        };
        self.write("endpoints.json", &file)
    }

    /// The generation of the last Welcome; 0 before the first.
    ///
    /// # Errors
    /// When the file is there but can't be read.
    pub fn generation(&self) -> Result<u64, StateError> {
        Ok(self.read("generation.json")?.unwrap_or(0))
    }

    /// # Errors
    /// When it can't be written.
    pub fn save_generation(&self, generation: u64) -> Result<(), StateError> {
        self.write("generation.json", &generation)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let bytes = match fs::read(self.folder.join(name)) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(name, error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.damaged(name, &error.to_string()))
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(value).map_err(|error| self.io(name, error.into()))?;
        let path = self.folder.join(name);
        durable::write_atomically(&path, &Zeroizing::new(bytes), 0o600).map_err(|error| self.io(name, error))
    }

    fn io(&self, name: &str, source: io::Error) -> StateError {
        StateError::Io { path: self.folder.join(name), source }
    }

    fn damaged(&self, name: &str, detail: &str) -> StateError {
        StateError::Damaged { path: self.folder.join(name), detail: detail.to_owned() }
    }
}

/// Whether one of these CAs is the one with `pin`.
#[must_use]
pub fn trusts(endpoints: &Endpoints, pin: CaPin) -> bool {
    endpoints.ca_certificates_der.iter().any(|der| CaPin::of(&CertificateDer::from(der.as_slice())) == pin)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_identity_reads_back_and_is_the_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = LinkState::new(&folder.path().join("link"));
        state.create().expect("made");
        assert!(matches!(state.identity(), Err(StateError::NotEnrolled)));
        let identity = Identity {
            server_id: ServerId::generate(),
            trust_domain: "muster.test".into(),
            key: Zeroizing::new(vec![1, 2, 255]),
            chain: vec![vec![3], vec![4]],
            not_before_us: 10,
            not_after_us: 20,
        };
        state.save_identity(&identity).expect("saved");
        assert!(state.identity().expect("read") == identity);
        assert!(!identity.is_valid(9) && identity.is_valid(10) && !identity.is_valid(20));
        let mode = fs::metadata(folder.path().join("link/identity.json")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        state.save_generation(7).expect("saved");
        state.remove_identity().expect("removed");
        assert_eq!(state.generation().expect("read"), 0);
        assert!(matches!(state.identity(), Err(StateError::NotEnrolled)));
    }

    #[test]
    fn damage_is_not_taken_for_a_host_that_never_joined() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = LinkState::new(folder.path());
        fs::write(folder.path().join("identity.json"), b"{").expect("written");
        assert!(matches!(state.identity(), Err(StateError::Damaged { .. })));
    }
}
