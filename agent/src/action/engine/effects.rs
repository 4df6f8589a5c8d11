//! What each kind of step does and undoes. Inverses bear being run twice, and without their step having run.

use std::time::Duration;

use muster_shared::id::CommandId;

use super::{Engine, Lines};
use crate::{
    action::{
        host::{Execution, File, complaint},
        plan::Refused,
        record::{Kept, Record, sha256},
        step::{Call, ServiceState, Step, package_names, removal, service_calls},
    },
    os::{packages, services},
};

/// Where a copy is checked before it takes its file's place: no program includes names that end so.
const CANDIDATE: &str = ".muster-check";
const QUERY_S: u64 = 30;

/// Names the run of a step's program.
pub(super) fn run_name(id: CommandId, step: u32) -> String {
    format!("muster-change-{id}-{step}")
}

impl Engine {
    /// Notes, durably, what a step is about to replace.
    pub(super) async fn keep_before(&self, record: &Record, step: u32) -> Result<Kept, String> {
        match &record.plan.steps[step as usize] {
            Step::WriteFile { path, .. } | Step::RemoveFile { path } => match self.host.read(path) {
                Ok(Some(file)) => self.records.keep_file(record.id, step, &file),
                Ok(None) => Ok(Kept::NoFile),
                Err(cause) => Err(cause),
            }
            .map_err(|cause| format!("{path} can't be kept: {cause}")),
            Step::MakeDirectory { path, .. } => {
                let was_there = self.host.has_directory(path).map_err(|cause| format!("{path}: {cause}"))?;
                Ok(Kept::Directory { was_there })
            }
            Step::InstallPackages { .. } => Ok(Kept::Packages { before: self.installed().await?, brought: None }),
            Step::Service { unit, .. } => {
                Ok(Kept::Service { unit: unit.clone(), before: self.service_state(unit).await? })
            }
            Step::Run { .. } | Step::Check { .. } | Step::Refresh { .. } => Ok(Kept::Nothing),
        }
    }

    pub(super) async fn apply_step(&self, record: &mut Record, step: u32, lines: &Lines) -> Result<(), String> {
        let what = record.plan.steps[step as usize].clone();
        match what {
            Step::WriteFile { path, contents, mode, owner, check } => {
                let file = File { bytes: contents.into_bytes(), mode, owner };
                if let Some(check) = check {
                    self.check_candidate(&path, &file, &check).await?;
                }
                self.host.write(&path, &file).map_err(|cause| format!("{path} can't be written: {cause}"))
            }
            Step::RemoveFile { path } => {
                self.host.remove(&path).map_err(|cause| format!("{path} can't be removed: {cause}"))
            }
            Step::MakeDirectory { path, mode, owner } => {
                self.host.make_directory(&path, mode, owner).map_err(|cause| format!("{path} can't be made: {cause}"))
            }
            Step::Run { call, .. } | Step::Refresh { call, .. } => self.execute(record, step, &call, lines).await,
            Step::Check { call, .. } => self.host.ask_well(&call).await.map(drop),
            Step::InstallPackages { names, .. } => self.install(record, step, &names, lines).await,
            Step::Service { unit, enabled, running } => {
                let now = self.service_state(&unit).await?;
                self.bring(record, step, (&unit, now), (enabled, running), lines).await
            }
        }
    }

    /// The candidate stands beside the file, so that whatever includes the one by its directory could include the other.
    async fn check_candidate(&self, path: &str, file: &File, check: &Call) -> Result<(), String> {
        let candidate = format!("{path}{CANDIDATE}");
        let failed = |cause: std::io::Error| format!("{candidate} can't be written: {cause}");
        self.host.write(&candidate, file).map_err(failed)?;
        let mut check = check.clone();
        for argument in check.arguments.iter_mut().filter(|argument| *argument == "{}") {
            argument.clone_from(&candidate);
        }
        let checked = self.host.ask_well(&check).await;
        self.host.remove(&candidate).map_err(failed)?;
        checked.map(drop).map_err(|why| format!("{path} would not be valid: {why}"))
    }

