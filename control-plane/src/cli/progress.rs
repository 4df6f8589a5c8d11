//! Following a long call: one line an event, and what it ended with.

use muster_shared::wire;
use serde::Serialize;
use serde_json::Value;
use tonic::Streaming;

use super::{
    failure::Failure,
    output::{Format, Output},
    table::printable,
};
use crate::api::model::structure;

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
    follow_with(events, output, true).await
}

/// The same, but leaves it to the caller to print `complete`.
///
/// # Errors
/// As [`follow`].
pub(super) async fn follow_quietly(
    events: Streaming<wire::ProgressEvent>,
    output: &mut Output<'_>,
) -> Result<Value, Failure> {
    follow_with(events, output, false).await
}

async fn follow_with(
    mut events: Streaming<wire::ProgressEvent>,
    output: &mut Output<'_>,
    prints_complete: bool,
) -> Result<Value, Failure> {
    let spinner = Spinner::new(output.format());
    while let Some(event) = events.message().await? {
        let event = Event { event: event.event, data: event.data.map(structure::to_json).unwrap_or_default() };
        spinner.step(&event);
        if prints_complete || event.event != "complete" {
            spinner.suspend(|| output.item(&event, line))?;
        }
        match event.event.as_str() {
            "complete" => return Ok(event.data),
            "error" => return Err(failed(&event.data)),
            _ => {}
        }
    }
    Err(Failure::ended_badly("the run ended without a result"))
}

fn failed(data: &Value) -> Failure {
    let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = [text("detail"), text("message"), "the run failed".to_owned()];
    Failure {
        exit_code: 1,
        message: message.into_iter().find(|message| !message.is_empty()).unwrap_or_default(),
        next_step: text("remedy"),
    }
}

/// One event as a line for people; empty where there is nothing to say.
#[must_use]
pub(super) fn line(event: &Event) -> String {
    let text = |name: &str| printable(event.data.get(name).and_then(Value::as_str).unwrap_or_default());
    match event.event.as_str() {
        "status" => format!("… {}", text("message")),
        "os_info" => format!("  {} {} {}", text("name"), text("version"), text("arch")),
        "line" => format!("    {}", text("line")),
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
        _ => format!(
            "done: {}",
            [text("message"), text("status")].into_iter().find(|text| !text.is_empty()).unwrap_or_default()
        ),
    }
}

/// Shows on a terminal that something is going on; nothing elsewhere.
struct Spinner(indicatif::ProgressBar);

impl Spinner {
    fn new(format: Format) -> Self {
        let bar = if format == Format::Table {
            indicatif::ProgressBar::new_spinner()
        } else {
            indicatif::ProgressBar::hidden()
        };
        bar.enable_steady_tick(std::time::Duration::from_millis(120));
        Self(bar)
    }

    fn step(&self, event: &Event) {
        if let Some(message) = event.data.get("message").and_then(Value::as_str) {
            self.0.set_message(printable(message));
        }
    }

    fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drawn(event: &str, data: Value) -> String {
        line(&Event { event: event.to_owned(), data }) + "\n"
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
