//! Switching off that sshd lets anybody in by a password: on trial, until somebody who came in by another way keeps it.

use std::{io, path::Path, time::Duration};

use super::{
    settings::{DROP_IN, Edit, MAIN, edits},
    sshd,
    undo::{self, Before, Plan},
};
use crate::{durable, probe::program::ProgramError};

/// Why passwords were not switched off; whatever was changed is as it was again.
#[derive(Debug, thiserror::Error)]
pub(super) enum PasswordsError {
    #[error("root is needed to change sshd's settings")]
    NotRoot,
    #[error("the name is none a user has: {0}")]
    NotAUser(String),
    #[error("{path} can't be read or written: {source}")]
    File { path: String, source: io::Error },
    #[error("what undoes the change can't be set up: {0}")]
    Undo(io::Error),
    #[error(transparent)]
    Program(ProgramError),
    #[error("sshd does not accept its settings with passwords switched off: {0}")]
    Refused(ProgramError),
    #[error("sshd would still take a password from {user}: look for a `Match` block in its settings that says so")]
    Overridden { user: String },
}

impl PasswordsError {
    pub(super) fn undo(source: io::Error) -> Self {
        Self::Undo(source)
    }
}

type Result<T> = std::result::Result<T, PasswordsError>;

/// Switches passwords off for everybody, `user` among them, until [`undo::keep`], at most for `within`. Answers the file
/// that says so; `None` where they were off already.
pub(super) async fn off(user: &str, within: Duration) -> Result<Option<&'static str>> {
    require_root()?;
    require_user(user)?;
    // What an earlier trial left comes back first, or its change would count as what was there before.
    restore().await?;
    if sshd::passwords_of(user).await.map_err(PasswordsError::Program)?.are_off() {
        return Ok(None);
    }
    let before = |path: &'static str| Before::of(Path::new(path)).map_err(|source| at(path, source));
    let plan = Plan { files: vec![before(DROP_IN)?, before(MAIN)?] };
    let main = plan.files.last().and_then(|main| main.content.clone()).unwrap_or_default();
    undo::arm(&plan, within).await?;
    match change(&edits(&main), &plan, user).await {
        Ok(path) => Ok(Some(path)),
        Err(error) => {
            restore().await?;
            Err(error)
        }
    }
}

/// Tries one place after the other until sshd says that the setting counts, then has it read.
async fn change(edits: &[Edit], plan: &Plan, user: &str) -> Result<&'static str> {
    for edit in edits {
        let before = plan.files.iter().find(|before| before.path == Path::new(edit.path));
        let mode = before.filter(|before| before.content.is_some()).map_or(0o600, |before| before.mode);
        durable::write_atomically(Path::new(edit.path), &edit.content, mode).map_err(|source| at(edit.path, source))?;
        sshd::check().await.map_err(PasswordsError::Refused)?;
        if sshd::passwords_of(user).await.map_err(PasswordsError::Program)?.are_off() {
            sshd::reload().await;
            return Ok(edit.path);
        }
        if let Some(before) = before {
            before.restore().map_err(|source| at(edit.path, source))?;
        }
    }
    Err(PasswordsError::Overridden { user: user.to_owned() })
}

/// Puts back what a trial changed, where there is one. Answers whether there was one.
pub(super) async fn restore() -> Result<bool> {
    require_root()?;
    if !undo::restore().await? {
        return Ok(false);
    }
    // At boot sshd may not have started yet; then it reads the files when it does.
    sshd::reload().await;
    undo::restored().await?;
    Ok(true)
}

/// Ends the trial, the change stays. Answers whether there was one.
pub(super) async fn keep() -> Result<bool> {
    require_root()?;
    undo::keep().await
}

fn at(path: &str, source: io::Error) -> PasswordsError {
    PasswordsError::File { path: path.to_owned(), source }
}

fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(PasswordsError::NotRoot) }
}

/// A name that can be nothing else to sshd, whoever gave it.
fn require_user(user: &str) -> Result<()> {
    let accepted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let sound = (1..=32).contains(&user.len()) && user.chars().all(accepted) && !user.starts_with('-');
    if sound { Ok(()) } else { Err(PasswordsError::NotAUser(user.chars().take(40).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_users_reach_sshd() {
        for user in ["root", "deploy-1", "a.b_c"] {
            assert!(require_user(user).is_ok(), "{user}");
        }
        for user in ["", "-oX", "a,addr=10.0.0.1", "a=b", "a b", "a\nb", "a\0", "$(x)", &"x".repeat(33)] {
            assert!(require_user(user).is_err(), "{user:?}");
        }
    }
}
