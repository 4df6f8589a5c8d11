//! What was there before a change that is on trial, and who puts it back if nobody says that it may stay.
//!
//! The plan is written before the first change. Then something that outlives this process waits: a systemd timer, and
//! for a restart of the host a service that runs before sshd; without systemd, a process of its own session. Keeping
//! and restoring both begin by renaming the plan, so that exactly one of them happens. A restore that was cut short goes
//! on from the renamed plan.

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::PasswordsError;
use crate::{durable, install::has_systemd, probe::program};

const FOLDER: &str = "/var/lib/muster-ssh-undo";
/// Where a copy of this program may be run from by the init system; the second for where `/usr` is read-only.
const PROGRAMS: [&str; 2] = ["/usr/local/sbin/muster-ssh-undo", "/var/lib/muster-ssh-undo/muster-ssh-undo"];
const UNITS: &str = "/etc/systemd/system";
const SERVICE: &str = "muster-ssh-undo.service";
const TIMER: &str = "muster-ssh-undo.timer";
const SYSTEMCTL_WITHIN: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, PasswordsError>;

/// Files as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) files: Vec<Before>,
}

/// A file as it was; `None` where there was none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) path: PathBuf,
    pub(super) content: Option<Vec<u8>>,
    pub(super) mode: u32,
}

impl Before {
    /// `path` as it is.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let content = match fs::read(path) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mode = fs::metadata(path).map_or(0o600, |metadata| metadata.permissions().mode() & 0o777);
        Ok(Self { path: path.to_owned(), content, mode })
    }

    /// Puts it back.
    pub(super) fn restore(&self) -> io::Result<()> {
        match &self.content {
            Some(content) => durable::write_atomically(&self.path, content, self.mode),
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => durable::sync_parent(&self.path),
            },
        }
    }
}

fn pending() -> PathBuf {
    Path::new(FOLDER).join("pending.json")
}

fn restoring() -> PathBuf {
    Path::new(FOLDER).join("restoring.json")
}

/// Writes `plan` down and sets what carries it out after `within`.
pub(super) async fn arm(plan: &Plan, within: Duration) -> Result<()> {
    durable::create_directory(Path::new(FOLDER), 0o700).map_err(PasswordsError::undo)?;
    let program = copy_program()?;
    let text = serde_json::to_vec(plan).map_err(|error| PasswordsError::undo(error.into()))?;
    durable::write_atomically(&pending(), &text, 0o600).map_err(PasswordsError::undo)?;
    let armed = if has_systemd() { arm_systemd(&program, within).await } else { arm_process(&program, within) };
    if armed.is_err() {
        // Nothing was changed yet, so there is nothing to put back either.
        disarm().await;
    }
    armed
}

async fn arm_systemd(program: &Path, within: Duration) -> Result<()> {
    let program = program.display();
    let service = format!(
        "[Unit]\nDescription=Put back the SSH server's settings from before a change nobody kept\n\
         Before=ssh.service sshd.service ssh.socket\nDefaultDependencies=no\nAfter=local-fs.target\n\n\
         [Service]\nType=oneshot\nExecStart={program} login passwords-restore\n\n[Install]\nWantedBy=sysinit.target\n"
    );
    let seconds = within.as_secs();
    let timer = format!(
        "[Unit]\nDescription=Put back the SSH server's settings unless the change is kept\n\n\
         [Timer]\nOnActiveSec={seconds}\nAccuracySec=1s\nUnit={SERVICE}\n"
    );
    for (name, text) in [(SERVICE, service), (TIMER, timer)] {
        durable::write_atomically(&Path::new(UNITS).join(name), text.as_bytes(), 0o644)
            .map_err(PasswordsError::undo)?;
    }
    systemctl(&["daemon-reload"]).await?;
    systemctl(&["enable", "--quiet", SERVICE]).await?;
    systemctl(&["restart", TIMER]).await
}

async fn systemctl(arguments: &[&str]) -> Result<()> {
    program::run_well("systemctl", arguments, SYSTEMCTL_WITHIN).await.map(drop).map_err(PasswordsError::Program)
}

