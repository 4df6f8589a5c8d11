//! The login's own `~/.ssh/authorized_keys`, read and replaced whole. Runs as the login itself, so that everything made
//! is its own and nothing can be reached that is not.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::authorized_keys::{PublicKey, with_key, without_key};
use crate::durable;

/// Largest file that is changed, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// sshd refuses files and folders that others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const FILE: &str = "authorized_keys";
/// sshd reads both unless told otherwise.
const FILES: [&str; 2] = [FILE, "authorized_keys2"];

/// Why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFileError {
    #[error("the login has no home directory: {0} is none")]
    NoHome(PathBuf),
    #[error("{0} belongs to another user, so it is not this login's to change")]
    NotOwn(PathBuf),
    #[error("{0} is no regular file")]
    NotAFile(PathBuf),
    #[error("{0} is larger than {MAX_FILE_BYTES} bytes")]
    TooLarge(PathBuf),
    #[error("{path} can't be changed: {source}")]
    Io { path: PathBuf, source: io::Error },
}

type Result<T> = std::result::Result<T, KeyFileError>;

/// The folder that sshd looks into for a login.
#[derive(Debug, Clone)]
pub(super) struct KeyFolder {
    home: PathBuf,
    /// The login's own number.
    uid: u32,
}

impl KeyFolder {
    /// That of the login `uid` whose home is `home`.
    #[must_use]
    pub(super) fn new(home: &Path, uid: u32) -> Self {
        Self { home: home.to_owned(), uid }
    }

    /// Lets `key` in, like `like` where that is given. Answers whether anything was changed.
    ///
    /// # Errors
    /// [`KeyFileError`]; the file then has its old content.
    pub(super) fn authorize(&self, key: &PublicKey, like: Option<&PublicKey>) -> Result<bool> {
        let folder = self.prepared()?;
        self.change(&folder.join(FILE), |content| with_key(content, key, like))
    }

    /// Takes every line of `key` away. Answers whether anything was changed.
    ///
    /// # Errors
    /// [`KeyFileError`]; a file then has its old content.
    pub(super) fn withdraw(&self, key: &PublicKey) -> Result<bool> {
        let folder = self.home.join(".ssh");
        let mut changed = false;
        for name in FILES {
            let path = folder.join(name);
            if path.symlink_metadata().is_ok() {
                changed |= self.change(&path, |content| without_key(content, key))?;
            }
        }
        Ok(changed)
    }

    /// `~/.ssh`, made where it is missing, writable by nobody else.
    fn prepared(&self) -> Result<PathBuf> {
        if !self.home.is_absolute() || !self.home.is_dir() {
            return Err(KeyFileError::NoHome(self.home.clone()));
        }
        let folder = self.home.join(".ssh");
        let failed = |source| KeyFileError::Io { path: folder.clone(), source };
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => {
                relabel(&folder);
                durable::sync_parent(&folder).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let metadata = fs::metadata(&folder).map_err(failed)?;
        if !metadata.is_dir() || metadata.uid() != self.uid {
            return Err(KeyFileError::NotOwn(folder));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & WRITABLE_BY_OTHERS != 0 {
            fs::set_permissions(&folder, Permissions::from_mode(mode & !WRITABLE_BY_OTHERS)).map_err(failed)?;
        }
        Ok(folder)
    }

    fn change(&self, path: &Path, edit: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Result<bool> {
        let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
        // A link leads to the file that is meant; replacing the link would leave that one as it is.
        let path = match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => fs::canonicalize(path).map_err(failed)?,
            _ => path.to_owned(),
        };
        let (content, mode) = match File::open(&path) {
            Ok(file) => {
                let metadata = file.metadata().map_err(failed)?;
                if !metadata.is_file() {
                    return Err(KeyFileError::NotAFile(path));
                }
                if metadata.uid() != self.uid {
                    return Err(KeyFileError::NotOwn(path));
                }
                let mut content = Vec::new();
                file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
                (content, metadata.mode() & 0o777)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), 0o600),
            Err(error) => return Err(failed(error)),
        };
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(KeyFileError::TooLarge(path));
        }
        let Some(changed) = edit(&content) else { return Ok(false) };
        replace(&path, &changed, mode & !WRITABLE_BY_OTHERS).map_err(failed)?;
        Ok(true)
    }
}

