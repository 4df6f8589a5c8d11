//! What a judgement of a server's health rests on, as values.

use serde::{Deserialize, Serialize};

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Where the agent stands, when it was last heard of.
    Agent,
    /// How long the newest sample had been here when it was looked for.
    SampleAge,
    /// How the last attempt over SSH ended.
    Ssh,
    /// How long the agent's certificate is still good.
    Certificate,
    /// How much of the data disk is in use.
    DiskUsage,
    /// How much of the data disk is free.
    DiskFree,
    /// What the Docker daemon does.
    Docker,
    DockerVersion,
}

impl Signal {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::SampleAge => "sample_age",
            Self::Ssh => "ssh",
            Self::Certificate => "certificate",
            Self::DiskUsage => "disk_usage",
            Self::DiskFree => "disk_free",
            Self::Docker => "docker",
            Self::DockerVersion => "docker_version",
        }
    }
}

/// One signal's value: a word, or a number with its unit and the limit it was held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub signal: Signal,
    pub word: Option<String>,
    pub number: Option<f64>,
    /// `percent`, `bytes` or `seconds`; `None` beside a word.
    pub unit: Option<String>,
    pub limit: Option<f64>,
    /// When it was seen.
    pub at_us: Option<i64>,
}

impl Evidence {
    pub(super) fn word(signal: Signal, word: impl Into<String>, at_us: Option<i64>) -> Self {
        Self { signal, word: Some(word.into()), number: None, unit: None, limit: None, at_us }
    }

    pub(super) fn number(signal: Signal, number: f64, unit: &str, limit: f64, at_us: Option<i64>) -> Self {
        Self { signal, word: None, number: Some(number), unit: Some(unit.to_owned()), limit: Some(limit), at_us }
    }
}
