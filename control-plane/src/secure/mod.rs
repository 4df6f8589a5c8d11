//! One-click secure: a server that is entered by a password gets a key of its own, and the password is forgotten.
//!
//! The record is switched only when a fresh login with the key has been seen to work; whatever fails before leaves the
//! record as it was and takes back what was changed on the host. Where passwords are to be switched off on the server,
//! that happens on trial before the record is switched: the host puts everything back by itself unless it is told to
//! keep it, which it is only after the key let us in again, the password did not, and the record was switched. So at
//! any moment, whatever is killed, the login on record is one that works, or will again within [`TRIAL`].
//!
//! The private key exists in this run's memory, sealed on the server's record, and once in the run's last event.

mod attempt;
mod step;

pub use step::Step;

use std::time::Duration;

use muster_shared::id::ServerId;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use self::attempt::Attempt;
use crate::{
    access::Act,
    agent_binary::AgentBinaries,
    audit::{Action, Record},
    clock::Clock,
    error::{Error, ErrorKind},
    progress::{self, ProgressSender, ProgressStream},
    running::Running,
    servers::{AuthMethod, Server, Servers, SshTarget},
    ssh::{Connector, Entrance, EntranceError},
    ssh_keys::SshKeyPairs,
};

/// How long the host waits before it lets passwords in again that nobody kept off.
pub const TRIAL: Duration = Duration::from_secs(50);
/// Time from the switching off of passwords to the order to keep it so; what takes longer is undone.
const TRIAL_LIMIT: Duration = Duration::from_secs(40);
/// Time for everything up to there.
const KEY_LIMIT: Duration = Duration::from_secs(60);
/// Time to take back what was changed on the host.
const UNDO_LIMIT: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SecureOptions {
    /// Whether the server shall let nobody in by a password any more.
    pub disable_password_auth: bool,
    /// Whether the password stays on record for sudo, where sudo asks for one.
    pub keep_sudo_password: bool,
}

/// How a server is entered now.
#[derive(Debug)]
struct Secured {
    private_key: Zeroizing<String>,
    public_key: String,
    fingerprint: String,
    password_cleared: bool,
    passwords_off: bool,
    warning: Option<String>,
}

/// Why a server was not secured.
#[derive(Debug)]
struct Refused {
    step: Step,
    error: EntranceError,
    /// What could not be taken back on the host, in words.
    left: Option<String>,
}

/// Secures servers. Clones share what runs.
#[derive(Debug, Clone)]
pub struct Secure {
    pub connector: Connector,
    pub entrance: Entrance,
    pub binaries: AgentBinaries,
    pub servers: Servers,
    pub ssh_keys: SshKeyPairs,
    pub clock: Clock,
    pub running: Running,
}

impl Secure {
    /// Starts a run and returns its events: `status` for each step, then `complete` or `error`. The run goes on when
    /// its listener leaves.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] for a server that is not entered by a password;
    /// [`ErrorKind::Conflict`] while another run is on.
    pub async fn start(&self, act: &Act, server: ServerId, options: SecureOptions) -> Result<ProgressStream, Error> {
        let record = self.servers.get(act.org_id, server).await?;
        require_password(&record)?;
        let target = self.servers.ssh_target(act.org_id, server).await?;
        let claim = self.running.claim(server).ok_or_else(|| {
            let detail = "the server is being secured or bootstrapped already: wait for it";
            Error::new(ErrorKind::Conflict, "secure_running", detail)
        })?;
        let (sender, stream) = progress::channel();
        let (secure, act) = (self.clone(), act.clone());
        tokio::spawn(async move {
            secure.conduct(&act, &record, target, options, &sender).await;
            drop(claim);
        });
        Ok(stream)
    }

    async fn conduct(
        &self,
        act: &Act,
        record: &Server,
        target: SshTarget,
        options: SecureOptions,
        sender: &ProgressSender,
    ) {
        let mut attempt = Attempt::new(self, act, record.id, target, options, sender);
        match attempt.run().await {
            Ok(secured) => {
                tracing::info!(server = %record.id, passwords_off = secured.passwords_off, "server secured");
                metrics::counter!("muster_secures_total", "outcome" => "complete").increment(1);
                sender.send("complete", complete(record.id, &secured));
            }
            Err(refused) => {
                let step = refused.step.as_str();
                tracing::warn!(server = %record.id, step, error = %refused.error, "server not secured");
                metrics::counter!("muster_secures_total", "outcome" => "error").increment(1);
                let failure = failure(record.id, &refused);
                self.record_failure(act, record, &failure).await;
                sender.send("error", failure);
            }
        }
    }

