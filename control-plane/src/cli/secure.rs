//! `muster secure`: from a password to a key.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use muster_shared::wire;
use serde_json::Value;

use super::{
    ask,
    client::Fleet,
    failure::Failure,
    output::Output,
    progress::{self, Event},
    table,
};

/// Which server, and what else.
#[derive(Debug, Args)]
pub struct SecureArgs {
    /// Its name or id.
    pub server: String,
    /// Let nobody into the server by a password any more.
    #[arg(long)]
    pub disable_password_auth: bool,
    /// Keep the password on record for sudo alone, where sudo asks for it.
    #[arg(long)]
    pub keep_sudo_password: bool,
    /// Write the private key to this new file, readable by you alone, instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub key_out: Option<PathBuf>,
    /// Do it without asking.
    #[arg(long, short)]
    pub yes: bool,
}

impl SecureArgs {
    /// What will be changed.
    fn what(&self) -> String {
        let rest = if self.disable_password_auth { ", and let nobody in by a password any more" } else { "" };
        format!("replace the password of {} by a new key{rest}", self.server)
    }
}

/// Secures a server and shows or keeps its private key.
///
/// # Errors
/// Also when a step failed; then nothing was changed.
pub(super) async fn run(args: SecureArgs, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
    ask::unless(args.yes, &args.what())?;
    // Before anything is asked for: a key that can't be written would be lost.
    let file = args.key_out.as_deref().map(NewKeyFile::create).transpose()?;
    let request = wire::SecureServerRequest {
        server: args.server,
        disable_password_auth: args.disable_password_auth,
        keep_sudo_password: args.keep_sudo_password,
    };
    let events = fleet.secure_server(request).await?.into_inner();
    let mut secured = progress::follow_quietly(events, output).await?;
    if let Some(file) = file {
        let key = secured["private_key"].as_str().unwrap_or_default().to_owned();
        if let Err(failure) = file.keep(&key) {
            // The key is not lost: it is printed instead.
            output.item(&Event { event: "complete".to_owned(), data: secured }, draw)?;
            return Err(failure);
        }
        secured["private_key"] = Value::Null;
        secured["private_key_file"] = args.key_out.map(|path| path.display().to_string()).into();
    }
    output.item(&Event { event: "complete".to_owned(), data: secured }, draw)
}

fn draw(event: &Event) -> String {
    let text = |name: &str| table::printable(event.data[name].as_str().unwrap_or_default());
    let yes = |name: &str| if event.data[name].as_bool().unwrap_or_default() { "yes" } else { "no" }.to_owned();
    let about = table::pairs(&[
        ("done", text("message")),
        ("public key", text("public_key")),
        ("fingerprint", text("fingerprint")),
        ("key verified", yes("key_verified")),
        ("password cleared", yes("password_cleared")),
        ("passwords off", yes("server_password_auth_disabled")),
        ("warning", text("warning")),
    ]);
    match (event.data["private_key_file"].as_str(), event.data["private_key"].as_str()) {
        (Some(path), _) => format!("{about}\nThe private key is in {}", table::printable(path)),
        (None, Some(key)) => format!("{about}\nThe private key, shown this once:\n\n{key}"),
        (None, None) => about,
    }
}

/// A file that was not there before; gone again unless a key is kept in it.
pub(super) struct NewKeyFile {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl NewKeyFile {
    /// Makes the file.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
            let message = format!("{} can't be made: {error}", path.display());
            Failure::usage(message, "name a file that does not exist yet, in a folder you may write to")
        })?;
        Ok(Self { file, path: path.to_owned(), kept: false })
    }

    /// Writes the key into it.
    pub(super) fn keep(mut self, key: &str) -> Result<(), Failure> {
        let written = self.file.write_all(key.as_bytes()).and_then(|()| self.file.sync_all());
        written.map_err(|error| {
            let message = format!("the private key can't be written to {}: {error}", self.path.display());
            Failure::ended_badly(message, "it is printed above instead: keep it now, it is not shown again")
        })?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewKeyFile {
    fn drop(&mut self) {
        if !self.kept {
            // An empty file of this run; where it can't be removed, it holds nothing.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_written_to_a_new_file_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        NewKeyFile::create(&path).expect("new").keep("the key\n").expect("written");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "the key\n");
        assert!(NewKeyFile::create(&path).is_err(), "an existing file is never overwritten");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "the key\n");
        let other = folder.path().join("other");
        drop(NewKeyFile::create(&other).expect("new"));
        assert!(!other.exists(), "a run that fails leaves no file");
    }
}
