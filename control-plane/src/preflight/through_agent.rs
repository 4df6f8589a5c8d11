//! A run over the agent's stream.

use std::pin::pin;

use futures_util::StreamExt as _;
use muster_shared::{
    command::{CommandBody, CommandState, PreflightArgs},
    preflight::{CheckName, CheckResult, PreflightReport},
};

use super::{Preflight, Result, Run, report};
use crate::{
    commands::{Command, CommandEvent, Step},
    error::{Error, ErrorKind},
    facts::why,
    ssh::EntranceError,
};

/// How long the command may wait for its host: it is online, so it either takes it at once or has just gone.
const TTL_US: i64 = 60 * 1_000_000;

impl Preflight {
    pub(super) async fn through_agent(&self, run: &Run) -> Result<PreflightReport> {
        run.progress.status("connecting", "Asking the server's agent...");
        let knows_os = self.tell_os(run).await?;
        let username = run.target.as_ref().map(|target| target.username.to_string()).unwrap_or_default();
        let body = CommandBody::Preflight(PreflightArgs { username, ..PreflightArgs::default() });
        let act = run.act.at(self.clock.now_us());
        let command = self.commands.submit(&act, run.server, body, TTL_US).await?;
        let (login, ended) = tokio::join!(self.log_in(run), self.follow(run, &command));
        let report = outcome(&ended?)?;
        // A host that has just connected may send its facts after its first checks.
        if let (false, Some(system)) = (knows_os, &report.system) {
            run.os_info(&system.os, &system.arch);
        }
        Ok(report::judged(report, login?))
    }

    /// Tells of the operating system, where the facts are here; answers whether they are.
    async fn tell_os(&self, run: &Run) -> Result<bool> {
        let facts = self.servers.facts(run.act.org_id, run.server).await?;
        if let Some((facts, _)) = &facts {
            run.os_info(&facts.os, &facts.arch);
        }
        Ok(facts.is_some())
    }

    /// Logs in as a deployment would; `None` where no login is known.
    async fn log_in(&self, run: &Run) -> Result<Option<CheckResult>> {
        let Some(target) = &run.target else { return Ok(None) };
        let check = match self.entrance.enter(run.act.org_id, run.server, target, |_| {}).await {
            Ok(session) => {
                session.close().await;
                report::login_worked(&target.host, target.port, target.username.as_str())
            }
            Err(EntranceError::Host(error)) => report::login_failed(&error),
            Err(EntranceError::Record(error)) => return Err(error),
        };
        run.check(&check);
        Ok(Some(check))
    }

    /// Tells the checks as they come, until the command has ended.
    async fn follow(&self, run: &Run, command: &Command) -> Result<Command> {
        let mut events = pin!(self.commands.watch(run.act.org_id, command.id).await?);
        while let Some(event) = events.next().await {
            match event? {
                CommandEvent::Update(update) => match update.step {
                    Step::Started => run.progress.status("checking", "Running the checks..."),
                    // Where a login is known, whether it works is judged from here.
                    Step::Check(check) if check.name == CheckName::SshConnectivity && run.target.is_some() => {}
                    Step::Check(check) => run.check(&check),
                    Step::Received | Step::Line(_) | Step::Finished(_) => {}
                },
                CommandEvent::Changed(command) if command.state.is_final() => return Ok(command),
                CommandEvent::Changed(_) => {}
            }
        }
        self.commands.get(run.act.org_id, command.id).await
    }
}

/// The report that an ended command brought.
fn outcome(command: &Command) -> Result<PreflightReport> {
    match (command.state, &command.result) {
        (CommandState::Succeeded, Some(result)) => serde_json::from_value(result.clone())
            .map_err(|source| Error::invalid("report_malformed", "the agent's report can't be read").because(source)),
        (state, _) => Err(Error::new(ErrorKind::Precondition, "command_failed", why(state, &command.detail))),
    }
}
