//! The real `muster serve` on a scratch directory, on SQLite or PostgreSQL.
//!
//! When it goes out of scope it is ended in order, and the test fails if it did not drain in time, logged an error
//! that was not announced with [`ControlPlane::expect_error`], or left a command leased or unfinished that was not
//! announced with [`ControlPlane::expect_unfinished_commands`].

mod database;
mod port;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use muster_shared::tls::CaPin;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use database::{Database, ScratchDatabase};
pub use port::free_port;

use crate::{
    binaries,
    lab::{LabServer, Network},
    patience::{SOON, held_to},
    process::{Lines, Process},
    rest::Rest,
    wait,
};

/// The promise on ending is five seconds; this leaves the process a little for itself.
const DRAIN_LIMIT: Duration = Duration::from_secs(6);

/// How to start one.
#[derive(Debug, Default)]
pub struct Settings {
    database: Database,
    reached_at: Option<Ipv4Addr>,
    port: Option<u16>,
    agents_dial: Option<SocketAddr>,
    arguments: Vec<String>,
}

impl Settings {
    /// On SQLite, for callers and agents on this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn on(mut self, database: Database) -> Self {
        self.database = database;
        self
    }

    /// For the servers of a lab network, too.
    #[must_use]
    pub fn reached_from(mut self, network: &Network) -> Self {
        self.reached_at = Some(network.gateway());
        self
    }

    /// On this port, from [`free_port`].
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Agents are told this address, such as a proxy's.
    #[must_use]
    pub fn agents_dial(mut self, address: SocketAddr) -> Self {
        self.agents_dial = Some(address);
        self
    }

    /// One more argument to `muster serve`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn start(self) -> Result<ControlPlane> {
        let directory = tempfile::tempdir()?;
        let database = ScratchDatabase::create(self.database, directory.path()).await?;
        let port = self.port.unwrap_or_else(free_port);
        let listen = self.reached_at.map_or(Ipv4Addr::LOCALHOST, |_| Ipv4Addr::UNSPECIFIED);
        let own = SocketAddr::new(IpAddr::V4(self.reached_at.unwrap_or(Ipv4Addr::LOCALHOST)), port);
        let reached_at = self.agents_dial.unwrap_or(own);
        let mut arguments: Vec<String> = ["serve", "--log-format", "json", "--data-dir"].map(Into::into).into();
        arguments.extend([text(directory.path())?, "--listen".into(), format!("{listen}:{port}")]);
        arguments.extend(["--public-url".into(), format!("https://{reached_at}")]);
        arguments.extend(["--agent-dir".into(), text(binaries::muster_agent().parent().context("a folder")?)?]);
        arguments.extend(database.url().iter().flat_map(|url| ["--database-url".into(), url.to_string()]));
        arguments.extend(self.arguments);
        let process = launch(&arguments)?;
        let (files, address) = (Files::of(directory.path()), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        wait::until("the first start's files", SOON, || async { Ok(files.exist().then_some(())) })
            .await
            .with_context(|| process.lines().tail(20))?;
        let pin = std::fs::read_to_string(&files.pin)?.parse()?;
        let rest = Rest::new(address, pin, &std::fs::read_to_string(&files.token)?)?;
        let started = ControlPlane {
            directory,
            database,
            arguments,
            process,
            earlier_lines: Vec::new(),
            address,
            reached_at,
            pin,
            rest,
            expected_errors: Vec::new(),
            unfinished_commands_expected: false,
        };
        started.ready().await?;
        Ok(started)
    }
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(Into::into).context("a path in UTF-8")
}

fn launch(arguments: &[String]) -> Result<Process> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    Process::start(&binaries::muster(), &arguments, &[])
}

/// What the first start writes.
struct Files {
    token: PathBuf,
    pin: PathBuf,
}

impl Files {
    fn of(directory: &Path) -> Self {
        Self { token: directory.join("owner.token"), pin: directory.join("ca.sha256") }
    }

    fn exist(&self) -> bool {
        [&self.token, &self.pin].iter().all(|path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0))
    }
}

/// A control plane that runs.
#[derive(Debug)]
pub struct ControlPlane {
    directory: TempDir,
    database: ScratchDatabase,
    arguments: Vec<String>,
    process: Process,
    earlier_lines: Vec<Lines>,
    address: SocketAddr,
    reached_at: SocketAddr,
    pin: CaPin,
    rest: Rest,
    expected_errors: Vec<String>,
    unfinished_commands_expected: bool,
}

