//! The control plane's identity, loaded or made at the first start.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_shared::sign::CommandSigner;
use ring::digest;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::{CertificateAuthority, IdentityError, Names, PresentedCertificates, RENEWAL_CHECK_INTERVAL};
use crate::{
    clock::Clock,
    config::Config,
    keyring::{Keyring, KeyringError},
    store::Store,
};

/// Where the authority's certificate lies in the data directory, and its hash: what clients pin.
pub const CA_FILE: &str = "ca.pem";
pub const CA_PIN_FILE: &str = "ca.sha256";

const AUTHORITY_SECRET: &str = "certificate_authority";
const COMMAND_KEY_SECRET: &str = "command_key";

/// Why the control plane has no identity.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the key ring did not open the control plane's secrets")]
    Keyring(#[from] KeyringError),
    #[error("{0:?} can't be written")]
    File(PathBuf, #[source] io::Error),
}

/// Everything the control plane proves itself with. Clones share it.
#[derive(Debug, Clone)]
pub struct Identity {
    pub authority: Arc<CertificateAuthority>,
    pub signer: Arc<CommandSigner>,
    /// Presented on the agents' name.
    pub for_agents: Arc<PresentedCertificates>,
    /// Presented on every other name.
    pub for_everyone: Arc<PresentedCertificates>,
}

impl Identity {
    /// Loads the authority and the command key, makes what is missing, writes [`CA_FILE`] and [`CA_PIN_FILE`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(config: &Config, store: &Store, keyring: &Keyring, now_us: i64) -> Result<Self, OpenError> {
        let trust_domain = config.trust_domain.as_str();
        let authority = Arc::new(open_authority(trust_domain, store, keyring, now_us).await?);
        let signer = Arc::new(open_signer(store, keyring, now_us).await?);
        publish(&config.data_dir, &authority)?;
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let listening: Vec<_> =
            [Some(config.listen), config.agent_listen].into_iter().flatten().map(|address| address.ip()).collect();
        let public_host = config.public_url.as_ref().map(|url| url.host());
        let everyone = Names::of_everyone(Some(&hostname), public_host, &listening);
        let present = |names| PresentedCertificates::new(Arc::clone(&authority), names, now_us).map(Arc::new);
        Ok(Self {
            for_agents: present(Names::of_agents(trust_domain))?,
            for_everyone: present(everyone)?,
            authority,
            signer,
        })
    }

    /// Renews what is presented until `stop`. A failure leaves the current certificate and is tried again.
    pub async fn keep_presentable(self, clock: Clock, stop: CancellationToken) {
        let mut timer = tokio::time::interval(RENEWAL_CHECK_INTERVAL);
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            for (name, presented) in [("agents", &self.for_agents), ("public", &self.for_everyone)] {
                match presented.renew_if_due(clock.now_us()) {
                    Ok(true) => tracing::info!(name, "server certificate renewed"),
                    Ok(false) => {}
                    Err(error) => tracing::error!(
                        name,
                        error = &error as &dyn std::error::Error,
                        "server certificate not renewed"
                    ),
                }
            }
        }
    }
}

/// One secret holds certificate and key, so that two replicas starting at once can't mix theirs: the certificate's
/// length in four bytes, the certificate, the key.
async fn open_authority(
    trust_domain: &str,
    store: &Store,
    keyring: &Keyring,
    now_us: i64,
) -> Result<CertificateAuthority, OpenError> {
    let kept = match keyring.control_secret(store, AUTHORITY_SECRET).await? {
        Some(kept) => kept,
        None => {
            let (certificate, key) = CertificateAuthority::generate(trust_domain, now_us)?;
            let length = u32::try_from(certificate.len()).map_err(|_| IdentityError::Damaged)?;
            let both = zeroize::Zeroizing::new([&length.to_be_bytes()[..], &certificate, &key].concat());
            tracing::info!(trust_domain, "certificate authority made");
            keyring.keep_control_secret(store, AUTHORITY_SECRET, &both, now_us).await?
        }
    };
    let (length, rest) = kept.split_first_chunk::<4>().ok_or(IdentityError::Damaged)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| IdentityError::Damaged)?;
    let (certificate, key) = rest.split_at_checked(length).ok_or(IdentityError::Damaged)?;
    Ok(CertificateAuthority::from_stored(trust_domain, CertificateDer::from(certificate.to_vec()), key)?)
}

async fn open_signer(store: &Store, keyring: &Keyring, now_us: i64) -> Result<CommandSigner, OpenError> {
    let key = match keyring.control_secret(store, COMMAND_KEY_SECRET).await? {
        Some(key) => key,
        None => {
            let key = CommandSigner::generate_pkcs8().map_err(IdentityError::from)?;
            keyring.keep_control_secret(store, COMMAND_KEY_SECRET, &key, now_us).await?
        }
    };
    // The key's name says which key it is without showing it, so that a rotated key gets another name by itself.
    let public = CommandSigner::from_pkcs8("", &key).map_err(IdentityError::from)?.public_key().public_key;
    let name = hex::encode(&digest::digest(&digest::SHA256, &public).as_ref()[..8]);
    Ok(CommandSigner::from_pkcs8(name, &key).map_err(IdentityError::from)?)
}

fn publish(data_dir: &Path, authority: &CertificateAuthority) -> Result<(), OpenError> {
    write_whole(data_dir, CA_FILE, &pem(authority.certificate()))?;
    write_whole(data_dir, CA_PIN_FILE, &format!("{}\n", authority.pin()))
}

fn write_whole(data_dir: &Path, name: &str, text: &str) -> Result<(), OpenError> {
    let path = data_dir.join(name);
    if fs::read_to_string(&path).is_ok_and(|current| current == text) {
        return Ok(());
    }
    let draft = data_dir.join(format!("{name}.new"));
    fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).map_err(|error| OpenError::File(path, error))
}

/// A certificate in PEM.
#[must_use]
pub fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let encoded = STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// The longest an agent's certificate of this configuration takes to heal on its own after it expired.
pub const EXPIRED_GRACE: Duration = Duration::from_secs(30 * 86_400);
