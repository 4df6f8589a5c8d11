//! What changes do to a host, behind a trait: the host itself, or one that a test makes up.

#[cfg(test)]
pub(crate) mod fake;
mod files;
mod programs;

use std::{io, path::Path, time::Duration};

use async_trait::async_trait;
use muster_shared::facts::ListeningPort;
use tokio::sync::mpsc;

pub use self::{files::MAX_FILE_BYTES, programs::OUTPUT_BYTES};
use super::step::{Call, Owner};
use crate::{
    os::{Platform, Release, boot::Boot},
    probe::{ProbeOptions, listening, program},
};

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    /// The permission bits.
    pub mode: u32,
    pub owner: Owner,
}

/// How a program ended, and what it said on both streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `None` where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A moment that no setting of the clock moves, and the boot it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    pub boot: String,
    /// Milliseconds since the kernel started, sleep included.
    pub ms: u64,
}

/// An effect by a program that goes on when this process ends.
#[derive(Debug, Clone, Copy)]
pub struct Execution<'a> {
    /// Names the run: never used twice at the same time.
    pub name: &'a str,
    pub call: &'a Call,
    /// At most this long, whatever the call's own limit.
    pub limit: Duration,
    /// Where what it says is written.
    pub output: &'a Path,
}

/// A host.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// What commands are written for here.
    fn platform(&self) -> Platform;

    /// Which distribution it is; empty where it does not say.
    fn release(&self) -> Release;

    fn now(&self) -> Moment;

    /// The regular file at an absolute path; `None` where there is none.
    ///
    /// # Errors
    /// Where something else is there, it is too large, it can't be read, or somebody but root could have put a link on
    /// the way to it.
    fn read(&self, path: &str) -> io::Result<Option<File>>;

    /// Puts a file in its place, whole and durably. Its directory must be there.
    ///
    /// # Errors
    /// As [`Self::read`], and when it can't be written; what was there then still is.
    fn write(&self, path: &str, file: &File) -> io::Result<()>;

    /// Removes the regular file at a path; that there is none is no error.
    ///
    /// # Errors
    /// When it can't be removed.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Whether a directory is at a path.
    ///
    /// # Errors
    /// Where something else is.
    fn has_directory(&self, path: &str) -> io::Result<bool>;

    /// # Errors
    /// When it can't be made.
    fn make_directory(&self, path: &str, mode: u32, owner: Owner) -> io::Result<()>;

    /// Removes a directory if it is empty; that there is none is no error.
    ///
    /// # Errors
    /// When it can't be removed for another reason than being not empty.
    fn remove_directory(&self, path: &str) -> io::Result<()>;

    /// The names in a directory, sorted; none where it can't be read.
    fn list(&self, path: &str) -> Vec<String>;

    /// Whether a program of this name is installed for the system.
    fn has_program(&self, name: &str) -> bool;

    /// Who listens on which port.
    async fn listening(&self) -> Vec<ListeningPort>;

    /// Asks a program; it must change nothing.
    ///
    /// # Errors
    /// Why there is no answer, in words. An answer with any exit code is one.
    async fn ask(&self, call: &Call) -> Result<Said, String>;

    /// Runs a program for its effect. It outlives this process. `lines` hears what it says.
    ///
    /// # Errors
    /// Why it could not be run to its end, in words.
    async fn execute(&self, execution: Execution<'_>, lines: &mpsc::Sender<String>) -> Result<Said, String>;

    /// Whether a program that an earlier process executed under this name is still running.
    async fn is_running(&self, name: &str, output: &Path) -> bool;

    /// Asks, and takes an exit code that the call does not accept for a failure.
    ///
    /// # Errors
    /// What the program complained of.
    async fn ask_well(&self, call: &Call) -> Result<Said, String> {
        let said = self.ask(call).await?;
        if call.ended_well(said.code) { Ok(said) } else { Err(complaint(call, &said)) }
    }
}

/// What a failed program said, in a line.
#[must_use]
pub fn complaint(call: &Call, said: &Said) -> String {
    const LONGEST: usize = 400;
    let last_words = said.stderr.trim().lines().chain(said.stdout.trim().lines());
    let lines: Vec<_> = last_words.map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors = lines.iter().filter(|line| line.starts_with("E:") || line.to_lowercase().contains("error"));
    let words = errors.copied().next().or_else(|| lines.first().copied()).unwrap_or("it said nothing");
    let code = said.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    crate::os::text::clean_to(&format!("{} failed ({code}): {words}", call.program), LONGEST)
}

/// This host.
#[derive(Debug, Clone, Copy, Default)]
pub struct LiveHost;

#[async_trait]
impl Host for LiveHost {
    fn platform(&self) -> Platform {
        Platform::detect(Path::new("/"))
    }

    fn release(&self) -> Release {
        Release::detect(Path::new("/")).unwrap_or_default()
    }

    fn now(&self) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let ms = u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000;
        Moment { boot: Boot::read(Path::new("/")).id, ms }
    }

    fn read(&self, path: &str) -> io::Result<Option<File>> {
        files::read(path)
    }

    fn write(&self, path: &str, file: &File) -> io::Result<()> {
        files::write(path, file)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        files::remove(path)
    }

    fn has_directory(&self, path: &str) -> io::Result<bool> {
        files::has_directory(path)
    }

    fn make_directory(&self, path: &str, mode: u32, owner: Owner) -> io::Result<()> {
        files::make_directory(path, mode, owner)
    }

    fn remove_directory(&self, path: &str) -> io::Result<()> {
        files::remove_directory(path)
    }

    fn list(&self, path: &str) -> Vec<String> {
        files::list(path)
    }

    fn has_program(&self, name: &str) -> bool {
        program::PATH.split(':').any(|folder| Path::new(folder).join(name).exists())
    }

    async fn listening(&self) -> Vec<ListeningPort> {
        listening(&ProbeOptions::default()).await
    }

    async fn ask(&self, call: &Call) -> Result<Said, String> {
        programs::ask(call).await
    }

    async fn execute(&self, execution: Execution<'_>, lines: &mpsc::Sender<String>) -> Result<Said, String> {
        programs::execute(self.platform().init_system, execution, lines).await
    }

    async fn is_running(&self, name: &str, output: &Path) -> bool {
        programs::is_running(self.platform().init_system, name, output).await
    }
}
