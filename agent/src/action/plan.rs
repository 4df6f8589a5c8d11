//! What an item has to say: what it reads, and what it would do. Everything else is the engine's.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{host::Host, step::Step};

/// How long the host waits for a confirmation, unless a plan says otherwise: with the timer's own seconds, a way in that
/// was closed is open again within a minute.
pub const CONFIRM_WITHIN_S: u32 = 35;

/// What is to be done, in order. No steps: what was asked for holds already.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The first step that could lock somebody out. From there on the host takes the change back unless a confirmation
    /// arrives; the steps before may take their time.
    pub arm_before: Option<u32>,
    /// Counted from arming: the steps that follow, the look afterwards and the confirmation all fit in.
    pub confirm_within_s: u32,
    /// What the plan was decided by, in words.
    pub evidence: String,
}

impl Plan {
    /// Nothing is to be done.
    #[must_use]
    pub fn nothing(evidence: impl Into<String>) -> Self {
        Self::of(Vec::new(), evidence)
    }

    /// Steps that lock nobody out.
    #[must_use]
    pub fn of(steps: Vec<Step>, evidence: impl Into<String>) -> Self {
        Self { steps, arm_before: None, confirm_within_s: CONFIRM_WITHIN_S, evidence: evidence.into() }
    }

    /// The same plan, to be confirmed from `first` on.
    #[must_use]
    pub fn confirmed_from(self, first: usize) -> Self {
        let arm_before = u32::try_from(first).ok().filter(|_| first < self.steps.len());
        Self { arm_before, ..self }
    }
}

/// Why a change is not made: nothing has been touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// A machine's word.
    pub code: &'static str,
    /// A person's words, with a remedy.
    pub detail: String,
}

impl Refused {
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// An item of the catalogue. Gathering reads and asks; planning is pure. That a change holds means that its plan, made
/// anew, is empty: so a second application does nothing, and the look after the first is the same code.
#[async_trait]
pub trait Change: Send + Sync {
    /// What the plan is decided by.
    type Evidence: Send + Sync;

    /// Reads the host; changes nothing.
    ///
    /// # Errors
    /// [`Refused`] where what must be known can't be.
    async fn gather(&self, host: &dyn Host) -> Result<Self::Evidence, Refused>;

    /// Decides.
    ///
    /// # Errors
    /// [`Refused`] where it can't or must not be done here.
    fn plan(&self, evidence: &Self::Evidence) -> Result<Plan, Refused>;

    /// Whether an undo that somebody asks for may go ahead now.
    ///
    /// # Errors
    /// [`Refused`] says what stands against it.
    async fn may_undo(&self, _host: &dyn Host) -> Result<(), Refused> {
        Ok(())
    }
}

/// A [`Change`] whatever its evidence.
#[async_trait]
pub trait AnyChange: Send + Sync {
    /// Gathers, then plans.
    ///
    /// # Errors
    /// [`Refused`].
    async fn planned(&self, host: &dyn Host) -> Result<Plan, Refused>;

    /// See [`Change::may_undo`].
    ///
    /// # Errors
    /// [`Refused`].
    async fn undoable(&self, host: &dyn Host) -> Result<(), Refused>;
}

#[async_trait]
impl<C: Change> AnyChange for C {
    async fn planned(&self, host: &dyn Host) -> Result<Plan, Refused> {
        let evidence = self.gather(host).await?;
        self.plan(&evidence)
    }

    async fn undoable(&self, host: &dyn Host) -> Result<(), Refused> {
        self.may_undo(host).await
    }
}
