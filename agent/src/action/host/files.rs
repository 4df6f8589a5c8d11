//! Files of the host, reached from the root directory step by step, so that nobody but root can lead a write astray: a
//! symbolic link on the way counts only where it is root's, in a directory that only root can write.

use std::{
    fs::File as Handle,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::fs::{self as sys, AtFlags, Gid, Mode, OFlags, Uid};

use super::File;
use crate::action::step::Owner;

/// Largest file that is read, and so kept and written, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// What a file is called until it is whole: no program includes names that end so.
const UNFINISHED: &str = ".muster-new";
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::RDONLY);
const OTHERS_MAY_WRITE: u32 = 0o022;

/// The directory in which `path` stands, and its last name; `None` where the directory is not there.
fn parent(path: &str) -> io::Result<Option<(OwnedFd, &str)>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("{path} is no absolute path"));
    let rest = path.strip_prefix('/').ok_or_else(invalid)?;
    let (folders, name) = rest.rsplit_once('/').unwrap_or(("", rest));
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !is_plain(name) || (!folders.is_empty() && !folders.split('/').all(is_plain)) {
        return Err(invalid());
    }
    let mut directory = sys::open("/", DIRECTORY, Mode::empty())?;
    for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
        match enter(&directory, folder) {
            Ok(next) => directory = next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some((directory, name)))
}

fn enter(directory: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match sys::openat(directory, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
            let link = sys::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let around = sys::fstat(directory)?;
            // A link that root alone could have put there, such as /var/run.
            if link.st_uid == 0 && around.st_uid == 0 && around.st_mode & OTHERS_MAY_WRITE == 0 {
                Ok(sys::openat(directory, name, DIRECTORY, Mode::empty())?)
            } else {
                Err(io::Error::other(format!("{name} is a link that others than root could have put there")))
            }
        }
        opened => Ok(opened?),
    }
}

fn required(path: &str) -> io::Result<(OwnedFd, &str)> {
    parent(path)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("the directory of {path} is not there")))
}

pub(super) fn read(path: &str) -> io::Result<Option<File>> {
    let Some((directory, name)) = parent(path)? else { return Ok(None) };
    // Not waiting: a pipe in the file's place must not hold us up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = match sys::openat(&directory, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(io::Error::other(format!("{path} is a symbolic link"))),
        opened => opened?,
    };
    let stat = sys::fstat(&opened)?;
    if sys::FileType::from_raw_mode(stat.st_mode) != sys::FileType::RegularFile {
        return Err(io::Error::other(format!("{path} is no regular file")));
    }
    let mut bytes = Vec::new();
    Handle::from(opened).take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("{path} is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(Some(File { bytes, mode: stat.st_mode & 0o7777, owner: Owner { uid: stat.st_uid, gid: stat.st_gid } }))
}

