//! A command as the control plane keeps it, and the steps its host reports. Decisions here are pure.

use muster_shared::{
    action::ChangeReport,
    command::{CommandBody, CommandState, Envelope, MAX_LINE_BYTES, MAX_PROGRESS_UPDATES},
    facts::{Facts, MAX_FACTS_BYTES},
    id::{CommandId, InvalidId, OrgId, ServerId, UserId},
    power::{POWERING_OFF, RebootReport},
    preflight::{CheckResult, PreflightReport},
    wire,
};
use serde::{Deserialize, Serialize};

use super::receipt::{HostReceipt, ReceiptStanding};

/// Longest word and longest detail kept of an outcome, in bytes; the rest is cut.
const MAX_CODE_BYTES: usize = 64;
const MAX_DETAIL_BYTES: usize = 4096;
/// Largest report of a reboot, in bytes of JSON.
const MAX_REBOOT_BYTES: usize = 1024;
/// Highest sequence accepted: all progress, and the steps around it.
const MAX_SEQ: u64 = MAX_PROGRESS_UPDATES + 16;

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub id: CommandId,
    pub org_id: OrgId,
    pub server_id: ServerId,
    pub body: CommandBody,
    pub state: CommandState,
    /// A machine's word for how it ended; empty where the state says all.
    pub code: String,
    /// A person's words.
    pub detail: String,
    /// The facts, the preflight report or the reboot's, as JSON.
    pub result: Option<serde_json::Value>,
    pub created_by: UserId,
    pub created_at_us: i64,
    pub expires_at_us: i64,
    /// When it first went down a stream: from then on the host may have it.
    pub sent_at_us: Option<i64>,
    pub started_at_us: Option<i64>,
    pub finished_at_us: Option<i64>,
    pub cancel_requested_at_us: Option<i64>,
    /// Whether the host put its name to the end; `None` for a command that its host has not ended.
    pub receipt: Option<ReceiptStanding>,
}

impl Command {
    /// What the host gets, before it is signed.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope {
            command_id: self.id,
            server_id: self.server_id,
            issued_at_us: self.created_at_us,
            expires_at_us: self.expires_at_us,
            body: self.body.clone(),
        }
    }
}

/// One step of a command on its host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Counts from 1 within the command.
    pub seq: u64,
    /// By the host's clock.
    pub at_us: i64,
    pub step: Step,
}

/// What happened in a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Received,
    Started,
    Line(String),
    Check(CheckResult),
    Finished(Finished),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    pub state: CommandState,
    pub code: String,
    pub detail: String,
    pub result: Option<CommandResult>,
    /// As the host sent it, unjudged.
    #[serde(default)]
    pub receipt: Option<Box<HostReceipt>>,
}

/// What a command brought back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandResult {
    /// The facts document, as the host wrote it.
    Facts(String),
    Preflight(PreflightReport),
    Reboot(RebootReport),
    Change(ChangeReport),
}

