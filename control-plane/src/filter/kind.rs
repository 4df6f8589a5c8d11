//! What values are, and values.

use std::{borrow::Cow, cmp::Ordering, fmt};

use super::version;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Truth,
    Number,
    Text,
    /// Compared piece by piece, numbers as numbers.
    Version,
    /// A point in time.
    Time,
    Duration,
    Texts,
    Numbers,
}

impl Kind {
    /// What a list of it holds; `None` for what is no list.
    #[must_use]
    pub fn element(self) -> Option<Self> {
        match self {
            Self::Texts => Some(Self::Text),
            Self::Numbers => Some(Self::Number),
            _ => None,
        }
    }

    /// Whether one of its values can be less than another.
    pub(super) fn has_order(self) -> bool {
        matches!(self, Self::Number | Self::Text | Self::Version | Self::Time | Self::Duration)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truth => "true or false",
            Self::Number => "number",
            Self::Text => "text",
            Self::Version => "version",
            Self::Time => "time",
            Self::Duration => "duration",
            Self::Texts => "list of texts",
            Self::Numbers => "list of numbers",
        })
    }
}

/// A value. Times and durations are microseconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Truth(bool),
    Number(f64),
    Text(Cow<'a, str>),
    Version(Cow<'a, str>),
    Time(i64),
    Duration(i64),
    List(Vec<Value<'a>>),
}

impl Value<'_> {
    /// How it stands to another of its kind; `None` where there is no order, as with what is no number.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Truth(a), Self::Truth(b)) => Some(a.cmp(b)),
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Version(a), Self::Version(b)) => Some(version::compare(a, b)),
            (Self::Time(a), Self::Time(b)) | (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}
