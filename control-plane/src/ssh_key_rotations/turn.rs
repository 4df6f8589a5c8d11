//! One server's turn, deed by deed: what [`decide`](super::decide) asks for is done here.

use muster_shared::id::ServerId;
use serde_json::json;
use tokio::time::timeout;

use super::{
    DEED_LIMIT, LEASE_US, Result, ServerState, SshKeyRotations, Turn,
    decide::{Course, Deed, Ending, Failure, Next, Outcome, Recorded},
};
use crate::{
    access::Act,
    app::chain,
    audit::{Action, Record},
    error::{Error, ErrorKind},
    servers::{LoginChange, Server, SshLogin, SshTarget},
    ssh::{EntranceError, HostLogin, Session, SshError},
    store::Switched,
};

/// How soon a server has another turn whose record was changed meanwhile.
const AGAIN_US: i64 = 1_000_000;
/// The same where somebody else is at work on it over SSH.
const BUSY_US: i64 = 5_000_000;

/// A turn under way.
pub(super) struct Attempt<'a> {
    rotations: &'a SshKeyRotations,
    turn: &'a Turn,
    new_public_key: String,
    /// How the server was entered first.
    target: Option<SshTarget>,
    /// The login that is open: the first one's, later the new key's.
    session: Option<Session>,
    /// What stands ready to become the record.
    change: Option<LoginChange>,
}

impl SshKeyRotations {
    /// Gives a server its turn, to whatever end.
    pub(crate) async fn take(&self, turn: Turn) {
        let Some(claim) = self.running.claim(turn.server) else {
            let not_before_us = self.clock.now_us() + BUSY_US;
            warn_of(&turn, self.store.give_back_key_turn(&turn, not_before_us, false).await);
            return;
        };
        match self.ending(&turn).await {
            Ok(ending) => warn_of(&turn, self.end(&turn, ending).await),
            // The lease lapses, and the next turn finds what this one left.
            Err(error) => {
                tracing::warn!(server = %turn.server, error = %chain(&error), "a key rotation's turn is lost")
            }
        }
        self.changed.notify_waiters();
        drop(claim);
    }

    async fn ending(&self, turn: &Turn) -> Result<Ending> {
        let server = match self.servers.get(turn.org, turn.server).await {
            Ok(server) => Some(server),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let (mut course, mut next) = Course::begin(turn.state, recorded(turn, server.as_ref()), turn.claims);
        let new_public_key = self.ssh_keys.get(turn.org, turn.new_pair).await?.public_key;
        let mut attempt = Attempt { rotations: self, turn, new_public_key, target: None, session: None, change: None };
        let ending = loop {
            match next {
                Next::End(ending) => break ending,
                Next::Do(deed) => {
                    let outcome = attempt.do_within_lease(deed).await?;
                    next = course.after(deed, outcome);
                }
            }
        };
        attempt.close().await;
        Ok(ending)
    }

    async fn end(&self, turn: &Turn, ending: Ending) -> Result<()> {
        let now_us = self.clock.now_us();
        let (state, failure) = match ending {
            Ending::Silent => return Ok(()),
            Ending::Again => return Ok(self.store.give_back_key_turn(turn, now_us + AGAIN_US, true).await?),
            Ending::Settled(state, failure) => (state, failure),
        };
        let (code, detail) = failure.as_ref().map_or(("", ""), |it| (it.code.as_str(), it.detail.as_str()));
        tracing::info!(server = %turn.server, state = state.as_str(), code, "a key rotation's turn ended");
        metrics::counter!("muster_key_rotation_turns_total", "outcome" => state.as_str()).increment(1);
        let action = match state {
            ServerState::Rotated => Action::ServerOldKeyRemoved,
            ServerState::Skipped => Action::ServerKeyRotationSkipped,
            _ => Action::ServerKeyRotationFailed,
        };
        let act = Act::of_system(turn.org, now_us);
        let record = Record::new(&act, action, turn.server, &turn.server_name).after(json!({
            "rotation_id": turn.rotation, "state": state.as_str(), "code": code, "detail": detail,
        }));
        self.store.settle_key_turn(turn, state, (code, detail), &record).await?;
        self.wake.notify_one();
        Ok(())
    }
}

fn recorded(turn: &Turn, server: Option<&Server>) -> Recorded {
    let Some(server) = server else { return Recorded::Deleted };
    match server.key_pair {
        _ if server.ssh.is_none() => Recorded::Nothing,
        Some(pair) if pair == turn.old_pair => Recorded::Old,
        Some(pair) if pair == turn.new_pair => Recorded::New,
        _ => Recorded::Other,
    }
}

impl Attempt<'_> {
    /// Does `deed` while the turn is this one's for longer than that takes.
    async fn do_within_lease(&mut self, deed: Deed) -> Result<Outcome> {
        let (rotations, turn) = (self.rotations, self.turn);
        let now_us = rotations.clock.now_us();
        if !rotations.store.renew_key_turn(turn, deed.step(), now_us, now_us + LEASE_US).await? {
            return Ok(Outcome::Lost);
        }
        rotations.changed.notify_waiters();
        let done = timeout(DEED_LIMIT, self.perform(deed))
            .await
            .unwrap_or_else(|_| Err(SshError::Timeout { during: deed.step(), seconds: DEED_LIMIT.as_secs() }.into()));
        match (deed, done) {
            (_, Ok(outcome)) => Ok(outcome),
            (Deed::Switch, Err(_)) => Ok(Outcome::Unknown),
            (_, Err(error)) => Ok(outcome_of(error)),
        }
    }

