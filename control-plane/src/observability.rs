//! Logs on standard error, and the counters behind `/metrics`.

use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::LogFormat;

/// How often recorded durations are folded into their summaries.
const FOLD_INTERVAL: Duration = Duration::from_secs(5);

/// Where the process's counters are read. Clones share them.
#[derive(Debug, Clone)]
pub struct Counters {
    handle: PrometheusHandle,
}

impl Counters {
    /// The process's counters; recording starts with the first call. A process has one recorder, whoever asks.
    #[must_use]
    #[expect(
        clippy::disallowed_types,
        reason = "the metrics facade has one recorder a process, so its handle is one too"
    )]
    pub fn of_process() -> Self {
        static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
        let handle = HANDLE.get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another recorder was installed first; /metrics stays empty");
            }
            handle
        });
        Self { handle: handle.clone() }
    }

    /// Everything counted so far, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Folds recorded durations into their summaries until `stop`; where nobody reads them, they would pile up.
    pub async fn keep_folded(self, stop: CancellationToken) {
        let mut timer = tokio::time::interval(FOLD_INTERVAL);
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            self.handle.run_upkeep();
        }
    }
}

/// Starts logging. `level` was checked by the configuration.
pub fn start_logging(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    // A second start, as tests make, leaves the first one's subscriber in place.
    let _ = match format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(false)).try_init(),
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
        }
    };
}
