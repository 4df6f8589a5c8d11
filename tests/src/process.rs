//! A program under test: its lines are kept, it can be awaited, ended and killed, and none outlives its owner.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};

/// Most lines kept of one program; the oldest go first.
const MAX_LINES: usize = 200_000;

/// A running program and what it wrote.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Lines,
}

/// What a program wrote to both its outputs, in the order it came.
#[derive(Debug, Clone)]
pub struct Lines {
    kept: Arc<Mutex<Vec<String>>>,
    grown: watch::Sender<u64>,
}

impl Lines {
    fn new() -> Self {
        Self { kept: Arc::default(), grown: watch::Sender::new(0) }
    }

    fn push(&self, line: String) {
        let mut kept = self.kept.lock().expect("no panic while held");
        if kept.len() == MAX_LINES {
            kept.remove(0);
        }
        kept.push(line);
        drop(kept);
        self.grown.send_modify(|count| *count += 1);
    }

    /// Every line so far.
    ///
    /// # Panics
    /// Never while the reader lives.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.kept.lock().expect("no panic while held").clone()
    }

    /// The first line, past or future, that `wanted` accepts.
    ///
    /// # Errors
    /// When none comes within `limit`; the error carries the last lines.
    pub async fn first(&self, what: &str, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut grown = self.grown.subscribe();
        let found = tokio::time::timeout(limit, async {
            loop {
                grown.borrow_and_update();
                if let Some(line) = self.all().into_iter().find(|line| wanted(line)) {
                    return line;
                }
                if grown.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        });
        found.await.map_err(|_| anyhow::anyhow!("waited {limit:?} for {what}; last lines:\n{}", self.tail(20)))
    }

    /// The last `count` lines as one text.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let all = self.all();
        all[all.len().saturating_sub(count)..].join("\n")
    }
}

impl Process {
    /// Starts `program` with nothing on stdin.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let lines = Lines::new();
        read(child.stdout.take(), lines.clone());
        read(child.stderr.take(), lines.clone());
        Ok(Self { name, child, lines })
    }

    /// What it wrote.
    #[must_use]
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Its process id; `None` once it has been waited for.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// `Some` if it has ended by itself.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.id().with_context(|| format!("{} has ended already", self.name))?;
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("a process id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} still runs after {limit:?}; last lines:\n{}", self.name, self.lines.tail(20)),
        }
    }

    /// SIGTERM, then waits. Returns how it ended and how long it took.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<(ExitStatus, Duration)> {
        let begun = Instant::now();
        self.signal(Signal::TERM)?;
        let status = self.wait(limit).await?;
        Ok((status, begun.elapsed()))
    }

    /// SIGKILL, then waits for the end.
    ///
    /// # Errors
    /// When it had ended already.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait().await?;
        Ok(())
    }
}

fn read(output: Option<impl AsyncRead + Unpin + Send + 'static>, lines: Lines) {
    let Some(output) = output else { return };
    tokio::spawn(async move {
        let mut reader = BufReader::new(output).lines();
        while let Ok(Some(line)) = reader.next_line().await {
            lines.push(line);
        }
    });
}
