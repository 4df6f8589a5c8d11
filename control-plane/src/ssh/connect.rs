//! Dialling a host and logging in, in two steps: the host's key is known, judged and shown before the second step
//! sends the first byte of a credential.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use russh::{
    Preferred, SshId,
    client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse},
    compression,
    keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    SshError,
    error::{KeyProblem, Unreachable},
    key::read_private_key,
    session::Session,
};
use crate::{
    dial::Dialler,
    servers::{Fingerprint, SshAuth, SshTarget, Username},
};

/// Time for versions, algorithms and keys to be exchanged.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a login to be decided. PAM delays a refusal by seconds, and name lookups on the host add to it.
const AUTH_TIMEOUT: Duration = Duration::from_secs(30);
/// A silent peer is asked for a sign of life this often, and given up after [`KEEPALIVE_MAX`] unanswered questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_MAX: usize = 3;
/// Rounds of questions answered in one keyboard-interactive login.
const MAX_PROMPT_ROUNDS: usize = 4;
/// Packets a channel holds before the peer has to wait.
const CHANNEL_PACKETS: usize = 64;

/// Families of host keys, tried apart where the key to expect is known but is not the one the host prefers.
const HOST_KEY_FAMILIES: [&[Algorithm]; 3] = [
    &[Algorithm::Ed25519],
    &[
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    ],
    &[Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }],
];

/// Connects to hosts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Connector {
    dialler: Dialler,
}

impl Connector {
    /// A connector that dials what `dialler`, or a policy of its own, allows.
    #[must_use]
    pub fn new(dialler: impl Into<Dialler>) -> Self {
        Self { dialler: dialler.into() }
    }

    /// Connects and verifies the host's key, while the login's own key is read. Sends no credential.
    ///
    /// # Errors
    /// The host is not reachable, its key is not the expected one, or the private key is not readable.
    pub async fn dial(&self, target: &SshTarget) -> Result<Dialled, SshError> {
        let place = Place { host: &target.host, port: target.port, host_key: target.host_key.as_ref() };
        let (credential, verified) = tokio::try_join!(credential(&target.auth), self.verified(place))?;
        let first_contact = target.host_key.is_none();
        let Verified { handle, host_key, local_ip } = verified;
        Ok(Dialled { handle, credential, username: target.username.clone(), host_key, first_contact, local_ip })
    }

    /// Connects to `host` and verifies its key, where one is known, then leaves. There is no login. Answers the key.
    ///
    /// # Errors
    /// The host is not reachable, does not speak SSH, or its key is not the expected one.
    pub async fn greet(&self, host: &str, port: u16, host_key: Option<&Fingerprint>) -> Result<Fingerprint, SshError> {
        Ok(self.verified(Place { host, port, host_key }).await?.host_key)
    }

    /// A host has several keys and shows the one that is asked for first. An expected key of another family is no
    /// change, so each family is asked for before the stop.
    async fn verified(&self, place: Place<'_>) -> Result<Verified, SshError> {
        let all: Vec<Algorithm> = HOST_KEY_FAMILIES.concat();
        let mismatch = match self.handshake(place, all).await {
            Err(mismatch @ SshError::HostKeyMismatch { .. }) => mismatch,
            decided => return decided,
        };
        for family in HOST_KEY_FAMILIES {
            if let Ok(verified) = self.handshake(place, family.to_vec()).await {
                return Ok(verified);
            }
        }
        Err(mismatch)
    }

    async fn handshake(&self, target: Place<'_>, host_keys: Vec<Algorithm>) -> Result<Verified, SshError> {
        let stream = self.dialler.dial(target.host, target.port).await;
        let stream = stream.map_err(|error| SshError::undialled(error, target.host, target.port))?;
        // Interactive traffic: small packets must not wait for each other. Failing to say so costs time only.
        let _ = stream.set_nodelay(true);
        let local_ip = stream.local_addr().map_err(|error| SshError::broken("the handshake", error))?.ip();
        let presented = Arc::new(Mutex::new(None));
        let check = HostKeyCheck { expected: target.host_key.cloned(), presented: Arc::clone(&presented) };
        let shaken = timeout(HANDSHAKE_TIMEOUT, client::connect_stream(config(host_keys), stream, check)).await;
        let presented = presented.lock().unwrap_or_else(PoisonError::into_inner).take();
        let unreachable = |why| SshError::Unreachable { address: target.host.to_owned(), port: target.port, why };
        match (shaken, presented, target.host_key) {
            (Ok(Ok(handle)), Some(host_key), _) => Ok(Verified { handle, host_key, local_ip }),
            (_, Some(presented), Some(expected)) if presented != *expected => {
                Err(SshError::HostKeyMismatch { expected: expected.clone(), presented })
            }
            (Ok(Err(error)), Some(_), _) => Err(SshError::broken("the handshake", error)),
            (Ok(_), None, _) => Err(unreachable(Unreachable::NotSsh)),
            (Err(_), ..) => Err(unreachable(Unreachable::Timeout)),
        }
    }
}

/// Where a host is, and the key it must have.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    host: &'a str,
    port: u16,
    host_key: Option<&'a Fingerprint>,
}

/// A connection whose other end proved to have `host_key`.
struct Verified {
    handle: Handle<HostKeyCheck>,
    host_key: Fingerprint,
    local_ip: IpAddr,
}

