//! Following a long call: one line an event, and what it ended with.

use std::collections::BTreeSet;

use muster_shared::wire;
use serde::Serialize;
use serde_json::Value;
use tonic::Streaming;

use super::{
    failure::Failure,
    output::{Format, Output},
    table::printable,
    waiting::Indicator,
};
use crate::api::model::structure;

/// States in which a server's part in a run is over.
const ENDED: [&str; 6] = ["rotated", "succeeded", "failed", "lingering", "skipped", "cancelled"];

/// An event as it is printed for programs.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    pub event: String,
    pub data: Value,
}

/// Prints every event as it comes and returns the data of `complete`.
///
/// # Errors
/// When the call fails, or tells an `error`, or ends without `complete`.
pub(super) async fn follow(events: Streaming<wire::ProgressEvent>, output: &mut Output<'_>) -> Result<Value, Failure> {
    follow_with(events, output, true, None).await
}

/// The same where it is known how many parts the run has: a terminal shows how many of them are over.
///
/// # Errors
/// As [`follow`].
pub(super) async fn follow_all(
    events: Streaming<wire::ProgressEvent>,
    output: &mut Output<'_>,
    all: u64,
) -> Result<Value, Failure> {
    follow_with(events, output, true, Some(all)).await
}

/// The same, but leaves it to the caller to print `complete`.
///
/// # Errors
/// As [`follow`].
pub(super) async fn follow_quietly(
    events: Streaming<wire::ProgressEvent>,
    output: &mut Output<'_>,
) -> Result<Value, Failure> {
    follow_with(events, output, false, None).await
}

async fn follow_with(
    mut events: Streaming<wire::ProgressEvent>,
    output: &mut Output<'_>,
    prints_complete: bool,
    of: Option<u64>,
) -> Result<Value, Failure> {
    let shown = if output.format() == Format::Table { Indicator::of("starting") } else { Indicator::hidden() };
    let mut tally = Tally { of, ..Tally::default() };
    while let Some(event) = events.message().await? {
        let event = Event { event: event.event, data: event.data.map(structure::to_json).unwrap_or_default() };
        if let Some(message) = event.data.get("message").and_then(Value::as_str) {
            shown.say(printable(message));
        }
        if let Some((over, all)) = tally.take(&event) {
            shown.reach(over, all);
        }
        if prints_complete || event.event != "complete" {
            shown.suspend(|| output.item(&event, line))?;
        }
        match event.event.as_str() {
            "complete" => return Ok(event.data),
            "error" => return Err(failed(&event.data)),
            _ => {}
        }
    }
    Err(Failure::ended_badly("the run ended without a result", "`muster commands list` says how it ended"))
}

fn failed(data: &Value) -> Failure {
    let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = [text("detail"), text("message"), "the run failed".to_owned()];
    let next_step = [text("remedy"), "`muster commands list` says what was done".to_owned()];
    let said = |texts: Vec<String>| texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    Failure::ended_badly(said(message.into()), said(next_step.into()))
}

/// One event as a line for people; empty where there is nothing to say.
#[must_use]
pub(super) fn line(event: &Event) -> String {
    let text = |name: &str| printable(event.data.get(name).and_then(Value::as_str).unwrap_or_default());
    match event.event.as_str() {
        "status" => format!("… {}", text("message")),
        "os_info" => format!("  {} {} {}", text("name"), text("version"), text("arch")),
        "line" => format!("    {}", text("line")),
        "command" => format!("… {}", text("state")),
        "change" => change(&event.data, text("action"), text("outcome"), text("detail")),
        "check" => check(&event.data, text("name"), text("evidence"), text("remedy")),
        "item" => item(&event.data, &text("item"), &text("outcome"), &text("detail")),
        "server" => server(&text("server_name"), &text("state"), &text("step"), &text("detail")),
        "complete" => complete(&event.data),
        "error" => String::new(),
        other => format!("  {} {}", printable(other), printable(&event.data.to_string())),
    }
}

fn check(data: &Value, name: String, evidence: String, remedy: String) -> String {
    let passed = data.get("passed").and_then(Value::as_bool).unwrap_or_default();
    let mark = match data.get("status").and_then(Value::as_str) {
        Some("warning") => "!",
        _ if passed => "✓",
        _ => "✗",
    };
    let remedy = if remedy.is_empty() { remedy } else { format!("\n    → {remedy}") };
    format!("{mark} {:22} {evidence}{remedy}", name.replace('_', " "))
}

/// A server's part in something that many have a part in.
fn server(name: &str, state: &str, step: &str, detail: &str) -> String {
    let mark = match state {
        "rotated" | "succeeded" => "✓",
        "failed" | "lingering" => "✗",
        "skipped" => "-",
        _ => "…",
    };
    let said = match (step, detail) {
        ("", "") => state.to_owned(),
        ("", detail) => format!("{state}: {detail}"),
        (step, _) => step.replace('_', " "),
    };
    format!("{mark} {name:22} {said}")
}