/// Starts a process of its own session and waits until it is one: from then on the login's end is not its end.
fn arm_process(program: &Path, within: Duration) -> Result<()> {
    let mut child = Command::new(program)
        .args(["login", "passwords-undo", "--after", &within.as_secs().to_string()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(PasswordsError::undo)?;
    let mut line = String::new();
    let out = child.stdout.take().ok_or_else(|| PasswordsError::undo(io::ErrorKind::BrokenPipe.into()))?;
    BufReader::new(out).read_line(&mut line).map_err(PasswordsError::undo)?;
    if line.trim() == super::WAITING { Ok(()) } else { Err(PasswordsError::undo(io::ErrorKind::BrokenPipe.into())) }
}

/// Copies this very program to where the init system may run it, and sees it run.
fn copy_program() -> Result<PathBuf> {
    let bytes = fs::read("/proc/self/exe").map_err(PasswordsError::undo)?;
    let mut last = io::ErrorKind::NotFound.into();
    for path in PROGRAMS.map(PathBuf::from) {
        let runs = durable::write_atomically(&path, &bytes, 0o700).and_then(|()| {
            let status = Command::new(&path).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status()?;
            status.success().then_some(()).ok_or_else(|| io::ErrorKind::PermissionDenied.into())
        });
        match runs {
            Ok(()) => return Ok(path),
            Err(error) => last = error,
        }
        // Nothing depends on a copy that does not run.
        let _ = fs::remove_file(&path);
    }
    Err(PasswordsError::undo(last))
}

/// Ends the trial, the change stays. Answers whether there was one: not where it was put back before.
pub(super) async fn keep() -> Result<bool> {
    let kept = Path::new(FOLDER).join("kept.json");
    match fs::rename(pending(), &kept) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(PasswordsError::undo(error)),
    }
    durable::sync_parent(&kept).map_err(PasswordsError::undo)?;
    disarm().await;
    Ok(true)
}

/// Puts the files of the plan back, where there is one. Answers whether there was one.
pub(super) async fn restore() -> Result<bool> {
    match fs::rename(pending(), restoring()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(PasswordsError::undo(error)),
        _ => {}
    }
    let text = match fs::read(restoring()) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(PasswordsError::undo(error)),
    };
    let plan: Plan = serde_json::from_slice(&text).map_err(|error| PasswordsError::undo(error.into()))?;
    for file in &plan.files {
        file.restore().map_err(PasswordsError::undo)?;
    }
    Ok(true)
}

/// The files are back and sshd has read them: nothing is left to wait for.
pub(super) async fn restored() -> Result<()> {
    fs::remove_file(restoring()).map_err(PasswordsError::undo)?;
    disarm().await;
    Ok(())
}

/// Removes what waits. Whatever of it stays finds no plan and does nothing.
async fn disarm() {
    if has_systemd() {
        // Not waited for: this may be the very service that the timer started.
        let _ = systemctl(&["stop", "--no-block", TIMER]).await;
        let _ = systemctl(&["disable", "--quiet", SERVICE]).await;
    }
    for name in [SERVICE, TIMER] {
        let _ = fs::remove_file(Path::new(UNITS).join(name));
    }
    for path in PROGRAMS {
        let _ = fs::remove_file(path);
    }
    let _ = fs::remove_dir_all(FOLDER);
    if has_systemd() {
        let _ = systemctl(&["daemon-reload"]).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn files_come_back_byte_for_byte_with_their_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let (there, missing) = (folder.path().join("main"), folder.path().join("drop-in"));
        fs::write(&there, b"a\xff\r\n").expect("written");
        fs::set_permissions(&there, Permissions::from_mode(0o640)).expect("set");
        let plan = Plan { files: vec![Before::of(&there).expect("read"), Before::of(&missing).expect("read")] };
        let plan: Plan = serde_json::from_slice(&serde_json::to_vec(&plan).expect("JSON")).expect("read back");
        fs::write(&there, b"changed").expect("written");
        fs::write(&missing, b"new").expect("written");
        for _ in 0..2 {
            for file in &plan.files {
                file.restore().expect("back");
            }
        }
        assert_eq!(fs::read(&there).expect("read"), b"a\xff\r\n");
        assert_eq!(fs::metadata(&there).expect("there").permissions().mode() & 0o777, 0o640);
        assert!(!missing.exists());
    }
}
