//! What a judgement of health rests on, as callers see it.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{filled, time::Time};
use crate::health::Evidence;

/// A signal that decided: a word, or a number with its unit and the limit it was held against.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "signal": "disk_usage", "word": null, "number": 87.2, "unit": "percent", "limit": 85.0, "at": "2025-01-15T10:30:00Z"
}))]
pub struct HealthEvidence {
    /// `agent`, `sample_age`, `ssh`, `certificate`, `disk_usage`, `disk_free`, `docker` or `docker_version`.
    pub signal: String,
    pub word: Option<String>,
    pub number: Option<f64>,
    /// `percent`, `bytes` or `seconds`.
    pub unit: Option<String>,
    pub limit: Option<f64>,
    /// When it was seen.
    pub at: Option<Time>,
}

impl From<Evidence> for HealthEvidence {
    fn from(evidence: Evidence) -> Self {
        Self {
            signal: evidence.signal.as_str().to_owned(),
            word: evidence.word,
            number: evidence.number,
            unit: evidence.unit,
            limit: evidence.limit,
            at: evidence.at_us.map(Time),
        }
    }
}

impl From<HealthEvidence> for wire::HealthEvidence {
    fn from(evidence: HealthEvidence) -> Self {
        Self {
            signal: evidence.signal,
            word: evidence.word.unwrap_or_default(),
            number: evidence.number,
            unit: evidence.unit.unwrap_or_default(),
            limit: evidence.limit,
            at: evidence.at.map(Into::into),
        }
    }
}

impl From<wire::HealthEvidence> for HealthEvidence {
    fn from(evidence: wire::HealthEvidence) -> Self {
        Self {
            signal: evidence.signal,
            word: filled(evidence.word),
            number: evidence.number,
            unit: filled(evidence.unit),
            limit: evidence.limit,
            at: evidence.at.map(Into::into),
        }
    }
}
