//! How changes are reported.

use muster_shared::{
    action::{ChangeArgs, ChangeReport, Mode, StepReport, life::Phase, report::MAX_EVIDENCE_BYTES},
    wire::{self, CommandOutcome, finished::Result as Answer},
};

use super::Engine;
use crate::{
    action::{
        diff,
        host::{File, Host},
        plan::{Plan, Refused},
        record::{Kept, Record},
        step::Step,
    },
    executor::machine::{crashed, finished},
    os::text,
};

/// The end of a command about a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub outcome: CommandOutcome,
    /// A machine's word: `already`, `awaiting_confirmation`, `undone`, `undo_failed`, …; empty where all went well.
    pub code: String,
    pub detail: String,
    pub report: Option<ChangeReport>,
}

impl Ended {
    fn new(outcome: CommandOutcome, code: &str, detail: impl Into<String>, report: Option<ChangeReport>) -> Self {
        Self { outcome, code: code.to_owned(), detail: detail.into(), report }
    }

    /// Nothing was touched.
    pub(super) fn refused(args: &ChangeArgs, refused: &Refused) -> Self {
        let report = ChangeReport::new(args.item.clone(), args.mode);
        Self::new(CommandOutcome::Failed, refused.code, refused.detail.clone(), Some(report))
    }

    pub(super) fn failed(refused: &Refused) -> Self {
        Self::new(CommandOutcome::Failed, refused.code, refused.detail.clone(), None)
    }

    pub(super) fn interrupted() -> Self {
        let detail = "the agent stopped while the change was planned; planning only reads, so it can be asked again";
        Self::new(CommandOutcome::Failed, "crashed", detail, None)
    }

    pub(super) fn never_begun(args: &ChangeArgs) -> Self {
        let report = ChangeReport::new(args.item.clone(), args.mode);
        let detail = "the agent stopped before anything was begun; nothing has changed, so it can be asked again";
        Self::new(CommandOutcome::Failed, "crashed", detail, Some(report))
    }

    pub(super) fn going_on() -> Self {
        let crashed = crashed();
        let detail = "the agent stopped while the change was made, and what it had started still runs; it is brought to \
                      an end, so look again in some minutes";
        Self::new(crashed.outcome(), "going_on", detail, None)
    }

    pub(super) fn shown(args: &ChangeArgs, plan: &Plan, steps: Vec<StepReport>) -> Self {
        let already = steps.is_empty();
        let detail = if already { "nothing is to be done".to_owned() } else { format!("{} to be done", count(&steps)) };
        let confirm_within_s = plan.arm_before.map(|_| plan.confirm_within_s);
        let report = ChangeReport {
            already,
            verified: already,
            steps,
            evidence: evidence(&plan.evidence),
            confirm_within_s,
            ..ChangeReport::new(args.item.clone(), args.mode)
        };
        Self::new(CommandOutcome::Succeeded, if already { "already" } else { "" }, detail, Some(report))
    }

    pub(super) fn already(args: &ChangeArgs, plan: &Plan) -> Self {
        Self::shown(args, plan, Vec::new())
    }

    pub(super) fn of(record: &Record, mode: Mode, steps: Vec<StepReport>) -> Self {
        let phase = record.life.phase;
        let reversible = record.plan.steps.iter().take(record.life.begun as usize).all(Step::is_reversible);
        let in_force = matches!(phase, Phase::Committed | Phase::Awaiting);
        let report = ChangeReport {
            applied: in_force,
            verified: in_force,
            undone: phase == Phase::Undone && reversible,
            evidence: evidence(&record.plan.evidence),
            confirm_within_s: (phase == Phase::Awaiting).then_some(record.plan.confirm_within_s),
            steps,
            ..ChangeReport::new(record.item.clone(), mode)
        };
        let why = &record.trouble;
        let (outcome, code, detail) = match (phase, mode) {
            (Phase::Committed, Mode::Undo) => (CommandOutcome::Failed, "not_undone", format!("it stands: {why}")),
            (Phase::Committed, _) => {
                (CommandOutcome::Succeeded, "", format!("{} done and verified", count(&report.steps)))
            }
            (Phase::Awaiting, _) => {
                let seconds = record.plan.confirm_within_s;
                let detail =
                    format!("done and verified; it is taken back unless confirmed within {seconds} s of its begin");
                (CommandOutcome::Succeeded, "awaiting_confirmation", detail)
            }
            (Phase::Undone, _) if !reversible => {
                (CommandOutcome::Failed, "not_reversible", format!("part of it can't be taken back: {why}"))
            }
            (Phase::Undone, Mode::Undo) => (CommandOutcome::Succeeded, "", "everything was put back".to_owned()),
            (Phase::Undone, _) => (CommandOutcome::Failed, "undone", format!("everything was put back: {why}")),
            _ => {
                let detail = format!("not everything could be put back; look at the host: {why}");
                (CommandOutcome::Failed, "undo_failed", detail)
            }
        };
        Self::new(outcome, code, detail, Some(report))
    }

