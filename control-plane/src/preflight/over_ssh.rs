//! A run over SSH, with the agent's binary carried there for it.

use muster_shared::{
    facts::Facts,
    preflight::{CheckName, CheckResult, PreflightReport},
};
use serde::Deserialize;

use super::{Preflight, Result, Run, report};
use crate::{
    error::{Error, ErrorKind},
    servers::{SshTarget, SudoMode},
    ssh::{Entering, EntranceError, RunEvent, Session, SshError, probe},
};

/// A line of the probe.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
enum Told {
    Check(CheckResult),
    Complete(PreflightReport),
}

impl Preflight {
    pub(super) async fn over_ssh(&self, run: &Run) -> Result<PreflightReport> {
        let Some(target) = &run.target else {
            return Err(Error::new(ErrorKind::Precondition, "no_ssh_credentials", "no login is known"));
        };
        run.progress.status("connecting", "Establishing SSH connection...");
        let entered = self.entrance.enter(run.act.org_id, run.server, target, |step| match step {
            Entering::HostKey { fingerprint, first_contact: true } => {
                run.progress.status("host_key", &format!("First contact: the host's key is {fingerprint}"));
            }
            Entering::HostKey { .. } => run.progress.status("host_key", "The host's key is the one on record"),
            Entering::Authenticated => run.progress.status("connected", "Logged in"),
        });
        let login = match entered.await {
            Ok(session) => {
                let login = report::login_worked(&target.host, target.port, target.username.as_str());
                run.check(&login);
                let report = self.probe(run, target, &session).await;
                session.close().await;
                return Ok(report::judged(report?, Some(login)));
            }
            Err(EntranceError::Host(error)) => report::login_failed(&error),
            Err(EntranceError::Record(error)) => return Err(error),
        };
        run.check(&login);
        Ok(PreflightReport { checked_at_us: 0, checks: vec![login], system: None })
    }

    async fn probe(&self, run: &Run, target: &SshTarget, session: &Session) -> Result<PreflightReport> {
        run.progress.status("detecting", "Looking at the system...");
        let mode = self.detect(run, target, session).await?;
        run.progress.status("checking", "Running the checks...");
        let now_us = self.clock.now_us().to_string();
        let question =
            ["preflight", "--json", "--username", target.username.as_str(), "--reference-time-us", now_us.as_str()];
        let mut report = None;
        probe(session, &self.binaries, target, mode, &question, |event| match told(&event) {
            Some(Told::Check(check)) if check.name == CheckName::SshConnectivity => {}
            Some(Told::Check(check)) => run.check(&check),
            Some(Told::Complete(complete)) => report = Some(complete),
            None => {}
        })
        .await?;
        report.ok_or_else(|| Error::new(ErrorKind::Precondition, "report_missing", "the checks ended without a report"))
    }

    /// Collects and records the facts, and finds the sudo mode that works: without root, the checks still run and say
    /// so themselves.
    async fn detect(&self, run: &Run, target: &SshTarget, session: &Session) -> Result<SudoMode> {
        let (mode, lines) = match self.facts(target, session, target.sudo_mode).await {
            Err(SshError::Elevation(_)) => (SudoMode::None, self.facts(target, session, SudoMode::None).await?),
            lines => (target.sudo_mode, lines?),
        };
        let now_us = self.clock.now_us();
        if let Ok(facts) = serde_json::from_str::<Facts>(&lines) {
            run.os_info(&facts.os, &facts.arch);
            self.servers.record_facts(run.act.org_id, run.server, lines.as_bytes(), now_us, now_us).await?;
        }
        Ok(mode)
    }

    async fn facts(
        &self,
        target: &SshTarget,
        session: &Session,
        mode: SudoMode,
    ) -> std::result::Result<String, SshError> {
        let mut lines = String::new();
        probe(session, &self.binaries, target, mode, &["facts", "--json"], |event| {
            if let RunEvent::Line(line) = event {
                lines.push_str(&line);
            }
        })
        .await?;
        Ok(lines)
    }
}

fn told(event: &RunEvent) -> Option<Told> {
    match event {
        RunEvent::Line(line) => serde_json::from_str(line).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_s_lines_are_understood_and_others_passed_over() {
        let check = CheckResult::failed(CheckName::DockerInstalled, "no docker", "install it");
        let line = serde_json::json!({ "event": "check", "data": check }).to_string();
        assert!(matches!(told(&RunEvent::Line(line)), Some(Told::Check(read)) if read == check));
        let report = PreflightReport { checked_at_us: 5, checks: vec![check], system: None };
        let line = serde_json::json!({ "event": "complete", "data": report }).to_string();
        assert!(matches!(told(&RunEvent::Line(line)), Some(Told::Complete(read)) if read == report));
        assert!(told(&RunEvent::Line("warning: locale".into())).is_none());
    }
}