    /// What was tried on a host is on record, also where it failed.
    async fn record_failure(&self, act: &Act, server: &Server, failure: &Value) {
        let act = act.at(self.clock.now_us());
        let after = json!({ "step": failure["step"], "code": failure["code"] });
        let record = Record::new(&act, Action::ServerSecureFailed, server.id, &server.name).after(after);
        if let Err(error) = self.servers.record(&record).await {
            tracing::warn!(server = %server.id, error = %crate::app::chain(&error), "a failed run is not on record");
        }
    }
}

fn require_password(server: &Server) -> Result<(), Error> {
    match server.ssh.as_ref().map(|ssh| ssh.auth_method) {
        Some(AuthMethod::Password) => Ok(()),
        Some(AuthMethod::SshKey) => {
            let detail = "the server is entered by a key already: replace it with PUT …/ssh-key, rotate its key pair, or \
                          switch passwords off with the hardening profile";
            Err(Error::new(ErrorKind::Precondition, "already_secured", detail))
        }
        None => {
            let detail = "the server has no SSH user and password: add them to the server first";
            Err(Error::new(ErrorKind::Precondition, "no_ssh_credentials", detail))
        }
    }
}

/// The published answer, and what it does not tell.
fn complete(server: ServerId, secured: &Secured) -> Value {
    json!({
        "message": "Server successfully secured with SSH key authentication",
        "vm_id": server,
        "previous_auth_method": AuthMethod::Password.as_str(),
        "new_auth_method": AuthMethod::SshKey.as_str(),
        "key_verified": true,
        "password_cleared": secured.password_cleared,
        "server_password_auth_disabled": secured.passwords_off,
        "private_key": secured.private_key.as_str(),
        "public_key": secured.public_key,
        "key_type": "ed25519",
        "fingerprint": secured.fingerprint,
        "warning": secured.warning,
    })
}

fn failure(server: ServerId, refused: &Refused) -> Value {
    let (code, said, remedy) = match &refused.error {
        EntranceError::Host(error) => (error.code(), error.to_string(), error.remedy()),
        EntranceError::Record(error) => (error.code, error.detail.clone(), String::new()),
    };
    let left = refused.left.as_deref().unwrap_or("Nothing was changed, on the record or on the server.");
    json!({
        "step": refused.step.as_str(),
        "code": code,
        "detail": format!("{said}. {left}"),
        "remedy": remedy,
        "vm_id": server,
    })
}

/// What a failure's word, as a run tells it, means to a caller; the words of hosts are theirs to mend.
#[must_use]
pub fn kind_and_code(code: &str) -> (ErrorKind, &'static str) {
    const KNOWN: [(ErrorKind, &str); 19] = [
        (ErrorKind::Exhausted, "keys_being_made"),
        (ErrorKind::Conflict, "changed_meanwhile"),
        (ErrorKind::Unavailable, "database_unavailable"),
        (ErrorKind::Internal, "internal"),
        (ErrorKind::NotFound, "not_found"),
        (ErrorKind::Precondition, "sudo_needs_password"),
        (ErrorKind::Precondition, "password_still_accepted"),
        (ErrorKind::Precondition, "no_ssh_credentials"),
        (ErrorKind::Precondition, "ssh_unreachable"),
        (ErrorKind::Precondition, "address_refused"),
        (ErrorKind::Precondition, "host_key_mismatch"),
        (ErrorKind::Precondition, "ssh_auth_failed"),
        (ErrorKind::Precondition, "ssh_key_unreadable"),
        (ErrorKind::Precondition, "root_not_reached"),
        (ErrorKind::Precondition, "agent_not_carried"),
        (ErrorKind::Precondition, "agent_failed"),
        (ErrorKind::Precondition, "ssh_timeout"),
        (ErrorKind::Precondition, "ssh_broken"),
        (ErrorKind::Conflict, "conflict"),
    ];
    KNOWN.into_iter().find(|(_, known)| *known == code).unwrap_or((ErrorKind::Precondition, "failed"))
}
