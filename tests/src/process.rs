//! A program under test: its lines are kept, it can be awaited, ended and killed, and none outlives its owner.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use tokio::{
    process::{Child, Command},
    sync::watch,
};

use crate::patience::held_to;

/// How long a program that goes out of scope may take to end, before it is killed.
const END_LIMIT: Duration = Duration::from_secs(6);

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
    grown: watch::Sender<()>,
}

impl Lines {
    fn new() -> Self {
        Self { kept: Arc::default(), grown: watch::Sender::new(()) }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<String>> {
        self.kept.lock().expect("nothing panics while it holds the lines")
    }

    /// Every line so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.kept().clone()
    }

    /// The last `count` lines as one text.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let kept = self.kept();
        kept[kept.len().saturating_sub(count)..].join("\n")
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
                let found = self.kept().iter().find(|line| wanted(line)).cloned();
                if let Some(line) = found {
                    return line;
                }
                // The sender is in `self`, so the channel stays open.
                let _ = grown.changed().await;
            }
        });
        found.await.map_err(|_| anyhow::anyhow!("waited {limit:?} for {what}; last lines:\n{}", self.tail(20)))
    }

    fn read(&self, output: impl Read + Send + 'static) {
        let lines = self.clone();
        // A thread, not a task: what a program writes while a test's runtime stands still is kept, too.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines.kept().push(line);
                lines.grown.send_replace(());
            }
        });
    }
}

impl Process {
    /// Starts `program` with nothing on stdin. Of this process's environment it gets everything but `MUSTER_…`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new(program);
        for (variable, _) in std::env::vars_os() {
            // What cargo tells the tests of themselves would make a build that is started here another build.
            let inherited = ["MUSTER_", "CARGO_PKG_", "CARGO_MANIFEST_"];
            if inherited.iter().any(|prefix| variable.to_string_lossy().starts_with(prefix)) {
                command.env_remove(variable);
            }
        }
        let (output, inlet) = std::io::pipe()?;
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(inlet.try_clone()?)
            .stderr(inlet)
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        // The command holds the pipe's other end: without this the output would never end.
        drop(command);
        let lines = Lines::new();
        lines.read(output);
        Ok(Self { name, child, lines })
    }

    /// What it wrote.
    #[must_use]
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn id(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended; last lines:\n{}", self.name, self.lines.tail(20)))
    }

    /// `Some` if it has ended.
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
        let pid = i32::try_from(self.id()?).ok().and_then(Pid::from_raw).context("a process id")?;
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

    /// SIGTERM, and SIGKILL when it still runs after `limit`; for `Drop`, so it blocks. Says whether it went in time.
    pub fn end(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        let _ = self.signal(Signal::TERM);
        while begun.elapsed() < limit {
            if matches!(self.ended(), Ok(Some(_)) | Err(_)) {
                return true;
            }
            #[expect(clippy::disallowed_methods, reason = "a destructor has no runtime to wait on")]
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.signal(Signal::KILL);
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // In order where it can be: a script ends what it started only if it is asked to.
        self.end(held_to(END_LIMIT));
    }
}