    async fn install(&self, record: &mut Record, step: u32, names: &[String], lines: &Lines) -> Result<(), String> {
        let manager =
            self.host.platform().package_manager.ok_or("this host has no package manager that is known here")?;
        // Where the lists can't be fetched, those that are there may do.
        let refreshed = self.execute(record, step, &packages::refresh(manager).into(), lines).await;
        let installed =
            self.execute(record, step, &packages::install(manager, &package_names(names)).into(), lines).await;
        let now = self.installed().await;
        if let (Some(Kept::Packages { before, brought }), Ok(now)) = (record.kept.get_mut(step as usize), now) {
            *brought = Some(now.into_iter().filter(|name| !before.contains(name)).collect());
        }
        match (installed, refreshed) {
            (Ok(()), _) => Ok(()),
            (Err(why), Ok(())) => Err(why),
            (Err(why), Err(before)) => Err(format!("{why}; and before that: {before}")),
        }
    }

    pub(super) async fn invert_step(&self, record: &mut Record, step: u32, lines: &Lines) -> Result<(), String> {
        let what = record.plan.steps[step as usize].clone();
        let kept = record.kept.get(step as usize).cloned().unwrap_or(Kept::Nothing);
        match (what, kept) {
            (Step::WriteFile { path, .. } | Step::RemoveFile { path }, kept) => {
                // Left behind where the process died between candidate and check.
                let _ = self.host.remove(&format!("{path}{CANDIDATE}"));
                self.put_back(record.id, step, &path, &kept)
            }
            (Step::MakeDirectory { path, .. }, Kept::Directory { was_there: false }) => {
                self.host.remove_directory(&path).map_err(|cause| format!("{path} can't be removed: {cause}"))
            }
            (Step::Run { inverse: Some(call), .. }, _) => self.execute(record, step, &call, lines).await,
            (Step::InstallPackages { keeps_data, .. }, Kept::Packages { before, brought }) => {
                let manager =
                    self.host.platform().package_manager.ok_or("this host has no package manager any more")?;
                let now = self.installed().await?;
                let came =
                    |name: &&String| brought.as_ref().map_or(!before.contains(name), |brought| brought.contains(name));
                let names: Vec<String> = now.iter().filter(came).cloned().collect();
                if names.is_empty() {
                    return Ok(());
                }
                self.execute(record, step, &removal(manager, &names, keeps_data), lines).await
            }
            (Step::Service { .. }, Kept::Service { unit, before }) => {
                if !before.running {
                    // Of a service whose start a boot has only put in line, its state does not tell. One that is not
                    // known any more refuses, which is as good.
                    let on = ServiceState { enabled: true, running: true };
                    let _ = self.bring(record, step, (&unit, on), (None, Some(false)), lines).await;
                }
                let now = self.service_state(&unit).await?;
                self.bring(record, step, (&unit, now), (Some(before.enabled), Some(before.running)), lines).await
            }
            _ => Ok(()),
        }
    }

    fn put_back(&self, id: CommandId, step: u32, path: &str, kept: &Kept) -> Result<(), String> {
        match kept {
            // What is as before is not written again: where writing fails, it may be for the same reason as before.
            Kept::File { mode, owner, sha256 } => {
                self.records.kept_file(id, step, (*mode, *owner, sha256)).and_then(|file| {
                    let is_back = self.host.read(path).is_ok_and(|now| now.as_ref() == Some(&file));
                    if is_back { Ok(()) } else { self.host.write(path, &file) }
                })
            }
            Kept::NoFile => self.host.remove(path),
            _ => return Ok(()),
        }
        .map_err(|cause| format!("{path} can't be put back: {cause}"))
    }

