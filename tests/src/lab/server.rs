//! One running server.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::{
    docker::{Network, Output, docker, docker_blocking, docker_output, label, unique_name},
    image::{Release, Variant, server_image},
};
use crate::wait;

/// How long a server may take to boot. A second is usual.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// The arguments let trixie's systemd accept cgroup v1; others ignore them.
const INIT: [&str; 3] = ["/sbin/init", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0"];

/// How a user may become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sudo {
    No,
    WithPassword,
    WithoutPassword,
}

/// How a server's boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Rebooted,
    PoweredOff,
}

/// A Debian server that has booted: its init is done and sshd listens on port 22. It and its disk go away on drop.
#[derive(Debug)]
pub struct LabServer {
    name: String,
    volume: String,
    address: Ipv4Addr,
    release: Release,
    variant: Variant,
    network: Network,
}

impl LabServer {
    /// Boots one on `network`.
    ///
    /// # Errors
    /// When the image can't be built or the server does not boot within a minute.
    pub async fn start(network: &Network, release: Release, variant: Variant) -> Result<Self> {
        Self::start_with(network, release, variant, &[]).await
    }

    /// Boots one with further arguments to `docker run`, such as a small tmpfs for a full disk.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(network: &Network, release: Release, variant: Variant, arguments: &[&str]) -> Result<Self> {
        let image = server_image(release, variant).await?;
        let name = unique_name(release.codename());
        let volume = format!("{name}-docker");
        docker(&["volume", "create", "--label", &label(), &volume]).await?;
        let mut server =
            Self { name, volume, address: Ipv4Addr::UNSPECIFIED, release, variant, network: network.clone() };
        server.create(&image, arguments).await?;
        server.boot().await?;
        Ok(server)
    }

    async fn create(&self, image: &str, arguments: &[&str]) -> Result<()> {
        let (label, volume) = (label(), format!("{}:/var/lib/docker", self.volume));
        let mut run = vec!["run", "--detach", "--name", &self.name, "--hostname", &self.name, "--label", &label];
        run.extend(["--network", self.network.name(), "--cap-add=ALL", "--cap-drop=SYS_RESOURCE"]);
        run.extend(["--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"]);
        // SysVinit takes an interrupt for three keys pressed at once, and shuts down in order.
        run.extend(["--stop-signal", if self.variant.has_systemd() { "SIGRTMIN+3" } else { "SIGINT" }]);
        run.extend(["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]);
        run.extend(["--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--volume", &volume]);
        run.extend(arguments);
        run.push(image);
        run.extend(if self.variant.has_systemd() { &INIT[..] } else { &INIT[..1] });
        docker(&run).await.map(drop)
    }

    async fn boot(&mut self) -> Result<()> {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = docker(&["inspect", "--format", format, &self.name]).await?;
        self.address = address.parse().with_context(|| format!("address {address:?}"))?;
        self.wait_until_booted().await
    }

    /// systemd answers once every job of the boot is done, sshd's among them. Trixie ends `degraded`: a container
    /// can't load kernel modules.
    async fn wait_until_booted(&self) -> Result<()> {
        if !self.variant.has_systemd() {
            return self.wait_for_gettys().await;
        }
        wait::until("systemd to finish booting", BOOT_LIMIT, || async {
            let answer = self.exec(&["systemctl", "is-system-running", "--wait"]).await?;
            match answer.stdout.trim() {
                "running" | "degraded" => Ok(Some(())),
                _ => Ok(None),
            }
        })
        .await
        .with_context(|| format!("server {}", self.name))
    }

    /// SysVinit's init starts them once the scripts of the boot are done.
    async fn wait_for_gettys(&self) -> Result<()> {
        wait::until("the consoles to be there", BOOT_LIMIT, || async {
            Ok(self.exec(&["pgrep", "--exact", "getty"]).await?.status.success().then_some(()))
        })
        .await
        .with_context(|| format!("server {}", self.name))
    }

    /// Its container's and host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where sshd listens. Another one after [`Self::restart`] is possible in theory, so ask again.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    #[must_use]
    pub fn release(&self) -> Release {
        self.release
    }

    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Runs an argument vector as root, and returns what it answered, whatever that is.
    ///
    /// # Errors
    /// When the engine fails; the program's own failure is in the output.
    pub async fn exec(&self, arguments: &[&str]) -> Result<Output> {
        self.exec_with(arguments, None).await
    }

    async fn exec_with(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Output> {
        let mut exec = vec!["exec"];
        exec.extend(input.is_some().then_some("--interactive"));
        exec.push(&self.name);
        exec.extend(arguments);
        docker_output(&exec, input).await
    }

    /// Runs an argument vector as root and returns its stdout, trimmed.
    ///
    /// # Errors
    /// When the program fails.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with(arguments, None).await
    }

    async fn run_with(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<String> {
        let output = self.exec_with(arguments, input).await?;
        if !output.status.success() {
            bail!("{} on {}: {} {}", arguments.join(" "), self.name, output.stdout.trim(), output.stderr.trim());
        }
        Ok(output.stdout.trim().to_owned())
    }

    /// Runs a line in the server's own shell, as a person would who pastes it into a root shell.
    ///
    /// # Errors
    /// When the engine fails; the line's own failure is in the output.
    pub async fn paste(&self, line: &str) -> Result<Output> {
        self.exec(&["sh", "-c", line]).await
    }

    /// Writes a file as root, with `mode` such as `0600`.
    ///
    /// # Errors
    /// When the folder is missing or the disk is full.
    pub async fn write_file(&self, path: &str, mode: &str, contents: &[u8]) -> Result<()> {
        let arguments = ["install", "-D", "-m", mode, "/dev/stdin", path];
        self.run_with(&arguments, Some(contents)).await.map(drop)
    }

    /// Lets the server itself answer where the check of its connectivity knocks: no test leaves its own network.
    ///
    /// # Errors
    /// Where iptables refuses the rule.
    pub async fn stand_in_for_the_internet(&self) -> Result<()> {
        let knocked_at = ["-p", "tcp", "-d", "1.1.1.1", "--dport", "443", "-j", "REDIRECT", "--to-ports", "22"];
        self.run(&[&["iptables", "-t", "nat", "-A", "OUTPUT"][..], &knocked_at].concat()).await.map(drop)
    }

    /// Sets a user's password.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn set_password(&self, user: &str, password: &str) -> Result<()> {
        self.run_with(&["chpasswd"], Some(format!("{user}:{password}\n").as_bytes())).await.map(drop)
    }

    /// Adds a user with a home and a password.
    ///
    /// # Errors
    /// When there is such a user already.
    pub async fn add_user(&self, user: &str, password: &str, sudo: Sudo) -> Result<()> {
        self.run(&["useradd", "--create-home", "--shell", "/bin/bash", user]).await?;
        self.set_password(user, password).await?;
        match sudo {
            Sudo::No => Ok(()),
            Sudo::WithPassword => self.run(&["usermod", "--append", "--groups", "sudo", user]).await.map(drop),
            Sudo::WithoutPassword => {
                let rule = format!("{user} ALL=(ALL:ALL) NOPASSWD: ALL\n");
                self.write_file(&format!("/etc/sudoers.d/{user}"), "0440", rule.as_bytes()).await
            }
        }
    }

    /// Adds a public key, one line in OpenSSH's format, to those a user may log in with.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn authorize_key(&self, user: &str, public_key: &str) -> Result<()> {
        let entry = self.run(&["getent", "passwd", user]).await?;
        let home = entry.split(':').nth(5).context("a home")?;
        let (folder, file) = (format!("{home}/.ssh"), format!("{home}/.ssh/authorized_keys"));
        self.run(&["install", "-d", "-m", "0700", "-o", user, "-g", user, &folder]).await?;
        self.run_with(&["tee", "-a", &file], Some(format!("{}\n", public_key.trim()).as_bytes())).await?;
        self.run(&["chown", &format!("{user}:{user}"), &file]).await?;
        self.run(&["chmod", "0600", &file]).await.map(drop)
    }

    /// `SHA256:…` of its Ed25519 host key, as the server itself knows it.
    ///
    /// # Errors
    /// When sshd has no such key.
    pub async fn host_key_fingerprint(&self) -> Result<String> {
        let line = self.run(&["ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub"]).await?;
        line.split(' ').nth(1).map(ToOwned::to_owned).context("a fingerprint")
    }

    /// The last lines of its journal; of one unit only, if named.
    ///
    /// # Errors
    /// When journald does not answer, or there is none.
    pub async fn journal(&self, unit: Option<&str>) -> Result<String> {
        let mut arguments = vec!["journalctl", "--no-pager", "--lines", "200"];
        arguments.extend(unit.iter().flat_map(|unit| ["--unit", *unit]));
        self.run(&arguments).await
    }

    /// Shuts it down in order.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn stop(&self) -> Result<()> {
        docker(&["stop", "--time", "20", &self.name]).await.map(drop)
    }

    /// Waits until its boot has ended by itself, and tells how.
    ///
    /// # Errors
    /// When it has not within a minute, or ended otherwise.
    pub async fn ended(&self) -> Result<Ending> {
        let code =
            tokio::time::timeout(BOOT_LIMIT, docker(&["wait", &self.name])).await.context("it is still up")??;
        // The kernel ends a container that asks for a reboot by SIGHUP, and one that powers off by SIGINT.
        match code.as_str() {
            "129" => Ok(Ending::Rebooted),
            "130" => Ok(Ending::PoweredOff),
            _ => bail!("{} ended with {code}", self.name),
        }
    }

    /// Boots it again: a new boot on the same disk.
    ///
    /// # Errors
    /// When it does not boot within a minute.
    pub async fn boot_again(mut self) -> Result<Self> {
        self.start_again().await?;
        Ok(self)
    }

    /// [`Self::boot_again`] in place.
    ///
    /// # Errors
    /// As there.
    pub async fn start_again(&mut self) -> Result<()> {
        docker(&["start", &self.name]).await?;
        self.boot().await
    }
}

impl Drop for LabServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            docker_blocking(&["logs", "--tail", "20", &self.name]);
        }
        docker_blocking(&["rm", "--force", "--volumes", &self.name]);
        docker_blocking(&["volume", "rm", "--force", &self.volume]);
    }
}
