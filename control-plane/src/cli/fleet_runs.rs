//! `muster fleet …`: one typed command to many servers.

use clap::{Args, Subcommand};
use muster_shared::wire;

use super::{ask, client::Fleet, failure::Failure, fix::FixOptions, output::Output, page::Page, progress, table};
use crate::api::model::fleet_run::{FleetRun, FleetTask};

/// Servers asked for in a page.
const PAGE: u32 = 1000;

/// What to do with fleet runs.
#[derive(Debug, Subcommand)]
pub enum FleetRunsCommand {
    /// Run one command on a selection of servers, in waves. Shows who is selected, and what would be changed, before it asks
    /// and does it. Exits with 1 unless every server ends well.
    Run(Run),
    /// List runs, newest first.
    #[command(visible_alias = "ls")]
    List(Page),
    /// Show a run and its servers.
    Show {
        /// Its id.
        id: String,
    },
    /// Follow a run to its end.
    Follow {
        /// Its id.
        id: String,
    },
    /// Cancel a run: no other server begins.
    Cancel {
        /// Its id.
        id: String,
    },
}

/// What to run, and where.
#[derive(Debug, Args)]
pub struct Run {
    /// Which servers: an expression, such as 'region == "eu" && docker.version < version("24.0")'.
    #[arg(long, required_unless_present = "servers")]
    filter: Option<String>,
    /// Which servers instead: their names or ids.
    #[arg(long, value_delimiter = ',', value_name = "NAME", conflicts_with = "filter")]
    servers: Vec<String>,
    /// Servers at work at once.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    wave_size: u32,
    /// How many may fail before no other begins.
    #[arg(long, default_value_t = 0)]
    max_failures: u32,
    /// Only show who is selected, and what would be changed.
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking.
    #[arg(long, short)]
    yes: bool,
    #[command(subcommand)]
    task: TaskCommand,
}

/// What to do on each server.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum TaskCommand {
    /// Run the readiness checks.
    Preflight,
    /// Collect the facts anew.
    RefreshFacts,
    /// Make one fix.
    Fix {
        /// install_docker, start_docker, add_to_docker_group, configure_sudo, free_disk or free_ports.
        action: String,
        /// Take back the last change instead.
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        options: FixOptions,
    },
    /// Apply one item of the hardening profile.
    Harden {
        /// Such as fail2ban, firewall or sshd.
        item: String,
        /// Take back the last change instead.
        #[arg(long)]
        undo: bool,
        /// Ports that the firewall leaves open beside SSH's; 80 and 443 unless given.
        #[arg(long, value_name = "PORT", value_delimiter = ',')]
        open_ports: Vec<u16>,
        /// Networks from which the firewall lets SSH in.
        #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
        ssh_from: Vec<String>,
    },
}

impl TaskCommand {
    fn into_task(self) -> FleetTask {
        let of = |kind: &str| FleetTask { kind: kind.to_owned(), ..FleetTask::default() };
        match self {
            Self::Preflight => of("preflight"),
            Self::RefreshFacts => of("refresh_facts"),
            Self::Fix { action, undo, options: FixOptions { username, ports, unit, all_images } } => {
                FleetTask { action: Some(action), undo, username, ports, unit, all_images, ..of("fix") }
            }
            Self::Harden { item, undo, open_ports, ssh_from } => {
                FleetTask { item: Some(item), undo, open_ports, ssh_from, ..of("harden") }
            }
        }
    }
}

impl FleetRunsCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused; of a run, also when servers did not end well.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Run(run) => run.run(fleet, output).await,
            Self::List(Page { skip, limit }) => {
                let runs = fleet.list_fleet_runs(wire::ListFleetRunsRequest { skip, limit }).await?.into_inner().runs;
                let runs: Vec<FleetRun> = runs.into_iter().map(FleetRun::from).collect();
                output.print(runs.as_slice(), draw_list)
            }
            Self::Show { id } => output.print(&whole(fleet, &id).await?, draw),
            Self::Follow { id } => {
                let request = wire::GetFleetRunRequest { id: id.clone(), skip: 0, limit: 1 };
                let run = FleetRun::from(fleet.get_fleet_run(request).await?.into_inner());
                follow(&id, size(&run), fleet, output).await
            }
            Self::Cancel { id } => {
                let run = fleet.cancel_fleet_run(wire::CancelFleetRunRequest { id }).await?.into_inner();
                output.print(&FleetRun::from(run), draw)
            }
        }
    }
}