fn config(host_keys: Vec<Algorithm>) -> Arc<client::Config> {
    Arc::new(client::Config {
        client_id: SshId::Standard(concat!("SSH-2.0-Muster_", env!("CARGO_PKG_VERSION")).into()),
        preferred: Preferred {
            key: host_keys.into(),
            compression: vec![compression::NONE].into(),
            ..Preferred::default()
        },
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_MAX,
        channel_buffer_size: CHANNEL_PACKETS,
        nodelay: true,
        ..client::Config::default()
    })
}

/// Decides on the host's key within the handshake, before the login can begin.
#[derive(Debug)]
pub(super) struct HostKeyCheck {
    expected: Option<Fingerprint>,
    presented: Arc<Mutex<Option<Fingerprint>>>,
}

impl client::Handler for HostKeyCheck {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        // Certificates are not asked for; a server that sends one anyway is not believed.
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        let Ok(presented) = key.fingerprint(HashAlg::Sha256).to_string().parse::<Fingerprint>() else {
            return Ok(false);
        };
        let accepted = self.expected.as_ref().is_none_or(|expected| *expected == presented);
        *self.presented.lock().unwrap_or_else(PoisonError::into_inner) = Some(presented);
        Ok(accepted)
    }
}

#[derive(Debug)]
enum Credential {
    Password(SecretString),
    Key(Arc<PrivateKey>),
}

async fn credential(auth: &SshAuth) -> Result<Credential, SshError> {
    match auth.clone() {
        SshAuth::Password(password) => Ok(Credential::Password(password)),
        SshAuth::Key { private_key, passphrase, .. } => {
            let read = spawn_blocking(move || read_private_key(&private_key, passphrase.as_ref())).await;
            let key = read.unwrap_or(Err(KeyProblem::Damaged)).map_err(SshError::KeyUnreadable)?;
            Ok(Credential::Key(Arc::new(key)))
        }
    }
}

/// A connection to a host whose key was accepted, before the login.
pub struct Dialled {
    handle: Handle<HostKeyCheck>,
    credential: Credential,
    username: Username,
    /// The key the host proved to have.
    pub host_key: Fingerprint,
    /// Whether nothing was expected, so that the key is to be recorded.
    pub first_contact: bool,
    local_ip: IpAddr,
}

impl Dialled {
    /// Logs in.
    ///
    /// # Errors
    /// [`SshError::AuthFailed`], or the connection broke.
    pub async fn authenticate(mut self) -> Result<Session, SshError> {
        let login = timeout(AUTH_TIMEOUT, self.login()).await;
        let refused = match login {
            Ok(Ok(Login::Accepted)) => return Ok(Session::new(self.handle, self.local_ip)),
            Ok(Ok(Login::Refused { offered })) => offered,
            Ok(Err(error)) => return Err(SshError::broken("the login", error)),
            Err(_) => return Err(SshError::Timeout { during: "the login", seconds: AUTH_TIMEOUT.as_secs() }),
        };
        let method = match self.credential {
            Credential::Password(_) => "password",
            Credential::Key(_) => "key",
        };
        Err(SshError::AuthFailed { username: self.username, method, offered: refused })
    }

    async fn login(&mut self) -> Result<Login, russh::Error> {
        match &self.credential {
            Credential::Key(key) => {
                let hash = match key.algorithm() {
                    Algorithm::Rsa { .. } => self.handle.best_supported_rsa_hash().await?.flatten(),
                    _ => None,
                };
                // Where the server doesn't say, or says SHA-1 alone, SHA-512 is tried: SHA-1 signatures are not made.
                let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash.or(Some(HashAlg::Sha512)));
                Ok(self.handle.authenticate_publickey(self.username.as_str(), key).await?.into())
            }
            Credential::Password(password) => {
                let password = password.clone();
                match self.handle.authenticate_password(self.username.as_str(), password.expose_secret()).await?.into()
                {
                    Login::Refused { offered } if only_asks_interactively(&offered) => {
                        self.answer_prompts(&password).await
                    }
                    decided => Ok(decided),
                }
            }
        }
    }

    /// Keyboard-interactive: every hidden question is taken to be the one for the password.
    async fn answer_prompts(&mut self, password: &SecretString) -> Result<Login, russh::Error> {
        let mut reply = self.handle.authenticate_keyboard_interactive_start(self.username.as_str(), None).await?;
        for _ in 0..MAX_PROMPT_ROUNDS {
            let answers = match reply {
                KeyboardInteractiveAuthResponse::Success => return Ok(Login::Accepted),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                    return Ok(Login::refused(&remaining_methods));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts
                    .iter()
                    .map(|prompt| if prompt.echo { String::new() } else { password.expose_secret().to_owned() })
                    .collect(),
            };
            reply = self.handle.authenticate_keyboard_interactive_respond(answers).await?;
        }
        Ok(Login::Refused { offered: vec!["keyboard-interactive".to_owned()] })
    }
}

enum Login {
    Accepted,
    Refused { offered: Vec<String> },
}

impl Login {
    fn refused(methods: &russh::MethodSet) -> Self {
        Self::Refused { offered: methods.iter().map(String::from).collect() }
    }
}

impl From<AuthResult> for Login {
    fn from(result: AuthResult) -> Self {
        match result {
            AuthResult::Success => Self::Accepted,
            AuthResult::Failure { remaining_methods, .. } => Self::refused(&remaining_methods),
        }
    }
}

fn only_asks_interactively(offered: &[String]) -> bool {
    let offers = |name: &str| offered.iter().any(|method| method == name);
    offers("keyboard-interactive") && !offers("password")
}
