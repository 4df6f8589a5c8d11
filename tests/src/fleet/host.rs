//! One simulated host: who it is, what it has made, and whether it is online.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use muster_shared::wire;
use ring::digest::{SHA256, digest};

use super::{
    history::History,
    identity::{Identity, enrol_with},
    values::Values,
};
use crate::control_plane::ControlPlane;

/// A host that remembers.
#[derive(Debug)]
pub struct Host {
    name: String,
    identity: tokio::sync::Mutex<Identity>,
    server_id: String,
    history: Mutex<History>,
    generation: AtomicU64,
    online: AtomicBool,
}

impl Host {
    /// Enrols under `name` with a token made for it.
    ///
    /// # Errors
    /// When the control plane refuses.
    pub async fn enrol(control_plane: &ControlPlane, name: &str, series: u32) -> Result<Self> {
        Self::enrol_valued(control_plane, name, series, Values::Plain).await
    }

    /// The same for a host with values of its own.
    ///
    /// # Errors
    /// When the control plane refuses.
    pub async fn enrol_valued(control_plane: &ControlPlane, name: &str, series: u32, values: Values) -> Result<Self> {
        let created = control_plane.join_token(Some(name)).await?;
        let token = created["token"].as_str().context("a token")?;
        let (address, pin) = (control_plane.address(), control_plane.ca_pin());
        let identity = enrol_with(address, pin, token, claims(name)).await?;
        Ok(Self {
            server_id: identity.server_id.clone(),
            identity: tokio::sync::Mutex::new(identity),
            name: name.to_owned(),
            history: Mutex::new(History::new(now_us().unsigned_abs(), series, values)),
            generation: AtomicU64::new(0),
            online: AtomicBool::new(false),
        })
    }

    /// The same identity on another disk, copied before this host was first welcomed.
    pub async fn copied_before_its_first_welcome(&self) -> Self {
        Self {
            name: self.name.clone(),
            identity: tokio::sync::Mutex::new(self.identity.lock().await.clone()),
            server_id: self.server_id.clone(),
            history: Mutex::new(History::new(now_us().unsigned_abs(), 1, Values::Plain)),
            generation: AtomicU64::new(0),
            online: AtomicBool::new(false),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn server_id(&self) -> &str {
        &self.server_id
    }

    /// What it has made.
    ///
    /// # Panics
    /// Never: nothing panics while it holds this.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nothing panics while it holds the history")
    }

    /// Its key and certificate.
    pub fn identity(&self) -> &tokio::sync::Mutex<Identity> {
        &self.identity
    }

    /// Whether its stream stands and was welcomed.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    pub(super) fn set_online(&self, online: bool) {
        self.online.store(online, Ordering::Release);
    }

    /// The generation it confirmed last.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn confirm(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    pub(super) fn hello(&self) -> wire::Hello {
        let claims = claims(&self.name);
        wire::Hello {
            protocol: 1,
            agent_version: claims.agent_version,
            boot_id: format!("boot-of-{}", self.name),
            machine_id_sha256: claims.machine_id_sha256,
            hostname: claims.hostname,
            generation: self.generation(),
            spooled_frames: self.history().waiting().len() as u64,
            now_us: now_us(),
            allowed_families: vec!["observe".to_owned()],
        }
    }
}

/// What a simulated host of this name says of itself.
pub(super) fn claims(name: &str) -> wire::HostClaims {
    wire::HostClaims {
        hostname: name.to_owned(),
        machine_id_sha256: hex::encode(digest(&SHA256, name.as_bytes())),
        arch: "x86_64".to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Microseconds since the Unix epoch.
#[must_use]
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
