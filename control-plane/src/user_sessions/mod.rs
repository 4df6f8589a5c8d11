//! Browsers' sessions: signing in with a name, a password and, where it is set up, a second factor; and what was opened
//! that way.
//!
//! Whether an account exists shows in nothing: an unknown name costs the same hashing, gets the same answer, is throttled
//! the same way, and what is put on record of a failure is written beside the answer.

use std::sync::Arc;

use muster_shared::id::{OrgId, UserId, UserSessionId};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::{
    access::{Act, Actor, Credential, Membership, Origin, Principal, SESSION_PREFIX, SessionLife, Token},
    audit::{Action, Record},
    error::{Error, ErrorKind},
    store::Store,
    totp::Totp,
    users::{Account, Passwords, Tries, Try},
};

/// Sessions a user may have; beyond them the oldest ends.
pub const MAX_SESSIONS: i64 = 50;
/// Most characters kept of what a browser says it is.
const MAX_USER_AGENT_CHARS: usize = 200;

/// A session as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSession {
    pub id: UserSessionId,
    pub created_at_us: i64,
    pub last_used_at_us: i64,
    pub expires_at_us: i64,
    pub source_address: String,
    pub user_agent: String,
}

/// What somebody shows to sign in.
#[derive(Debug)]
pub struct Credentials {
    pub name: String,
    pub password: SecretString,
    /// The second factor's code, or a recovery code.
    pub code: Option<String>,
}

/// Where somebody signs in from.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    pub origin: Origin,
    pub user_agent: String,
}

/// A session that was just opened: the browser gets the secret, once.
#[derive(Debug)]
pub struct Opened {
    pub session: UserSession,
    pub secret: Token,
}

/// The sessions of every user. Clones share what they count.
#[derive(Debug, Clone)]
pub struct UserSessions {
    store: Store,
    passwords: Passwords,
    totp: Totp,
    life: SessionLife,
    tries: Tries,
    recording: TaskTracker,
}

impl UserSessions {
    /// The sessions in `store`.
    #[must_use]
    pub fn new(store: Store, (passwords, tries): (Passwords, Tries), totp: Totp, life: SessionLife) -> Self {
        Self { store, passwords, tries, totp, life, recording: TaskTracker::new() }
    }

    /// Opens a session for whoever shows the right name, password and, where it is set up, code.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`]: `invalid_credentials`, whatever of them was wrong, or `totp_required` when only the
    /// code is missing; [`ErrorKind::Exhausted`] with the time to wait.
    pub async fn sign_in(&self, shown: &Credentials, browser: &Browser, now_us: i64) -> Result<Opened, Error> {
        let attempt = Try::new(&shown.name, browser.origin.address);
        self.tries.begin(attempt, now_us)?;
        let account = self.store.account_named(&shown.name.trim().to_lowercase()).await?;
        let hash = account.as_ref().and_then(|account| account.password.as_ref());
        let is_right = self.passwords.matches(hash, &shown.password).await?;
        let Some(account) = account.filter(|account| is_right || self.deny(account, "password", browser, now_us))
        else {
            counted("denied");
            return Err(denied());
        };
        self.require_code(&account, shown.code.as_deref(), browser, now_us).await?;
        let opened = self.open(&account, "password", browser, now_us).await?;
        self.tries.succeeded(attempt);
        Ok(opened)
    }

    /// Goes on only with the code of the account's second factor, where it has one. It is used by that.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`]: `totp_required` when the code is missing, else `invalid_credentials`.
    pub async fn require_code(
        &self,
        account: &Account,
        code: Option<&str>,
        browser: &Browser,
        now_us: i64,
    ) -> Result<(), Error> {
        if !account.has_totp {
            return Ok(());
        }
        let Some(code) = code else {
            counted("code_missing");
            let detail = "the code of the second factor is needed: send `totp_code`, or a recovery code in its place";
            return Err(Error::new(ErrorKind::Unauthenticated, "totp_required", detail));
        };
        if self.totp.accepts(account, code, now_us).await? {
            return Ok(());
        }
        self.deny(account, "code", browser, now_us);
        counted("denied");
        Err(denied())
    }

