//! Taking a change back without the process that made it: after its death, a cut of the network, and a new boot.
//!
//! Whoever reverts reads plan and kept files from disk ([`Engine::revert_due`](super::Engine::revert_due)), so it needs
//! nothing but the folder. Under systemd a timer, enabled for as long as an unconfirmed change is there, starts
//! `muster-agent revert` every few seconds and with each boot: when that is killed, the next one comes. Elsewhere
//! `muster-agent revert --watch` runs as a process of its own; the executor starts it anew when it is killed, and whenever
//! it starts itself.

use std::{fs, io, path::PathBuf, process::Stdio, time::Duration};

use async_trait::async_trait;
use muster_shared::facts::InitSystem;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use super::step::Call;
use crate::{durable, os::Platform, probe::program};

/// How often the timer looks, in seconds. With its accuracy it is at most a second late.
pub const LOOK_EVERY_S: u64 = 5;
const UNIT_FOLDER: &str = "/etc/systemd/system";
const SERVICE: &str = "muster-agent-revert.service";
pub(crate) const TIMER: &str = "muster-agent-revert.timer";
const ORDER_WITHIN_S: u64 = 20;
/// A process that is killed at once each time must not keep a core busy.
const START_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The files that stand on a host while a change waits: the timer's, then its service's.
#[must_use]
pub fn units() -> [PathBuf; 2] {
    [TIMER, SERVICE].map(|name| PathBuf::from(UNIT_FOLDER).join(name))
}

/// Has unconfirmed changes taken back.
#[async_trait]
pub trait Deadman: Send + Sync + 'static {
    /// From now on, until [`Self::disarm`], due changes are reverted whatever becomes of this process.
    ///
    /// # Errors
    /// Why that can't be relied on; nothing dangerous may then be begun.
    async fn arm(&self) -> Result<(), String>;

    /// Nothing is left to be reverted.
    async fn disarm(&self);
}

/// The host's own: its init system's timer, or a process.
#[derive(Debug, Clone)]
pub struct HostDeadman {
    /// The agent's state directory.
    pub state_dir: PathBuf,
}

impl HostDeadman {
    fn service(&self) -> io::Result<String> {
        let program = this_program()?;
        Ok(format!(
            "# Written by muster-agent while a change waits for its confirmation.\n\
             [Unit]\nDescription=Muster agent: takes back changes that nobody confirmed\nDefaultDependencies=no\n\
             After=local-fs.target\n\n\
             [Service]\nType=oneshot\nExecStart={} revert --state-dir {}\nTimeoutStartSec=300\n",
            program.display(),
            self.state_dir.display()
        ))
    }

    fn timer() -> String {
        format!(
            "# Written by muster-agent while a change waits for its confirmation.\n\
             [Unit]\nDescription=Muster agent: looks for changes that nobody confirmed\nDefaultDependencies=no\n\n\
             [Timer]\nOnActiveSec={LOOK_EVERY_S}\nOnBootSec=1\nOnUnitInactiveSec={LOOK_EVERY_S}\nAccuracySec=500ms\n\n\
             [Install]\nWantedBy=timers.target\n"
        )
    }

    async fn arm_timer(&self) -> Result<(), String> {
        let failed = |error: io::Error| format!("the timer that would take the change back can't be set: {error}");
        let units = [(SERVICE, self.service().map_err(failed)?), (TIMER, Self::timer())];
        for (name, text) in units {
            let path = PathBuf::from(UNIT_FOLDER).join(name);
            if fs::read_to_string(&path).is_ok_and(|there| there == text) {
                continue;
            }
            durable::write_atomically(&path, text.as_bytes(), 0o644).map_err(failed)?;
        }
        order(&["daemon-reload"]).await?;
        order(&["--quiet", "enable", TIMER]).await?;
        // A timer that runs already would wait from when it was first set.
        order(&["restart", TIMER]).await?;
        // The link that has the next boot start it must survive a cut of the power, too.
        durable::sync_parent(&PathBuf::from(UNIT_FOLDER).join("timers.target.wants/x")).map_err(failed)
    }

    fn arm_process(&self) -> Result<(), String> {
        let failed =
            |error: io::Error| format!("the process that would take the change back can't be started: {error}");
        let child = self.start_process().map_err(failed)?;
        let deadman = self.clone();
        tokio::spawn(keep(child, move || deadman.start_process()));
        Ok(())
    }

    fn start_process(&self) -> io::Result<Child> {
        Command::new(this_program()?)
            .args(["revert", "--watch", "--state-dir"])
            .arg(&self.state_dir)
            .env_clear()
            .env("PATH", program::PATH)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
    }
}

/// Has `start` begin another process whenever `child` is ended by somebody else. It ends well when nothing is left to be
/// reverted, and goes on when this process ends.
async fn keep(mut child: Child, start: impl Fn() -> io::Result<Child>) {
    while !child.wait().await.is_ok_and(|status| status.success()) {
        sleep(START_AGAIN_AFTER).await;
        match start() {
            Ok(again) => child = again,
            Err(cause) => {
                tracing::error!(%cause, "an unconfirmed change is left to the next start of the executor");
                return;
            }
        }
    }
}

/// Where this program lies, also when a newer one has taken its place.
fn this_program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let replaced = program.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.unwrap_or(program))
}

async fn order(arguments: &[&str]) -> Result<(), String> {
    let call = Call::new("systemctl", arguments, ORDER_WITHIN_S);
    let arguments: Vec<&str> = call.arguments.iter().map(String::as_str).collect();
    let limit = Duration::from_secs(call.limit_s);
    let asked = program::run_well(&call.program, &arguments, limit).await;
    asked.map(drop).map_err(|error| format!("the timer that would take the change back can't be set: {error}"))
}

#[async_trait]
impl Deadman for HostDeadman {
    async fn arm(&self) -> Result<(), String> {
        match Platform::detect(std::path::Path::new("/")).init_system {
            InitSystem::Systemd => self.arm_timer().await,
            _ => self.arm_process(),
        }
    }

    async fn disarm(&self) {
        let is_set = |name: &str| PathBuf::from(UNIT_FOLDER).join(name).exists();
        if Platform::detect(std::path::Path::new("/")).init_system != InitSystem::Systemd || !is_set(TIMER) {
            // The process ends by itself when it finds nothing left.
            return;
        }
        // Where this fails the timer finds nothing to do, and tries again.
        if let Err(cause) = order(&["--quiet", "disable", "--now", TIMER]).await {
            tracing::warn!(%cause, "the timer for unconfirmed changes can't be switched off");
            return;
        }
        for name in [TIMER, SERVICE] {
            let _ = fs::remove_file(PathBuf::from(UNIT_FOLDER).join(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn starts_after(first: &str) -> u32 {
        let starts = AtomicU32::new(0);
        let child = Command::new(first).spawn().expect("a process");
        keep(child, || {
            starts.fetch_add(1, Ordering::Relaxed);
            Command::new("true").spawn()
        })
        .await;
        starts.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_is_started_again_until_it_ends_well() {
        assert_eq!((starts_after("false").await, starts_after("true").await), (1, 0));
    }
}