impl Run {
    async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let task = self.task.clone().into_task();
        let changes_hosts = matches!(task.kind.as_str(), "fix" | "harden");
        let dry_run = self.create(fleet, Some(task.into()), None).await?;
        let dry_run_id = dry_run.id.clone();
        self.settle(fleet, output, &dry_run, !changes_hosts).await?;
        if self.dry_run {
            return Ok(());
        }
        if !self.yes {
            ask::whether(&format!("do this on {} servers", dry_run.waiting.max(dry_run.skipped)))?;
        }
        let run = self.create(fleet, None, Some(dry_run_id)).await?;
        follow(&run.id, size(&run), fleet, output).await
    }

    async fn create(
        &self,
        fleet: &mut Fleet,
        task: Option<wire::FleetTask>,
        after: Option<String>,
    ) -> Result<FleetRun, Failure> {
        let is_dry = after.is_none();
        let request = wire::CreateFleetRunRequest {
            task,
            filter: self.filter.clone().filter(|_| is_dry).unwrap_or_default(),
            servers: if is_dry { self.servers.clone() } else { Vec::new() },
            apply: !is_dry,
            after: after.unwrap_or_default(),
            wave_size: self.wave_size,
            max_failures: self.max_failures,
        };
        Ok(FleetRun::from(fleet.create_fleet_run(request).await?.into_inner()))
    }

    /// Shows what a dry run came to; servers that could not say are left out of what follows.
    async fn settle(
        &self,
        fleet: &mut Fleet,
        output: &mut Output<'_>,
        run: &FleetRun,
        is_over: bool,
    ) -> Result<(), Failure> {
        if is_over {
            return output.print(&whole(fleet, &run.id).await?, draw);
        }
        let events = fleet.watch_fleet_run(wire::WatchFleetRunRequest { id: run.id.clone() }).await?.into_inner();
        progress::follow_all(events, output, size(run)).await.map(drop)
    }
}

async fn whole(fleet: &mut Fleet, id: &str) -> Result<FleetRun, Failure> {
    let mut whole = None::<FleetRun>;
    loop {
        let skip = whole.as_ref().map_or(0, |run| run.servers.len());
        let request =
            wire::GetFleetRunRequest { id: id.to_owned(), skip: u32::try_from(skip).unwrap_or(u32::MAX), limit: PAGE };
        let page = FleetRun::from(fleet.get_fleet_run(request).await?.into_inner());
        let is_last = page.servers.len() < PAGE as usize;
        let run = match whole {
            None => page,
            Some(mut run) => {
                run.servers.extend(page.servers);
                run
            }
        };
        if is_last {
            return Ok(run);
        }
        whole = Some(run);
    }
}

/// How many servers a run is about.
fn size(run: &FleetRun) -> u64 {
    run.waiting + run.running + run.succeeded + run.failed + run.skipped
}

async fn follow(id: &str, servers: u64, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let events = fleet.watch_fleet_run(wire::WatchFleetRunRequest { id: id.to_owned() }).await?.into_inner();
    let complete = progress::follow_all(events, output, servers).await?;
    let is_well = complete["status"] == "done" && complete["failed"] == 0 && complete["skipped"] == 0;
    // Numbers of a protobuf structure are floating-point ones.
    let is_well = is_well || (complete["status"] == "done" && complete["failed"] == 0.0 && complete["skipped"] == 0.0);
    if is_well {
        return Ok(());
    }
    let message = complete["message"].as_str().unwrap_or("not every server ended well").to_owned();
    Err(Failure::ended_badly(message, format!("`muster fleet show {id}` says why, server by server")))
}

fn draw_list(runs: &[FleetRun]) -> String {
    let rows = runs.iter().map(|run| {
        vec![
            run.id.clone(),
            what(&run.task) + if run.dry_run { " (dry run)" } else { "" },
            run.state.clone(),
            format!("{}/{}", run.succeeded, size(run)),
            run.failed.to_string(),
            run.created_by.clone(),
            run.created_at.map(|time| time.to_string()).unwrap_or_default(),
        ]
    });
    table::draw(&["ID", "TASK", "STATE", "DONE", "FAILED", "BY", "CREATED"], rows.collect())
}

fn draw(run: &FleetRun) -> String {
    let about = table::pairs(&[
        ("id", run.id.clone()),
        ("task", what(&run.task) + if run.dry_run { " (dry run)" } else { "" }),
        ("filter", run.filter.clone().unwrap_or_default()),
        ("state", run.state.clone()),
        ("waiting", run.waiting.to_string()),
        ("running", run.running.to_string()),
        ("succeeded", run.succeeded.to_string()),
        ("failed", run.failed.to_string()),
        ("skipped", run.skipped.to_string()),
    ]);
    let rows = run.servers.iter().map(|server| {
        let said = server.detail.clone().or_else(|| server.code.clone()).unwrap_or_default();
        vec![server.server_name.clone(), server.wave.to_string(), server.state.clone(), said]
    });
    format!("{about}\n{}", table::draw(&["SERVER", "WAVE", "STATE", "DETAIL"], rows.collect()))
}

fn what(task: &FleetTask) -> String {
    let named = task.action.as_ref().or(task.item.as_ref());
    let named = named.map_or_else(|| task.kind.clone(), |named| format!("{} {named}", task.kind));
    if task.undo { format!("{named} (undo)") } else { named }
}