    /// Opens a session for the user of `account`, who proved who they are by `means`.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for a user who is in no organisation.
    pub async fn open(
        &self,
        account: &Account,
        means: &'static str,
        browser: &Browser,
        now_us: i64,
    ) -> Result<Opened, Error> {
        let memberships = self.store.memberships_of(account.id).await?;
        if memberships.is_empty() {
            return Err(denied());
        }
        let life_us = i64::try_from(self.life.whole.as_micros()).unwrap_or(i64::MAX);
        let session = UserSession {
            id: UserSessionId::generate(),
            created_at_us: now_us,
            last_used_at_us: now_us,
            expires_at_us: now_us.saturating_add(life_us),
            source_address: browser.origin.address.map(|address| address.to_string()).unwrap_or_default(),
            user_agent: browser.user_agent.chars().filter(|it| !it.is_control()).take(MAX_USER_AGENT_CHARS).collect(),
        };
        let secret = Token::generate(SESSION_PREFIX).map_err(Error::internal)?;
        let actor = Actor::User {
            id: account.id,
            name: Arc::clone(&account.name),
            credential: Credential::Session(session.id),
        };
        let record = |membership: &Membership| {
            let act =
                Act { org_id: membership.org_id, actor: actor.clone(), origin: browser.origin.clone(), at_us: now_us };
            Record::new(&act, Action::SessionCreated, session.id, &account.name)
                .after(json!({ "user_id": account.id.to_string(), "means": means }))
        };
        let records: Vec<_> = memberships.iter().map(record).collect();
        self.store.insert_user_session(account.id, &session, &secret.hash(), &records).await?;
        counted("opened");
        Ok(Opened { session, secret })
    }

    /// The caller's sessions, newest first.
    ///
    /// # Errors
    /// [`Error`] when the store fails.
    pub async fn list(&self, user: UserId, now_us: i64) -> Result<Vec<UserSession>, Error> {
        let idle_us = i64::try_from(self.life.idle.as_micros()).unwrap_or(i64::MAX);
        Ok(self.store.list_user_sessions(user, now_us, now_us.saturating_sub(idle_us)).await?)
    }

    /// Ends one of the caller's sessions at once.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::PermissionDenied`] for a token with scopes.
    pub async fn end(&self, caller: &Principal, act: &Act, id: UserSessionId) -> Result<(), Error> {
        caller.require_whole()?;
        let record = Record::new(act, Action::SessionEnded, id, &caller.user_name);
        if self.store.end_user_session(caller.user_id, id, &record).await? {
            Ok(())
        } else {
            Err(Error::not_found("session"))
        }
    }

    /// The session acts in `org` from now on, unless a request says otherwise.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the user is no member.
    pub async fn choose(&self, caller: &Principal, id: UserSessionId, org: OrgId) -> Result<Principal, Error> {
        let there = caller.acting_in(org)?;
        self.store.choose_organization(caller.user_id, id, org).await?;
        Ok(there)
    }

    /// Waits until every failure so far is on record.
    pub async fn settled(&self) {
        self.recording.close();
        self.recording.wait().await;
        self.recording.reopen();
    }

    /// Puts a failure on record in every organisation of the user, beside the answer: how long that takes must not show
    /// that there is such a user. Always false.
    fn deny(&self, account: &Account, wrong: &'static str, browser: &Browser, now_us: i64) -> bool {
        let (store, id, name) = (self.store.clone(), account.id, Arc::clone(&account.name));
        let origin = browser.origin.clone();
        self.recording.spawn(async move {
            let recorded = async {
                for Membership { org_id, .. } in store.memberships_of(id).await? {
                    let act = Act { org_id, actor: Actor::Stranger, origin: origin.clone(), at_us: now_us };
                    let record = Record::new(&act, Action::SessionDenied, id, &name).after(json!({ "wrong": wrong }));
                    store.record_audit(&record).await?;
                }
                Ok::<_, crate::store::StoreError>(())
            };
            if let Err(error) = recorded.await {
                tracing::warn!(error = %crate::app::chain(&error), user = %id, "a denied sign-in is not on record");
            }
        });
        false
    }
}

fn denied() -> Error {
    Error::new(ErrorKind::Unauthenticated, "invalid_credentials", "the name, the password or the code is wrong")
}

fn counted(outcome: &'static str) {
    metrics::counter!("muster_sign_ins_total", "outcome" => outcome).increment(1);
}
