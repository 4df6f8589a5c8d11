//! One run, step by step, and the way back.

use std::time::Duration;

use muster_shared::id::ServerId;
use secrecy::SecretString;
use tokio::time::timeout;

use super::{KEY_LIMIT, Refused, Secure, SecureOptions, Secured, Step, TRIAL, TRIAL_LIMIT, UNDO_LIMIT, step::Changed};
use crate::{
    access::Act,
    audit::Action,
    error::{Error, ErrorKind},
    progress::ProgressSender,
    servers::{LoginChange, SshAuth, SshTarget, SudoMode},
    ssh::{Elevation, Entering, EntranceError, HostLogin, Session, SshError},
    ssh_keys::Material,
};

/// How often sshd is asked to refuse the password before it counts as accepted, and how long apart.
const REFUSAL_TRIES: usize = 6;
const REFUSAL_PAUSE: Duration = Duration::from_millis(500);

type Result<T> = std::result::Result<T, EntranceError>;

/// A run.
pub(super) struct Attempt<'a> {
    secure: &'a Secure,
    act: &'a Act,
    server: ServerId,
    /// The server by its password, from the first login on with the host key that was seen then.
    by_password: SshTarget,
    options: SecureOptions,
    sender: &'a ProgressSender,
    step: Step,
    changed: Changed,
    /// The first login, open until the end: the way back needs no other.
    session: Option<Session>,
    /// The key's public part, once it is made.
    public_key: String,
}

