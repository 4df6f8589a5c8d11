//! Running programs for their effect. Under systemd each is a unit of its own: it has root's full powers, which the
//! executor's own unit has not, and goes on when the executor is killed. Elsewhere it is a process group of its own.
//! Either way it writes what it says to a file, so that a reader's death does not end it.
//!
//! systemd is asked for nothing that needs a message bus: at an early boot, and on small systems, there is none.

use std::{
    fs::{self, File as Handle, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use muster_shared::facts::InitSystem;
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, interval, timeout},
};

use super::{Execution, Said};
use crate::{action::step::Call, probe::program};

/// Most of what a program says that is kept.
pub const OUTPUT_BYTES: u64 = 256 << 10;
/// How often a running program is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How much longer than the program its own time limit may take to end it.
const GRACE: Duration = Duration::from_secs(5);
const QUERY_S: u64 = 15;

pub(super) async fn ask(call: &Call) -> Result<Said, String> {
    let arguments: Vec<&str> = call.arguments.iter().map(String::as_str).collect();
    let limit = Duration::from_secs(call.limit_s);
    let output = program::run(&call.program, &arguments, limit).await.map_err(|error| error.to_string())?;
    Ok(Said { code: output.code, stdout: output.stdout, stderr: output.stderr })
}

pub(super) async fn execute(
    init: InitSystem,
    execution: Execution<'_>,
    lines: &mpsc::Sender<String>,
) -> Result<Said, String> {
    let limit = execution.limit.min(Duration::from_secs(execution.call.limit_s));
    // What an earlier run of the step said was told then.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(execution.output)
        .map_err(|error| format!("what {} says can't be kept: {error}", execution.call.program))?;
    let mut tail = Tail { path: execution.output.to_owned(), told: 0 };
    let ended = if init == InitSystem::Systemd {
        as_unit(execution, limit, &mut tail, lines).await
    } else {
        as_process(execution, limit, &mut tail, lines).await
    };
    tail.tell(lines);
    Ok(Said { code: ended?, stdout: String::new(), stderr: tail.all() })
}

fn too_slow(execution: Execution<'_>, limit: Duration) -> String {
    format!("{} did not finish within {} s", execution.call.program, limit.as_secs())
}

/// How a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitState {
    Running,
    /// It ended, with this exit code if it was not a signal.
    Ended(Option<i32>),
    Gone,
}

async fn unit_state(name: &str) -> Result<UnitState, String> {
    let unit = format!("{name}.service");
    let properties = "--property=ActiveState,SubState,ExecMainCode,ExecMainStatus,Result";
    let said = ask(&Call::new("systemctl", &["show", properties, &unit], QUERY_S)).await?;
    Ok(parse_state(&said.stdout))
}

fn parse_state(shown: &str) -> UnitState {
    let value =
        |key: &str| shown.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    // 1 is CLD_EXITED; after a time limit the program may have exited well on the signal.
    let code = || {
        let exited = value("ExecMainCode") == "1" && value("Result") != "timeout";
        if exited { value("ExecMainStatus").parse().ok() } else { None }
    };
    match (value("ActiveState"), value("SubState")) {
        ("active", "exited") | ("failed", _) => UnitState::Ended(code()),
        ("active" | "activating" | "deactivating" | "reloading", _) => UnitState::Running,
        _ => UnitState::Gone,
    }
}

/// Forgets a unit that has ended, so that its name is free.
async fn forget(name: &str) {
    let unit = format!("{name}.service");
    for verb in ["stop", "reset-failed"] {
        // One of the two finds nothing to do.
        let _ = ask(&Call::new("systemctl", &["--quiet", "--no-ask-password", verb, &unit], QUERY_S)).await;
    }
}

