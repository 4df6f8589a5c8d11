//! `muster commands …`

use clap::{Args, Subcommand};
use muster_shared::wire;

use super::{
    client::Fleet,
    failure::Failure,
    output::Output,
    table::{self, ago, or_dash},
};
use crate::{api::model::command::Command, clock::Clock};

/// What to do with commands.
#[derive(Debug, Subcommand)]
pub enum CommandsCommand {
    /// List a server's commands, newest first.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show one command.
    Show {
        /// The command's id.
        id: String,
    },
    /// Cancel a command that has not started.
    Cancel {
        /// The command's id.
        id: String,
    },
}

/// Whose commands to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The server's name or id.
    server: String,
    /// How many to leave out at the start.
    #[arg(long, default_value_t = 0)]
    skip: u32,
    /// How many to list at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl CommandsCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let now_us = Clock::system().now_us();
        let command = match self {
            Self::List(ListArgs { server, skip, limit }) => {
                let request = wire::ListCommandsRequest { server, skip, limit };
                let commands = fleet.list_commands(request).await?.into_inner().commands;
                let commands: Vec<Command> = commands.into_iter().map(Command::from).collect();
                return output.print(commands.as_slice(), |commands| draw(commands, now_us));
            }
            Self::Show { id } => fleet.get_command(wire::GetCommandRequest { id }).await?.into_inner(),
            Self::Cancel { id } => fleet.cancel_command(wire::CancelFleetCommandRequest { id }).await?.into_inner(),
        };
        output.print(&Command::from(command), draw_one)
    }
}

fn draw(commands: &[Command], now_us: i64) -> String {
    let rows = commands.iter().map(|command| {
        vec![
            command.id.clone(),
            command.kind.clone(),
            command.state.clone(),
            ago(command.created_at, now_us),
            or_dash(command.detail.as_deref()),
        ]
    });
    table::draw(&["ID", "KIND", "STATE", "CREATED", "DETAIL"], rows.collect())
}

fn draw_one(command: &Command) -> String {
    let time = |time: Option<crate::api::model::time::Time>| time.map(|time| time.to_string()).unwrap_or_default();
    table::pairs(&[
        ("id", command.id.clone()),
        ("server", command.server_id.clone()),
        ("kind", command.kind.clone()),
        ("state", command.state.clone()),
        ("code", command.code.clone().unwrap_or_default()),
        ("detail", command.detail.clone().unwrap_or_default()),
        ("created", time(command.created_at)),
        ("started", time(command.started_at)),
        ("finished", time(command.finished_at)),
    ])
}
