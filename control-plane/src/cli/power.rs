//! `muster servers reboot`, `stop` and `start`

use clap::Args;
use muster_shared::{
    command::CommandState,
    wire::{self, server_event::Kind},
};

use super::{
    ask,
    client::Fleet,
    failure::Failure,
    output::{Format, Output},
    table,
    waiting::during,
};
use crate::api::model::{command::Command, power::PowerAnswer};

/// Which server, and how patiently.
#[derive(Debug, Args)]
pub struct PowerArgs {
    /// Its name or id.
    server: String,
    /// Do it without asking.
    #[arg(long, short)]
    yes: bool,
    /// Wait until it has ended. Exits with 1 unless it ended well.
    #[arg(long)]
    wait: bool,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Reboot,
    Stop,
    Start,
}

impl PowerArgs {
    /// Asks the person, then the control plane, and prints.
    ///
    /// # Errors
    /// What the control plane refused; without an answer of the person nothing is done.
    pub(super) async fn run(self, action: Action, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        if action != Action::Start && !self.yes {
            let verb = if action == Action::Stop { "power off" } else { "reboot" };
            ask::whether(&format!("{verb} {}", self.server))?;
        }
        let request = wire::PowerRequest { server: self.server };
        let response = match action {
            Action::Reboot => fleet.reboot_server(request).await?,
            Action::Stop => fleet.stop_server(request).await?,
            Action::Start => fleet.start_server(request).await?,
        };
        let mut answer = PowerAnswer::from(response.into_inner());
        let mut ended_badly = None;
        if self.wait
            && let Some(command) = answer.command.take()
        {
            let what = format!("waiting for the {} to end", command.kind);
            let ended = match output.format() {
                Format::Table => during(what, until_ended(fleet, command)).await?,
                _ => until_ended(fleet, command).await?,
            };
            ended_badly = failure(&ended);
            answer.status = status(fleet, &answer.server_id).await?;
            answer.message = ended.detail.clone().unwrap_or(answer.message);
            answer.command = Some(ended);
        }
        output.print(&answer, draw)?;
        ended_badly.map_or(Ok(()), Err)
    }
}

/// Follows the server that carries the command out, until it has ended.
async fn until_ended(fleet: &mut Fleet, command: Command) -> Result<Command, Failure> {
    let request = wire::WatchServerRequest { server: command.server_id.clone(), metrics: false };
    let mut events = fleet.watch_server(request).await?.into_inner();
    // Every event, also one about the server alone, is a hint to look; the first one comes at once.
    while let Some(event) = events.message().await? {
        let known = match event.kind {
            Some(Kind::Command(told)) if told.id == command.id => told,
            Some(Kind::Command(_) | Kind::Summary(_)) | None => continue,
            Some(Kind::Server(_)) => {
                fleet.get_command(wire::GetCommandRequest { id: command.id.clone() }).await?.into_inner()
            }
        };
        if CommandState::parse(&known.state).is_some_and(CommandState::is_final) {
            return Ok(known.into());
        }
    }
    let message = format!("the control plane stopped before command {} had ended", command.id);
    Err(Failure::ended_badly(message, format!("`muster commands show {}` says how it ended", command.id)))
}

async fn status(fleet: &mut Fleet, server: &str) -> Result<String, Failure> {
    let request = wire::GetServerRequest { server: server.to_owned(), include_facts: false };
    Ok(fleet.get_server(request).await?.into_inner().status)
}

fn failure(command: &Command) -> Option<Failure> {
    let ended_well = command.state == CommandState::Succeeded.as_str();
    let why = || command.detail.clone().unwrap_or_else(|| format!("the command is {}", command.state));
    let next_step = || format!("`muster commands show {}` has the details", command.id);
    (!ended_well).then(|| Failure::ended_badly(why(), next_step()))
}

fn draw(answer: &PowerAnswer) -> String {
    let command = answer.command.as_ref();
    let result = |field: &str| {
        let value = command.and_then(|command| command.result.as_ref()).and_then(|result| result.get(field));
        value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default()
    };
    let text = |read: fn(&Command) -> String| command.map(read).unwrap_or_default();
    table::pairs(&[
        ("server", answer.server_id.clone()),
        ("status", answer.status.clone()),
        ("message", answer.message.clone()),
        ("command", text(|command| command.id.clone())),
        ("state", text(|command| command.state.clone())),
        ("carried out by", text(|command| command.server_id.clone())),
        ("boot time", result("boot_time")),
        ("downtime seconds", result("downtime_seconds")),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command(state: &str) -> Command {
        Command {
            id: "c1".into(),
            server_id: "s1".into(),
            target_server_id: None,
            kind: "reboot".into(),
            item: None,
            mode: None,
            state: state.into(),
            code: None,
            detail: Some("the host is back".into()),
            created_at: None,
            started_at: None,
            finished_at: None,
            receipt: None,
            progress: None,
            result: Some(json!({ "boot_time": "2025-01-15T10:30:00Z", "downtime_seconds": 12.5 })),
        }
    }

    #[test]
    fn an_answer_shows_when_the_host_booted() {
        let answer = PowerAnswer {
            server_id: "s1".into(),
            status: "running".into(),
            message: "the host is back".into(),
            command: Some(command("succeeded")),
        };
        let drawn = draw(&answer);
        assert!(drawn.contains("2025-01-15T10:30:00Z") && drawn.contains("12.5"), "{drawn}");
        assert!(!draw(&PowerAnswer { command: None, ..answer }).contains("2025"));
    }

    #[test]
    fn only_a_success_ends_well() {
        assert_eq!(failure(&command("succeeded")), None);
        for state in ["failed", "refused", "expired", "indeterminate", "cancelled"] {
            assert_eq!(failure(&command(state)).map(|failure| failure.exit_code), Some(1), "{state}");
        }
    }
}
