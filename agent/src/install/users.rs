//! Users as `/etc/passwd` has them: a static binary has no other way to ask.

use std::fs;

use rustix::process::geteuid;

/// The link's user on an installed host.
pub const LINK_USER: &str = "muster";
/// The link's user where nothing was installed.
const NOBODY: &str = "nobody";
const NOBODY_ID: u32 = 65534;

/// A user's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

/// Whom the link runs as: `None` where this process is not root and can only run it as itself.
#[must_use]
pub fn link_user() -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let nobody = User { uid: NOBODY_ID, gid: NOBODY_ID };
    Some(find(&passwd, LINK_USER).or_else(|| find(&passwd, NOBODY)).unwrap_or(nobody))
}

/// Whether this host knows the installed link's user.
#[must_use]
pub fn has_link_user() -> bool {
    find(&fs::read_to_string("/etc/passwd").unwrap_or_default(), LINK_USER).is_some()
}

/// A user whose name is `name` and who is not root.
fn find(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let user = User { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? };
        (user.uid != 0).then_some(user)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name_and_never_root() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\nmuster2:x:7:7::/:\nmuster:x:997:996:Muster:/:/usr/sbin/nologin\nbad:x\n";
        assert_eq!(find(passwd, "muster"), Some(User { uid: 997, gid: 996 }));
        assert_eq!(find(passwd, "root"), None);
        assert_eq!(find(passwd, "bad"), None);
        assert_eq!(find(passwd, "nobody"), None);
    }
}