async fn as_unit(
    execution: Execution<'_>,
    limit: Duration,
    tail: &mut Tail,
    lines: &mpsc::Sender<String>,
) -> Result<Option<i32>, String> {
    let (name, call) = (execution.name, execution.call);
    if unit_state(name).await? != UnitState::Gone {
        forget(name).await;
    }
    let mut arguments = vec!["--quiet".to_owned(), "--remain-after-exit".to_owned(), format!("--unit={name}")];
    arguments.push(format!("--property=StandardOutput=file:{}", execution.output.display()));
    arguments.push("--property=StandardError=inherit".to_owned());
    arguments.push(format!("--property=RuntimeMaxSec={}", limit.as_secs().max(1)));
    arguments.push("--property=TimeoutStopSec=5".to_owned());
    let fixed = [("PATH".to_owned(), program::PATH.to_owned()), ("LC_ALL".to_owned(), "C".to_owned())];
    arguments.extend(fixed.iter().chain(&call.environment).map(|(key, value)| format!("--setenv={key}={value}")));
    arguments.extend(["--".to_owned(), call.program.clone()]);
    arguments.extend(call.arguments.iter().cloned());
    let start = Call { program: "systemd-run".to_owned(), arguments, ..Call::new("", &[], QUERY_S) };
    let started = ask(&start).await?;
    if started.code != Some(0) {
        return Err(super::complaint(&start, &started));
    }
    let began = Instant::now();
    let until = began + limit + GRACE + GRACE;
    let mut look = interval(LOOK_EVERY);
    loop {
        look.tick().await;
        tail.tell(lines);
        match unit_state(name).await {
            Ok(UnitState::Ended(code)) => {
                forget(name).await;
                return if code.is_none() && began.elapsed() >= limit {
                    Err(too_slow(execution, limit))
                } else {
                    Ok(code)
                };
            }
            Ok(UnitState::Gone) => return Err(format!("{} was ended by somebody else", call.program)),
            Ok(UnitState::Running) | Err(_) if Instant::now() < until => {}
            Ok(UnitState::Running) | Err(_) => {
                let unit = format!("{name}.service");
                let _ = ask(&Call::new("systemctl", &["kill", "--signal=KILL", &unit], QUERY_S)).await;
                forget(name).await;
                return Err(too_slow(execution, limit));
            }
        }
    }
}

async fn as_process(
    execution: Execution<'_>,
    limit: Duration,
    tail: &mut Tail,
    lines: &mpsc::Sender<String>,
) -> Result<Option<i32>, String> {
    let failed = |error: io::Error| format!("{} can't be run: {error}", execution.call.program);
    let mut child = spawn(execution).map_err(failed)?;
    note_process(execution.output, &child).map_err(failed)?;
    let ended = timeout(limit + GRACE, async {
        let mut look = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                status = child.wait() => return status,
                _ = look.tick() => tail.tell(lines),
            }
        }
    })
    .await;
    match ended {
        Ok(status) => Ok(status.map_err(failed)?.code()),
        Err(_) => {
            let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
            if let Some(group) = group {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.kill().await;
            Err(too_slow(execution, limit))
        }
    }
}

fn spawn(execution: Execution<'_>) -> io::Result<Child> {
    let call = execution.call;
    let output = OpenOptions::new().append(true).open(execution.output)?;
    Command::new(&call.program)
        .args(&call.arguments)
        .process_group(0)
        .env_clear()
        .env("PATH", program::PATH)
        .env("LC_ALL", "C")
        .envs(call.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
}

pub(super) async fn is_running(init: InitSystem, name: &str, output: &Path) -> bool {
    if init == InitSystem::Systemd {
        let state = unit_state(name).await;
        if matches!(state, Ok(UnitState::Ended(_))) {
            forget(name).await;
        }
        return state == Ok(UnitState::Running);
    }
    let Ok(noted) = fs::read_to_string(process_note(output)) else { return false };
    let Some((id, start)) = noted.trim().split_once(' ') else { return false };
    start_of(id).is_some_and(|now| now == start)
}

/// Beside the output: which process writes it, by number and start, since numbers are used again.
fn process_note(output: &Path) -> PathBuf {
    output.with_extension("process")
}

fn note_process(output: &Path, child: &Child) -> io::Result<()> {
    let Some(id) = child.id().map(|id| id.to_string()) else { return Ok(()) };
    let start = start_of(&id).unwrap_or_default();
    fs::write(process_note(output), format!("{id} {start}"))
}

/// When a process started, in ticks; `None` where there is none or it is only waited for.
fn start_of(id: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(|start| (*start).to_owned()))?
}

