//! What can go wrong with the database, sorted by what a caller can do about it.

use crate::{
    environments::Refused,
    error::{Error, ErrorKind},
    quota::Exceeded,
};

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Gone, full, or too busy: trying again may help.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A row with this key is there already.
    #[error("the row exists already")]
    Conflict(#[source] sqlx::Error),
    /// What a row refers to is not there, or what was to go is still referred to.
    #[error("a row that is referred to is missing, or one that is in use was to go")]
    Dangling(#[source] sqlx::Error),
    /// A stored value this version can't read.
    #[error("column {column} holds a value this version can't read")]
    Unreadable { column: &'static str },
    #[error("the database could not be brought to this version's schema")]
    Migration(#[source] sqlx::migrate::MigrateError),
    #[error("the database address is not valid: {0}")]
    Address(&'static str),
    /// A change was to be recorded before the key that signs the record was there.
    #[error("the audit key is not loaded")]
    NoAuditKey,
    /// More than the organisation may use.
    #[error("{0}")]
    OverQuota(Exceeded),
    /// An environment that can't be so.
    #[error("{0}")]
    Environment(#[from] Refused),
    #[error("the database refused a statement")]
    Refused(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(refusal) if refusal.is_unique_violation() => Self::Conflict(error),
            sqlx::Error::Database(refusal) if refusal.is_foreign_key_violation() => Self::Dangling(error),
            sqlx::Error::Database(refusal) if refusal.code().is_some_and(|code| passes(&code)) => {
                Self::Unavailable(error)
            }
            _ => Self::Refused(error),
        }
    }
}

/// Whether the database's own code names a condition that passes.
fn passes(code: &str) -> bool {
    match code.parse::<u32>() {
        // SQLite, low byte: busy, locked, read-only, input or output failed, full, can't open.
        Ok(number) if code.len() < 5 => matches!(number & 0xff, 5 | 6 | 8 | 10 | 13 | 14),
        // PostgreSQL classes: connection, resources, operator intervention, serialization, system.
        _ => ["08", "53", "57", "40", "58"].iter().any(|class| code.starts_with(class)),
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::new(
                ErrorKind::Unavailable,
                "database_unavailable",
                "the database does not answer; try again in a moment",
            )
            .because(error),
            StoreError::Conflict(_) => {
                Self::new(ErrorKind::Conflict, "conflict", "it exists already, or changed meanwhile").because(error)
            }
            StoreError::Dangling(_) => {
                let detail = "something it refers to has gone meanwhile, or is still in use";
                Self::new(ErrorKind::Conflict, "conflict", detail).because(error)
            }
            StoreError::OverQuota(exceeded) => exceeded.into(),
            StoreError::Environment(refused) => refused.into(),
            _ => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_conditions_are_told_from_refusals() {
        for code in ["5", "13", "261", "778", "57P01", "53100", "08006", "40001"] {
            assert!(passes(code), "{code}");
        }
        for code in ["1", "19", "787", "1555", "42601", "23503"] {
            assert!(!passes(code), "{code}");
        }
    }
}