/// An update that can't be understood. Repeating it would not help, so it is acknowledged, counted and dropped.
#[derive(Debug, thiserror::Error)]
pub enum InvalidUpdate {
    #[error(transparent)]
    Id(#[from] InvalidId),
    #[error("an update's sequence is between 1 and {MAX_SEQ}")]
    Sequence,
    #[error("the update carries no step this version knows")]
    UnknownStep,
    #[error("the update's {0} can't be read")]
    Malformed(&'static str, #[source] serde_json::Error),
}

/// Reads an update from the wire, with the command it is about.
///
/// # Errors
/// [`InvalidUpdate`].
pub fn parse_update(update: wire::CommandUpdate) -> Result<(CommandId, Update), InvalidUpdate> {
    use wire::{command_update::Kind, progress};
    if !(1..=MAX_SEQ).contains(&update.seq) {
        return Err(InvalidUpdate::Sequence);
    }
    let step = match update.kind.ok_or(InvalidUpdate::UnknownStep)? {
        Kind::Received(_) => Step::Received,
        Kind::Started(_) => Step::Started,
        Kind::Progress(progress) => match progress.kind.ok_or(InvalidUpdate::UnknownStep)? {
            progress::Kind::Line(line) => Step::Line(cut(line, MAX_LINE_BYTES)),
            progress::Kind::CheckJson(json) => {
                Step::Check(serde_json::from_str(&json).map_err(|source| InvalidUpdate::Malformed("check", source))?)
            }
        },
        Kind::Finished(finished) => Step::Finished(parse_finished(finished)),
    };
    Ok((update.command_id.parse()?, Update { seq: update.seq, at_us: update.at_us, step }))
}

/// A result that can't be read must not keep the command from ending: it ends without one, and says so.
fn parse_finished(mut finished: wire::Finished) -> Finished {
    let receipt = HostReceipt::of(&mut finished);
    let state = CommandState::from(finished.outcome());
    let code = cut(finished.code, MAX_CODE_BYTES);
    let detail = cut(finished.detail, MAX_DETAIL_BYTES);
    match finished.result.map(parse_result).transpose() {
        Ok(result) => Finished { state, code, detail, result, receipt },
        Err(why) => {
            let state = if state == CommandState::Succeeded { CommandState::Failed } else { state };
            let detail = format!("the host's result was dropped: {why}");
            Finished { state, code: "result_unreadable".into(), detail, result: None, receipt }
        }
    }
}

fn parse_result(result: wire::finished::Result) -> Result<CommandResult, &'static str> {
    use wire::finished::Result as WireResult;
    let (json, max_bytes) = match &result {
        WireResult::FactsJson(json) | WireResult::PreflightJson(json) | WireResult::ChangeJson(json) => {
            (json, MAX_FACTS_BYTES)
        }
        WireResult::RebootJson(json) => (json, MAX_REBOOT_BYTES),
    };
    if json.len() > max_bytes {
        return Err("it is too large");
    }
    match result {
        WireResult::FactsJson(json) => match serde_json::from_str::<Facts>(&json) {
            Ok(_) => Ok(CommandResult::Facts(json)),
            Err(_) => Err("it is no facts document"),
        },
        WireResult::PreflightJson(json) => {
            serde_json::from_str(&json).map(CommandResult::Preflight).map_err(|_| "it is no preflight report")
        }
        WireResult::ChangeJson(json) => {
            serde_json::from_str(&json).map(CommandResult::Change).map_err(|_| "it is no report of a change")
        }
        WireResult::RebootJson(json) => {
            serde_json::from_str(&json).map(CommandResult::Reboot).map_err(|_| "it is no report of a reboot")
        }
    }
}

/// Cuts at a character's border.
fn cut(mut text: String, max_bytes: usize) -> String {
    let end = (0..=max_bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

impl Step {
    /// The state a command is in once this step happened; `None` where it says nothing about that.
    #[must_use]
    pub fn state(&self) -> Option<CommandState> {
        match self {
            Self::Received => Some(CommandState::Received),
            Self::Started => Some(CommandState::Started),
            Self::Finished(finished) => Some(finished.state),
            Self::Line(_) | Self::Check(_) => None,
        }
    }
}

/// Whether the host reports with `step` that it powers off now. One that was powered off and has booted again since
/// says something else.
#[must_use]
pub fn powers_off(body: &CommandBody, step: &Step) -> bool {
    let ends_well = |end: &Finished| end.state == CommandState::Succeeded && end.code == POWERING_OFF;
    *body == CommandBody::Stop && matches!(step, Step::Finished(end) if ends_well(end))
}

/// The state a command in `state` goes to with `step`, if it goes anywhere. Steps arrive at least once and late.
#[must_use]
pub fn next_state(state: CommandState, step: &Step) -> Option<CommandState> {
    step.state().filter(|next| state.may_become(*next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn finished(state: CommandState) -> Step {
        Step::Finished(Finished { state, code: String::new(), detail: String::new(), result: None, receipt: None })
    }

    #[test]
    fn hostile_updates_are_refused_or_cut() {
        let update = |seq, kind| wire::CommandUpdate {
            command_id: CommandId::generate().to_string(),
            seq,
            at_us: 1,
            kind: Some(kind),
        };
        let line = |text: String| {
            wire::command_update::Kind::Progress(wire::Progress { kind: Some(wire::progress::Kind::Line(text)) })
        };
        assert!(matches!(parse_update(update(0, line(String::new()))), Err(InvalidUpdate::Sequence)));
        assert!(matches!(parse_update(update(MAX_SEQ + 1, line(String::new()))), Err(InvalidUpdate::Sequence)));
        let (_, long) = parse_update(update(1, line("ü".repeat(MAX_LINE_BYTES)))).expect("cut");
        assert!(matches!(long.step, Step::Line(text) if text.len() == MAX_LINE_BYTES));
        let check = wire::command_update::Kind::Progress(wire::Progress {
            kind: Some(wire::progress::Kind::CheckJson("{".into())),
        });
        assert!(matches!(parse_update(update(1, check)), Err(InvalidUpdate::Malformed("check", _))));
    }

    #[test]
    fn an_unreadable_result_still_ends_its_command() {
        let finished = parse_finished(wire::Finished {
            outcome: wire::CommandOutcome::Succeeded.into(),
            result: Some(wire::finished::Result::FactsJson("{\"hostname\":1}".into())),
            ..wire::Finished::default()
        });
        assert_eq!((finished.state, finished.result), (CommandState::Failed, None));
        assert_eq!(finished.code, "result_unreadable");
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Received),
            Just(Step::Started),
            Just(Step::Line("x".into())),
            (0..6usize).prop_map(|index| finished(
                [
                    CommandState::Succeeded,
                    CommandState::Failed,
                    CommandState::Refused,
                    CommandState::Cancelled,
                    CommandState::Expired,
                    CommandState::Indeterminate
                ][index]
            )),
        ]
    }

    proptest! {
        #[test]
        fn whatever_arrives_a_command_ends_once_and_never_goes_back(steps in prop::collection::vec(steps(), 0..20)) {
            let mut state = CommandState::Sent;
            let mut was_started = false;
            for step in &steps {
                if let Some(next) = next_state(state, step) {
                    prop_assert!(!state.is_final());
                    prop_assert!(state.may_become(next));
                    state = next;
                }
                was_started |= state == CommandState::Started;
            }
            if was_started {
                prop_assert!(!matches!(state, CommandState::Refused | CommandState::Cancelled | CommandState::Expired));
            }
            let ended = steps.iter().any(|step| matches!(step, Step::Finished(_)));
            prop_assert!(!state.is_final() || ended);
        }

        #[test]
        fn repeating_a_step_changes_nothing_more(steps in prop::collection::vec(steps(), 1..10)) {
            let settle = |state, step: &Step| next_state(state, step).unwrap_or(state);
            let once = steps.iter().fold(CommandState::Sent, settle);
            let twice = steps.iter().flat_map(|step| [step, step]).fold(CommandState::Sent, settle);
            prop_assert_eq!(once, twice);
        }
    }
}
