//! Fleet runs as callers see them.

use muster_shared::action::{InvalidArgument, Port};
use muster_shared::id::FleetRunId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{filled, time::Time};
use crate::{
    error::Error,
    fleet_runs::{self, Bounds, DEFAULT_WAVE, MAX_WAVE, Selection, Wanted},
};

/// Most ports or networks of a task.
const MAX_ENTRIES: usize = muster_shared::action::item::MAX_ENTRIES;

/// What is asked of each server: an entry of the catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "kind": "fix", "action": "install_docker" }))]
pub struct FleetTask {
    /// `preflight`, `refresh_facts`, `fix` or `harden`.
    pub kind: String,
    /// Of `fix`: `install_docker`, `start_docker`, `add_to_docker_group`, `configure_sudo`, `free_disk` or `free_ports`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Of `harden`: an item of the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// Take back the last change instead.
    pub undo: bool,
    /// Of `configure_sudo` and `add_to_docker_group`; unless given, the user of each server's login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// What `free_ports` frees; none means 80 and 443.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub ports: Vec<u16>,
    /// The only unit that `free_ports` may stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Have `free_disk` remove also images with a name that no container uses.
    pub all_images: bool,
    /// Ports that the firewall leaves open beside SSH's; none means 80 and 443.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub open_ports: Vec<u16>,
    /// Networks from which the firewall lets SSH in; none means from everywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub ssh_from: Vec<String>,
}

/// A run to make.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({
    "task": { "kind": "fix", "action": "install_docker" }, "filter": "region == \"eu-central\"", "dry_run": true
}))]
pub struct FleetRunCreate {
    pub task: Option<FleetTask>,
    /// Which servers: an expression as for lists. An empty one is an error, and so is one that nothing matches.
    pub filter: Option<String>,
    /// Which servers instead: their names or ids. An empty list is an error, never all of them.
    #[schema(max_items = 10000)]
    pub servers: Option<Vec<String>>,
    /// Only show what would be done; so unless said otherwise.
    pub dry_run: Option<bool>,
    /// The dry run whose task is to be done, on the servers whose dry run went well: instead of `task`, `filter` and
    /// `servers`, with `"dry_run": false`.
    pub after: Option<String>,
    /// Servers at work at once, 1 to 1000; 10 unless given.
    #[schema(minimum = 1, maximum = 1000)]
    pub wave_size: Option<u32>,
    /// How many servers may fail before no other begins; none unless given.
    pub max_failures: Option<u32>,
}

/// A run, with a page of its servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8080", "task": { "kind": "fix", "action": "install_docker", "undo": false,
    "all_images": false }, "filter": "region == \"eu-central\"", "dry_run": false,
    "dry_run_id": "01890a5d-ac96-774b-bcce-b302099a8079", "wave_size": 10, "max_failures": 0, "state": "stopped",
    "wave": 1, "waiting": 0, "running": 0, "succeeded": 0, "failed": 1, "skipped": 12, "created_by": "ada",
    "created_at": "2025-01-15T10:30:00Z", "ended_at": "2025-01-15T10:31:00Z", "servers": [{
        "server_id": "01890a5d-ac96-774b-bcce-b302099a8057", "server_name": "web-1", "wave": 1, "state": "failed",
        "code": "refused_by_policy", "detail": "the host's policy does not allow fix",
        "command_id": "01890a5d-ac96-774b-bcce-b302099a8060", "updated_at": "2025-01-15T10:31:00Z"
    }]
}))]
pub struct FleetRun {
    pub id: String,
    pub task: FleetTask,
    /// What selected the servers; `null` where they were named.
    pub filter: Option<String>,
    pub dry_run: bool,
    /// The dry run that went before.
    pub dry_run_id: Option<String>,
    pub wave_size: u32,
    /// How many servers may fail before no other begins; `null` of a dry run, which none stops.
    pub max_failures: Option<u32>,
    /// `running`, `done`, `stopped` where more servers failed than may, or `cancelled`.
    pub state: String,
    /// The wave at work, from 1.
    pub wave: u32,
    pub waiting: u64,
    pub running: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub skipped: u64,
    pub created_by: String,
    pub created_at: Option<Time>,
    /// When the last server ended.
    pub ended_at: Option<Time>,
    /// In the order of their turns; of a list of runs, none.
    pub servers: Vec<FleetRunServer>,
}

/// A server's part in a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FleetRunServer {
    pub server_id: String,
    pub server_name: String,
    /// From 1.
    pub wave: u32,
    /// `waiting`, `running`, `succeeded`, `failed` or `skipped`.
    pub state: String,
    /// A machine's word for why.
    pub code: Option<String>,
    /// A person's words.
    pub detail: Option<String>,
    /// What it was asked; `GET /api/v1/commands/{id}` has what it answered.
    pub command_id: Option<String>,
    pub updated_at: Option<Time>,
}

