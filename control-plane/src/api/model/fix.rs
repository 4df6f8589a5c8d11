//! What is asked of fixes, and what became of them.

use muster_shared::{
    action::{ChangeReport, InvalidArgument, Mode, Port, item::MAX_ENTRIES},
    wire,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filled;
use crate::{error::Error, fix::Wish};

/// What to fix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "actions": ["install_docker", "start_docker"], "dry_run": false }))]
pub struct FixRequest {
    /// `install_docker`, `start_docker`, `add_to_docker_group`, `configure_sudo`, `free_disk`, `free_ports`. They are made
    /// in the order in which they depend on each other. Naming none is an error, unless `all` is set.
    pub actions: Vec<String>,
    /// Fix every failure of the last preflight that can be fixed.
    pub all: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Take back the last change of each action.
    pub undo: bool,
    /// Whom `configure_sudo` and `add_to_docker_group` are for; unless given, the user of the server's login.
    pub username: Option<String>,
    /// What `free_ports` frees; 80 and 443 unless given.
    pub ports: Vec<u16>,
    /// The only unit that `free_ports` may stop.
    pub unit: Option<String>,
    /// `free_disk` removes also images with a name that no container uses.
    pub all_images: bool,
}

impl FixRequest {
    /// The wish.
    ///
    /// # Errors
    /// Names the field that is not acceptable.
    pub fn into_wish(self) -> Result<Wish, Error> {
        let mode = match (self.dry_run, self.undo) {
            (false, false) => Mode::Apply,
            (true, false) => Mode::Plan,
            (false, true) => Mode::Undo,
            (true, true) => return Err(Error::invalid("invalid_field", "dry_run and undo can't be combined")),
        };
        let refused = |field: &'static str| {
            move |error: InvalidArgument| Error::invalid("invalid_field", format!("{field}: {error}"))
        };
        if self.ports.len() > MAX_ENTRIES {
            return Err(Error::invalid("invalid_field", format!("ports: at most {MAX_ENTRIES}")));
        }
        let action = |word: &String| {
            word.parse().map_err(|_| Error::invalid("unknown_action", format!("there is no action {word:?}")))
        };
        Ok(Wish {
            actions: self.actions.iter().map(action).collect::<Result<_, _>>()?,
            all: self.all,
            mode,
            username: self.username.map(|name| name.parse().map_err(refused("username"))).transpose()?,
            ports: self.ports.into_iter().map(Port::try_from).collect::<Result<_, _>>().map_err(refused("ports"))?,
            unit: self.unit.map(|name| name.parse().map_err(refused("unit"))).transpose()?,
            all_images: self.all_images,
        })
    }
}

impl From<wire::FixServerRequest> for FixRequest {
    fn from(request: wire::FixServerRequest) -> Self {
        Self {
            actions: request.actions,
            all: request.all,
            dry_run: request.dry_run,
            undo: request.undo,
            username: filled(request.username),
            // A number that is no port is refused where ports are parsed: 0 is none.
            ports: request.ports.into_iter().map(|port| u16::try_from(port).unwrap_or(0)).collect(),
            unit: filled(request.unit),
            all_images: request.all_images,
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "status": "qualified", "dry_run": false, "passed": 9, "failed": 0, "warnings": 1,
    "actions": [{ "action": "start_docker", "outcome": "already", "detail": "nothing is to be done", "report": null }]
}))]
pub struct FixAnswer {
    /// What the checks add up to now: `qualified`, `needs_setup` or `unqualified`; `planned` of a dry run.
    pub status: String,
    pub dry_run: bool,
    pub actions: Vec<FixedAction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<u32>,
}

/// What became of one action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FixedAction {
    /// Its word.
    pub action: String,
    /// `planned`, `changed`, `already` or `undone`.
    pub outcome: String,
    pub detail: String,
    /// The host's report, with what each step changes.
    pub report: Option<ChangeReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_body_is_a_wish_and_hostile_ones_are_none() {
        let wish = |json: serde_json::Value| {
            let request: FixRequest = serde_json::from_value(json).map_err(|_| "body")?;
            request.into_wish().map_err(|error| error.code)
        };
        let published = wish(serde_json::json!({ "actions": ["install_docker"] })).expect("a wish");
        assert_eq!((published.mode, published.actions.len(), published.all), (Mode::Apply, 1, false));
        assert_eq!(wish(serde_json::json!({ "actions": ["rm -rf /"] })), Err("unknown_action"));
        assert_eq!(wish(serde_json::json!({ "username": "-oProxyCommand=x" })), Err("invalid_field"));
        assert_eq!(wish(serde_json::json!({ "username": "a\nb" })), Err("invalid_field"));
        assert_eq!(wish(serde_json::json!({ "unit": "$(id)" })), Err("invalid_field"));
        assert_eq!(wish(serde_json::json!({ "ports": [0] })), Err("invalid_field"));
        assert_eq!(wish(serde_json::json!({ "dry_run": true, "undo": true })), Err("invalid_field"));
        assert_eq!(wish(serde_json::json!({ "action": "install_docker" })), Err("body"));
    }
}
