//! Both roles where no init system keeps them: starts them, starts them again, and takes them along when it ends.

use std::{
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use muster_shared::backoff::Backoff;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{
    app::{Exit, Failure, stop_signal},
    install::users::{self, User},
    state::{DEFAULT_STATE_DIR, Paths, StateError},
};

/// How long the roles may take to end before they are killed.
const END_WITHIN: Duration = Duration::from_millis(4500);
const RESTART: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A role that ran this long had started well.
const RAN_WELL: Duration = Duration::from_secs(60);

/// Runs both roles over the state in `state_dir` until asked to stop, or until the control plane retires this host.
///
/// # Errors
/// [`Failure`] when they can't be started, or starting again does not help.
pub async fn run(state_dir: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failed, error.to_string());
    let paths = Paths::of(state_dir);
    let link_user = users::link_user();
    match paths.link().identity() {
        Err(error @ (StateError::NotEnrolled | StateError::Damaged { .. })) => {
            return Err(Failure::new(Exit::NotSetUp, format!("{error}: run muster-agent join first")));
        }
        Err(error) => return Err(Failure::new(Exit::Failed, error.to_string())),
        Ok(_) => {}
    }
    paths.create(link_user.as_ref().map(|user| (user.uid, user.gid))).map_err(failed)?;
    let argument = enter(state_dir).map_err(failed)?;
    let executor = Role { name: "executor", state_dir: argument.clone(), user: None };
    let link = Role { name: "link", state_dir: argument, user: link_user };
    let stop = stop_signal();
    tokio::pin!(stop);
    // Whichever ends for good takes the other along.
    let (mut link, mut executor) = (Kept::new(link), Kept::new(executor));
    let ended = tokio::select! {
        () = &mut stop => Ok(()),
        ended = link.keep() => ended,
        ended = executor.keep() => ended,
    };
    tokio::join!(link.end(), executor.end());
    ended
}

/// The roles find the state from the folder they start in, so that the link's user needs no way to it from the root.
fn enter(state_dir: &Path) -> io::Result<PathBuf> {
    if state_dir == Path::new(DEFAULT_STATE_DIR) {
        return Ok(state_dir.to_owned());
    }
    std::env::set_current_dir(state_dir)?;
    Ok(PathBuf::from("."))
}

struct Role {
    name: &'static str,
    state_dir: PathBuf,
    user: Option<User>,
}

impl Role {
    fn start(&self) -> io::Result<Child> {
        let program = std::env::current_exe()?;
        match self.command(&program).spawn() {
            // The link's user may have no way to the binary; the kernel has.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.command(Path::new("/proc/self/exe")).spawn()
            }
            spawned => spawned,
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg0("muster-agent")
            .arg(self.name)
            .arg("--state-dir")
            .arg(&self.state_dir)
            .arg("--parent")
            .arg(std::process::id().to_string())
            // One arena is enough for one thread, and costs less memory.
            .env("MALLOC_ARENA_MAX", "1")
            .env_remove("MUSTER_JOIN_TOKEN")
            .env_remove("MUSTER_STATE_DIR")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }
}

/// A role that is kept running.
struct Kept {
    role: Role,
    child: Option<Child>,
}

impl Kept {
    fn new(role: Role) -> Self {
        Self { role, child: None }
    }

    /// Starts the role again whenever it ends, until that makes no sense.
    async fn keep(&mut self) -> Result<(), Failure> {
        let mut backoff = Backoff::new(RESTART.0, RESTART.1);
        loop {
            let started = Instant::now();
            let ended = match self.role.start() {
                Ok(child) => self.child.insert(child).wait().await,
                Err(error) => Err(error),
            };
            self.child = None;
            match ended {
                Ok(status) if status.success() => {
                    tracing::info!(role = self.role.name, "ended for good");
                    return Ok(());
                }
                Ok(status) if is_hopeless(status) => {
                    return Err(Failure::new(Exit::NotSetUp, format!("the {} can't run as it is", self.role.name)));
                }
                Ok(status) => tracing::error!(role = self.role.name, %status, "ended unasked; starting it again"),
                Err(error) => tracing::error!(role = self.role.name, %error, "can't be started; trying again"),
            }
            if started.elapsed() >= RAN_WELL {
                backoff.succeeded();
            }
            // Two roles of one host need no dice.
            sleep(backoff.failed(1.0)).await;
        }
    }

    async fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(END_WITHIN, child.wait()).await.is_err() {
            tracing::warn!(role = self.role.name, "did not end in time; killing it");
            let _ = child.kill().await;
        }
    }
}

fn is_hopeless(status: ExitStatus) -> bool {
    let hopeless = [Exit::Usage, Exit::NotSetUp].map(|exit| i32::from(exit.code()));
    status.code().is_some_and(|code| hopeless.contains(&code))
}
