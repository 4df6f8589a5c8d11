//! How a server stands towards the hardening profile, and what is asked of it.

use muster_shared::{
    action::{Cidr, ItemName, Mode, Port},
    wire,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{filled, time::Time};
use crate::{
    error::Error,
    hardening::{Hardening, ItemRecord, Options, Wish},
};

/// A server's score, and each item with its standing and since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "server_id": "01890a5d-ac96-774b-bcce-b302099a8057", "score": 50, "items": [
        { "item": "fail2ban", "standing": "holds", "detail": "an address is shut out after 3 failed logins",
          "since": "2025-01-15T10:30:00Z", "held_until": null, "seen_at": "2025-01-15T12:30:00Z" },
        { "item": "sshd", "standing": "deviates", "detail": "passwordauthentication yes (everywhere)",
          "since": "2025-01-15T12:28:00Z", "held_until": "2025-01-15T12:26:00Z", "seen_at": "2025-01-15T12:30:00Z" }
    ]
}))]
pub struct ServerHardening {
    pub server_id: String,
    /// How many of a hundred parts of what applies hold; `null` before the host has told.
    pub score: Option<u8>,
    pub items: Vec<HardeningItem>,
}

/// One item of the profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HardeningItem {
    /// `unattended_upgrades`, `fail2ban`, `docker_daemon`, `auditd`, `ipv6_off`, `firewall` or `sshd`.
    pub item: String,
    /// `holds`, `deviates`, `not_applicable` or `unknown`.
    pub standing: String,
    /// What was seen on the host, in words.
    pub detail: String,
    /// Since when it stands so.
    pub since: Option<Time>,
    /// When it was last seen to hold, where it does not now.
    pub held_until: Option<Time>,
    pub seen_at: Option<Time>,
}

/// What is to be done with items of the profile.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "items": ["firewall", "sshd"], "mode": "plan", "ssh_from": ["203.0.113.0/24"] }))]
pub struct HardenRequest {
    /// None means the whole profile.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub items: Vec<String>,
    /// `plan` shows what would be done, `apply` does it, `undo` takes back what was last applied.
    pub mode: String,
    /// TCP ports that the firewall leaves open beside SSH's; 80 and 443 unless given.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub open_ports: Option<Vec<u16>>,
    /// Networks from which SSH can be reached; from everywhere unless given.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub ssh_from: Vec<String>,
}

/// Most items, ports or networks of a request.
const MAX_ITEMS: usize = 16;
const MAX_ENTRIES: usize = muster_shared::action::item::MAX_ENTRIES;

impl ServerHardening {
    /// `hardening` as callers see it.
    #[must_use]
    pub fn of(hardening: &Hardening) -> Self {
        Self {
            server_id: hardening.server.to_string(),
            score: hardening.score(),
            items: hardening.items.iter().map(HardeningItem::of).collect(),
        }
    }
}

impl HardeningItem {
    fn of(record: &ItemRecord) -> Self {
        Self {
            item: record.item.as_str().to_owned(),
            standing: record.standing.as_str().to_owned(),
            detail: record.detail.clone(),
            since: Some(Time(record.since_us)),
            held_until: record.held_until_us.map(Time),
            seen_at: Some(Time(record.seen_at_us)),
        }
    }
}

impl TryFrom<HardenRequest> for Wish {
    type Error = Error;

