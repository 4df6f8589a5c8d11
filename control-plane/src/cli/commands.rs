//! `muster commands …`

use std::collections::HashMap;

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use muster_shared::{
    command::{CommandBody, CommandState},
    wire,
};
use serde_json::Value;

use super::{
    client::Fleet,
    failure::Failure,
    output::{Format, Output},
    page::Page,
    progress,
    since::{Since, since},
    table::{self, ago, or_dash, printable},
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
    /// Show one command, with what its host said last.
    Show {
        /// The command's id.
        id: String,
    },
    /// Follow a command to its end, whoever gave it. Exits with 1 unless it succeeds.
    Follow {
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
            Self::Follow { id } => return follow(id, fleet, output).await,
            Self::Show { id } => fleet.get_command(wire::GetCommandRequest { id }).await?.into_inner(),
            Self::Cancel { id } => fleet.cancel_command(wire::CancelFleetCommandRequest { id }).await?.into_inner(),
        };
        output.print(&Command::from(command), draw_one)
    }
}

async fn follow(id: String, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    let request = wire::WatchCommandRequest { id: id.clone(), after_seq: 0 };
    let ended = progress::follow(fleet.watch_command(request).await?.into_inner(), output).await?;
    let text = |name: &str| ended.get(name).and_then(Value::as_str).map(printable).unwrap_or_default();
    match text("state").as_str() {
        "succeeded" => Ok(()),
        state => {
            let message = format!("the command ended as {state}: {}", text("detail"));
            let next_step = format!("`muster commands show {id}` has what its host said");
            Err(Failure::ended_badly(message.trim_end_matches(": "), next_step))
        }
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
        let rest = [what(command), command.state.clone(), ago(command.created_at, now_us), or_dash(said_last(command))];
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
    let percent = command.progress.as_ref().and_then(|progress| progress.percent);
    let mut text = table::pairs(&[
        ("id", command.id.clone()),
        ("server", command.server_id.clone()),
        ("kind", what(command)),
        ("state", command.state.clone()),
        ("code", command.code.clone().unwrap_or_default()),
        ("detail", command.detail.clone().unwrap_or_default()),
        ("created", time(command.created_at)),
        ("started", time(command.started_at)),
        ("finished", time(command.finished_at)),
        ("done", percent.map(|percent| format!("{percent} %")).unwrap_or_default()),
    ]);
    if let Some(progress) = &command.progress {
        text.push_str(if progress.has_earlier { "\nthe last that its host said:\n" } else { "\nits host said:\n" });
        for line in &progress.lines {
            text.push_str(&format!("    {}\n", printable(&line.line)));
        }
    }
    text
}

/// The command's kind, and of a change what it is about: `change install_docker apply`.
fn what(command: &Command) -> String {
    let words = [Some(&command.kind), command.item.as_ref(), command.mode.as_ref()];
    words.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// How a command ended in words; of one that runs, what its host said last.
fn said_last(command: &Command) -> Option<&str> {
    let last = || command.progress.as_ref()?.lines.last().map(|line| line.line.as_str());
    command.detail.as_deref().or_else(last)
}