    async fn perform(&mut self, deed: Deed) -> std::result::Result<Outcome, EntranceError> {
        let turn = self.turn;
        match deed {
            Deed::EnterOld | Deed::EnterRecorded => self.enter().await?,
            Deed::Deploy => {
                let (new, old) = (self.new_public_key.as_str(), turn.old_public_key.as_str());
                self.host(self.session()?)?.authorize(new, Some(old)).await?;
            }
            Deed::ProveNew => return self.prove_new().await,
            Deed::Switch => return self.switch().await,
            Deed::RemoveOld => {
                if !self.host(self.session()?)?.withdraw(&turn.old_public_key).await? {
                    return Ok(Outcome::Nothing);
                }
            }
            Deed::TryOld => {
                let login = SshLogin::KeyPair { id: turn.old_pair, sudo_password: None };
                let change = self.rotations.servers.begin_login_change(turn.org, turn.server, login).await?;
                self.rotations.connector.log_in(&change.target).await?.close().await;
            }
            Deed::TakeBack => self.take_back().await?,
        }
        Ok(Outcome::Done)
    }

    /// Logs in as the record says; every outcome goes on the record.
    async fn enter(&mut self) -> std::result::Result<(), EntranceError> {
        let (rotations, org, id) = (self.rotations, self.turn.org, self.turn.server);
        let target = rotations.servers.ssh_target(org, id).await?;
        self.target = Some(target.clone());
        self.session = Some(rotations.entrance.enter(org, id, &target, |_| {}).await?);
        Ok(())
    }

    /// A login of its own with the new key, at the place where the old one was let in.
    async fn prove_new(&mut self) -> std::result::Result<Outcome, EntranceError> {
        let (rotations, turn) = (self.rotations, self.turn);
        let login = SshLogin::KeyPair { id: turn.new_pair, sudo_password: None };
        let change = rotations.servers.begin_login_change(turn.org, turn.server, login).await?;
        let is_same = self.target.as_ref().is_none_or(|then| is_same_place(then, &change.target));
        if change.key_pair_before() != Some(turn.old_pair) || !is_same {
            return Ok(Outcome::Changed);
        }
        let proven = rotations.connector.log_in(&change.target).await?;
        // The old key's login stays in reserve no longer: from here on the new one does everything.
        if let Some(before) = self.session.replace(proven) {
            before.close().await;
        }
        self.change = Some(change);
        Ok(Outcome::Done)
    }

    async fn switch(&mut self) -> std::result::Result<Outcome, EntranceError> {
        let (rotations, turn) = (self.rotations, self.turn);
        let Some(change) = self.change.take() else { return Ok(Outcome::Changed) };
        self.target = Some(change.target.clone());
        let act = Act::of_system(turn.org, rotations.clock.now_us());
        Ok(match rotations.servers.switch_to_new_key(&act, turn, change).await? {
            Switched::Done => Outcome::Done,
            Switched::Changed => Outcome::Changed,
            Switched::Lost => Outcome::Lost,
        })
    }

    /// Over the login that is open, or anew.
    async fn take_back(&mut self) -> std::result::Result<(), EntranceError> {
        let key = self.new_public_key.clone();
        if let Some(session) = &self.session
            && self.host(session)?.withdraw(&key).await.is_ok()
        {
            return Ok(());
        }
        self.enter().await?;
        self.host(self.session()?)?.withdraw(&key).await?;
        Ok(())
    }

    fn session(&self) -> std::result::Result<&Session, EntranceError> {
        self.session.as_ref().ok_or_else(|| broken().into())
    }

    fn host<'s>(&'s self, session: &'s Session) -> std::result::Result<HostLogin<'s>, EntranceError> {
        let target = self.target.as_ref().ok_or_else(broken)?;
        Ok(HostLogin::new(session, &self.rotations.binaries, target))
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Precondition, "ssh_broken", "the login is gone")
}

/// Whether both lead to the same user of the same host.
fn is_same_place(then: &SshTarget, now: &SshTarget) -> bool {
    let is_same_key = then.host_key.is_none() || then.host_key == now.host_key;
    (&then.host, then.port, &then.username) == (&now.host, now.port, &now.username) && is_same_key
}

fn outcome_of(error: EntranceError) -> Outcome {
    match error {
        EntranceError::Host(error) => {
            let (code, detail) = (error.code().to_owned(), format!("{error}. {}", error.remedy()));
            let failure = Failure { code, detail };
            match error {
                SshError::AuthFailed { .. } => Outcome::Refused(failure),
                _ => Outcome::Failed(failure),
            }
        }
        EntranceError::Record(error) => match error.kind {
            ErrorKind::Unavailable | ErrorKind::Internal => Outcome::Unknown,
            ErrorKind::NotFound | ErrorKind::Conflict => Outcome::Changed,
            _ => Outcome::Failed(Failure { code: error.code.to_owned(), detail: error.detail }),
        },
    }
}

fn warn_of<E: Into<Error>>(turn: &Turn, written: std::result::Result<(), E>) {
    if let Err(error) = written {
        let server: ServerId = turn.server;
        tracing::warn!(%server, error = %chain(&error.into()), "the end of a key rotation's turn is not written");
    }
}
