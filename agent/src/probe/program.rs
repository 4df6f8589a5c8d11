//! Running other programs to read from them: by argument vector, with a fixed environment, for a bounded time.

use std::{io, process::Stdio, time::Duration};

use rustix::process::Pid;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
};

use crate::os::text;

/// Most output taken from a program, in bytes; the rest is cut.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;
/// Longest part of a program's complaint that is quoted.
const MAX_COMPLAINT_BYTES: usize = 200;
/// The largest niceness: see setpriority(2).
const LOWEST_PRIORITY: i32 = 19;
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";

/// What a program said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Why there is no answer from a program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("{0} is not installed")]
    NotInstalled(String),
    #[error("{program} did not finish within {limit:?}")]
    TimedOut { program: String, limit: Duration },
    #[error("{program} could not be run")]
    NotRun { program: String, source: io::Error },
    #[error("{program} failed: {complaint}")]
    Failed { program: String, complaint: String },
}

/// The weight of a program: what it may take away from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priority {
    Normal,
    /// Runs when nothing else wants the processor.
    Lowest,
}

/// Runs `program` with `arguments` and waits for its end, at most `limit`; then it is killed.
pub(crate) async fn run(program: &str, arguments: &[&str], limit: Duration) -> Result<Output, ProgramError> {
    run_at(Priority::Normal, program, arguments, limit).await
}

async fn run_at(
    priority: Priority,
    program: &str,
    arguments: &[&str],
    limit: Duration,
) -> Result<Output, ProgramError> {
    let not_run = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ProgramError::NotInstalled(program.to_owned()),
        _ => ProgramError::NotRun { program: program.to_owned(), source },
    };
    let finish = async {
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if priority == Priority::Lowest {
            yield_to_others(&child);
        }
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr, status) = tokio::join!(read_capped(stdout), read_capped(stderr), child.wait());
        Ok(Output { code: status?.code(), stdout: stdout?, stderr: stderr? })
    };
    match tokio::time::timeout(limit, finish).await {
        Ok(finished) => finished.map_err(not_run),
        Err(_) => Err(ProgramError::TimedOut { program: program.to_owned(), limit }),
    }
}

/// Lets everything else go before `child`. It has hardly begun, and runs at full priority where this can't be done.
fn yield_to_others(child: &Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    let done = pid.map(|pid| rustix::process::setpriority_process(Some(pid), LOWEST_PRIORITY));
    if let Some(Err(error)) = done {
        tracing::debug!(%error, "a slow program runs at full priority");
    }
}

/// [`run`], where anything but exit code 0 is a failure.
pub(crate) async fn run_well(program: &str, arguments: &[&str], limit: Duration) -> Result<Output, ProgramError> {
    ended_well(program, run(program, arguments, limit).await?)
}

/// [`run_well`] for what takes long and is not urgent.
pub(crate) async fn run_well_behind(
    program: &str,
    arguments: &[&str],
    limit: Duration,
) -> Result<Output, ProgramError> {
    ended_well(program, run_at(Priority::Lowest, program, arguments, limit).await?)
}

fn ended_well(program: &str, output: Output) -> Result<Output, ProgramError> {
    if output.code == Some(0) {
        return Ok(output);
    }
    let complaint = text::clean_to(output.stderr.lines().next().unwrap_or("no message"), MAX_COMPLAINT_BYTES);
    Err(ProgramError::Failed { program: program.to_owned(), complaint })
}

/// Reads to the end, so that the program is not stopped by a full pipe, and keeps the beginning.
async fn read_capped(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> io::Result<String> {
    let Some(stream) = stream else { return Ok(String::new()) };
    let mut kept = Vec::new();
    let mut limited = stream.take(MAX_OUTPUT_BYTES);
    limited.read_to_end(&mut kept).await?;
    tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_environment_is_fixed_and_the_answer_whole() {
        let output = run_well("env", &[], LIMIT).await.expect("env runs");
        let mut lines: Vec<_> = output.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["LC_ALL=C".to_owned(), format!("PATH={PATH}")]);
    }

    #[tokio::test]
    async fn what_is_not_urgent_goes_behind_everything_else() {
        let child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().expect("sleep runs");
        yield_to_others(&child);
        let pid = child.id().expect("it runs");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its state");
        // See proc_pid_stat(5): niceness is the 19th field, the second is the only one that may hold spaces.
        let niceness = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(16));
        assert_eq!(niceness, Some("19"));
        assert!(run_well_behind("true", &[], LIMIT).await.is_ok());
    }

    #[tokio::test]
    async fn every_way_to_fail_has_its_name() {
        let missing = run("muster-no-such-program", &[], LIMIT).await;
        assert!(matches!(missing, Err(ProgramError::NotInstalled(_))));
        let failed = run_well("ls", &["/muster-no-such-path"], LIMIT).await;
        assert!(matches!(failed, Err(ProgramError::Failed { complaint, .. }) if complaint.contains("No such file")));
        let endless = run("cat", &["/dev/zero"], Duration::from_millis(200)).await;
        assert!(matches!(endless, Err(ProgramError::TimedOut { .. })));
    }

    #[tokio::test]
    async fn long_output_is_cut_and_does_not_block_the_program() {
        let length = (MAX_OUTPUT_BYTES * 2).to_string();
        let output = run_well("head", &["-c", &length, "/dev/zero"], LIMIT).await.expect("head runs");
        assert_eq!(output.stdout.len() as u64, MAX_OUTPUT_BYTES);
    }
}
