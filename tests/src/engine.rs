//! Real engines that speak Prometheus' protocols: Prometheus and VictoriaMetrics, as Debian packages them.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{control_plane::free_port, kept::Kept, patience::SOON, process::Process, wait};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Prometheus,
    VictoriaMetrics,
}

/// An engine that runs, on a folder of its own.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    address: SocketAddr,
    process: Process,
    folder: TempDir,
}

/// What identifies a series in an answer, without its name.
pub type Labels = BTreeMap<String, String>;
/// Times in milliseconds since the epoch, and values.
pub type Points = Vec<(i64, f64)>;

impl Engine {
    /// Starts one that takes what is written to it.
    ///
    /// # Errors
    /// When it is not installed, or not ready in time.
    pub async fn start(kind: Kind) -> Result<Self> {
        Self::configured(kind, "").await
    }

    /// Starts one that is set up as a metric store has to be: it takes what comes late.
    ///
    /// # Errors
    /// When it is not installed, or not ready in time.
    pub async fn keeping(kind: Kind) -> Result<Self> {
        Self::configured(kind, "storage: { tsdb: { out_of_order_time_window: 30d } }\n").await
    }

    /// Starts a Prometheus that scrapes as `scrape_configs` says, in YAML.
    ///
    /// # Errors
    /// When it is not installed, or not ready in time.
    pub async fn scraping(scrape_configs: &str) -> Result<Self> {
        Self::configured(Kind::Prometheus, scrape_configs).await
    }

    async fn configured(kind: Kind, configuration: &str) -> Result<Self> {
        let (folder, address) = (tempfile::tempdir()?, SocketAddr::from(([127, 0, 0, 1], free_port())));
        std::fs::write(folder.path().join("prometheus.yml"), configuration)?;
        let process = launch(kind, address, folder.path())?;
        let engine = Self { kind, address, process, folder };
        engine.ready().await?;
        Ok(engine)
    }

    async fn ready(&self) -> Result<()> {
        let path = match self.kind {
            Kind::Prometheus => "/-/ready",
            Kind::VictoriaMetrics => "/health",
        };
        wait::until("the engine", SOON, || async { Ok((self.get(path).await?.0 == StatusCode::OK).then_some(())) })
            .await
            .with_context(|| self.process.lines().tail(20))
    }

    /// Where samples are written to.
    #[must_use]
    pub fn write_url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.process.lines().all()
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub async fn start_again(&mut self) -> Result<()> {
        self.process = launch(self.kind, self.address, self.folder.path())?;
        self.ready().await
    }

    /// Makes what was written visible to questions.
    ///
    /// # Errors
    /// When it doesn't answer.
    pub async fn flush(&self) -> Result<()> {
        if self.kind == Kind::VictoriaMetrics {
            ensure!(self.get("/internal/force_flush").await?.0.is_success(), "it does not flush");
        }
        Ok(())
    }

    /// Whether it may answer for some seconds that there are no series where there were none when it was asked before:
    /// VictoriaMetrics forgets such answers every ten seconds.
    #[must_use]
    pub fn remembers_what_was_not_there(&self) -> bool {
        self.kind == Kind::VictoriaMetrics
    }

    /// The series of an instant question at `at_ms`: of a range selector every sample, of anything else one.
    ///
    /// # Errors
    /// When it refuses the question.
    pub async fn query(&self, query: &str, at_ms: i64) -> Result<Vec<(Labels, Points)>> {
        let time = at_ms as f64 / 1e3;
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (status, body) = self.get(&format!("/api/v1/query?query={escaped}&time={time:.3}&nocache=1")).await?;
        ensure!(status == StatusCode::OK, "{query}: {status} {}", String::from_utf8_lossy(&body));
        let answer: Value = serde_json::from_slice(&body)?;
        let result = answer["data"]["result"].as_array().context("a result")?;
        result.iter().map(series).collect()
    }

    /// The path of a range query whose answer no cache may give.
    #[must_use]
    pub fn range_path(query: &str, (from_s, to_s): (i64, i64), step_s: i64) -> String {
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("/api/v1/query_range?query={query}&start={from_s}&end={to_s}&step={step_s}&nocache=1")
    }

    /// How many points the first series of a range query's answer has.
    ///
    /// # Errors
    /// When it has none.
    pub fn points_of_range(body: &[u8]) -> Result<usize> {
        let answer: Value = serde_json::from_slice(body)?;
        Ok(answer["data"]["result"][0]["values"].as_array().context("a series")?.len())
    }

    /// A connection that is kept.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn keep(&self) -> Result<Kept> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Kept::over(stream, self.address.to_string(), None).await
    }

    /// Ends it in order, so that everything it took is in its files: VictoriaMetrics, killed, forgets the last seconds of
    /// what it said it had. Comes back with [`Self::start_again`].
    ///
    /// # Errors
    /// When it doesn't end.
    pub async fn terminate(&mut self) -> Result<()> {
        self.process.terminate(SOON).await.map(|_| ())
    }

    /// SIGKILL. Comes back with [`Self::start_again`], maybe without the last seconds.
    ///
    /// # Errors
    /// When it had ended already.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// What it has on disk, in bytes.
    ///
    /// # Errors
    /// When its folder can't be read.
    pub fn disk_bytes(&self) -> Result<u64> {
        folder_bytes(&self.folder.path().join("data"))
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes)> {
        let exchange = async {
            let stream = TcpStream::connect(self.address).await?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let driving = tokio::spawn(connection);
            let request = Request::get(path).header(HOST, self.address.to_string()).body(Empty::<Bytes>::new())?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            driving.abort();
            Ok((status, body))
        };
        tokio::time::timeout(Duration::from_secs(30), exchange).await.context("no answer")?
    }
}

fn launch(kind: Kind, address: SocketAddr, folder: &Path) -> Result<Process> {
    let data = folder.join("data").display().to_string();
    let (program, arguments) = match kind {
        Kind::Prometheus => (
            "/usr/bin/prometheus",
            vec![
                format!("--config.file={}", folder.join("prometheus.yml").display()),
                format!("--storage.tsdb.path={data}"),
                format!("--web.listen-address={address}"),
                "--web.enable-remote-write-receiver".to_owned(),
            ],
        ),
        Kind::VictoriaMetrics => (
            "/usr/bin/victoria-metrics",
            vec![
                format!("-storageDataPath={data}"),
                format!("-httpListenAddr={address}"),
                "-retentionPeriod=100y".to_owned(),
                // What was sent twice counts once.
                "-dedup.minScrapeInterval=1ms".to_owned(),
                // Questions about the last seconds are answered by what is there.
                "-search.latencyOffset=0s".to_owned(),
            ],
        ),
    };
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    Process::start(Path::new(program), &arguments, &[])
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { folder_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn series(found: &Value) -> Result<(Labels, Points)> {
    let mut labels: Labels = serde_json::from_value(found["metric"].clone())?;
    labels.remove("__name__");
    let point = |point: &Value| {
        let at_ms = (point[0].as_f64().context("a time")? * 1e3).round() as i64;
        Ok((at_ms, point[1].as_str().context("a value")?.parse()?))
    };
    let points = match found["values"].as_array() {
        Some(values) => values.iter().map(point).collect::<Result<_>>()?,
        None => vec![point(&found["value"])?],
    };
    Ok((labels, points))
}
