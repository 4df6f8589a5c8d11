//! Running programs for their effect. Under systemd each is a unit of its own: it has root's full powers, which the
//! executor's own unit has not, and goes on when the executor is killed. Elsewhere it is a process group of its own.
//! Either way it writes what it says to a file, so that a reader's death does not end it.

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
    time::{interval, timeout},
};

use super::{Execution, Said};
use crate::{action::step::Call, probe::program};

/// Most of what a program says that is kept.
pub const OUTPUT_BYTES: u64 = 256 << 10;
/// How often a running program's output is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How much longer than the program its own time limit may take to end it.
const GRACE: Duration = Duration::from_secs(5);
const QUERY_S: u64 = 10;

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
    let failed = |error: io::Error| format!("{} can't be run: {error}", execution.call.program);
    let limit = execution.limit.min(Duration::from_secs(execution.call.limit_s));
    let mut tail = Tail::new(execution.output);
    let mut child = spawn(init, execution, limit).map_err(failed)?;
    if init != InitSystem::Systemd {
        note_process(execution.output, &child).map_err(failed)?;
    }
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
    tail.tell(lines);
    let said = tail.all();
    match ended {
        Ok(status) => Ok(Said { code: status.map_err(failed)?.code(), stdout: String::new(), stderr: said }),
        Err(_) => {
            stop(init, execution.name, &mut child).await;
            Err(format!("{} did not finish within {} s", execution.call.program, limit.as_secs()))
        }
    }
}

fn spawn(init: InitSystem, execution: Execution<'_>, limit: Duration) -> io::Result<Child> {
    let call = execution.call;
    let output = OpenOptions::new().append(true).create(true).mode(0o600).open(execution.output)?;
    let mut command = if init == InitSystem::Systemd {
        let mut command = Command::new("systemd-run");
        command.args(["--quiet", "--collect", "--wait", "--pipe"]).arg(format!("--unit={}", execution.name));
        command.arg(format!("--property=RuntimeMaxSec={}", limit.as_secs().max(1)));
        let fixed = [("PATH".to_owned(), program::PATH.to_owned()), ("LC_ALL".to_owned(), "C".to_owned())];
        for (key, value) in fixed.iter().chain(&call.environment) {
            command.arg(format!("--setenv={key}={value}"));
        }
        command.arg("--").arg(&call.program);
        command
    } else {
        let mut command = Command::new(&call.program);
        command.process_group(0);
        command
    };
    command
        .args(&call.arguments)
        .env_clear()
        .env("PATH", program::PATH)
        .env("LC_ALL", "C")
        .envs(call.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
}

/// Ends a program that takes too long; under systemd its unit.
async fn stop(init: InitSystem, name: &str, child: &mut Child) {
    if init == InitSystem::Systemd {
        let unit = format!("{name}.service");
        let _ = ask(&Call::new("systemctl", &["--no-ask-password", "kill", "--signal=KILL", &unit], QUERY_S)).await;
    } else if let Some(group) =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill().await;
}

pub(super) async fn is_running(init: InitSystem, name: &str, output: &Path) -> bool {
    if init == InitSystem::Systemd {
        let unit = format!("{name}.service");
        let state = ask(&Call::new("systemctl", &["is-active", &unit], QUERY_S)).await;
        return state.is_ok_and(|said| matches!(said.stdout.trim(), "active" | "activating" | "deactivating"));
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
    /// Where this run's output begins: a step's inverse writes behind the step.
    began: u64,
    told: u64,
}

impl Tail {
    fn new(path: &Path) -> Self {
        let began = fs::metadata(path).map_or(0, |metadata| metadata.len());
        Self { path: path.to_owned(), began, told: began }
    }

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
        String::from_utf8_lossy(&self.read_from(self.began).unwrap_or_default()).into_owned()
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