    pub(super) fn confirmed(record: &Record) -> Self {
        match record.life.phase {
            Phase::Committed => Self::new(CommandOutcome::Succeeded, "", "the change stays", None),
            Phase::Undone => {
                let detail = format!("too late: the change was taken back ({})", record.trouble);
                Self::new(CommandOutcome::Failed, "already_undone", detail, None)
            }
            _ => {
                let detail = format!("the change does not wait for a confirmation ({})", record.trouble);
                Self::new(CommandOutcome::Failed, "not_awaiting", detail, None)
            }
        }
    }
}

impl From<Ended> for wire::Finished {
    fn from(ended: Ended) -> Self {
        let json = ended.report.and_then(|report| serde_json::to_string(&report).ok());
        Self { result: json.map(Answer::ChangeJson), ..finished(ended.outcome, &ended.code, &ended.detail) }
    }
}

fn count(steps: &[StepReport]) -> String {
    format!("{} step{}", steps.len(), if steps.len() == 1 { "" } else { "s" })
}

fn evidence(words: &str) -> String {
    text::clean_to(words, MAX_EVIDENCE_BYTES)
}

/// What a plan does, with differences to the files as they are.
pub(super) fn step_reports(host: &dyn Host, plan: &Plan) -> Vec<StepReport> {
    let report = |step: &Step| {
        let diff = match step {
            Step::WriteFile { path, contents, mode, owner, .. } => {
                let now = host.read(path).ok().flatten();
                file_diff(
                    now.as_ref(),
                    Some(&File { bytes: contents.clone().into_bytes(), mode: *mode, owner: *owner }),
                )
            }
            Step::RemoveFile { path } => file_diff(host.read(path).ok().flatten().as_ref(), None),
            Step::InstallPackages { names, .. } => names.iter().map(|name| format!("+{name}\n")).collect(),
            _ => String::new(),
        };
        StepReport { title: step.title(), diff, reversible: step.is_reversible() }
    };
    plan.steps.iter().map(report).collect()
}

fn file_diff(before: Option<&File>, after: Option<&File>) -> String {
    let text =
        |file: Option<&File>| file.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).unwrap_or_default();
    let mut diff = diff::lines(&text(before), &text(after));
    if let (Some(before), Some(after)) = (before, after) {
        let kept = |file: &File| format!("mode {:04o} owner {}:{}", file.mode, file.owner.uid, file.owner.gid);
        if kept(before) != kept(after) {
            diff.push_str(&format!("-{}\n+{}\n", kept(before), kept(after)));
        }
    }
    diff
}

impl Engine {
    /// What an undo puts back, in the order in which it does.
    pub(super) fn undo_reports(&self, record: &Record) -> Vec<StepReport> {
        let begun = record.plan.steps.iter().zip(&record.kept).zip(0..);
        let report = |((step, kept), index): ((&Step, &Kept), u32)| {
            let diff = match (step.file(), kept) {
                (Some(path), Kept::File { mode, owner, sha256 }) => {
                    let before = self.records.kept_file(record.id, index, (*mode, *owner, sha256)).ok();
                    file_diff(self.host.read(path).ok().flatten().as_ref(), before.as_ref())
                }
                (Some(path), _) => file_diff(self.host.read(path).ok().flatten().as_ref(), None),
                (None, Kept::Packages { brought: Some(brought), .. }) => {
                    brought.iter().map(|name| format!("-{name}\n")).collect()
                }
                _ => String::new(),
            };
            StepReport { title: format!("take back: {}", step.title()), diff, reversible: step.is_reversible() }
        };
        let mut reports: Vec<StepReport> = begun.map(report).collect();
        reports.reverse();
        reports
    }
}
