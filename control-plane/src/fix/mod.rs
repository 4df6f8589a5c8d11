//! Fixes: what a preflight found is mended by the host's agent, one change after the other, in the order in which they
//! depend on each other. Each change is planned, shown, made, verified and, when it fails, taken back by the host; the
//! first that fails ends the run. After a run the preflight is run again.
//!
//! A run belongs to nobody: it goes on when its listener leaves.

mod making;
mod wish;

use std::sync::Arc;

use futures_util::StreamExt as _;
use muster_shared::{
    action::{ChangeReport, Item, ItemName, Mode},
    id::ServerId,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub use wish::{FIXES, Wish};

use crate::{
    access::Act,
    clock::Clock,
    commands::Commands,
    error::{Error, ErrorKind},
    preflight::Preflight,
    progress::{self, ProgressSender, ProgressStream},
    servers::{Servers, SshTarget},
    sessions::Sessions,
    ssh::Entrance,
};

/// Runs at once; further ones are refused.
pub const MAX_RUNS: usize = 64;

type Result<T> = std::result::Result<T, Error>;

/// Mends servers. Clones share the bound on runs.
#[derive(Debug, Clone)]
pub struct Fixes {
    servers: Servers,
    commands: Commands,
    sessions: Sessions,
    preflight: Preflight,
    entrance: Entrance,
    clock: Clock,
    runs: Arc<Semaphore>,
}

/// One run's subject.
#[derive(Debug, Clone)]
struct Run {
    act: Act,
    server: ServerId,
    /// How to log in, where that is known.
    target: Option<SshTarget>,
    items: Vec<Item>,
    mode: Mode,
    progress: ProgressSender,
}

/// What became of one action.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fixed {
    pub action: ItemName,
    /// `planned`, `changed`, `already` or `undone`.
    pub outcome: &'static str,
    pub detail: String,
    pub report: Option<ChangeReport>,
}

impl Fixes {
    /// Works through the handles given.
    #[must_use]
    pub fn new(
        (servers, commands): (Servers, Commands),
        (sessions, entrance): (Sessions, Entrance),
        preflight: Preflight,
        clock: Clock,
    ) -> Self {
        Self { servers, commands, sessions, preflight, entrance, clock, runs: Arc::new(Semaphore::new(MAX_RUNS)) }
    }

    /// Starts a run and answers its events: `status`, `line` as the host works, one `change` an action, the checks of the
    /// preflight that follows, then `complete` or `error`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Invalid`] where the wish is not acceptable; [`ErrorKind::Precondition`]
    /// where its agent is not connected, or everything shall be fixed and no preflight says what;
    /// [`ErrorKind::Exhausted`] when [`MAX_RUNS`] are under way.
    pub async fn start(&self, act: &Act, server: ServerId, wish: &Wish) -> Result<ProgressStream> {
        let org = act.org_id;
        self.servers.get(org, server).await?;
        let target = self.servers.ssh_target_if_any(org, server).await?;
        let report = self.servers.preflight(org, server).await?;
        let username = target.as_ref().map(|target| target.username.to_string());
        let items = wish.items(username.as_deref(), report.as_ref())?;
        if !self.sessions.is_online(server) {
            let detail = "fixes are made by the server's agent, and it is not connected: start it, or install it first";
            return Err(Error::new(ErrorKind::Precondition, "agent_offline", detail));
        }
        let permit = Arc::clone(&self.runs).try_acquire_owned().map_err(|_| {
            let detail = format!("{MAX_RUNS} fixes are under way: try again in a moment");
            Error::new(ErrorKind::Exhausted, "too_many_runs", detail)
        })?;
        let (progress, stream) = progress::channel();
        let run = Run { act: act.clone(), server, target, items, mode: wish.mode, progress };
        let fixes = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            fixes.run(&run).await;
        });
        Ok(stream)
    }

    /// [`Self::start`], until its end: the data of `complete`.
    ///
    /// # Errors
    /// As there, and what the run ended with: `policy_refused` or `fix_failed`, in the host's words.
    pub async fn run_to_end(&self, act: &Act, server: ServerId, wish: &Wish) -> Result<Value> {
        let mut events = self.start(act, server, wish).await?;
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(event);
        }
        match last {
            Some(event) if event.event == "complete" => Ok(event.data),
            Some(event) if event.event == "error" => Err(ended_badly(&event.data)),
            _ => Err(Error::internal("a run of fixes ended without a result")),
        }
    }

    async fn run(&self, run: &Run) {
        let mut fixed: Vec<Fixed> = Vec::new();
        for item in &run.items {
            if let Some(follows) = wish::follows(item.name(), run.mode, &fixed) {
                run.progress.send("change", &follows);
                fixed.push(follows);
                continue;
            }
            match self.make(run, item).await {
                Ok(done) => {
                    run.progress.send("change", &done);
                    fixed.push(done);
                }
                Err(failure) => {
                    if failure.error.kind == ErrorKind::Internal {
                        let error = crate::app::chain(&failure.error);
                        tracing::error!(server = %run.server, error, "a fix failed");
                    }
                    run.progress.send("error", failure.told(item.name(), &fixed));
                    return;
                }
            }
        }
        let complete = match run.mode {
            Mode::Plan => json!({ "status": "planned", "dry_run": true, "actions": fixed }),
            Mode::Apply | Mode::Undo => match self.check(run).await {
                Ok(checked) => json!({
                    "status": checked["status"], "dry_run": false, "actions": fixed, "passed": checked["passed"],
                    "failed": checked["failed"], "warnings": checked["warnings"],
                }),
                Err(error) => {
                    let detail = format!("everything was done, but the checks afterwards failed: {}", error.detail);
                    run.progress.send("error", json!({ "code": error.code, "detail": detail, "actions": fixed }));
                    return;
                }
            },
        };
        run.progress.send("complete", complete);
    }

    /// Runs the preflight again; its checks are told as they come.
    async fn check(&self, run: &Run) -> Result<Value> {
        run.progress.status("checking", "Running the checks again...");
        let mut events = self.preflight.start(&run.act.at(self.clock.now_us()), run.server).await?;
        while let Some(event) = events.next().await {
            match event.event {
                "complete" => return Ok(event.data),
                "error" => return Err(ended_badly(&event.data)),
                "check" => run.progress.send("check", event.data),
                _ => {}
            }
        }
        Err(Error::internal("a preflight ended without a result"))
    }
}

/// An event `error` as an error: who asks for one answer gets the same word where it is a known one.
fn ended_badly(data: &Value) -> Error {
    let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
    let known = ["policy_refused", "agent_offline", "unconfirmed_change", "way_in_not_proven", "nothing_to_undo"];
    let code = known.into_iter().find(|known| *known == text("code")).unwrap_or("fix_failed");
    let detail = match text("action") {
        "" => text("detail").to_owned(),
        action => format!("{action}: {}", text("detail")),
    };
    Error::new(ErrorKind::Precondition, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ended_badly_keeps_its_word_where_callers_know_it() {
        let data = json!({ "code": "policy_refused", "detail": "no", "action": "install_docker" });
        let error = ended_badly(&data);
        assert_eq!((error.code, error.detail.as_str()), ("policy_refused", "install_docker: no"));
        assert_eq!(ended_badly(&json!({ "code": "undone", "detail": "x" })).code, "fix_failed");
    }
}