impl ControlPlane {
    /// On SQLite, with nothing special.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn start() -> Result<Self> {
        Settings::new().start().await
    }

    /// Where it listens for this machine.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://host:port` as its agents dial it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.reached_at)
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    #[must_use]
    pub fn ca_pin(&self) -> CaPin {
        self.pin
    }

    /// A caller with the owner's token.
    #[must_use]
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The owner's token.
    ///
    /// # Errors
    /// When its file is gone.
    pub fn owner_token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(Files::of(self.directory()).token)?.trim().to_owned())
    }

    /// What it has logged since its last start, as JSON lines.
    #[must_use]
    pub fn lines(&self) -> &Lines {
        self.process.lines()
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn process_id(&self) -> Result<u32> {
        self.process.id()
    }

    /// The database behind it, for what no API shows.
    #[must_use]
    pub fn database(&self) -> &ScratchDatabase {
        &self.database
    }

    /// Announces that a logged error containing `text` is part of the test.
    pub fn expect_error(&mut self, text: &str) {
        self.expected_errors.push(text.to_owned());
    }

    /// Announces that commands stay unfinished at the end.
    pub fn expect_unfinished_commands(&mut self) {
        self.unfinished_commands_expected = true;
    }

    /// SIGKILL. Comes back with [`Self::start_again`].
    ///
    /// # Errors
    /// When it had ended already.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// SIGTERM, and how long it took.
    ///
    /// # Errors
    /// When it takes longer than six seconds of a machine that has time for it, or ends with a failure.
    pub async fn terminate(&mut self) -> Result<Duration> {
        let (status, took) = self.process.terminate(held_to(DRAIN_LIMIT)).await?;
        ensure!(status.success(), "muster serve ended with {status}:\n{}", self.process.lines().tail(20));
        Ok(took)
    }

    /// Sends a signal such as SIGSTOP.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Starts it again on the same directory and port. Returns how long it took to be ready.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn start_again(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.earlier_lines.push(self.process.lines().clone());
        self.process = launch(&self.arguments)?;
        self.ready().await?;
        Ok(begun.elapsed())
    }

    async fn ready(&self) -> Result<()> {
        wait::until("/readyz", SOON, || async {
            let answer = self.rest.call(http::Method::GET, "/readyz", None).await?;
            Ok(answer.status.is_success().then_some(()))
        })
        .await
        .with_context(|| self.process.lines().tail(20))
    }

    /// The server of this id, as `GET /api/v1/vms/{id}` shows it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn server(&self, id: &str) -> Result<Value> {
        self.rest.get(&format!("/api/v1/vms/{id}")).await
    }

    /// Waits for the first sample of a server, and returns the summary made of it.
    ///
    /// # Errors
    /// When none has come within `limit`.
    pub async fn first_sample(&self, server_id: &str, limit: Duration) -> Result<Value> {
        let path = format!("/api/v1/monitoring/servers/{server_id}/summary");
        wait::until("the first sample", limit, || async {
            let answer = self.rest.call(http::Method::GET, &path, None).await?;
            ensure!(answer.status.is_success(), "{} {}", answer.status, answer.text);
            Ok((!answer.body["timestamp"].is_null()).then_some(answer.body))
        })
        .await
    }

    /// The server of this name; `None` when there is none.
    ///
    /// # Errors
    /// When the control plane does not answer.
    pub async fn server_named(&self, name: &str) -> Result<Option<Value>> {
        let servers = self.rest.get("/api/v1/vms").await?;
        let found = servers.as_array().into_iter().flatten().find(|server| server["name"] == name);
        Ok(found.cloned())
    }

    /// Joins a lab server by the one line, and waits for its first sample. Returns the server.
    ///
    /// # Errors
    /// When the line fails, with what it said.
    pub async fn join(&self, server: &LabServer) -> Result<Value> {
        self.join_by(server, self.join_token(Some(server.name())).await?).await
    }

    /// [`Self::join`] as a host whose policy allows these families from the start.
    ///
    /// # Errors
    /// As there.
    pub async fn join_allowing(&self, server: &LabServer, families: &[&str]) -> Result<Value> {
        let body = json!({ "server_name": server.name(), "allow": families });
        self.join_by(server, self.rest.post("/api/v1/join-tokens", &body).await?).await
    }

    async fn join_by(&self, server: &LabServer, created: Value) -> Result<Value> {
        let output = server.paste(created["command"].as_str().context("a line")?).await?;
        ensure!(output.status.success(), "{}{}", output.stdout, output.stderr);
        let joined = self.server_named(server.name()).await?.context("the joined server")?;
        self.first_sample(joined["id"].as_str().context("an id")?, SOON).await?;
        Ok(joined)
    }

    /// A new join token's answer. The server is called `server_name`, or after its host.
    ///
    /// # Errors
    /// When none is given.
    pub async fn join_token(&self, server_name: Option<&str>) -> Result<Value> {
        let body = server_name.map_or_else(|| json!({}), |name| json!({ "server_name": name }));
        self.rest.post("/api/v1/join-tokens", &body).await
    }

    fn unexpected_errors(&self) -> Vec<String> {
        let lines = self.earlier_lines.iter().chain([self.process.lines()]).flat_map(Lines::all);
        let is_error = |line: &String| {
            serde_json::from_str::<Value>(line).map_or(line.contains("panicked"), |entry| entry["level"] == "ERROR")
        };
        lines
            .filter(is_error)
            .filter(|line| !self.expected_errors.iter().any(|expected| line.contains(expected)))
            .collect()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let ran = matches!(self.process.ended(), Ok(None));
        let drained = !ran || self.process.end(held_to(DRAIN_LIMIT));
        let errors = self.unexpected_errors();
        let unfinished = if self.unfinished_commands_expected { vec![] } else { self.database.unfinished_commands() };
        self.database.remove();
        if std::thread::panicking() {
            eprintln!("the control plane's last lines:\n{}", self.process.lines().tail(40));
            return;
        }
        assert!(errors.is_empty(), "the control plane logged errors:\n{}", errors.join("\n"));
        assert!(drained, "the control plane did not drain within {DRAIN_LIMIT:?}");
        assert!(unfinished.is_empty(), "commands left unfinished:\n{}", unfinished.join("\n"));
    }
}