/// What a program has written so far.
struct Tail {
    path: PathBuf,
    told: u64,
}

impl Tail {
    /// Tells whole lines that have come since; a full queue costs lines, not the step.
    fn tell(&mut self, lines: &mpsc::Sender<String>) {
        let Ok(bytes) = self.read_from(self.told) else { return };
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return };
        self.told += end as u64 + 1;
        for line in bytes[..end].split(|byte| *byte == b'\n').map(crate::os::text::clean_bytes) {
            if !line.is_empty() {
                let _ = lines.try_send(line);
            }
        }
    }

    fn all(&self) -> String {
        String::from_utf8_lossy(&self.read_from(0).unwrap_or_default()).into_owned()
    }

    fn read_from(&self, start: u64) -> io::Result<Vec<u8>> {
        let mut handle = Handle::open(&self.path)?;
        handle.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        handle.take(OUTPUT_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution<'a>(call: &'a Call, output: &'a Path, limit_s: u64) -> Execution<'a> {
        Execution { name: "muster-test", call, limit: Duration::from_secs(limit_s), output }
    }

    #[tokio::test]
    async fn what_a_program_says_is_told_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = folder.path().join("output-0");
        let (lines, mut told) = mpsc::channel(16);
        let mut call = Call::new("env", &[], 20);
        call.environment.push(("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned()));
        let said = execute(InitSystem::None, execution(&call, &output, 20), &lines).await.expect("run");
        assert_eq!(said.code, Some(0));
        let mut all: Vec<&str> = said.stderr.lines().collect();
        all.sort_unstable();
        assert_eq!(all, ["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", &format!("PATH={}", program::PATH)]);
        assert!(told.recv().await.is_some_and(|line| line.contains('=')));
        assert!(!is_running(InitSystem::None, "muster-test", &output).await);
    }

    #[test]
    fn how_a_unit_ended_is_read_from_its_properties() {
        let state = |active: &str, sub: &str, code: &str, status: &str, result: &str| {
            parse_state(&format!(
                "ActiveState={active}\nSubState={sub}\nExecMainCode={code}\nExecMainStatus={status}\nResult={result}\n"
            ))
        };
        assert_eq!(state("active", "running", "0", "0", "success"), UnitState::Running);
        assert_eq!(state("active", "exited", "1", "0", "success"), UnitState::Ended(Some(0)));
        assert_eq!(state("failed", "failed", "1", "100", "exit-code"), UnitState::Ended(Some(100)));
        assert_eq!(state("failed", "failed", "2", "9", "signal"), UnitState::Ended(None));
        assert_eq!(state("failed", "failed", "1", "0", "timeout"), UnitState::Ended(None));
        assert_eq!(state("inactive", "dead", "0", "0", "success"), UnitState::Gone);
        assert_eq!(parse_state(""), UnitState::Gone);
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = folder.path().join("output-0");
        let (lines, _told) = mpsc::channel(16);
        let call = Call::new("sleep", &["60"], 60);
        let since = std::time::Instant::now();
        let ended = async { execute(InitSystem::None, execution(&call, &output, 0), &lines).await };
        let seen_running = async {
            loop {
                if is_running(InitSystem::None, "muster-test", &output).await {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (ended, seen) = tokio::join!(ended, seen_running);
        assert!(seen && ended.is_err_and(|words| words.contains("did not finish")));
        assert!(
            since.elapsed() < Duration::from_secs(50) && !is_running(InitSystem::None, "muster-test", &output).await
        );
    }
}