    /// Has daemons read the files that are as before. All are tried.
    pub(super) async fn refresh(&self, record: &mut Record, lines: &Lines) -> Result<(), String> {
        let mut troubles = Vec::new();
        let begun = record.life.begun as usize;
        let calls: Vec<(u32, Call)> = (0..)
            .zip(&record.plan.steps)
            .take(begun)
            .filter_map(|(step, what)| match what {
                Step::Refresh { call, .. } => Some((step, call.clone())),
                _ => None,
            })
            .collect();
        for (step, call) in calls {
            if let Err(why) = self.execute(record, step, &call, lines).await {
                troubles.push(why);
            }
        }
        if troubles.is_empty() { Ok(()) } else { Err(troubles.join("; ")) }
    }

    async fn bring(
        &self,
        record: &Record,
        step: u32,
        (unit, now): (&str, ServiceState),
        wanted: (Option<bool>, Option<bool>),
        lines: &Lines,
    ) -> Result<(), String> {
        let init = self.host.platform().init_system;
        let calls = service_calls(init, unit, now, wanted)
            .ok_or_else(|| format!("no init system runs here that can be asked about {unit}"))?;
        for call in calls {
            self.execute(record, step, &call, lines).await?;
        }
        Ok(())
    }

    /// Runs a program for its effect; of a change that must be confirmed, not past its deadline.
    async fn execute(&self, record: &Record, step: u32, call: &Call, lines: &Lines) -> Result<(), String> {
        let mut limit = Duration::from_secs(call.limit_s);
        if record.life.armed && !self.is_due(record) {
            limit = limit.min(self.left(record));
        }
        let (name, output) = (run_name(record.id, step), self.records.output(record.id, step));
        let said = self.host.execute(Execution { name: &name, call, limit, output: &output }, lines).await?;
        if call.ended_well(said.code) { Ok(()) } else { Err(complaint(call, &said)) }
    }

    async fn installed(&self) -> Result<Vec<String>, String> {
        let manager =
            self.host.platform().package_manager.ok_or("this host has no package manager that is known here")?;
        let said = self.host.ask_well(&packages::list(manager).into()).await?;
        Ok(packages::listed(manager, &said.stdout))
    }

    pub(super) async fn service_state(&self, unit: &str) -> Result<ServiceState, String> {
        service_state(self.host.as_ref(), unit).await
    }

    /// Refuses to put back files that somebody has changed since.
    pub(super) fn refuse_if_changed_since(&self, record: &Record) -> Result<(), Refused> {
        for (step, what) in record.plan.steps.iter().enumerate() {
            let Some(path) = what.file() else { continue };
            // Of several steps on one file the last one's text stands.
            if record.plan.steps[step + 1..].iter().any(|later| later.file() == Some(path)) {
                continue;
            }
            let wrote = match what {
                Step::WriteFile { contents, .. } => Some(sha256(contents.as_bytes())),
                _ => None,
            };
            let is_now = self.host.read(path).ok().flatten().map(|file| sha256(&file.bytes));
            if is_now != wrote {
                let detail = format!("{path} was changed after the change was made; put it back by hand, or keep it");
                return Err(Refused::new("changed_since", detail));
            }
        }
        Ok(())
    }
}

/// How a service stands; one that the init system does not know neither runs nor starts.
///
/// # Errors
/// Why the init system gave no answer.
pub async fn service_state(host: &dyn crate::action::Host, unit: &str) -> Result<ServiceState, String> {
    let init = host.platform().init_system;
    let name = unit.parse().map_err(|error| format!("{error}"))?;
    let (activity, enabled) = services::query_activity(init, &name)
        .zip(services::query_enabled(init, &name))
        .ok_or_else(|| format!("no init system runs here that can be asked about {unit}"))?;
    let (activity, enabled) = (with_limit(activity.into()), with_limit(enabled.into()));
    let said = host.ask(&activity).await?;
    let running = services::activity(init, said.code, &said.stdout) == services::Activity::Running;
    let said = host.ask(&enabled).await?;
    Ok(ServiceState { enabled: services::is_enabled(init, &name, &said.stdout), running })
}

fn with_limit(call: Call) -> Call {
    Call { limit_s: call.limit_s.min(QUERY_S), ..call }
}
