//! Which database, and what its dialect calls things.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::StoreError;

/// Where the database is. Its text form shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    dialect: Dialect,
    url: String,
    /// SQLite's file.
    path: Option<PathBuf>,
}

/// The two databases that the SQL is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl DatabaseUrl {
    /// The SQLite file `muster.db` in `data_dir`.
    #[must_use]
    pub fn sqlite_in(data_dir: &Path) -> Self {
        Self::sqlite(&data_dir.join("muster.db"))
    }

    /// The SQLite file at `path`.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        let mut url = String::from("sqlite://");
        for byte in path.as_os_str().as_encoded_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => url.push(char::from(*byte)),
                _ => url.push_str(&format!("%{byte:02X}")),
            }
        }
        Self { dialect: Dialect::Sqlite, url, path: Some(path.to_owned()) }
    }

    /// Which of the two it is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(super) fn as_str(&self) -> &str {
        &self.url
    }
}

impl FromStr for DatabaseUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return Ok(Self::sqlite(Path::new(path)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self { dialect: Dialect::Postgres, url: text.to_owned(), path: None });
        }
        Err(StoreError::Address("expected postgres://USER@HOST/DATABASE or sqlite:///PATH"))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match (self.url.split_once("://"), self.url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, place))) => format!("{scheme}://…@{place}"),
            _ => self.url.clone(),
        };
        f.write_str(&shown)
    }
}

impl Dialect {
    /// `sql` in this dialect's words: `BYTES` stands for the type of byte strings.
    pub(super) fn adapt(self, sql: &str) -> String {
        match self {
            Self::Sqlite => sql.replace("BYTES", "BLOB"),
            Self::Postgres => sql.replace("BYTES", "BYTEA"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_and_hide_passwords() {
        let postgres: DatabaseUrl = "postgres://muster:hunter2@db/muster".parse().expect("an address");
        assert_eq!(postgres.dialect(), Dialect::Postgres);
        assert!(!format!("{postgres:?}").contains("hunter2"));
        assert!("mysql://x".parse::<DatabaseUrl>().is_err());
        assert_eq!(DatabaseUrl::sqlite(Path::new("/a b?c")).as_str(), "sqlite:///a%20b%3Fc");
    }
}
