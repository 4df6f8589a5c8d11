//! One change on its way: given as a command, followed, and confirmed where the host waits for that.

use std::pin::pin;

use futures_util::StreamExt as _;
use muster_shared::{
    action::{ChangeArgs, ChangeReport, ConfirmArgs, Item, ItemName, Mode},
    command::{CommandBody, CommandState},
};
use serde_json::{Value, json};

use super::{Fixed, Fixes, Result, Run};
use crate::{
    commands::{Command, CommandEvent, Step},
    error::{Error, ErrorKind},
    facts::why,
};

/// How long a change may wait for its host: it is connected, so it takes it at once or has just gone.
const TTL_US: i64 = 60 * 1_000_000;

/// Why an action was not carried out, with the host's report where there is one.
pub(super) struct Failure {
    pub error: Error,
    /// The host's word.
    code: String,
    report: Option<ChangeReport>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { code: error.code.to_owned(), error, report: None }
    }
}

impl Failure {
    /// The data of the event `error`.
    pub(super) fn told(&self, action: ItemName, fixed: &[Fixed]) -> Value {
        let detail = &self.error.detail;
        json!({ "code": self.code, "detail": detail, "action": action, "report": self.report, "actions": fixed })
    }

    fn of(command: &Command) -> Self {
        let detail = match command.code.as_str() {
            "policy_refused" => {
                let family = command.body.family();
                format!(
                    "the owner of this host does not allow the family {family}: on the host, add \"{family}\" to `allow` in \
                     /etc/muster-agent/policy.toml; it counts from the next command on"
                )
            }
            _ => why(command.state, &command.detail),
        };
        let code = if command.code.is_empty() { command.state.as_str() } else { &command.code };
        Self {
            error: Error::new(ErrorKind::Precondition, "fix_failed", detail),
            code: code.to_owned(),
            report: report(command),
        }
    }
}

impl Fixes {
    /// Makes one change, and says what became of it.
    pub(super) async fn make(&self, run: &Run, item: &Item) -> std::result::Result<Fixed, Failure> {
        let action = item.name();
        let verb = match run.mode {
            Mode::Plan => "planning",
            Mode::Apply => "applying",
            Mode::Undo => "undoing",
        };
        run.progress.status(action.as_str(), &format!("{action}: {verb}"));
        // Only a login that worked before proves anything by working afterwards.
        let proves = run.mode == Mode::Apply && action == ItemName::ConfigureSudo && self.can_log_in(run).await?;
        let body = CommandBody::Change(ChangeArgs { item: item.clone(), mode: run.mode });
        let command = self.carried_out(run, action, body).await?;
        if command.state != CommandState::Succeeded {
            return Err(Failure::of(&command));
        }
        let report = report(&command);
        if report.as_ref().is_some_and(|report| report.confirm_within_s.is_some() && run.mode == Mode::Apply) {
            self.confirm(run, (&command, action), proves).await?;
        }
        let outcome = match (run.mode, report.as_ref().is_some_and(|report| report.already)) {
            (_, true) => "already",
            (Mode::Plan, _) => "planned",
            (Mode::Apply, _) => "changed",
            (Mode::Undo, _) => "undone",
        };
        let detail =
            if command.code == "awaiting_confirmation" { "done, verified and confirmed" } else { &command.detail };
        Ok(Fixed { action, outcome, detail: detail.to_owned(), report })
    }

    /// Says that the way in works, having tried it where that is possible. What is not confirmed the host takes back.
    async fn confirm(
        &self,
        run: &Run,
        (command, item): (&Command, ItemName),
        proves: bool,
    ) -> std::result::Result<(), Failure> {
        if proves && !self.can_log_in(run).await? {
            let detail =
                format!("a fresh login failed after {item}, so it is not confirmed: the host takes it back by itself");
            let error = Error::new(ErrorKind::Precondition, "way_in_not_proven", detail);
            return Err(Failure { report: report(command), ..error.into() });
        }
        let body = CommandBody::ConfirmChange(ConfirmArgs { change: command.id, item });
        let confirmed = self.carried_out(run, item, body).await?;
        if confirmed.state == CommandState::Succeeded { Ok(()) } else { Err(Failure::of(&confirmed)) }
    }

    /// Whether a fresh login works; `false` also where none is known.
    async fn can_log_in(&self, run: &Run) -> Result<bool> {
        let Some(target) = &run.target else { return Ok(false) };
        match self.entrance.enter(run.act.org_id, run.server, target, |_| {}).await {
            Ok(session) => {
                session.close().await;
                Ok(true)
            }
            Err(crate::ssh::EntranceError::Host(_)) => Ok(false),
            Err(crate::ssh::EntranceError::Record(error)) => Err(error),
        }
    }

    /// Gives a command and follows it to its end, telling what the host says.
    async fn carried_out(&self, run: &Run, action: ItemName, body: CommandBody) -> Result<Command> {
        let act = run.act.at(self.clock.now_us());
        let command = self.commands.submit(&act, run.server, body, TTL_US).await?;
        let mut events = pin!(self.commands.watch(act.org_id, command.id).await?);
        while let Some(event) = events.next().await {
            match event? {
                CommandEvent::Update(update) => {
                    if let Step::Line(line) = update.step {
                        run.progress.send("line", json!({ "action": action, "line": line }));
                    }
                }
                CommandEvent::Changed(command) if command.state.is_final() => return Ok(command),
                CommandEvent::Changed(_) => {}
            }
        }
        self.commands.get(act.org_id, command.id).await
    }
}

fn report(command: &Command) -> Option<ChangeReport> {
    serde_json::from_value(command.result.clone()?).ok()
}
