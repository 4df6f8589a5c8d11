//! What a credential may be used for, of what its user may do.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use super::Permission;

/// A part of a user's permissions. It never gives any: the role must have what is asked as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scopes {
    /// Whatever the user may do.
    #[default]
    All,
    /// These and nothing else.
    Only(Arc<BTreeSet<Permission>>),
}

/// A text that names something there is no permission for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no permission")]
pub struct UnknownScope(pub String);

impl Scopes {
    /// These permissions and nothing else.
    #[must_use]
    pub fn only(permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self::Only(Arc::new(permissions.into_iter().collect()))
    }

    /// Whether `permission` is among them.
    #[must_use]
    pub fn include(&self, permission: Permission) -> bool {
        match self {
            Self::All => true,
            Self::Only(permissions) => permissions.contains(&permission),
        }
    }

    /// Their words; `None` where there is no bound.
    #[must_use]
    pub fn words(&self) -> Option<Vec<&'static str>> {
        match self {
            Self::All => None,
            Self::Only(permissions) => Some(permissions.iter().map(|permission| permission.as_str()).collect()),
        }
    }

    /// As the database keeps them.
    #[must_use]
    pub fn to_kept(&self) -> Option<String> {
        self.words().map(|words| words.join(","))
    }

    /// As the database kept them. A word that is no permission any more allows nothing.
    #[must_use]
    pub fn of_kept(kept: Option<&str>) -> Self {
        kept.map_or(Self::All, |kept| Self::only(kept.split(',').filter_map(Permission::parse)))
    }
}

/// One scope as a caller names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope(pub Permission);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Permission::parse(text).map(Self).ok_or_else(|| UnknownScope(text.chars().take(100).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unknown_word_in_the_database_widens_nothing() {
        let scopes = Scopes::of_kept(Some("org.servers.list,org.everything"));
        assert_eq!(scopes, Scopes::only([Permission::ServersList]));
        assert_eq!(Scopes::of_kept(Some("")), Scopes::only([]));
        assert_eq!(Scopes::of_kept(None), Scopes::All);
    }

    proptest! {
        #[test]
        fn scopes_survive_the_database(picked in proptest::sample::subsequence(Permission::ALL.to_vec(), 0..10)) {
            let scopes = Scopes::only(picked.iter().copied());
            prop_assert_eq!(Scopes::of_kept(scopes.to_kept().as_deref()), scopes.clone());
            for permission in Permission::ALL {
                prop_assert_eq!(scopes.include(*permission), picked.contains(permission));
            }
        }
    }
}
