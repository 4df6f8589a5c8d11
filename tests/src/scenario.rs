//! A scenario of the dashboard: a program of Node's in `tests/dashboard` that drives a real browser against a real control
//! plane. What it needs somebody else to do it prints, and waits for the effect.
//!
//! A browser drops what is under way when its machine's networks change, and other tests make networks all the time. So a
//! scenario runs in a network of its own, with nothing but a loopback and one pair of devices; the control plane is reached
//! through a socket in the file system, at the address it has outside.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::{control_plane::ControlPlane, patience::SOON, process::Process};

/// Longest a scenario may take; each has its own, shorter limits within.
const LIMIT: Duration = SOON.saturating_mul(6);

/// A scenario that runs.
#[derive(Debug)]
pub struct Scenario {
    process: Process,
    _way: Way,
}

impl Scenario {
    /// Starts `tests/dashboard/{program}.js` for `control_plane`, with `more` in its environment.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &str, control_plane: &ControlPlane, more: &[(&str, &str)]) -> Result<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dashboard");
        ensure!(folder.join("node_modules").is_dir(), "run `npm ci` in tests/dashboard, or use tests/run");
        let program = folder.join(format!("{program}.js"));
        let way = Way::to(control_plane.address())?;
        let socket = way.socket();
        let (url, ca) = (format!("https://{}", control_plane.address()), control_plane.directory().join("ca.pem"));
        let token = control_plane.owner_token()?;
        let mut environment = vec![
            ("MUSTER_TEST_URL", url.as_str()),
            ("MUSTER_TEST_WAY", in_utf8(&socket)?),
            ("MUSTER_TEST_OWNER_TOKEN", token.as_str()),
            ("NODE_EXTRA_CA_CERTS", in_utf8(&ca)?),
        ];
        environment.extend_from_slice(more);
        // Who is not root is so in a user namespace, which may have a network as well.
        let mut arguments = vec!["--net"];
        if !rustix::process::geteuid().is_root() {
            arguments.extend(["--user", "--map-root-user"]);
        }
        arguments.extend(["--", "node", in_utf8(&program)?]);
        let process = Process::start("unshare".as_ref(), &arguments, &environment)?;
        Ok(Self { process, _way: way })
    }

    /// What it prints after `word`, once it does.
    ///
    /// # Errors
    /// When it fails or ends before, with what it said.
    pub async fn says(&mut self, word: &str) -> Result<String> {
        let line = self.process.lines().first(word, LIMIT, |line| line.starts_with(word) || line.starts_with("not ok"));
        let line = line.await?;
        if let Some(said) = line.strip_prefix(word) {
            return Ok(said.trim().to_owned());
        }
        self.process.wait(LIMIT).await?;
        bail!(self.failure())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn passes(mut self) -> Result<()> {
        let status = self.process.wait(LIMIT).await?;
        ensure!(status.success(), self.failure());
        Ok(())
    }

    /// What it said. Said at once as well: a control plane dropped on the way out panics for what a scenario left undone, and
    /// what a test would have returned is not seen then.
    fn failure(&self) -> String {
        let said = self.process.lines().tail(150);
        eprintln!("{said}");
        said
    }
}

fn in_utf8(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// From a socket in the file system to an address of this machine's.
#[derive(Debug)]
struct Way {
    directory: TempDir,
    ends: CancellationToken,
    carrying: Option<JoinHandle<()>>,
}

impl Way {
    fn to(address: SocketAddr) -> Result<Self> {
        let (directory, ends) = (tempfile::tempdir()?, CancellationToken::new());
        // A thread of its own: it carries on while a test's runtime stands still.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            UnixListener::bind(directory.path().join("way"))?
        };
        let until = ends.clone();
        let carrying = std::thread::spawn(move || {
            let _ = runtime.block_on(until.run_until_cancelled(carry(listener, address)));
        });
        Ok(Self { directory, ends, carrying: Some(carrying) })
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("way")
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.ends.cancel();
        if let Some(carrying) = self.carrying.take() {
            let _ = carrying.join();
        }
    }
}

async fn carry(listener: UnixListener, address: SocketAddr) {
    while let Ok((mut from, _)) = listener.accept().await {
        tokio::spawn(async move {
            // Where nobody listens, whoever came is sent away, as a closed port would.
            if let Ok(mut to) = TcpStream::connect(address).await {
                let _ = to.set_nodelay(true);
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}
