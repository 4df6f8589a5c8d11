//! Peers from Debian's packages, on loopback, at one second.

use std::{net::Ipv4Addr, path::Path, process::Command, time::Duration};

use anyhow::Result;
use muster_tests::{control_plane::free_port, process::Process, wait};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Longest until a peer answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Which peer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer {
    Netdata,
    NodeExporter,
}

/// A peer that runs.
pub(crate) struct RunningPeer {
    peer: Peer,
    port: u16,
    process: Process,
    _directory: TempDir,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Netdata => "netdata",
            Self::NodeExporter => "prometheus-node-exporter",
        }
    }

    pub(crate) fn program(self) -> &'static Path {
        Path::new(match self {
            Self::Netdata => "/usr/sbin/netdata",
            Self::NodeExporter => "/usr/bin/prometheus-node-exporter",
        })
    }

    /// Starts it with its package's defaults, on loopback; `None` where it is not installed.
    pub(crate) async fn start(self) -> Result<Option<RunningPeer>> {
        if !self.program().is_file() {
            return Ok(None);
        }
        let (port, directory) = (free_port(), tempfile::tempdir()?);
        let process = match self {
            Self::Netdata => start_netdata(directory.path(), port)?,
            Self::NodeExporter => {
                Process::start(self.program(), &[&format!("--web.listen-address=127.0.0.1:{port}")], &[])?
            }
        };
        let running = RunningPeer { peer: self, port, process, _directory: directory };
        wait::until(self.name(), START_LIMIT, || async { Ok(running.scrape().await.ok().map(drop)) }).await?;
        Ok(Some(running))
    }
}

/// Defaults but for where it writes, and that it speaks to nobody.
fn start_netdata(directory: &Path, port: u16) -> Result<Process> {
    let at = |name: &str| directory.join(name);
    for name in ["cache", "lib/cloud.d", "log", "config"] {
        std::fs::create_dir_all(at(name))?;
    }
    std::fs::write(at("lib/cloud.d/cloud.conf"), "[global]\n    enabled = no\n")?;
    std::fs::write(at("config/.opt-out-from-anonymous-statistics"), "")?;
    let configuration = format!(
        "[global]\n    run as user = root\n[directories]\n    config = {}\n    cache = {}\n    lib = {}\n    log = {}\n\
         [web]\n    bind to = 127.0.0.1\n    default port = {port}\n",
        at("config").display(),
        at("cache").display(),
        at("lib").display(),
        at("log").display()
    );
    std::fs::write(at("config/netdata.conf"), configuration)?;
    let path = at("config/netdata.conf").display().to_string();
    Process::start(Peer::Netdata.program(), &["-D", "-c", &path], &[("DO_NOT_TRACK", "1")])
}

impl RunningPeer {
    /// Its name and version.
    pub(crate) fn name(&self) -> String {
        let version = Command::new("dpkg-query").args(["-W", "-f", "${Version}", self.peer.name()]).output();
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        format!("{} {version}", self.peer.name())
    }

    /// The process at the root of its tree.
    pub(crate) fn root(&self) -> Result<u32> {
        self.process.id()
    }

    /// What happens to it each second: an exporter is scraped; netdata samples by itself.
    pub(crate) async fn ask(&self) {
        if matches!(self.peer, Peer::NodeExporter)
            && let Err(error) = self.scrape().await
        {
            eprintln!("{}: {error:#}", self.peer.name());
        }
    }

    async fn scrape(&self) -> Result<usize> {
        let path = match self.peer {
            Peer::Netdata => "/api/v1/info",
            Peer::NodeExporter => "/metrics",
        };
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "no answer");
        Ok(answer.len())
    }
}

impl Drop for RunningPeer {
    fn drop(&mut self) {
        self.process.end(Duration::from_secs(10));
    }
}
