//! What a host's owner lets the control plane do. Decided on the host, from a root-owned file; the control plane
//! only learns of it and can never widen it.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A family of commands that a host accepts or refuses as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Reads: facts, preflight, plans.
    Observe,
    /// Changes that make the host ready for deployments.
    Fix,
    /// Changes to who may log in and what is reachable.
    Secure,
    /// Reboot, stop, and waking a neighbour.
    Power,
    /// A new agent binary.
    Update,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 5] = [Self::Observe, Self::Fix, Self::Secure, Self::Power, Self::Update];

    /// The family's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Fix => "fix",
            Self::Secure => "secure",
            Self::Power => "power",
            Self::Update => "update",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no family.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown command family {0:?}: expected observe, fix, secure, power or update")]
pub struct UnknownFamily(pub String);

impl FromStr for Family {
    type Err = UnknownFamily;

    fn from_str(word: &str) -> Result<Self, UnknownFamily> {
        Self::ALL.into_iter().find(|family| family.as_str() == word).ok_or_else(|| UnknownFamily(word.to_owned()))
    }
}

/// The families a host accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub allow: BTreeSet<Family>,
}

impl Default for Policy {
    /// Reading only: what an owner who said nothing has agreed to.
    fn default() -> Self {
        Self { allow: BTreeSet::from([Family::Observe]) }
    }
}

impl Policy {
    /// Whether commands of `family` may run on this host.
    #[must_use]
    pub fn allows(&self, family: Family) -> bool {
        self.allow.contains(&family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for family in Family::ALL {
            assert_eq!(family.as_str().parse(), Ok(family));
        }
        assert!("root".parse::<Family>().is_err());
    }

    #[test]
    fn silence_means_observe_only() {
        let policy = Policy::default();
        assert!(policy.allows(Family::Observe));
        assert!(Family::ALL.into_iter().filter(|family| policy.allows(*family)).count() == 1);
    }
}
