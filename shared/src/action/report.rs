//! What a host answers to a change.

use serde::{Deserialize, Serialize};

use super::item::{Item, Mode};

/// Longest diff of one step that is reported, in bytes; the rest is cut.
pub const MAX_DIFF_BYTES: usize = 16 << 10;
/// Longest evidence that is reported, in bytes; the rest is cut.
pub const MAX_EVIDENCE_BYTES: usize = 8 << 10;

/// How a change stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ChangeReport {
    pub item: Item,
    pub mode: Mode,
    /// What was asked for held already, so nothing was to be done.
    pub already: bool,
    /// What is to be done, or was; of an undo, what was taken back. In order.
    pub steps: Vec<StepReport>,
    /// Every step was carried out.
    pub applied: bool,
    /// Afterwards the host was looked at anew, and it is as asked for.
    pub verified: bool,
    /// Every step that was begun was taken back.
    pub undone: bool,
    /// What was seen on the host, in words.
    pub evidence: String,
    /// Within how many seconds a confirmation must arrive; otherwise the host takes the change back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_s: Option<u32>,
}

/// One step of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct StepReport {
    /// What it does, in words.
    pub title: String,
    /// What it changes, line by line, `-` before what goes and `+` before what comes; empty where no text changes.
    #[serde(default)]
    pub diff: String,
    /// It can be taken back.
    pub reversible: bool,
}

impl ChangeReport {
    /// A report of which nothing is true yet.
    #[must_use]
    pub fn new(item: Item, mode: Mode) -> Self {
        Self {
            item,
            mode,
            already: false,
            steps: Vec::new(),
            applied: false,
            verified: false,
            undone: false,
            evidence: String::new(),
            confirm_within_s: None,
        }
    }
}
