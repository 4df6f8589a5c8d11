//! `muster commands …`

use std::collections::HashMap;

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use muster_shared::{
    command::{CommandBody, CommandState},
    wire,
};

use super::{
    client::Fleet,
    failure::Failure,
    output::{Format, Output},
    page::Page,
    since::{Since, since},
    table::{self, ago, or_dash},
    watching::Watching,
};
use crate::{
    api::model::{command::Command, time::Time},
    clock::Clock,
    commands::MAX_PAGE,
};

/// What to do with commands.
#[derive(Debug, Subcommand)]
pub enum CommandsCommand {
    /// List commands, newest first: the organisation's, or a server's.
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

/// Which commands to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those of this server: its name or id.
    server: Option<String>,
    /// Only those in this state, such as failed.
    #[arg(long, value_parser = PossibleValuesParser::new(CommandState::ALL.map(CommandState::as_str)))]
    state: Option<String>,
    /// Only those of this kind, such as change.
    #[arg(long, value_parser = PossibleValuesParser::new(CommandBody::KINDS))]
    kind: Option<String>,
    /// Only those asked for since then: how long ago, such as 30m, 12h or 7d, or a time such as 2025-01-15T10:30:00Z.
    #[arg(long, value_parser = since)]
    since: Option<Since>,
    /// Keep the list on the screen and show it again whenever a command changes.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    page: Page,
}

impl CommandsCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let command = match self {
            Self::List(args) => return list(args, fleet, output).await,
            Self::Show { id } => fleet.get_command(wire::GetCommandRequest { id }).await?.into_inner(),
            Self::Cancel { id } => fleet.cancel_command(wire::CancelFleetCommandRequest { id }).await?.into_inner(),
        };
        output.print(&Command::from(command), draw_one)
    }
}

async fn list(args: ListArgs, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let since_us = args.since.map(|since| since.at_us(Clock::system().now_us()));
    let request = wire::ListCommandsRequest {
        server: args.server.unwrap_or_default(),
        skip: args.page.skip,
        limit: args.page.limit,
        state: args.state.unwrap_or_default(),
        kind: args.kind.unwrap_or_default(),
        since: since_us.map(|us| Time(us).into()),
    };
    if !args.watch {
        return print_list(request, fleet, output).await;
    }
    let mut watching = Watching::begin(fleet, &["command_changed"]).await?;
    loop {
        watching.changed().await?;
        output.clear()?;
        print_list(request.clone(), fleet, output).await?;
    }
}

async fn print_list(
    request: wire::ListCommandsRequest,
    fleet: &mut Fleet,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let of_one_server = !request.server.is_empty();
    let commands = fleet.list_commands(request).await?.into_inner().commands;
    let commands: Vec<Command> = commands.into_iter().map(Command::from).collect();
    let now_us = Clock::system().now_us();
    // Of one server they need no column for it; programs get its id in any case.
    let names = match output.format() {
        Format::Table if !of_one_server && !commands.is_empty() => Some(server_names(fleet).await?),
        _ => None,
    };
    output.print(commands.as_slice(), |commands| draw(commands, names.as_ref(), now_us))
}

/// What servers are called, by their ids: as many as a page has. Others are known by their ids.
async fn server_names(fleet: &mut Fleet) -> Result<HashMap<String, String>, Failure> {
    let request = wire::ListServersRequest { limit: MAX_PAGE, ..wire::ListServersRequest::default() };
    let servers = fleet.list_servers(request).await?.into_inner().servers;
    Ok(servers.into_iter().map(|server| (server.id, server.name)).collect())
}

fn draw(commands: &[Command], names: Option<&HashMap<String, String>>, now_us: i64) -> String {
    let rows = commands.iter().map(|command| {
        let server = names.map(|names| names.get(&command.server_id).unwrap_or(&command.server_id).clone());
        let rest = [
            command.kind.clone(),
            command.state.clone(),
            ago(command.created_at, now_us),
            or_dash(command.detail.as_deref()),
        ];
        [command.id.clone()].into_iter().chain(server).chain(rest).collect()
    });
    let titles: &[&str] = match names {
        Some(_) => &["ID", "SERVER", "KIND", "STATE", "CREATED", "DETAIL"],
        None => &["ID", "KIND", "STATE", "CREATED", "DETAIL"],
    };
    table::draw(titles, rows.collect())
}

fn draw_one(command: &Command) -> String {
    let time = |time: Option<Time>| time.map(|time| time.to_string()).unwrap_or_default();
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