pub(super) fn write(path: &str, file: &File) -> io::Result<()> {
    let (directory, name) = required(path)?;
    let unfinished = format!("{name}{UNFINISHED}");
    match sys::unlinkat(&directory, unfinished.as_str(), AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut handle = Handle::from(sys::openat(&directory, unfinished.as_str(), flags, Mode::RUSR | Mode::WUSR)?);
    let put = || {
        handle.write_all(&file.bytes)?;
        // In this order: giving a file away takes its set-user-id bit.
        give(&handle, file.owner)?;
        sys::fchmod(&handle, Mode::from_raw_mode(file.mode))?;
        handle.sync_all()?;
        sys::renameat(&directory, unfinished.as_str(), &directory, name)?;
        Ok(sys::fsync(&directory)?)
    };
    let mut put = put;
    put().inspect_err(|_: &io::Error| {
        // It is replaced by the next attempt in any case.
        let _ = sys::unlinkat(&directory, unfinished.as_str(), AtFlags::empty());
    })
}

fn give(handle: &impl std::os::fd::AsFd, owner: Owner) -> io::Result<()> {
    let stat = sys::fstat(handle.as_fd())?;
    if (stat.st_uid, stat.st_gid) == (owner.uid, owner.gid) {
        return Ok(());
    }
    Ok(sys::fchown(handle.as_fd(), Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?)
}

pub(super) fn remove(path: &str) -> io::Result<()> {
    let Some((directory, name)) = parent(path)? else { return Ok(()) };
    match sys::unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) => Ok(sys::fsync(&directory)?),
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn has_directory(path: &str) -> io::Result<bool> {
    let Some((directory, name)) = parent(path)? else { return Ok(false) };
    match enter(&directory, name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn make_directory(path: &str, mode: u32, owner: Owner) -> io::Result<()> {
    let (directory, name) = required(path)?;
    match sys::mkdirat(&directory, name, Mode::RWXU) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => return enter(&directory, name).map(drop),
        Err(error) => return Err(error.into()),
    }
    let made = sys::openat(&directory, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    give(&made, owner)?;
    sys::fchmod(&made, Mode::from_raw_mode(mode))?;
    Ok(sys::fsync(directory.as_fd())?)
}

pub(super) fn remove_directory(path: &str) -> io::Result<()> {
    let Some((directory, name)) = parent(path)? else { return Ok(()) };
    match sys::unlinkat(&directory, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTEMPTY | rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn list(path: &str) -> Vec<String> {
    const MAX_ENTRIES: usize = 4096;
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    fn place() -> (tempfile::TempDir, String, Owner) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file").to_str().expect("text").to_owned();
        let owner = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        (folder, path, owner)
    }

    #[test]
    fn a_file_comes_back_as_it_was_with_mode_and_owner() {
        let (folder, path, owner) = place();
        assert_eq!(read(&path).expect("nothing there"), None);
        let file = File { bytes: vec![0, 255, b'\n'], mode: 0o640, owner };
        write(&path, &file).expect("written");
        assert_eq!(read(&path).expect("read"), Some(file.clone()));
        write(&path, &File { mode: 0o4755, ..file.clone() }).expect("written over");
        assert_eq!(read(&path).expect("read").map(|file| file.mode), Some(0o4755));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing unfinished stays");
        remove(&path).expect("removed");
        remove(&path).expect("twice is no error");
        assert_eq!(read(&path).expect("nothing there"), None);
    }

    #[test]
    fn neither_links_nor_pipes_nor_crooked_paths_are_followed() {
        let (folder, path, owner) = place();
        let canary = folder.path().join("canary");
        fs::write(&canary, "untouched").expect("written");
        symlink(&canary, &path).expect("linked");
        assert!(read(&path).is_err());
        write(&path, &File { bytes: b"new".to_vec(), mode: 0o600, owner }).expect("the link itself is replaced");
        assert_eq!(fs::read(&canary).expect("there"), b"untouched");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("set");
        let elsewhere = tempfile::tempdir().expect("a folder");
        symlink(elsewhere.path(), folder.path().join("led")).expect("linked");
        let led = folder.path().join("led/astray");
        let led = led.to_str().expect("text");
        assert!(write(led, &File { bytes: Vec::new(), mode: 0o600, owner }).is_err());
        assert_eq!(fs::read_dir(elsewhere.path()).expect("listed").count(), 0);
        for crooked in ["relative", "/", "/etc/../etc/passwd", "/etc/./passwd", "/etc//passwd", "/etc/a\0b", ""] {
            assert!(read(crooked).is_err(), "{crooked:?}");
        }
    }

    #[test]
    fn directories_are_made_and_only_empty_ones_removed() {
        let (folder, path, owner) = place();
        assert!(!has_directory(&path).expect("none"));
        make_directory(&path, 0o750, owner).expect("made");
        make_directory(&path, 0o700, owner).expect("there already");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o750);
        fs::write(folder.path().join("file/inside"), "").expect("written");
        remove_directory(&path).expect("left");
        assert!(has_directory(&path).expect("still there") && list(&path) == ["inside"]);
        fs::remove_file(folder.path().join("file/inside")).expect("removed");
        remove_directory(&path).expect("removed");
        assert!(!has_directory(&path).expect("gone"));
    }
}
