//! What a server's turn does next, and how a rotation ends. Pure.
//!
//! A turn goes deed by deed: each is done while the turn's lease is held, and what came of it leads to the next. The old
//! key is removed only once the record says another login than it, which it does only once a fresh login with the new
//! key was seen; the new key is taken back only while the record says the old one. So whatever is killed between two
//! deeds, or held up while another turn does the same, the login on record is one that works.

use super::rotation::{ServerState, Tally};

/// Turns of one server before it is given up: each lost one took a control plane with it.
pub const MAX_CLAIMS: u32 = 5;

/// What a server's record says of its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    Old,
    New,
    /// Another key pair, a key of its own, a password.
    Other,
    /// There is no login.
    Nothing,
    /// The server was deleted.
    Deleted,
}

/// Something to do, each within the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Log in with the old key.
    EnterOld,
    /// Log in with the login on record.
    EnterRecorded,
    /// Let the new key in, with what restricts the old one.
    Deploy,
    /// Log in afresh with the new key.
    ProveNew,
    /// Make the new key the login on record, if nobody changed the server meanwhile.
    Switch,
    /// Take the old key's lines away.
    RemoveOld,
    /// Log in with the old key, which must fail: it had no line to take away.
    TryOld,
    /// Take the new key's line away again.
    TakeBack,
}

impl Deed {
    /// Its word, as it is shown.
    #[must_use]
    pub(super) fn step(self) -> &'static str {
        match self {
            Self::EnterOld | Self::EnterRecorded => "connecting",
            Self::Deploy => "deploying_key",
            Self::ProveNew => "verifying_key",
            Self::Switch => "updating_record",
            Self::RemoveOld => "removing_old_key",
            Self::TryOld => "verifying_removal",
            Self::TakeBack => "taking_back",
        }
    }
}

/// What came of a deed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// There was nothing to take away.
    Nothing,
    /// The host did not let us in.
    Refused(Failure),
    Failed(Failure),
    /// Somebody else changed the record meanwhile; nothing was done.
    Changed,
    /// It is not known whether it was done: the database did not answer.
    Unknown,
    /// The turn is another's by now; nothing was done.
    Lost,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A machine's word.
    pub code: String,
    /// A person's words, with a remedy.
    pub detail: String,
}

/// What becomes of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The server stands there now.
    Settled(ServerState, Option<Failure>),
    /// It has another turn.
    Again,
    /// Nothing is written: the turn is another's, or will be when the lease lapses.
    Silent,
}

/// The next thing to do, or the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Do(Deed),
    End(Ending),
}

/// One server's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Course {
    /// Whether the new key may be among those that are let in because of this turn.
    deployed: bool,
    /// Whether the record says another login than the old key.
    switched: bool,
    /// Why the turn will end badly.
    failure: Option<Failure>,
}

impl Course {
    /// How a turn begins, from where the server stands and what its record says.
    #[must_use]
    pub(super) fn begin(state: ServerState, recorded: Recorded, claims: u32) -> (Self, Next) {
        let course = Self { deployed: false, switched: false, failure: None };
        let settled = |course, state, code: &str, detail: &str| {
            let failure = Failure { code: code.to_owned(), detail: detail.to_owned() };
            (course, Next::End(Ending::Settled(state, Some(failure))))
        };
        match (state, recorded) {
            (_, Recorded::Deleted) => settled(
                course,
                ServerState::Skipped,
                "server_deleted",
                "the server was deleted; its record still refers to the login that it had",
            ),
            (_, Recorded::Nothing) | (ServerState::Waiting, Recorded::Other) => settled(
                course,
                ServerState::Skipped,
                "login_changed",
                "the server was given another login meanwhile; whether the old key still lets in was not looked at",
            ),
            (_, recorded) if claims > MAX_CLAIMS => settled(
                course,
                if recorded == Recorded::Old { ServerState::Failed } else { ServerState::Lingering },
                "turns_lost",
                "several turns of this server were lost with their control plane: rotate the key again to go on",
            ),
            (_, Recorded::Old) => (course, Next::Do(Deed::EnterOld)),
            (_, Recorded::New | Recorded::Other) => (Self { switched: true, ..course }, Next::Do(Deed::EnterRecorded)),
        }
    }

    /// What follows `deed`.
    pub(super) fn after(&mut self, deed: Deed, outcome: Outcome) -> Next {
        match (deed, outcome) {
            (_, Outcome::Lost | Outcome::Unknown) => Next::End(Ending::Silent),
            (Deed::EnterOld, Outcome::Done) => {
                self.deployed = true;
                Next::Do(Deed::Deploy)
            }
            // The same host may be on record twice, and its other record had its turn.
            (Deed::EnterOld, Outcome::Refused(why)) => {
                self.failure = Some(why);
                Next::Do(Deed::ProveNew)
            }
            (Deed::Deploy, Outcome::Done) => Next::Do(Deed::ProveNew),
            (Deed::ProveNew, Outcome::Done) => {
                self.failure = None;
                Next::Do(Deed::Switch)
            }
            (Deed::Switch, Outcome::Done) => {
                (self.switched, self.deployed) = (true, false);
                Next::Do(Deed::RemoveOld)
            }
            (Deed::EnterRecorded, Outcome::Done) => Next::Do(Deed::RemoveOld),
            (Deed::RemoveOld, Outcome::Done) => Next::End(Ending::Settled(ServerState::Rotated, None)),
            (Deed::RemoveOld, Outcome::Nothing) => Next::Do(Deed::TryOld),
            (Deed::TryOld, Outcome::Refused(_)) => Next::End(Ending::Settled(ServerState::Rotated, None)),
            (Deed::TryOld, Outcome::Done | Outcome::Nothing) => {
                self.failure = Some(Failure {
                    code: "old_key_elsewhere".to_owned(),
                    detail:
                        "the old key still lets in, though ~/.ssh/authorized_keys does not name it: remove it where \
                             the server keeps it, then rotate the key again"
                            .to_owned(),
                });
                self.ended_badly()
            }
            (_, Outcome::Changed) => Next::End(Ending::Again),
            (Deed::TakeBack, Outcome::Failed(why) | Outcome::Refused(why)) => {
                if let Some(failure) = &mut self.failure {
                    let left = " The new key's line could not be taken from ~/.ssh/authorized_keys again";
                    failure.detail.push_str(&format!("{left}: {}", why.detail));
                }
                self.ended_badly()
            }
            (Deed::TakeBack, Outcome::Done | Outcome::Nothing) => self.ended_badly(),
            (_, Outcome::Failed(why) | Outcome::Refused(why)) => {
                self.failure.get_or_insert(why);
                if self.deployed { Next::Do(Deed::TakeBack) } else { self.ended_badly() }
            }
            (_, Outcome::Nothing) => self.ended_badly(),
        }
    }

    fn ended_badly(&self) -> Next {
        let state = if self.switched { ServerState::Lingering } else { ServerState::Failed };
        Next::End(Ending::Settled(state, self.failure.clone()))
    }
}

/// Whether a rotation has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// Servers have turns to come.
    GoesOn,
    /// The old pair stays.
    Partial,
    /// The old pair goes.
    Done,
}

/// How a rotation stands. `recorded` servers, deleted ones included, are still recorded with the old pair.
#[must_use]
pub fn conclusion(tally: &Tally, recorded: u64) -> Conclusion {
    if tally.open > 0 {
        Conclusion::GoesOn
    } else if recorded > 0 || tally.failed > 0 || tally.lingering > 0 {
        Conclusion::Partial
    } else {
        Conclusion::Done
    }
}

#[cfg(test)]
mod tests;
