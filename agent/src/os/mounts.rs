//! The mount table, `/proc/mounts`.

use std::{fs, path::Path};

/// Most entries of the table that are looked at; a host with more has runaway mounts, and the first ones count.
pub const MAX_MOUNTS: usize = 4096;

/// File systems on storage of this host. Those of a network or of user space are left out: asking one whose server
/// is gone blocks for minutes.
const LOCAL: [&str; 16] = [
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ntfs3", "reiserfs", "ufs", "vfat",
    "xfs", "zfs", "erofs",
];

/// A line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    pub device: String,
    pub path: String,
    pub fs_type: String,
    pub read_only: bool,
    /// Its options, comma-separated.
    pub options: String,
}

impl MountEntry {
    /// Whether it is storage of this host, so that asking for its space can't block. An overlay counts where it is
    /// the root: that is a container's own disk.
    #[must_use]
    pub fn is_local(&self) -> bool {
        LOCAL.contains(&self.fs_type.as_str()) || (self.fs_type == "overlay" && self.path == "/")
    }
}

/// The mount table of the host whose root is `root`; empty where it can't be read.
#[must_use]
pub fn read(root: &Path) -> Vec<MountEntry> {
    fs::read(root.join("proc/mounts")).map(|table| parse(&String::from_utf8_lossy(&table))).unwrap_or_default()
}

/// The local storage of the host whose root is `root`, each device once. Single files that an engine mounts into a
/// container are left out.
#[must_use]
pub fn read_local(root: &Path) -> Vec<MountEntry> {
    let entries = read(root).into_iter().filter(MountEntry::is_local);
    let directories = entries.filter(|entry| !root.join(entry.path.trim_start_matches('/')).is_file());
    each_once(directories.collect())
}

/// Bind mounts repeat a device; the shortest path names it best.
fn each_once(entries: Vec<MountEntry>) -> Vec<MountEntry> {
    let mut kept: Vec<MountEntry> = Vec::new();
    for entry in entries {
        match kept.iter_mut().find(|other| other.device == entry.device && other.fs_type == entry.fs_type) {
            Some(other) if entry.path.len() < other.path.len() => *other = entry,
            Some(_) => {}
            None => kept.push(entry),
        }
    }
    kept
}

/// Parses a mount table.
#[must_use]
pub fn parse(table: &str) -> Vec<MountEntry> {
    table.lines().take(MAX_MOUNTS).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<MountEntry> {
    let mut fields = line.split(' ');
    let device = unescape(fields.next()?);
    let path = unescape(fields.next()?);
    let fs_type = fields.next()?.to_owned();
    let options = fields.next()?.to_owned();
    let read_only = options.split(',').any(|option| option == "ro");
    Some(MountEntry { device, path, fs_type, read_only, options })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escaped = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_mounts_and_foreign_file_systems_are_left_out() {
        let table = "/dev/vda /var/lib/docker ext4 rw,relatime 0 0\n\
                     /dev/vda / ext4 ro,relatime 0 0\n\
                     server:/export /mnt/my\\040share nfs4 rw 0 0\n\
                     overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0\n\
                     tmpfs /run tmpfs rw 0 0\nbroken";
        let entries = parse(table);
        assert_eq!(entries.len(), 5);
        assert_eq!(entries[2].path, "/mnt/my share");
        let local = each_once(entries.into_iter().filter(MountEntry::is_local).collect());
        assert_eq!(local.len(), 1);
        assert_eq!((local[0].path.as_str(), local[0].read_only), ("/", true));
    }

    #[test]
    fn a_single_file_is_no_disk() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("proc")).expect("proc");
        fs::create_dir_all(root.path().join("etc")).expect("etc");
        fs::write(root.path().join("etc/hosts"), "").expect("hosts");
        let table = "/dev/vda /etc/hosts ext4 rw 0 0\n/dev/vda /var/lib/docker ext4 rw 0 0\n";
        fs::write(root.path().join("proc/mounts"), table).expect("mounts");
        let local = read_local(root.path());
        assert_eq!(local.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["/var/lib/docker"]);
    }

    #[test]
    fn the_overlay_of_a_container_is_its_disk() {
        assert!(parse("overlay / overlay rw 0 0")[0].is_local());
    }
}
