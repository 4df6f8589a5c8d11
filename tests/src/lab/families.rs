//! Recipes of servers that are not Debian with systemd, as far as programs can tell: Debian carries the real dnf, pacman,
//! OpenRC and SysVinit. Docker's packages for dnf and pacman are hollow, from a repository inside the server.

use super::image::{BASE, Recipe, Release, SYSTEMD};

/// Where a recipe's files lie while the image is built.
const FOLDER: &str = "/root/recipe";
/// What the builder finds beside it.
pub(super) const FILES: [(&str, &str); 6] = [
    ("dnf.sh", include_str!("families/dnf.sh")),
    ("pacman.sh", include_str!("families/pacman.sh")),
    ("docker-ce.spec", include_str!("families/docker-ce.spec")),
    ("docker", include_str!("families/docker")),
    ("dockerd", include_str!("families/dockerd")),
    ("docker.service", include_str!("families/docker.service")),
];

/// dnf is the system's own package manager.
pub(super) fn dnf() -> Recipe {
    packaged("dnf", "dnf,rpm,createrepo-c")
}

/// pacman is.
pub(super) fn pacman() -> Recipe {
    packaged("pacman", "pacman-package-manager,makepkg,libarchive-tools")
}

/// SysVinit's init, and OpenRC or SysVinit's own scripts; with Docker, which does not start with the boot.
pub(super) fn booted_by(init: &str) -> Recipe {
    Recipe {
        codename: Release::Bookworm.codename(),
        variant: "minbase",
        packages: format!("{BASE},sysvinit-core,docker.io{}", if init == "openrc" { ",openrc" } else { "" }),
        hooks: vec![
            "upload sshd.conf /etc/ssh/sshd_config.d/00-lab.conf".into(),
            // A container can't raise its limits.
            "sed -i 's/ulimit .*/:/' \"$1\"/etc/init.d/docker".into(),
            "chroot \"$1\" update-rc.d docker remove".into(),
        ],
    }
}

fn packaged(script: &str, packages: &str) -> Recipe {
    let names = FILES.map(|(name, _)| name).join(" ");
    Recipe {
        codename: Release::Bookworm.codename(),
        variant: "minbase",
        packages: format!("{SYSTEMD},{BASE},{packages}"),
        hooks: vec![
            "upload sshd.conf /etc/ssh/sshd_config.d/00-lab.conf".into(),
            format!("mkdir \"$1\"{FOLDER}"),
            format!("copy-in {names} {FOLDER}/"),
            format!("chroot \"$1\" sh {FOLDER}/{script}.sh"),
        ],
    }
}

/// What a recipe's tag depends on beside itself.
pub(super) fn files_of(recipe: &Recipe) -> String {
    let brings_them = recipe.hooks.iter().any(|hook| hook.contains(FOLDER));
    if brings_them { FILES.map(|(_, text)| text).concat() } else { String::new() }
}
