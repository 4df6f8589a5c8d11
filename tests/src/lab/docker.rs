//! The container engine by its own command line, and the networks servers stand in.

use std::{
    net::Ipv4Addr,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// The label of everything a lab makes; its value names the run.
pub(super) const LABEL: &str = "muster-lab";

/// What a program answered.
#[derive(Debug, Clone)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `docker` with these arguments; its failure is an error.
pub(super) async fn docker(arguments: &[&str]) -> Result<String> {
    let output = docker_output(arguments, None).await?;
    if !output.status.success() {
        bail!("docker {}: {}", arguments.join(" "), output.stderr.trim());
    }
    Ok(output.stdout.trim().to_owned())
}

/// Runs `docker` with these arguments and `input` on its stdin, and returns what it answered, whatever that is.
pub(super) async fn docker_output(arguments: &[&str], input: Option<&[u8]>) -> Result<Output> {
    let mut child = Command::new("docker")
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting docker: tests/run installs what the lab needs")?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input).await?;
    }
    let output = child.wait_with_output().await?;
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// For `Drop`: waits, and says what failed.
pub(super) fn docker_blocking(arguments: &[&str]) {
    let output = std::process::Command::new("docker").args(arguments).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => eprintln!("docker {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("docker {}: {error}", arguments.join(" ")),
    }
}

/// A name nothing else on this machine has.
pub(super) fn unique_name(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("muster-lab-{}-{}-{what}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// `muster-lab=<run>`: the run `tests/run` named, or this process.
pub(super) fn label() -> String {
    let run = std::env::var("MUSTER_LAB_RUN").unwrap_or_else(|_| std::process::id().to_string());
    format!("{LABEL}={run}")
}

/// A bridge network of one test's own. Gone when the last server on it and this value are.
#[derive(Debug, Clone)]
pub struct Network {
    inner: Arc<Bridge>,
}

#[derive(Debug)]
struct Bridge {
    name: String,
    gateway: Ipv4Addr,
}

impl Network {
    /// Makes one.
    ///
    /// # Errors
    /// When the engine does not answer or has no address range left.
    pub async fn create() -> Result<Self> {
        let name = unique_name("net");
        docker(&["network", "create", "--label", &label(), &name]).await?;
        let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
        let gateway = docker(&["network", "inspect", "--format", format, &name]).await?;
        let bridge = Bridge { gateway: gateway.parse().with_context(|| format!("gateway {gateway:?}"))?, name };
        Ok(Self { inner: Arc::new(bridge) })
    }

    /// The engine's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// This machine, as the servers on the network see it.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.inner.gateway
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        docker_blocking(&["network", "rm", &self.name]);
    }
}
