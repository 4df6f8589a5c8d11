//! Whether the system asks for a reboot.

use muster_shared::facts::RebootPending;

use crate::{os::text, probe::host::Host};

/// Most reasons reported.
const MAX_REASONS: usize = 64;

/// Debian's mark of packages that need one, or a running kernel whose modules were replaced by an update's.
pub(super) fn pending(host: &Host) -> Option<RebootPending> {
    let because_of = if host.exists("/run/reboot-required") || host.exists("/var/run/reboot-required") {
        packages(host)
    } else if is_kernel_replaced(host) {
        vec!["kernel".to_owned()]
    } else {
        return None;
    };
    Some(RebootPending { because_of })
}

fn packages(host: &Host) -> Vec<String> {
    let list = host.read("/run/reboot-required.pkgs").or_else(|_| host.read("/var/run/reboot-required.pkgs"));
    let mut packages: Vec<_> =
        list.unwrap_or_default().lines().map(text::clean).filter(|name| !name.is_empty()).collect();
    packages.sort();
    packages.dedup();
    packages.truncate(MAX_REASONS);
    packages
}

/// Arch and Alpine remove the running kernel's modules when they install another. Where the kernel has none of its
/// own (built in, or a container's host) nothing can be told.
fn is_kernel_replaced(host: &Host) -> bool {
    let is_rolling = host.has_program("pacman") || host.has_program("apk");
    let installed = host.list("/lib/modules");
    let running = host.read_word("/proc/sys/kernel/osrelease");
    is_rolling && !installed.is_empty() && running.is_some_and(|running| !installed.contains(&running))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn packages_that_ask_are_named_once() {
        let root = tempfile::tempdir().expect("a directory");
        let host = Host::new(root.path());
        assert_eq!(pending(&host), None);
        fs::create_dir_all(root.path().join("run")).expect("run");
        fs::write(root.path().join("run/reboot-required"), "*** System restart required ***").expect("mark");
        fs::write(root.path().join("run/reboot-required.pkgs"), "linux-image-6.1\nlibc6\nlibc6\n").expect("packages");
        let expected = vec!["libc6".to_owned(), "linux-image-6.1".to_owned()];
        assert_eq!(pending(&host).map(|pending| pending.because_of), Some(expected));
    }

    #[test]
    fn a_rolling_release_without_the_running_kernels_modules_asks() {
        let root = tempfile::tempdir().expect("a directory");
        for directory in ["usr/bin", "proc/sys/kernel", "lib/modules/6.9.2"] {
            fs::create_dir_all(root.path().join(directory)).expect("a directory");
        }
        fs::write(root.path().join("usr/bin/pacman"), "").expect("pacman");
        fs::write(root.path().join("proc/sys/kernel/osrelease"), "6.9.1\n").expect("release");
        assert!(pending(&Host::new(root.path())).is_some());
        fs::create_dir_all(root.path().join("lib/modules/6.9.1")).expect("modules");
        assert_eq!(pending(&Host::new(root.path())), None);
    }
}
