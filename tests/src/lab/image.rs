//! Server images: a release's minimal system with systemd and sshd, built once per recipe and kept by the engine.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::families;

pub(super) const SYSTEMD: &str = "systemd,systemd-sysv,init";
pub(super) const BASE: &str =
    "openssh-server,sudo,iproute2,iptables,procps,ca-certificates,curl,wget,busybox,util-linux,passwd";
const HOST_KEYS: &str = include_str!("host-keys.service");
const SSHD: &str = include_str!("sshd.conf");

/// A Debian release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Release {
    Bullseye,
    Bookworm,
    Trixie,
}

impl Release {
    pub const ALL: [Self; 3] = [Self::Bullseye, Self::Bookworm, Self::Trixie];

    /// As the archive calls it.
    #[must_use]
    pub fn codename(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// As `VERSION_ID` has it.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Bullseye => "11",
            Self::Bookworm => "12",
            Self::Trixie => "13",
        }
    }
}

/// What stands on a server beside its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    Plain,
    /// With Docker Engine from the release's own packages, started at boot.
    Docker,
    /// Not the release's own: dnf and a repository with hollow packages of Docker; bookworm whatever was asked for, as
    /// are those that follow.
    Dnf,
    /// The same with pacman.
    Pacman,
    /// `init` is SysVinit's, services are OpenRC's; Docker is there and off.
    Openrc,
    /// The same with SysVinit's own scripts.
    Sysvinit,
}

impl Variant {
    /// Whether systemd is the first process.
    pub(super) fn has_systemd(self) -> bool {
        !matches!(self, Self::Openrc | Self::Sysvinit)
    }
}

/// What an image is made of; its hash is the image's tag.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) codename: &'static str,
    pub(super) variant: &'static str,
    pub(super) packages: String,
    pub(super) hooks: Vec<String>,
}

/// The tag of a server image, built first if the engine does not have it.
pub(super) async fn server_image(release: Release, variant: Variant) -> Result<String> {
    tokio::task::spawn_blocking(move || ensure_built(&server_recipe(release, variant))).await?
}

/// The tag of an image with one static busybox and no C library at all.
pub(super) async fn bare_image() -> Result<String> {
    tokio::task::spawn_blocking(|| ensure_built(&bare_recipe())).await?
}

fn server_recipe(release: Release, variant: Variant) -> Recipe {
    let extra = match variant {
        Variant::Plain => "",
        Variant::Docker => ",docker.io",
        Variant::Dnf => return families::dnf(),
        Variant::Pacman => return families::pacman(),
        Variant::Openrc => return families::booted_by("openrc"),
        Variant::Sysvinit => return families::booted_by("sysvinit"),
    };
    Recipe {
        codename: release.codename(),
        variant: "minbase",
        packages: format!("{SYSTEMD},{BASE}{extra}"),
        hooks: vec![
            "upload host-keys.service /etc/systemd/system/lab-host-keys.service".into(),
            "upload sshd.conf /etc/ssh/sshd_config.d/00-lab.conf".into(),
            "chroot \"$1\" systemctl enable lab-host-keys.service".into(),
            "rm -f \"$1\"/etc/ssh/ssh_host_*".into(),
        ],
    }
}

fn bare_recipe() -> Recipe {
    Recipe {
        codename: Release::Bookworm.codename(),
        variant: "extract",
        packages: "busybox-static".into(),
        hooks: vec!["mkdir -p \"$1\"/etc \"$1\"/tmp \"$1\"/proc".into(), "upload passwd /etc/passwd".into()],
    }
}

impl Recipe {
    fn tag(&self) -> String {
        let text = format!("{self:?}{HOST_KEYS}{SSHD}{}", families::files_of(self));
        let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        format!("{}:{}-{}", super::docker::LABEL, self.codename, &hex::encode(hash)[..16])
    }
}

/// One builder at a time on this machine: tests of several processes ask for the same image.
fn ensure_built(recipe: &Recipe) -> Result<String> {
    let lock = File::create(std::env::temp_dir().join("muster-lab-images.lock"))?;
    lock.lock()?;
    let tag = recipe.tag();
    if !exists(&tag)? {
        build(recipe, &tag).with_context(|| format!("building the image {tag}"))?;
    }
    Ok(tag)
}

fn exists(tag: &str) -> Result<bool> {
    let found = Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", tag]).output();
    Ok(found.context("starting docker: tests/run installs what the lab needs")?.status.success())
}

fn build(recipe: &Recipe, tag: &str) -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join("host-keys.service"), HOST_KEYS)?;
    std::fs::write(directory.path().join("sshd.conf"), SSHD)?;
    std::fs::write(directory.path().join("passwd"), "root:x:0:0:root:/:/bin/busybox\n")?;
    for (name, text) in families::FILES {
        std::fs::write(directory.path().join(name), text)?;
    }
    let archive = directory.path().join("rootfs.tar");
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.current_dir(directory.path()).stdin(Stdio::null());
    bootstrap.arg(format!("--variant={}", recipe.variant)).arg(format!("--include={}", recipe.packages));
    for hook in &recipe.hooks {
        bootstrap.arg(format!("--customize-hook={hook}"));
    }
    bootstrap.arg(recipe.codename).arg(&archive).args(mirror()?);
    succeed(&mut bootstrap)?;
    succeed(Command::new("docker").arg("import").arg(&archive).arg(tag))
}

/// The archive this machine's own apt gets Debian from; the builder's default where it says nothing.
fn mirror() -> Result<Option<String>> {
    let format = "$(ORIGIN) $(LABEL) $(SUITE) $(REPO_URI)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output()
        .context("asking apt for its sources")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    let archive = listing.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        ["Debian", "Debian", _, address] => Some(address),
        _ => None,
    });
    Ok(archive.map(ToOwned::to_owned))
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {:?}", command.get_program()))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?}: {}", command.get_program(), stderr.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recipe_has_a_tag_of_its_own() {
        let tags = Release::ALL
            .into_iter()
            .flat_map(|release| [Variant::Plain, Variant::Docker].map(|variant| server_recipe(release, variant).tag()))
            .chain([families::dnf(), families::pacman()].map(|recipe| recipe.tag()))
            .chain(["openrc", "sysvinit"].map(|init| families::booted_by(init).tag()))
            .chain([bare_recipe().tag()])
            .collect::<std::collections::BTreeSet<_>>();
        assert_eq!(tags.len(), 11);
    }
}
