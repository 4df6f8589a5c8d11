//! Installing: a user, one binary, and what has the host's init system start it. Every step can be repeated.
//!
//! Programs are run by argument vector; their output is shown only when they fail.

pub mod service;
pub mod users;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use muster_shared::facts::InitSystem;
use rustix::process::geteuid;

use self::service::Service;
use crate::{
    action::deadman,
    app::{Exit, Failure},
    durable,
    os::{Platform, services::Change},
    state::{DEFAULT_STATE_DIR, Paths},
};

const BINARY: &str = "/usr/local/bin/muster-agent";

/// Whether systemd is this host's init.
#[must_use]
pub fn has_systemd() -> bool {
    // What sd_booted(3) looks at.
    Path::new("/run/systemd/system").is_dir()
}

/// How this host's init system starts the agent; `None` where nobody does.
#[must_use]
pub fn service() -> Option<Service> {
    Service::of(Platform::detect(Path::new("/")).init_system)
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

/// Installs and starts `service`. One that runs is started anew only if something changed or the identity is new.
///
/// # Errors
/// [`Failure`] with what the failing program said.
pub fn install(service: Service, new_identity: bool, out: &mut impl Write) -> Result<(), Failure> {
    create_user()?;
    let before = fs::read(BINARY).ok();
    copy_binary()?;
    let mut changed = before != fs::read(BINARY).ok();
    for (path, text, mode) in service.files() {
        changed |= write_file(&path, text, mode)?;
    }
    if changed && service.init == InitSystem::Systemd {
        run("systemctl", &["daemon-reload"])?;
    }
    ask(service, Change::Enable)?;
    ask(service, if changed || new_identity { Change::Restart } else { Change::Start })?;
    writeln!(out, "the agent runs and starts at boot; look at it with: {}", service.look())
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

fn ask(service: Service, change: Change) -> Result<(), Failure> {
    for (program, arguments) in service.words(change) {
        run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn write_file(path: &Path, text: &str, mode: u32) -> Result<bool, Failure> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    durable::write_atomically(path, text.as_bytes(), mode)
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
        if let Some(service) = service().filter(|service| service.files().any(|(path, ..)| path.exists())) {
            ask(service, Change::Stop)?;
            let disabled = ask(service, Change::Disable);
            // OpenRC takes it for a failure where somebody has done it before.
            if service.init != InitSystem::Openrc {
                disabled?;
            }
        }
        if has_systemd() && deadman::units()[0].exists() {
            run("systemctl", &["disable", "--now", "--quiet", deadman::TIMER])?;
        }
        leftovers.extend(Service::leftovers());
        leftovers.extend(deadman::units());
        leftovers.extend([paths.config_dir.clone(), PathBuf::from(BINARY)]);
    }
    for path in &leftovers {
        remove(path)?;
    }
    // Whatever else its owner keeps there stays.
    let _ = fs::remove_dir(&paths.state_dir);
    match service().filter(|_| installed).map(|service| service.init) {
        Some(InitSystem::Systemd) => run("systemctl", &["daemon-reload"])?,
        // Links that lead nowhere now.
        Some(InitSystem::Sysvinit) => run("update-rc.d", &["muster-agent", "remove"])?,
        _ => {}
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
