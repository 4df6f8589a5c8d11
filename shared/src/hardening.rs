//! The hardening profile: which items it has, what each is by default, and how a host stands towards it. Pure.

use serde::{Deserialize, Deserializer, Serialize};

use crate::action::{
    Item, ItemName, Port,
    item::{DockerDaemonArgs, Fail2banArgs, FirewallArgs, RootLogin, SshdArgs},
};

/// Longest words about an item, in bytes; the rest is cut.
pub const MAX_DETAIL_BYTES: usize = 1024;
/// Most items of a document that are read.
const MAX_ITEMS: usize = 64;
/// Every item of the profile, in the order in which a whole profile is applied: what could lock somebody out comes last.
pub const PROFILE: [ItemName; 7] = [
    ItemName::UnattendedUpgrades,
    ItemName::Fail2ban,
    ItemName::DockerDaemon,
    ItemName::Auditd,
    ItemName::Ipv6Off,
    ItemName::Firewall,
    ItemName::Sshd,
];
/// sshd's limits in the profile.
pub const MAX_AUTH_TRIES: u32 = 3;
pub const CLIENT_ALIVE_INTERVAL_S: u32 = 300;
pub const CLIENT_ALIVE_COUNT_MAX: u32 = 2;

/// What the profile wants of `name`; `None` where it is not part of it.
#[must_use]
pub fn default_item(name: ItemName) -> Option<Item> {
    Some(match name {
        ItemName::Sshd => Item::Sshd(SshdArgs {
            password_authentication: Some(false),
            permit_root_login: Some(RootLogin::ProhibitPassword),
            max_auth_tries: Some(MAX_AUTH_TRIES),
            client_alive_interval: Some(CLIENT_ALIVE_INTERVAL_S),
            client_alive_count_max: Some(CLIENT_ALIVE_COUNT_MAX),
        }),
        ItemName::UnattendedUpgrades => Item::UnattendedUpgrades,
        ItemName::Fail2ban => Item::Fail2ban(Fail2banArgs::default()),
        ItemName::Firewall => {
            Item::Firewall(FirewallArgs { open_ports: vec![Port::HTTP, Port::HTTPS], ssh_from: Vec::new() })
        }
        ItemName::DockerDaemon => Item::DockerDaemon(DockerDaemonArgs::default()),
        ItemName::Auditd => Item::Auditd,
        ItemName::Ipv6Off => Item::Ipv6Off,
        _ => return None,
    })
}

/// How a host stands towards an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Holds,
    Deviates,
    /// It makes no sense on this host, and counts neither way.
    NotApplicable,
    /// The host could not see it. Counts as not holding.
    Unknown,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 4] = [Self::Holds, Self::Deviates, Self::NotApplicable, Self::Unknown];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Deviates => "deviates",
            Self::NotApplicable => "not_applicable",
            Self::Unknown => "unknown",
        }
    }

    /// The standing named `word`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == word)
    }
}

/// One item on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ItemStanding {
    pub item: ItemName,
    pub standing: Standing,
    /// What was seen, in words.
    #[serde(default)]
    pub detail: String,
}

/// Reads standings, passing over items that this version does not know: those of a newer agent.
pub(crate) fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ItemStanding>, D::Error> {
    let all = Vec::<serde_json::Value>::deserialize(deserializer)?;
    Ok(all.into_iter().filter_map(|one| serde_json::from_value(one).ok()).take(MAX_ITEMS).collect())
}

/// How many of a hundred parts of what applies hold; `None` where nothing applies. Rounded down, so that only a whole
/// profile is 100.
#[must_use]
pub fn score(standings: impl IntoIterator<Item = Standing>) -> Option<u8> {
    let (mut holding, mut all) = (0_usize, 0_usize);
    for standing in standings.into_iter().filter(|standing| *standing != Standing::NotApplicable) {
        all += 1;
        holding += usize::from(standing == Standing::Holds);
    }
    (all > 0).then(|| u8::try_from(holding * 100 / all).unwrap_or(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_counts_what_applies() {
        use Standing::{Deviates, Holds, NotApplicable, Unknown};
        assert_eq!(score([Holds, Holds, Deviates]), Some(66));
        assert_eq!(score([Holds, NotApplicable]), Some(100));
        assert_eq!(score([Holds, Unknown]), Some(50), "what nobody can see is not taken for granted");
        assert_eq!((score([NotApplicable]), score([])), (None, None));
    }

    #[test]
    fn an_item_of_a_newer_agent_is_passed_over() {
        let json = r#"[{"item":"sshd","standing":"holds"},{"item":"moat","standing":"holds"},{"item":"auditd","standing":"?"}]"#;
        let items = known(&mut serde_json::Deserializer::from_str(json)).expect("a list");
        assert_eq!(items.iter().map(|item| item.item).collect::<Vec<_>>(), [ItemName::Sshd]);
    }

    #[test]
    fn what_could_lock_somebody_out_comes_last() {
        assert_eq!(PROFILE[5..], [ItemName::Firewall, ItemName::Sshd]);
        for name in PROFILE {
            assert_eq!(default_item(name).map(|item| item.check()), Some(Ok(())), "{name}");
        }
        for standing in Standing::ALL {
            assert_eq!(Standing::parse(standing.as_str()), Some(standing));
            assert_eq!(serde_json::to_value(standing).expect("a word"), standing.as_str());
        }
    }
}