/// What stands ready to become the record.
struct Proven {
    key: Material,
    change: LoginChange,
    by_key: SshTarget,
    session: Session,
    password_cleared: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        secure: &'a Secure,
        act: &'a Act,
        server: ServerId,
        by_password: SshTarget,
        options: SecureOptions,
        sender: &'a ProgressSender,
    ) -> Self {
        Self {
            secure,
            act,
            server,
            by_password,
            options,
            sender,
            step: Step::Connecting,
            changed: Changed::default(),
            session: None,
            public_key: String::new(),
        }
    }

    pub(super) async fn run(&mut self) -> std::result::Result<Secured, Refused> {
        let done = self.attempt().await;
        let refused = match done {
            Ok(secured) => {
                self.close().await;
                return Ok(secured);
            }
            Err(error) => Refused { step: self.step, error, left: None },
        };
        let left = timeout(UNDO_LIMIT, self.undo()).await.unwrap_or_else(|_| Some(self.left_behind()));
        self.close().await;
        Err(Refused { left, ..refused })
    }

    async fn attempt(&mut self) -> Result<Secured> {
        let proven = timeout(KEY_LIMIT, self.prove_key()).await.unwrap_or_else(|_| Err(too_slow(KEY_LIMIT)))?;
        if !self.options.disable_password_auth {
            return self.switch_record(proven, false).await;
        }
        let tried = timeout(TRIAL_LIMIT, self.try_without_passwords(&proven)).await;
        let trial = tried.unwrap_or_else(|_| Err(too_slow(TRIAL_LIMIT)))?;
        self.switch_record(proven, trial).await
    }

    /// Up to the fresh login with the key: nothing but the key's line is changed.
    async fn prove_key(&mut self) -> Result<Proven> {
        let secure = self.secure;
        self.begin(Step::Connecting);
        let mut seen = None;
        let entered = secure.entrance.enter(self.act.org_id, self.server, &self.by_password, |step| {
            if let Entering::HostKey { fingerprint, .. } = step {
                seen = Some(fingerprint);
            }
        });
        self.session = Some(entered.await?);
        // Every later login is held to the key that this host has shown.
        self.by_password.host_key = seen;

        self.begin(Step::GeneratingKey);
        let key = secure.ssh_keys.generate(format!("muster-server@{}", self.by_password.host)).await?;
        self.public_key.clone_from(&key.public_key);
        let by_key = SshTarget { auth: auth(&key, None), ..self.by_password.clone() };

        self.begin(Step::DeployingKey);
        self.host(self.session()?).authorize(&key.public_key, None).await?;

        self.begin(Step::VerifyingKey);
        let session = secure.connector.log_in(&by_key).await?;

        self.begin(Step::CheckingRoot);
        let sudo_password = self.reach_root(&session, &by_key).await?;
        let password_cleared = sudo_password.is_none();
        let auth = auth(&key, sudo_password);
        let by_key = SshTarget { auth: auth.clone(), ..by_key };
        let change = secure.servers.begin_login_change(self.act.org_id, self.server, auth.into()).await?;
        if !is_same_login(&change.target, &self.by_password) {
            return Err(changed_meanwhile().into());
        }
        Ok(Proven { key, change, by_key, session, password_cleared })
    }

    /// Whoever logs in with a key has no password for sudo any more. Answers the one to keep.
    async fn reach_root(&self, session: &Session, by_key: &SshTarget) -> Result<Option<SecretString>> {
        if by_key.sudo_mode == SudoMode::None {
            return Ok(None);
        }
        let host = HostLogin::new(session, &self.secure.binaries, by_key);
        match host.reach_root().await {
            Ok(()) => Ok(None),
            // Root could not be reached before either, so nothing is lost with the password.
            Err(SshError::Elevation(Elevation::NotInstalled | Elevation::NotAllowed))
                if !self.options.disable_password_auth =>
            {
                Ok(None)
            }
            Err(SshError::Elevation(Elevation::PasswordRequired)) if self.options.keep_sudo_password => {
                Ok(self.by_password.auth.sudo_password().cloned())
            }
            Err(SshError::Elevation(Elevation::PasswordRequired)) => {
                let detail = "sudo asks this user for the password, so without it root could not be reached any more: let \
                              the user use sudo without one (NOPASSWD), or keep the password for sudo alone with \
                              keep_sudo_password";
                Err(Error::new(ErrorKind::Precondition, "sudo_needs_password", detail).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Switches passwords off on trial and sees the key let in and the password refused. Answers whether there is a
    /// trial to end: not where they were off before.
    async fn try_without_passwords(&mut self, proven: &Proven) -> Result<bool> {
        self.begin(Step::DisablingPasswords);
        let trial = HostLogin::new(&proven.session, &self.secure.binaries, &proven.by_key).passwords_off(TRIAL).await?;
        self.begin(Step::VerifyingKeyAgain);
        self.secure.connector.log_in(&proven.by_key).await?.close().await;
        self.begin(Step::VerifyingRefusal);
        if !self.is_password_refused().await? {
            let detail = "the server still lets the password in, though sshd says that it would not";
            return Err(Error::new(ErrorKind::Precondition, "password_still_accepted", detail).into());
        }
        Ok(trial)
    }

    /// A busy sshd may take a moment to read its settings, so one that lets the password in is asked again.
    async fn is_password_refused(&self) -> Result<bool> {
        for _ in 0..REFUSAL_TRIES {
            if self.secure.connector.is_refused(&self.by_password).await? {
                return Ok(true);
            }
            tokio::time::sleep(REFUSAL_PAUSE).await;
        }
        Ok(false)
    }

    /// The one step that changes the record; what the host has on trial is kept after it.
    async fn switch_record(&mut self, proven: Proven, trial: bool) -> Result<Secured> {
        let Proven { key, change, by_key, session, password_cleared } = proven;
        self.begin(Step::UpdatingRecord);
        let act = self.act.at(self.secure.clock.now_us());
        self.secure.servers.finish_login_change_as(&act, change, Action::ServerSecured).await?;
        // From here on the key is the login on record: it stays on the host.
        self.changed = Changed::default();
        let (mut passwords_off, mut warning) = (self.options.disable_password_auth, None);
        if trial {
            self.begin(Step::KeepingPasswordsOff);
            let host = HostLogin::new(&session, &self.secure.binaries, &by_key);
            let kept = host.passwords_keep().await.unwrap_or_else(|error| {
                tracing::warn!(server = %self.server, %error, "passwords not kept off");
                false
            });
            if !kept {
                passwords_off = false;
                let seconds = TRIAL.as_secs();
                warning = Some(format!(
                    "the server is entered by the key now, but it could not be told in time to keep passwords off: it \
                     lets them in again within {seconds} s; switch them off with the hardening profile"
                ));
            }
        }
        session.close().await;
        Ok(Secured {
            private_key: key.private_key,
            public_key: key.public_key,
            fingerprint: key.fingerprint,
            password_cleared,
            passwords_off,
            warning,
        })
    }

    /// Takes back what was changed on the host; answers in words what could not be.
    async fn undo(&mut self) -> Option<String> {
        if self.changed == Changed::default() {
            return None;
        }
        let anew;
        let session = match &self.session {
            Some(session) => session,
            None => match self.secure.connector.log_in(&self.by_password).await {
                Ok(session) => {
                    anew = session;
                    &anew
                }
                Err(_) => return Some(self.left_behind()),
            },
        };
        let host = self.host(session);
        let restored = if self.changed.passwords_off { host.passwords_restore().await.map(drop) } else { Ok(()) };
        let withdrawn =
            if self.changed.key_deployed { host.withdraw(&self.public_key).await.map(drop) } else { Ok(()) };
        let (restored, withdrawn) = (restored.is_ok(), withdrawn.is_ok());
        self.changed = Changed { key_deployed: !withdrawn, passwords_off: !restored };
        (!restored || !withdrawn).then(|| self.left_behind())
    }

    fn left_behind(&self) -> String {
        let key = "The record was not changed, but the key's line could not be taken from ~/.ssh/authorized_keys on the \
                   server: remove it there; nobody has its private part.";
        let passwords = "The record was not changed; the server lets passwords in again by itself.";
        match (self.changed.key_deployed, self.changed.passwords_off) {
            (true, false) => key.to_owned(),
            (false, _) => passwords.to_owned(),
            (true, true) => format!("{key} It lets passwords in again by itself within {} s.", TRIAL.as_secs()),
        }
    }

    fn begin(&mut self, step: Step) {
        self.step = step;
        self.changed = self.changed.by(step);
        self.sender.status(step.as_str(), step.words());
    }

    fn session(&self) -> Result<&Session> {
        let lost = || Error::new(ErrorKind::Unavailable, "ssh_broken", "the first login is gone");
        self.session.as_ref().ok_or_else(|| lost().into())
    }

    fn host<'s>(&'s self, session: &'s Session) -> HostLogin<'s> {
        HostLogin::new(session, &self.secure.binaries, &self.by_password)
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

fn auth(key: &Material, sudo_password: Option<SecretString>) -> SshAuth {
    SshAuth::Key { private_key: SecretString::from(key.private_key.as_str()), passphrase: None, sudo_password }
}

/// Whether the server on record is still the one, and the login the one, that was entered.
fn is_same_login(now: &SshTarget, then: &SshTarget) -> bool {
    (&now.host, now.port, &now.username, &now.host_key) == (&then.host, then.port, &then.username, &then.host_key)
}

fn changed_meanwhile() -> Error {
    let detail = "the server's address, user or host key was changed by others meanwhile: try again";
    Error::new(ErrorKind::Conflict, "changed_meanwhile", detail)
}

fn too_slow(limit: Duration) -> EntranceError {
    SshError::Timeout { during: "the run", seconds: limit.as_secs() }.into()
}