/// A change, its steps and their differences.
fn item(data: &Value, name: &str, outcome: &str, detail: &str) -> String {
    let mark = match outcome {
        "applied" | "undone" | "already" => "✓",
        "planned" => "→",
        "not_applicable" | "nothing_to_undo" => "-",
        _ => "✗",
    };
    let mut lines = vec![format!("{mark} {name:22} {}: {detail}", outcome.replace('_', " "))];
    let steps = data.pointer("/report/steps").and_then(Value::as_array);
    for step in steps.into_iter().flatten() {
        let text = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
        lines.push(format!("    {}", printable(text("title"))));
        lines.extend(text("diff").lines().map(|line| format!("      {}", printable(line))));
    }
    lines.join("\n")
}

/// What was done, or would be, step by step, with the lines that go and come.
fn change(data: &Value, action: String, outcome: String, detail: String) -> String {
    let mark = if outcome == "planned" { "·" } else { "✓" };
    let mut out = format!("{mark} {:22} {outcome}: {detail}", action.replace('_', " "));
    let steps = data.pointer("/report/steps").and_then(Value::as_array);
    for step in steps.into_iter().flatten() {
        let text = |name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default();
        let once = step.get("reversible") == Some(&Value::Bool(false));
        out.push_str(&format!("\n    {}{}", printable(text("title")), if once { " (can't be undone)" } else { "" }));
        for line in text("diff").lines() {
            out.push_str(&format!("\n      {}", printable(line)));
        }
    }
    out
}

fn complete(data: &Value) -> String {
    let text = |name: &str| printable(data.get(name).and_then(Value::as_str).unwrap_or_default());
    let count = |name: &str| data.get(name).and_then(Value::as_u64);
    match (count("passed"), count("failed"), count("warnings")) {
        (Some(passed), Some(failed), Some(warnings)) => {
            let status = text("status").replace('_', " ");
            format!("{status}: {passed} passed, {failed} failed, {warnings} warnings")
        }
        _ if !text("state").is_empty() => {
            let mark = if text("state") == "succeeded" { "✓" } else { "✗" };
            format!("{mark} {}", text("state"))
        }
        _ => format!(
            "done: {}",
            [text("message"), text("status")].into_iter().find(|text| !text.is_empty()).unwrap_or_default()
        ),
    }
}

/// How far a run is: what has ended, of how many where that is known. What is told twice counts once.
#[derive(Debug, Default)]
struct Tally {
    ended: BTreeSet<String>,
    of: Option<u64>,
}

impl Tally {
    /// Takes an event in, and answers with how many are over, of all, where both are known.
    fn take(&mut self, event: &Event) -> Option<(u64, u64)> {
        let text = |name: &str| event.data.get(name).and_then(Value::as_str);
        let ended = match event.event.as_str() {
            "check" => text("name"),
            "change" => text("action"),
            "item" => text("item"),
            "server" => text("server_name").filter(|_| text("state").is_some_and(|state| ENDED.contains(&state))),
            _ => None,
        };
        self.ended.extend(ended.map(str::to_owned));
        self.of.map(|all| (self.ended.len() as u64, all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drawn(event: &str, data: Value) -> String {
        line(&told(event, data)) + "\n"
    }

    fn told(event: &str, data: Value) -> Event {
        Event { event: event.to_owned(), data }
    }

    #[test]
    fn what_is_over_is_counted_once_of_all() {
        let mut tally = Tally { of: Some(2), ..Tally::default() };
        let server = |name: &str, state: &str| told("server", json!({ "server_name": name, "state": state }));
        assert_eq!(tally.take(&server("web-1", "running")), Some((0, 2)));
        assert_eq!(tally.take(&server("web-1", "succeeded")), Some((1, 2)));
        assert_eq!(tally.take(&server("web-1", "succeeded")), Some((1, 2)));
        assert_eq!(tally.take(&server("web-2", "failed")), Some((2, 2)));
        let mut checks = Tally::default();
        assert_eq!(checks.take(&told("check", json!({ "name": "docker" }))), None, "of how many is not known");
    }

    #[test]
    fn a_change_shows_its_steps_and_lines() {
        let step = json!({ "title": "write /etc/x", "diff": "-old\n+new\n", "reversible": true });
        let prune = json!({ "title": "remove the build cache", "diff": "", "reversible": false });
        let data = json!({
            "action": "free_disk", "outcome": "planned", "detail": "2 steps to be done", "report": { "steps": [step, prune] }
        });
        let expected = "· free disk              planned: 2 steps to be done\n    write /etc/x\n      -old\n      +new\n    \
                        remove the build cache (can't be undone)\n";
        assert_eq!(drawn("change", data), expected);
    }

    #[test]
    fn a_preflight_reads_like_a_list() {
        let text = [
            drawn("status", json!({ "step": "connecting", "message": "Establishing SSH connection..." })),
            drawn("os_info", json!({ "name": "Ubuntu", "version": "22.04", "arch": "x86_64" })),
            drawn(
                "check",
                json!({ "name": "disk_space", "status": "passed", "passed": true, "evidence": "90 GB free" }),
            ),
            drawn(
                "check",
                json!({ "name": "docker_installed", "passed": false, "fixable": true, "evidence": "no docker", "remedy": "install Docker" }),
            ),
            drawn(
                "check",
                json!({ "name": "specifications", "status": "warning", "passed": true, "evidence": "2 cores" }),
            ),
            drawn("complete", json!({ "status": "needs_setup", "passed": 7, "failed": 2, "warnings": 1 })),
        ];
        insta::assert_snapshot!(text.concat());
    }
}