impl FleetTask {
    /// The task.
    ///
    /// # Errors
    /// Names the field that is not acceptable.
    pub fn into_task(self) -> Result<fleet_runs::Task, Error> {
        let is_change = matches!(self.kind.as_str(), "fix" | "harden");
        if !is_change && self != (Self { kind: self.kind.clone(), ..Self::default() }) {
            return Err(Error::invalid("contradiction", format!("task: {} takes nothing else", self.kind)));
        }
        let missing = |field: &str| Error::invalid("invalid_field", format!("task.{field}: say which"));
        match self.kind.as_str() {
            "preflight" => Ok(fleet_runs::Task::Preflight),
            "refresh_facts" => Ok(fleet_runs::Task::RefreshFacts),
            "fix" => {
                let word = self.action.ok_or_else(|| missing("action"))?;
                let unknown = |_| Error::invalid("unknown_action", format!("there is no action {word:?}"));
                Ok(fleet_runs::Task::Fix {
                    action: word.parse().map_err(unknown)?,
                    undo: self.undo,
                    username: self.username.map(|name| name.parse().map_err(refused("username"))).transpose()?,
                    ports: ports("ports", self.ports)?,
                    unit: self.unit.map(|name| name.parse().map_err(refused("unit"))).transpose()?,
                    all_images: self.all_images,
                })
            }
            "harden" => {
                let word = self.item.ok_or_else(|| missing("item"))?;
                let unknown = |_| Error::invalid("unknown_item", format!("there is no item {word:?}"));
                if self.ssh_from.len() > MAX_ENTRIES {
                    return Err(Error::invalid("too_many", format!("task.ssh_from: at most {MAX_ENTRIES} networks")));
                }
                let open_ports = ports("open_ports", self.open_ports)?;
                let networks = self.ssh_from.iter().map(|network| network.parse().map_err(refused("ssh_from")));
                Ok(fleet_runs::Task::Harden {
                    item: word.parse().map_err(unknown)?,
                    undo: self.undo,
                    open_ports: Some(open_ports).filter(|ports| !ports.is_empty()),
                    ssh_from: networks.collect::<Result<_, _>>()?,
                })
            }
            other => {
                let detail = format!("task.kind: expected preflight, refresh_facts, fix or harden, not {other:?}");
                Err(Error::invalid("invalid_field", detail))
            }
        }
    }

    /// `task` as callers see it.
    #[must_use]
    pub fn of(task: &fleet_runs::Task) -> Self {
        let numbers = |ports: &[Port]| ports.iter().map(|port| u16::from(*port)).collect();
        let blank = Self { kind: task.kind().to_owned(), ..Self::default() };
        match task {
            fleet_runs::Task::Preflight | fleet_runs::Task::RefreshFacts => blank,
            fleet_runs::Task::Fix { action, undo, username, ports, unit, all_images } => Self {
                action: Some(action.to_string()),
                undo: *undo,
                username: username.as_ref().map(ToString::to_string),
                ports: numbers(ports),
                unit: unit.as_ref().map(ToString::to_string),
                all_images: *all_images,
                ..blank
            },
            fleet_runs::Task::Harden { item, undo, open_ports, ssh_from } => Self {
                item: Some(item.to_string()),
                undo: *undo,
                open_ports: numbers(open_ports.as_deref().unwrap_or_default()),
                ssh_from: ssh_from.iter().map(ToString::to_string).collect(),
                ..blank
            },
        }
    }
}

fn refused(field: &'static str) -> impl Fn(InvalidArgument) -> Error {
    move |error| Error::invalid("invalid_field", format!("task.{field}: {error}"))
}

fn ports(field: &'static str, numbers: Vec<u16>) -> Result<Vec<Port>, Error> {
    if numbers.len() > MAX_ENTRIES {
        return Err(Error::invalid("too_many", format!("task.{field}: at most {MAX_ENTRIES} ports")));
    }
    numbers.into_iter().map(|number| Port::try_from(number).map_err(refused(field))).collect()
}