/// A crash leaves the old file or the new one; the name is new each time, so that nobody can have prepared it.
fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = format!(".{FILE}.muster-{}", uuid::Uuid::new_v4());
    let temporary = path.parent().unwrap_or(Path::new("/")).join(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What can't be removed either is empty or half a list of public keys that nothing reads.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    relabel(path);
    durable::sync_parent(path)
}

/// Under SELinux sshd reads only what is labelled as a user's keys.
fn relabel(path: &Path) {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        // Where it can't be done, the login with the key shows it.
        let _ = std::process::Command::new("restorecon")
            .arg(path)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGHfF/052wlH2ADHMrbax1lgw6Yb1Vqzs4k5fZBtqTzu muster";

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").mode() & 0o777
    }

    fn own(home: &Path) -> KeyFolder {
        KeyFolder::new(home, rustix::process::geteuid().as_raw())
    }

    #[test]
    fn a_new_login_gets_its_folder_and_file_with_the_modes_sshd_asks_for() {
        let home = tempfile::tempdir().expect("a home");
        let (folder, key) = (own(home.path()), KEY.parse().expect("a key"));
        assert!(folder.authorize(&key, None).expect("added"));
        assert!(!folder.authorize(&key, None).expect("there"));
        let file = home.path().join(".ssh/authorized_keys");
        assert_eq!((mode(&home.path().join(".ssh")), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read_to_string(&file).expect("read"), format!("{KEY}\n"));
        assert_eq!(fs::read_dir(home.path().join(".ssh")).expect("listed").count(), 1, "nothing else is left there");
        assert!(folder.withdraw(&key).expect("removed"));
        assert!(!folder.withdraw(&key).expect("gone"));
        assert_eq!(fs::read_to_string(&file).expect("read"), "");
    }

    #[test]
    fn what_others_may_write_is_tightened_and_a_link_followed() {
        let home = tempfile::tempdir().expect("a home");
        let (folder, key) = (own(home.path()), KEY.parse().expect("a key"));
        let ssh = home.path().join(".ssh");
        fs::create_dir(&ssh).expect("made");
        fs::set_permissions(&ssh, Permissions::from_mode(0o775)).expect("set");
        let real = home.path().join("real");
        fs::write(&real, "# first\n").expect("written");
        fs::set_permissions(&real, Permissions::from_mode(0o666)).expect("set");
        symlink(&real, ssh.join("authorized_keys")).expect("linked");
        assert!(folder.authorize(&key, None).expect("added"));
        assert_eq!((mode(&ssh), mode(&real)), (0o755, 0o644));
        assert_eq!(fs::read_to_string(&real).expect("read"), format!("# first\n{KEY}\n"));
        assert!(ssh.join("authorized_keys").symlink_metadata().expect("there").is_symlink());
    }

    #[test]
    fn what_is_another_s_or_no_file_stays() {
        let home = tempfile::tempdir().expect("a home");
        let key = KEY.parse().expect("a key");
        let stranger = KeyFolder::new(home.path(), rustix::process::geteuid().as_raw() + 1);
        assert!(matches!(stranger.authorize(&key, None), Err(KeyFileError::NotOwn(_))));
        fs::create_dir(home.path().join(".ssh/authorized_keys")).expect("made");
        assert!(own(home.path()).authorize(&key, None).is_err());
        assert!(matches!(own(Path::new("relative")).authorize(&key, None), Err(KeyFileError::NoHome(_))));
    }
}
