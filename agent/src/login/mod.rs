//! How people enter this host over SSH: which keys a login takes, and whether it takes passwords.
//!
//! The control plane runs this in a login of its own, carried there for one run, before or without an installed agent.
//! Keys are changed as the login itself, passwords as root. Every answer is one line of JSON.

mod authorized_keys;
mod key_file;
mod passwords;
mod settings;
mod sshd;
mod undo;

use std::{io::Write, path::Path, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::{authorized_keys::PublicKey, key_file::KeyFolder, passwords::PasswordsError};
use crate::app::{Exit, Failure};

/// What the process that waits says once it stands on its own.
const WAITING: &str = "waiting";
/// Shortest and longest trial, in seconds.
const TRIAL_SECONDS: std::ops::RangeInclusive<u64> = 5..=600;

/// Arguments of `muster-agent login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Let a public key in.
    Authorize {
        /// As a line of authorized_keys, without options.
        #[arg(long)]
        key: PublicKey,
        /// A key whose options the new line takes over.
        #[arg(long)]
        like: Option<PublicKey>,
    },
    /// Take every line of a public key away.
    Withdraw {
        #[arg(long)]
        key: PublicKey,
    },
    /// Switch passwords off until they are kept off, at most for a while.
    PasswordsOff {
        /// A user who must not get in by a password.
        #[arg(long)]
        user: String,
        /// Seconds after which everything is put back.
        #[arg(long)]
        within: u64,
    },
    /// Keep passwords off.
    PasswordsKeep,
    /// Put everything back that is on trial.
    PasswordsRestore,
    /// Wait, then put everything back that is on trial.
    PasswordsUndo {
        /// Seconds.
        #[arg(long)]
        after: u64,
    },
    /// Only say that this login runs programs.
    Check,
}

/// Does what `args` ask for and writes its answer to `out`.
///
/// # Errors
/// What kept it from being done, in words; then nothing is changed.
pub async fn run(args: LoginArgs, out: &mut impl Write) -> Result<(), Failure> {
    let answer = match args.what {
        What::Authorize { key, like } => json!({ "changed": keys()?.authorize(&key, like.as_ref()).map_err(failed)? }),
        What::Withdraw { key } => json!({ "changed": keys()?.withdraw(&key).map_err(failed)? }),
        What::PasswordsOff { user, within } => {
            let file = passwords::off(&user, trial(within)?).await.map_err(failed)?;
            json!({ "changed": file.is_some(), "file": file })
        }
        What::PasswordsKeep => json!({ "kept": passwords::keep().await.map_err(failed)? }),
        What::PasswordsRestore => json!({ "restored": passwords::restore().await.map_err(failed)? }),
        What::PasswordsUndo { after } => return wait_and_restore(trial(after)?, out).await,
        What::Check => json!({ "uid": rustix::process::geteuid().as_raw() }),
    };
    say(out, &answer)
}

async fn wait_and_restore(after: Duration, out: &mut impl Write) -> Result<(), Failure> {
    rustix::process::setsid().map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    writeln!(out, "{WAITING}").and_then(|()| out.flush()).map_err(failed)?;
    tokio::time::sleep(after).await;
    passwords::restore().await.map(drop).map_err(failed)
}

fn trial(seconds: u64) -> Result<Duration, Failure> {
    if TRIAL_SECONDS.contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        let (from, to) = (TRIAL_SECONDS.start(), TRIAL_SECONDS.end());
        Err(Failure::new(Exit::Usage, format!("a trial takes {from} to {to} seconds")))
    }
}

/// Of the login this runs in: sshd sets its home.
fn keys() -> Result<KeyFolder, Failure> {
    let home = std::env::var_os("HOME").ok_or_else(|| Failure::new(Exit::Failed, "the login has no HOME"))?;
    Ok(KeyFolder::new(Path::new(&home), rustix::process::geteuid().as_raw()))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

fn say(out: &mut impl Write, answer: &Value) -> Result<(), Failure> {
    writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(failed)
}