    fn try_from(request: HardenRequest) -> Result<Self, Error> {
        let too_many = |what: &str, limit: usize| Error::invalid("too_many", format!("at most {limit} {what}"));
        if request.items.len() > MAX_ITEMS {
            return Err(too_many("items", MAX_ITEMS));
        }
        let ports = request.open_ports.unwrap_or_default();
        let open_ports = if ports.is_empty() { None } else { Some(ports) };
        if open_ports.as_ref().is_some_and(|ports| ports.len() > MAX_ENTRIES) || request.ssh_from.len() > MAX_ENTRIES {
            return Err(too_many("ports and networks", MAX_ENTRIES));
        }
        let item = |word: &String| {
            word.parse::<ItemName>()
                .map_err(|_| Error::invalid("unknown_item", format!("{word:?} is no item of the profile")))
        };
        let mode = match request.mode.as_str() {
            "plan" => Mode::Plan,
            "apply" => Mode::Apply,
            "undo" => Mode::Undo,
            _ => return Err(Error::invalid("unknown_mode", "the mode is plan, apply or undo")),
        };
        let invalid =
            |error: muster_shared::action::InvalidArgument| Error::invalid("invalid_argument", error.to_string());
        let port = |port: u16| Port::try_from(port).map_err(invalid);
        let network = |network: &String| network.parse::<Cidr>().map_err(invalid);
        Ok(Self {
            items: request.items.iter().map(item).collect::<Result<_, _>>()?,
            mode,
            options: Options {
                open_ports: open_ports
                    .map(|ports| ports.into_iter().map(port).collect::<Result<_, _>>())
                    .transpose()?,
                ssh_from: request.ssh_from.iter().map(network).collect::<Result<_, _>>()?,
            },
        })
    }
}

impl TryFrom<wire::HardenRequest> for HardenRequest {
    type Error = Error;

    fn try_from(request: wire::HardenRequest) -> Result<Self, Error> {
        let port = |port: u32| {
            u16::try_from(port).map_err(|_| Error::invalid("invalid_argument", "a port is a number from 1 to 65535"))
        };
        let ports: Vec<u16> = request.open_ports.into_iter().map(port).collect::<Result<_, _>>()?;
        let open_ports = if ports.is_empty() { None } else { Some(ports) };
        Ok(Self { items: request.items, mode: request.mode, open_ports, ssh_from: request.ssh_from })
    }
}

impl From<ServerHardening> for wire::Hardening {
    fn from(hardening: ServerHardening) -> Self {
        let item = |item: HardeningItem| wire::HardeningItem {
            item: item.item,
            standing: item.standing,
            detail: item.detail,
            since: item.since.map(Into::into),
            held_until: item.held_until.map(Into::into),
            seen_at: item.seen_at.map(Into::into),
        };
        Self {
            server_id: hardening.server_id,
            score: hardening.score.map(u32::from),
            items: hardening.items.into_iter().map(item).collect(),
        }
    }
}

impl From<wire::Hardening> for ServerHardening {
    fn from(hardening: wire::Hardening) -> Self {
        let item = |item: wire::HardeningItem| HardeningItem {
            item: item.item,
            standing: item.standing,
            detail: filled(item.detail).unwrap_or_default(),
            since: item.since.map(Into::into),
            held_until: item.held_until.map(Into::into),
            seen_at: item.seen_at.map(Into::into),
        };
        Self {
            server_id: hardening.server_id,
            score: hardening.score.and_then(|score| u8::try_from(score).ok()),
            items: hardening.items.into_iter().map(item).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wish(body: serde_json::Value) -> Result<Wish, &'static str> {
        let request: HardenRequest = serde_json::from_value(body).expect("a body");
        Wish::try_from(request).map_err(|error| error.code)
    }

    #[test]
    fn a_request_is_held_to_what_there_is() {
        let whole = wish(json!({ "mode": "plan" })).expect("the whole profile");
        assert_eq!((whole.items, whole.mode, whole.options), (Vec::new(), Mode::Plan, Options::default()));
        let some = json!({ "mode": "apply", "items": ["firewall"], "open_ports": [443], "ssh_from": ["10.0.0.0/8"] });
        let some = wish(some).expect("a firewall");
        assert_eq!(some.options.open_ports, Some(vec![Port::HTTPS]));
        for (body, code) in [
            (json!({ "mode": "rm" }), "unknown_mode"),
            (json!({ "mode": "plan", "items": ["$(id)"] }), "unknown_item"),
            (json!({ "mode": "plan", "ssh_from": ["0.0.0.0/0; rm"] }), "invalid_argument"),
            (json!({ "mode": "plan", "open_ports": [0] }), "invalid_argument"),
            (json!({ "mode": "plan", "items": vec!["sshd"; 17] }), "too_many"),
        ] {
            assert_eq!(wish(body).map(|_| ()), Err(code));
        }
    }
}
