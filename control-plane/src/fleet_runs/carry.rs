//! One server's work: its command, given once and followed to its end, and confirmed where the host waits for that.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use muster_shared::{
    action::ConfirmArgs,
    command::{CommandBody, CommandState},
    id::{CommandId, OrgId},
};
use serde_json::json;

use super::{FleetRuns, LEASE_US, Result, RunState, ServerOutcome, Work, read};
use crate::{
    access::{Act, Actor, Origin},
    app::chain,
    audit::{Action, Record},
    commands::{Command, CommandEvent},
    error::{Error, ErrorKind},
    facts::why,
    proof::AWAITING,
    servers::AgentStatus,
};

/// How long a command may wait for its host, which is connected.
const TTL_US: i64 = 60 * 1_000_000;
/// How often work is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// How a server's work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ended {
    state: ServerOutcome,
    code: String,
    detail: String,
}

impl Ended {
    fn failed(code: &str, detail: impl Into<String>) -> Self {
        Self { state: ServerOutcome::Failed, code: code.to_owned(), detail: detail.into() }
    }

    fn of(command: &Command) -> Self {
        match command.state {
            CommandState::Succeeded => {
                Self { state: ServerOutcome::Succeeded, code: command.code.clone(), detail: command.detail.clone() }
            }
            CommandState::Cancelled => Self {
                state: ServerOutcome::Skipped,
                code: "cancelled".to_owned(),
                detail: "the command was cancelled before it started".to_owned(),
            },
            state => {
                let code = if command.code.is_empty() { state.as_str() } else { &command.code };
                Self::failed(code, why(state, &command.detail))
            }
        }
    }
}

impl FleetRuns {
    /// Does a server's work, for as long as it is held.
    pub(super) async fn carry(&self, work: Work) {
        let ended = tokio::select! {
            ended = self.perform(&work) => ended,
            () = self.lost(&work) => return,
        };
        let written = match ended {
            Ok(ended) => self.settle(&work, &ended).await,
            // The lease lapses, and the work is taken up again.
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(server = %work.server, run = %work.run, error = %chain(&error), "a fleet run does not get on");
        }
        self.wake.notify_one();
        self.changed.notify_waiters();
    }

    /// Comes back when the work is another's.
    async fn lost(&self, work: &Work) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match self.store.renew_fleet_work(work, self.clock.now_us() + LEASE_US).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(error = %chain(&error), "work of a fleet run is not renewed"),
            }
        }
    }

    async fn settle(&self, work: &Work, ended: &Ended) -> Result<()> {
        let now_us = self.clock.now_us();
        let Ended { state, code, detail } = ended;
        let record = (*state == ServerOutcome::Failed).then(|| {
            let act = Act::of_system(work.org, now_us);
            let after = json!({ "run_id": work.run, "command_id": work.command, "code": code, "detail": detail });
            Record::new(&act, Action::FleetRunServerFailed, work.server, &work.server_name).after(after)
        });
        metrics::counter!("muster_fleet_run_servers_total", "outcome" => state.as_str()).increment(1);
        self.store.settle_fleet_work(work, *state, (code, detail), now_us, record.as_ref()).await?;
        Ok(())
    }

    async fn perform(&self, work: &Work) -> Result<Ended> {
        let given = match self.commands.get(work.org, work.command).await {
            Ok(command) => Ok(command),
            Err(error) if error.kind == ErrorKind::NotFound => self.give(work).await,
            Err(error) => Err(error),
        };
        let command = match given {
            Ok(command) => command,
            Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal) => return Err(error),
            Err(error) if error.code == "cancelled" => {
                return Ok(Ended { state: ServerOutcome::Skipped, code: error.code.to_owned(), detail: error.detail });
            }
            Err(error) => return Ok(Ended::failed(error.code, error.detail)),
        };
        let command = self.ended(work.org, command.id).await?;
        match &command.body {
            CommandBody::Change(args) if command.state == CommandState::Succeeded && command.code == AWAITING => {
                self.confirm(work, ConfirmArgs { change: command.id, item: args.item.name() }).await
            }
            _ => Ok(Ended::of(&command)),
        }
    }

    /// Submits the command under the id that is fixed for it, in the name of whoever made the run, who must still be
    /// allowed to.
    async fn give(&self, work: &Work) -> Result<Command> {
        if self.get(work.org, work.run).await?.state == RunState::Cancelled {
            let detail = "the run was cancelled before it began";
            return Err(Error::new(ErrorKind::Precondition, "cancelled", detail));
        }
        let member = self.store.member(work.org, work.created_by).await?;
        if !member.is_some_and(|member| member.role.allows(work.task.permission())) {
            let detail = format!("{} may not do this any more", work.created_by_name);
            return Err(Error::new(ErrorKind::PermissionDenied, "permission_denied", detail));
        }
        let server = self.servers.get(work.org, work.server).await?;
        if server.agent.status != AgentStatus::Online {
            let detail = "the server's agent is not connected, so nobody there could do it";
            return Err(Error::new(ErrorKind::Precondition, "agent_offline", detail));
        }
        let proven = match work.task.is_guarded(work.dry_run) {
            true => Some(self.proof.way_in(work.org, work.server).await.map_err(|why| {
                let detail =
                    format!("the server can't be entered from here now, so the change could not be confirmed: {why}");
                Error::new(ErrorKind::Precondition, "no_way_in", detail)
            })?),
            false => None,
        };
        let login = server.ssh.as_ref().map(|ssh| ssh.username.as_str());
        let body = work.task.body(login, proven.as_ref(), work.dry_run)?;
        let act = self.act(work)?;
        let command = self.commands.submit_as(&act, work.command, work.server, body, TTL_US).await?;
        // Who cancelled the run in between did not find the command yet.
        if self.get(work.org, work.run).await?.state == RunState::Cancelled {
            self.commands.cancel(&act, command.id).await?;
        }
        Ok(command)
    }

    /// Proves the way in, and only then confirms; once, whoever takes the work up again.
    async fn confirm(&self, work: &Work, args: ConfirmArgs) -> Result<Ended> {
        let given = match self.commands.get(work.org, work.confirmation).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => {
                if let Err(why) = self.proof.way_in(work.org, work.server).await {
                    return Ok(Ended::failed("not_confirmed", format!("{why}, so the host takes the change back")));
                }
                let (act, body) = (self.act(work)?, CommandBody::ConfirmChange(args));
                self.commands.submit_as(&act, work.confirmation, work.server, body, TTL_US).await.map(drop)
            }
            Err(error) => Err(error),
        };
        given?;
        let confirmed = self.ended(work.org, work.confirmation).await?;
        Ok(match confirmed.state {
            CommandState::Succeeded => Ended::of(&confirmed),
            state => Ended::failed("not_confirmed", why(state, &confirmed.detail)),
        })
    }

    async fn ended(&self, org: OrgId, id: CommandId) -> Result<Command> {
        let mut events = pin!(self.commands.watch(org, id).await?);
        while let Some(event) = events.next().await {
            match event? {
                CommandEvent::Changed(command) if command.state.is_final() => return Ok(command),
                _ => {}
            }
        }
        self.commands.get(org, id).await
    }

    fn act(&self, work: &Work) -> Result<Act> {
        let actor = Actor::User {
            id: work.created_by,
            name: work.created_by_name.as_str().into(),
            credential: read(&work.created_with)?,
        };
        Ok(Act { org_id: work.org, actor, origin: Origin::default(), at_us: self.clock.now_us() })
    }
}
