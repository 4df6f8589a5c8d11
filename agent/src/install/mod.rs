//! Installing under systemd: a user, one binary, two units. Every step can be repeated.
//!
//! Programs are run by argument vector; their output is shown only when they fail.

pub mod users;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::geteuid;

use crate::{
    action::deadman,
    app::{Exit, Failure},
    durable,
    state::{DEFAULT_STATE_DIR, Paths},
};

const BINARY: &str = "/usr/local/bin/muster-agent";
const UNITS_DIR: &str = "/etc/systemd/system";
/// The executor first: the link waits for it.
const UNITS: [(&str, &str); 2] = [
    ("muster-agent-executor.service", include_str!("../../../packaging/systemd/muster-agent-executor.service")),
    ("muster-agent-link.service", include_str!("../../../packaging/systemd/muster-agent-link.service")),
];

/// Whether systemd is this host's init.
#[must_use]
pub fn has_systemd() -> bool {
    // What sd_booted(3) looks at.
    Path::new("/run/systemd/system").is_dir()
}

/// Makes the link's user where there is none.
///
/// # Errors
/// When neither `useradd` nor BusyBox' `adduser` can.
pub fn create_user() -> Result<(), Failure> {
    if users::has_link_user() {
        return Ok(());
    }
    let user = users::LINK_USER;
    let useradd = [
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        "/usr/sbin/nologin",
        user,
    ];
    run("useradd", &useradd)
        .or_else(|_| run("adduser", &["-S", "-D", "-H", "-h", "/nonexistent", "-s", "/sbin/nologin", user]))
}

/// Copies this binary to its place, replacing an older one whole. Answers the place.
///
/// # Errors
/// When it can't be written.
pub fn copy_binary() -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failed, format!("{BINARY} can't be written: {error}"));
    let own = std::env::current_exe().map_err(failed)?;
    if own != Path::new(BINARY) {
        let bytes = fs::read("/proc/self/exe").map_err(failed)?;
        if fs::read(BINARY).ok().as_ref() != Some(&bytes) {
            let folder = Path::new(BINARY).parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(folder).map_err(failed)?;
            durable::write_atomically(Path::new(BINARY), &bytes, 0o755).map_err(failed)?;
        }
    }
    Ok(BINARY.to_owned())
}

/// Installs and starts both services. Running ones are started anew only if something changed or the identity is new.
///
/// # Errors
/// [`Failure`] with what the failing program said.
pub fn install(new_identity: bool, out: &mut impl Write) -> Result<(), Failure> {
    create_user()?;
    let before = fs::read(BINARY).ok();
    copy_binary()?;
    let mut changed = before != fs::read(BINARY).ok();
    for (name, text) in UNITS {
        changed |= write_unit(&Path::new(UNITS_DIR).join(name), text)?;
    }
    let names = UNITS.map(|(name, _)| name);
    if changed {
        run("systemctl", &["daemon-reload"])?;
    }
    run("systemctl", &[&["enable", "--quiet"][..], &names].concat())?;
    let verb = if changed || new_identity { "restart" } else { "start" };
    run("systemctl", &[&[verb][..], &names].concat())?;
    writeln!(out, "the agent runs and starts at boot; look at it with: systemctl status {}", names.join(" "))
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

fn write_unit(path: &Path, text: &str) -> Result<bool, Failure> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    durable::write_atomically(path, text.as_bytes(), 0o644)
        .map_err(|error| Failure::new(Exit::Failed, format!("{} can't be written: {error}", path.display())))?;
    Ok(true)
}

/// Stops the agent and removes what it put on this host. The control plane keeps its record of the server.
///
/// # Errors
/// When it is not allowed to, or something can't be removed.
pub fn uninstall(paths: &Paths, out: &mut impl Write) -> Result<(), Failure> {
    let installed = paths.state_dir == Path::new(DEFAULT_STATE_DIR);
    if installed && !geteuid().is_root() {
        return Err(Failure::new(Exit::NoPermission, "root is needed: run it in a root shell or with sudo"));
    }
    let mut leftovers =
        vec![paths.link_dir(), paths.executor_dir(), paths.policy(), paths.settings(), paths.run_dir.clone()];
    if installed {
        if has_systemd() {
            let names = UNITS.map(|(name, _)| name);
            if UNITS.iter().any(|(name, _)| Path::new(UNITS_DIR).join(name).exists()) {
                run("systemctl", &[&["disable", "--now", "--quiet"][..], &names].concat())?;
            }
            if deadman::units()[0].exists() {
                run("systemctl", &["disable", "--now", "--quiet", deadman::TIMER])?;
            }
        }
        leftovers.extend(UNITS.map(|(name, _)| PathBuf::from(UNITS_DIR).join(name)));
        leftovers.extend(deadman::units());
        leftovers.extend([paths.config_dir.clone(), PathBuf::from(BINARY)]);
    }
    for path in &leftovers {
        remove(path)?;
    }
    // Whatever else its owner keeps there stays.
    let _ = fs::remove_dir(&paths.state_dir);
    if installed && has_systemd() {
        run("systemctl", &["daemon-reload"])?;
    }
    if installed && users::has_link_user() {
        run("userdel", &[users::LINK_USER]).or_else(|_| run("deluser", &[users::LINK_USER]))?;
    }
    writeln!(out, "the agent is gone; delete the server in the control plane, too, if it is not to come back")
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

fn remove(path: &Path) -> Result<(), Failure> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::new(Exit::Failed, format!("{} can't be removed: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::new(Exit::Failed, format!("{program} can't be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let words = format!("{program} {} failed ({}): {}", arguments.join(" "), output.status, said.trim());
    Err(Failure::new(Exit::Failed, words))
}
