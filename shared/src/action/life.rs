//! The life of one change on a host, pure: the phase says what is to be done next ([`Life::deed`]), and what came of it
//! moves it on ([`Life::handle`]). The shell writes the life to disk before each deed, so that whoever finds it later,
//! after whatever was killed, knows what may have begun.
//!
//! ```text
//! ready(0) → applying(0) → ready(1) → … → verifying → committed
//!                                                   ↘ awaiting confirmation → committed
//! any failure, a lapsed deadline, a crash:  undoing(last begun) → … → undoing(0) → refreshing → undone | undo failed
//! ```
//!
//! A step is begun at most once. A change that must be confirmed is armed before its first dangerous step; from then on
//! only a confirmation commits it. Inverses may run twice, so each must bear that.

use serde::{Deserialize, Serialize};

/// What a change's life depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How many steps there are; at least one.
    pub steps: u32,
    /// The first step that could lock somebody out; from there on it must be confirmed.
    pub arm_before: Option<u32>,
}

/// Where a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The steps before `step` are done; nothing of `step` has begun.
    Ready {
        step: u32,
    },
    /// What `step` replaces is on disk; its effect may have begun.
    Applying {
        step: u32,
    },
    /// Every step is done.
    Verifying,
    /// Verified; it is taken back unless somebody says that the way in still works.
    Awaiting,
    Committed,
    /// The inverse of `step` may have begun.
    Undoing {
        step: u32,
        failed: bool,
    },
    /// Every inverse was tried; what had read the changed files reads them again.
    Refreshing {
        failed: bool,
    },
    Undone,
    /// Something could not be taken back; it may be tried again.
    UndoFailed,
}

/// What the shell is to do, having written the life to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Make sure that the change is taken back without this process.
    Arm,
    /// Write down what the step replaces; nothing of it may begin before that.
    Begin(u32),
    /// Carry out the step.
    Apply(u32),
    /// Look whether the host is as asked for.
    Verify,
    /// Take back the step.
    Invert(u32),
    /// Have what read the changed files read them again.
    Refresh,
}

/// What came of it, or came from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Armed,
    NotArmed,
    Begun,
    NotBegun,
    Applied,
    NotApplied,
    Holds,
    HoldsNot,
    Inverted,
    NotInverted,
    Refreshed,
    NotRefreshed,
    /// The way in works.
    Confirmed,
    /// The deadline has passed, or the boot in which it was set is over.
    Overdue,
    /// Somebody wants it taken back.
    UndoAsked,
    /// A new process found it unfinished, and whether the host is as asked for.
    Found {
        holds: bool,
    },
}

/// An event that does not belong to the phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} does not belong to {phase:?}")]
pub struct Misplaced {
    pub phase: Phase,
    pub event: Event,
}

/// One change's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    pub shape: Shape,
    pub phase: Phase,
    /// How many steps may have begun.
    pub begun: u32,
    /// It is taken back unless confirmed.
    pub armed: bool,
}

impl Life {
    /// A change of which nothing has begun.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, phase: Phase::Ready { step: 0 }, begun: 0, armed: false }
    }

    /// What is to be done next; `None` where nothing is, or only something from outside moves it.
    #[must_use]
    pub fn deed(&self) -> Option<Deed> {
        match self.phase {
            Phase::Ready { step } if self.shape.arm_before == Some(step) && !self.armed => Some(Deed::Arm),
            Phase::Ready { step } => Some(Deed::Begin(step)),
            Phase::Applying { step } => Some(Deed::Apply(step)),
            Phase::Verifying => Some(Deed::Verify),
            Phase::Undoing { step, .. } => Some(Deed::Invert(step)),
            Phase::Refreshing { .. } => Some(Deed::Refresh),
            Phase::Awaiting | Phase::Committed | Phase::Undone | Phase::UndoFailed => None,
        }
    }

    /// Whether it still has to be taken back unless confirmed.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.armed && !matches!(self.phase, Phase::Committed | Phase::Undone)
    }

    /// Whether nothing more happens to it by itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Committed | Phase::Undone) || (self.phase == Phase::UndoFailed && !self.armed)
    }

    /// Takes in what happened.
    ///
    /// # Errors
    /// [`Misplaced`] where that can't have happened in this phase; nothing then changes.
    pub fn handle(&mut self, event: Event) -> Result<(), Misplaced> {
        let misplaced = Misplaced { phase: self.phase, event };
        let next = match (self.phase, event) {
            (Phase::Ready { step }, Event::Armed) if self.shape.arm_before == Some(step) => {
                self.armed = true;
                self.phase
            }
            (Phase::Ready { step }, Event::Begun) => {
                self.begun = step + 1;
                Phase::Applying { step }
            }
            (Phase::Ready { .. }, Event::NotArmed | Event::NotBegun) | (Phase::Applying { .. }, Event::NotApplied) => {
                self.undoing()
            }
            (Phase::Applying { step }, Event::Applied) if step + 1 < self.shape.steps => {
                Phase::Ready { step: step + 1 }
            }
            (Phase::Applying { .. }, Event::Applied) => Phase::Verifying,
            (Phase::Verifying, Event::Holds) if self.armed => Phase::Awaiting,
            (Phase::Verifying, Event::Holds) => Phase::Committed,
            (Phase::Verifying, Event::HoldsNot) => self.undoing(),
            (Phase::Awaiting, Event::Confirmed) => Phase::Committed,
            (Phase::Committed | Phase::Awaiting | Phase::UndoFailed, Event::UndoAsked) => self.undoing(),
            (
                Phase::Ready { .. } | Phase::Applying { .. } | Phase::Verifying | Phase::Awaiting | Phase::UndoFailed,
                Event::Overdue,
            ) if self.armed => self.undoing(),
            (Phase::Undoing { step: 0, failed }, Event::Inverted) => Phase::Refreshing { failed },
            (Phase::Undoing { step, failed }, Event::Inverted) => Phase::Undoing { step: step - 1, failed },
            (Phase::Undoing { step: 0, .. }, Event::NotInverted) => Phase::Refreshing { failed: true },
            (Phase::Undoing { step, .. }, Event::NotInverted) => Phase::Undoing { step: step - 1, failed: true },
            (Phase::Refreshing { failed: false }, Event::Refreshed) => Phase::Undone,
            (Phase::Refreshing { .. }, Event::Refreshed | Event::NotRefreshed) => Phase::UndoFailed,
            // What may lock somebody out is never kept on the strength of a look from within.
            (Phase::Ready { .. } | Phase::Applying { .. } | Phase::Verifying, Event::Found { holds }) => {
                let untouched = self.begun == 0;
                if holds && !untouched && self.shape.arm_before.is_none() { Phase::Committed } else { self.undoing() }
            }
            (_, Event::Found { .. }) => self.phase,
            _ => return Err(misplaced),
        };
        self.phase = next;
        Ok(())
    }

    fn undoing(&self) -> Phase {
        match self.begun.checked_sub(1) {
            Some(step) => Phase::Undoing { step, failed: false },
            None => Phase::Undone,
        }
    }
}

#[cfg(test)]
mod tests;
