//! `muster fix`

use clap::Args;
use muster_shared::wire;
use serde_json::Value;

use super::{ask, client::Fleet, failure::Failure, output::Output, progress};

/// What to fix.
#[derive(Debug, Args)]
pub struct Fix {
    /// The server's name or id.
    server: String,
    /// install_docker, start_docker, add_to_docker_group, configure_sudo, free_disk or free_ports.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    actions: Vec<String>,
    /// Fix everything that the last preflight found and that can be fixed.
    #[arg(long)]
    all: bool,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Take back the last change of each action.
    #[arg(long, conflicts_with_all = ["dry_run", "all"])]
    undo: bool,
    #[command(flatten)]
    options: FixOptions,
    /// Do it without asking.
    #[arg(long, short)]
    yes: bool,
}

/// What single fixes can be told.
#[derive(Debug, Clone, Args)]
pub(super) struct FixOptions {
    /// Whom configure_sudo and add_to_docker_group are for; unless given, the user of the server's login.
    #[arg(long, value_name = "NAME")]
    pub(super) username: Option<String>,
    /// What free_ports frees; 80 and 443 unless given.
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    pub(super) ports: Vec<u16>,
    /// The only unit that free_ports may stop.
    #[arg(long)]
    pub(super) unit: Option<String>,
    /// Have free_disk remove also images with a name that no container uses.
    #[arg(long)]
    pub(super) all_images: bool,
}

impl Fix {
    /// Shows the plan and asks, unless told not to; then has it done.
    ///
    /// # Errors
    /// Also when the server is not qualified afterwards.
    pub(super) async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let request = |dry_run| wire::FixServerRequest {
            server: self.server.clone(),
            actions: self.actions.clone(),
            all: self.all,
            dry_run,
            undo: self.undo,
            username: self.options.username.clone().unwrap_or_default(),
            ports: self.options.ports.iter().copied().map(u32::from).collect(),
            unit: self.options.unit.clone().unwrap_or_default(),
            all_images: self.options.all_images,
        };
        if self.dry_run {
            return self.follow(request(true), fleet, output).await.map(drop);
        }
        if !self.yes {
            let what = if self.all { "everything that can be fixed".to_owned() } else { self.actions.join(", ") };
            let verb = if self.undo { "undo" } else { "fix" };
            ask::whether(&format!("{verb} {what} on {}", self.server))?;
        }
        let complete = self.follow(request(false), fleet, output).await?;
        match complete.get("status").and_then(|status| status.as_str()) {
            Some(status) if status != "qualified" && !self.undo => {
                let message = format!("the server is {}", status.replace('_', " "));
                let next_step = format!("`muster preflight {}` says what is missing", self.server);
                Err(Failure::ended_badly(message, next_step))
            }
            _ => Ok(()),
        }
    }

    /// Follows the run; how many actions it has is known where they are named.
    async fn follow(
        &self,
        request: wire::FixServerRequest,
        fleet: &mut Fleet,
        output: &mut Output<'_>,
    ) -> Result<Value, Failure> {
        let events = fleet.fix_server(request).await?.into_inner();
        match self.actions.len() {
            0 => progress::follow(events, output).await,
            named => progress::follow_all(events, output, named as u64).await,
        }
    }
}
