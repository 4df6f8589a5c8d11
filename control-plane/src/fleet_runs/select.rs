//! Which servers a run is for. None is never all.

use std::collections::HashSet;

use muster_shared::id::{FleetRunId, OrgId, ServerId};

use super::{
    DRY_RUN_LIFE_US, FleetRun, FleetRuns, MAX_PAGE, MAX_SERVERS, NewRun, Result, RunServer, Selection, ServerOutcome,
    Wanted,
};
use crate::{
    access::{Act, Principal},
    error::{Error, ErrorKind},
    filter::Filter,
    servers::ServerFilter,
};

impl FleetRuns {
    /// The run that is wanted, its bounds yet to be set.
    pub(super) async fn planned(&self, caller: &Principal, act: &Act, wanted: Wanted) -> Result<NewRun> {
        let (task, filter, dry_run, dry_run_id, servers) = match wanted {
            Wanted::New { task, selection, dry_run } => {
                caller.require(task.permission())?;
                task.check()?;
                if task.changes_hosts() && !dry_run {
                    let detail = "what changes hosts is shown by a dry run first: make one, look at it, then send its id \
                                  as `after`";
                    return Err(Error::new(ErrorKind::Precondition, "dry_run_first", detail));
                }
                let (filter, servers) = self.selected(act.org_id, selection, act.at_us).await?;
                (task, filter, dry_run, None, servers)
            }
            Wanted::After(id) => {
                let dry_run = self.get(act.org_id, id).await?;
                caller.require(dry_run.task.permission())?;
                let servers = self.went_well(&dry_run, act.at_us).await?;
                (dry_run.task, dry_run.filter, false, Some(id), servers)
            }
        };
        if servers.is_empty() {
            let detail = "no server is selected, so there is nothing to do; an empty selection never means all servers";
            return Err(Error::new(ErrorKind::Precondition, "nothing_selected", detail));
        }
        let only_shows = dry_run && !task.changes_hosts();
        let (wave_size, max_failures) = (0, 0);
        let id = FleetRunId::generate();
        Ok(NewRun { id, task, filter, dry_run, dry_run_id, wave_size, max_failures, servers, only_shows })
    }

    async fn selected(&self, org: OrgId, selection: Selection, now_us: i64) -> Result<(String, Vec<ServerId>)> {
        match selection {
            Selection::Filter(text) => {
                if text.trim().is_empty() {
                    return Err(selection_required());
                }
                let servers = self.matching(org, &Filter::compile(&text)?, now_us).await?;
                Ok((text, servers))
            }
            Selection::Servers(names) => {
                if names.is_empty() {
                    return Err(selection_required());
                }
                if names.len() > MAX_SERVERS {
                    return Err(too_many());
                }
                let (mut servers, mut seen) = (Vec::with_capacity(names.len()), HashSet::new());
                for name in &names {
                    let id = self.servers.resolve(org, name).await?.id;
                    if seen.insert(id) {
                        servers.push(id);
                    }
                }
                Ok((String::new(), servers))
            }
        }
    }

    async fn matching(&self, org: OrgId, filter: &Filter, now_us: i64) -> Result<Vec<ServerId>> {
        let mut servers = Vec::new();
        loop {
            let skip = u32::try_from(servers.len()).unwrap_or(u32::MAX);
            let page = ServerFilter { status: None, skip, limit: MAX_PAGE };
            let found = self.servers.list_matching(org, page, filter, now_us).await?;
            let is_last = found.len() < MAX_PAGE as usize;
            servers.extend(found.into_iter().map(|server| server.id));
            if servers.len() > MAX_SERVERS {
                return Err(too_many());
            }
            if is_last {
                return Ok(servers);
            }
        }
    }

    /// The servers whose dry run went well.
    async fn went_well(&self, dry_run: &FleetRun, now_us: i64) -> Result<Vec<ServerId>> {
        let refused = |code, detail: &str| Err(Error::new(ErrorKind::Precondition, code, detail));
        if !dry_run.dry_run {
            return refused("no_dry_run", "this run was no dry run: make one first");
        }
        match dry_run.ended_at_us {
            None => return refused("dry_run_unfinished", "the dry run has not ended: wait for it"),
            Some(ended_at_us) if now_us.saturating_sub(ended_at_us) > DRY_RUN_LIFE_US => {
                return refused("dry_run_stale", "the dry run is older than an hour: make another one");
            }
            Some(_) => {}
        }
        let mut servers = Vec::new();
        let mut skip = 0;
        loop {
            let page = self.servers(dry_run, skip, MAX_PAGE).await?;
            let is_last = page.len() < MAX_PAGE as usize;
            servers.extend(page.iter().filter(|server| is_well(server)).map(|server| server.server));
            if is_last {
                break;
            }
            skip += MAX_PAGE;
        }
        Ok(servers)
    }
}

fn is_well(server: &RunServer) -> bool {
    server.state == ServerOutcome::Succeeded || server.code == "dry_run"
}

fn selection_required() -> Error {
    let detail =
        "say which servers: a filter, such as region == \"eu\", or a list of names; an empty one never means all";
    Error::invalid("selection_required", detail)
}

fn too_many() -> Error {
    Error::invalid("too_many", format!("a run is for at most {MAX_SERVERS} servers: narrow the selection"))
}
