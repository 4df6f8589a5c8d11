//! Preflight: whether a server is ready for deployments. The checks run on the host, through its agent or over SSH;
//! whether one can log in is judged from here where there are credentials, since only a real login shows it.
//!
//! A run belongs to nobody: it goes on when its listener leaves, and its report is on the server's record either way.

mod over_ssh;
mod report;
mod through_agent;

use std::sync::Arc;

use muster_shared::{
    facts::Os,
    id::ServerId,
    preflight::{CheckResult, PreflightReport},
};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    access::Act,
    agent_binary::AgentBinaries,
    clock::Clock,
    commands::Commands,
    error::{Error, ErrorKind},
    progress::{self, ProgressSender, ProgressStream},
    servers::{Servers, SshTarget},
    sessions::Sessions,
    ssh::Entrance,
};

/// Runs at once; further ones are refused.
pub const MAX_RUNS: usize = 64;

type Result<T> = std::result::Result<T, Error>;

/// Runs preflight checks. Clones share the bound on runs.
#[derive(Debug, Clone)]
pub struct Preflight {
    servers: Servers,
    commands: Commands,
    sessions: Sessions,
    entrance: Entrance,
    binaries: AgentBinaries,
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
    progress: ProgressSender,
}

impl Preflight {
    /// Runs through the handles given.
    #[must_use]
    pub fn new(
        (servers, commands): (Servers, Commands),
        sessions: Sessions,
        entrance: Entrance,
        binaries: AgentBinaries,
        clock: Clock,
    ) -> Self {
        Self { servers, commands, sessions, entrance, binaries, clock, runs: Arc::new(Semaphore::new(MAX_RUNS)) }
    }

    /// Starts a run and answers its events: `status`, `os_info`, one `check` a check, then `complete` or `error`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] where there is neither a connected agent nor a login;
    /// [`ErrorKind::Exhausted`] when [`MAX_RUNS`] are under way.
    pub async fn start(&self, act: &Act, server: ServerId) -> Result<ProgressStream> {
        let org = act.org_id;
        self.servers.get(org, server).await?;
        let target = self.servers.ssh_target_if_any(org, server).await?;
        let online = self.sessions.is_online(server);
        if !online && target.is_none() {
            let detail = "its agent is not connected and it has no SSH credentials: start its agent or add credentials";
            return Err(Error::new(ErrorKind::Precondition, "agent_offline", detail));
        }
        let permit = Arc::clone(&self.runs).try_acquire_owned().map_err(|_| {
            let detail = format!("{MAX_RUNS} preflight runs are under way: try again in a moment");
            Error::new(ErrorKind::Exhausted, "too_many_runs", detail)
        })?;
        let (progress, stream) = progress::channel();
        let run = Run { act: act.clone(), server, target, progress };
        let preflight = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            preflight.run(&run, online).await;
        });
        Ok(stream)
    }

    async fn run(&self, run: &Run, online: bool) {
        let report = if online { self.through_agent(run).await } else { self.over_ssh(run).await };
        let recorded = match report {
            Ok(report) => self.conclude(run, report).await,
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            if error.kind == ErrorKind::Internal {
                tracing::error!(server = %run.server, error = crate::app::chain(&error), "preflight failed");
            }
            run.progress.send("error", json!({ "code": error.code, "detail": error.detail }));
        }
    }

    /// Puts the report on record, then tells what it adds up to.
    async fn conclude(&self, run: &Run, report: PreflightReport) -> Result<()> {
        let report = PreflightReport { checked_at_us: self.clock.now_us(), ..report };
        self.servers.record_preflight(run.act.org_id, run.server, &report).await?;
        run.progress.send("complete", report::Complete::of(&report));
        Ok(())
    }
}

impl Run {
    fn check(&self, check: &CheckResult) {
        self.progress.send("check", check);
    }

    fn os_info(&self, os: &Os, arch: &str) {
        let support = os.support_tier;
        self.progress.send(
            "os_info",
            json!({ "name": os.name, "version": os.version, "arch": arch, "id": os.id, "support_tier": support }),
        );
    }
}