impl FleetRunCreate {
    /// What is wanted, and its bounds.
    ///
    /// # Errors
    /// Names the field that is not acceptable, or contradicts another.
    pub fn into_wanted(self) -> Result<(Wanted, Bounds), Error> {
        let bounds =
            Bounds { wave_size: self.wave_size.unwrap_or(DEFAULT_WAVE), max_failures: self.max_failures.unwrap_or(0) };
        if !(1..=MAX_WAVE).contains(&bounds.wave_size) {
            return Err(Error::invalid("invalid_field", format!("wave_size: expected 1 to {MAX_WAVE}")));
        }
        let contradiction = |detail: &str| Err(Error::invalid("contradiction", detail));
        let wanted = match (self.task, self.filter, self.servers, self.after) {
            (None, None, None, Some(_)) if self.dry_run != Some(false) => {
                return contradiction(
                    "after: it goes with \"dry_run\": false; a dry run after a dry run shows nothing new",
                );
            }
            (None, None, None, Some(id)) => Wanted::After(run_id(&id)?),
            (_, _, _, Some(_)) => {
                return contradiction(
                    "after: the dry run says what is done where, so task, filter and servers go not with it",
                );
            }
            (_, Some(_), Some(_), None) => return contradiction("send either filter or servers, not both"),
            (None, ..) => return Err(Error::invalid("invalid_field", "task: say what is to be done")),
            (Some(task), filter, servers, None) => {
                let selection = match servers {
                    Some(servers) => Selection::Servers(servers),
                    None => Selection::Filter(filter.unwrap_or_default()),
                };
                Wanted::New { task: task.into_task()?, selection, dry_run: self.dry_run.unwrap_or(true) }
            }
        };
        Ok((wanted, bounds))
    }
}

/// A text that is no id names no run.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub fn run_id(text: &str) -> Result<FleetRunId, Error> {
    text.parse().map_err(|_| Error::not_found("fleet run"))
}

impl FleetRun {
    /// `run` as it is, with `servers` of it.
    #[must_use]
    pub fn of(run: &fleet_runs::FleetRun, servers: &[fleet_runs::RunServer]) -> Self {
        let tally = &run.tally;
        let server = |server: &fleet_runs::RunServer| FleetRunServer {
            server_id: server.server.to_string(),
            server_name: server.name.clone(),
            wave: server.wave + 1,
            state: server.state.as_str().to_owned(),
            code: filled(server.code.clone()),
            detail: filled(server.detail.clone()),
            command_id: server.command.map(|id| id.to_string()),
            updated_at: Some(Time(server.updated_at_us)),
        };
        Self {
            id: run.id.to_string(),
            task: FleetTask::of(&run.task),
            filter: filled(run.filter.clone()),
            dry_run: run.dry_run,
            dry_run_id: run.dry_run_id.map(|id| id.to_string()),
            wave_size: run.wave_size,
            max_failures: (!run.dry_run).then_some(run.max_failures),
            state: run.state.as_str().to_owned(),
            wave: run.wave + 1,
            waiting: tally.waiting_now + tally.waiting_later,
            running: tally.running,
            succeeded: tally.succeeded,
            failed: tally.failed,
            skipped: tally.skipped,
            created_by: run.created_by_name.clone(),
            created_at: Some(Time(run.created_at_us)),
            ended_at: run.ended_at_us.map(Time),
            servers: servers.iter().map(server).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(body: serde_json::Value) -> Result<Wanted, &'static str> {
        let create: FleetRunCreate = serde_json::from_value(body).map_err(|_| "body")?;
        create.into_wanted().map(|(wanted, _)| wanted).map_err(|error| error.code)
    }

    #[test]
    fn a_run_is_dry_unless_said_otherwise_and_hostile_bodies_are_none() {
        let preflight = json!({ "kind": "preflight" });
        let dry = wanted(json!({ "task": preflight, "filter": "true" })).expect("wanted");
        assert!(matches!(dry, Wanted::New { dry_run: true, .. }));
        for (body, code) in [
            (json!({ "task": preflight, "filter": "x", "servers": ["a"] }), "contradiction"),
            (json!({ "task": preflight, "after": "x", "dry_run": false }), "contradiction"),
            (json!({ "after": "x" }), "contradiction"),
            (json!({ "after": "x", "dry_run": false }), "not_found"),
            (json!({ "filter": "x" }), "invalid_field"),
            (json!({ "task": { "kind": "shell" } }), "invalid_field"),
            (json!({ "task": { "kind": "preflight", "action": "install_docker" } }), "contradiction"),
            (json!({ "task": { "kind": "fix" } }), "invalid_field"),
            (json!({ "task": { "kind": "fix", "action": "rm -rf /" } }), "unknown_action"),
            (json!({ "task": { "kind": "fix", "action": "free_ports", "unit": "$(id)" } }), "invalid_field"),
            (json!({ "task": { "kind": "fix", "action": "configure_sudo", "username": "-x\n" } }), "invalid_field"),
            (json!({ "task": { "kind": "harden", "item": "everything" } }), "unknown_item"),
            (json!({ "task": { "kind": "harden", "item": "firewall", "ssh_from": ["x"] } }), "invalid_field"),
            (json!({ "task": preflight, "filter": "x", "wave_size": 0 }), "invalid_field"),
            (json!({ "tasks": preflight }), "body"),
        ] {
            assert_eq!(wanted(body.clone()).err(), Some(code), "{body}");
        }
    }
}
