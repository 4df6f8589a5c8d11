//! `muster metrics`

use std::collections::HashMap;

use clap::{Args, Subcommand};
use muster_shared::wire;
use serde::Serialize;

use super::{client::Fleet, failure::Failure, output::Output, runs::Server, table};
use crate::api::model::{
    container_metrics::ContainerMetrics,
    series::{Metric, SeriesAnswer, SeriesEvent, SteppedSeries},
    server_metrics::{MonitoringUrl, ServerMetrics},
    structure,
    time::Time,
};
use crate::metrics::steps::parse_step;

/// What hosts and containers measured.
#[derive(Debug, Subcommand)]
pub enum MetricsCommand {
    /// Show everything of a server: system, engine, containers.
    Show(Server),
    /// Show a container, wherever it runs.
    Container(Container),
    /// Show series over a range, step by step.
    Series(Series),
    /// Follow series of a server, a line a second.
    Watch(Watch),
    /// List what is measured.
    List(List),
    /// Get a link to a server's page that expires.
    Url(Server),
}

/// Which container.
#[derive(Debug, Args)]
pub struct Container {
    /// Its id, the first 12 or more digits of it, or its name.
    container: String,
    /// The server it is on, where several have one of that name.
    #[arg(long)]
    server: Option<String>,
}

/// Which series.
#[derive(Debug, Args)]
pub struct Series {
    /// The metrics' names.
    #[arg(required = true)]
    metrics: Vec<String>,
    /// Only this server; may be repeated. Every server unless given.
    #[arg(long = "server")]
    servers: Vec<String>,
    /// Only servers for which this filter is true.
    #[arg(long, conflicts_with = "servers")]
    filter: Option<String>,
    /// Only series with this label: name=value; may be repeated.
    #[arg(long = "label", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Start, RFC 3339; five minutes before the end unless given.
    #[arg(long)]
    from: Option<prost_types::Timestamp>,
    /// End, RFC 3339; now unless given.
    #[arg(long)]
    to: Option<prost_types::Timestamp>,
    /// Length of a step, such as 10s, 5m or 1h.
    #[arg(long, value_parser = step_ms)]
    step: Option<i64>,
    /// Labels that series are put together by, separated by commas.
    #[arg(long, value_delimiter = ',')]
    group_by: Vec<String>,
    /// How they are put together: sum, avg, min or max.
    #[arg(long)]
    aggregate: Option<String>,
    /// Only so many, those with the greatest mean first.
    #[arg(long)]
    top: Option<u32>,
}

/// What to follow.
#[derive(Debug, Args)]
pub struct Watch {
    /// The server's name or id.
    server: String,
    /// The metrics' names.
    #[arg(required = true)]
    metrics: Vec<String>,
    /// Only series with this label: name=value; may be repeated.
    #[arg(long = "label", value_parser = label)]
    labels: Vec<(String, String)>,
}

/// Whose metrics.
#[derive(Debug, Args)]
pub struct List {
    /// Only those of this server.
    #[arg(long)]
    server: Option<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value, such as device=eth0")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn step_ms(text: &str) -> Result<i64, String> {
    parse_step(text).map(|us| us / 1000).map_err(|error| error.detail)
}

impl MetricsCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Show(Server { server }) => {
                let answer = fleet.get_server_metrics(wire::GetServerMetricsRequest { server }).await?.into_inner();
                output.print(&read::<ServerMetrics>(answer.metrics)?, draw_server)
            }
            Self::Container(Container { container, server }) => {
                let request = wire::GetContainerMetricsRequest { container, server: server.unwrap_or_default() };
                let answer = fleet.get_container_metrics(request).await?.into_inner();
                output.print(&read::<ContainerMetrics>(answer.metrics)?, draw_container)
            }
            Self::Series(series) => {
                let answer = fleet.query_series(series.into_request()).await?.into_inner();
                output.print(&SeriesAnswer::from(answer), draw_series)
            }
            Self::Watch(watch) => watch.run(fleet, output).await,
            Self::List(List { server }) => {
                let request = wire::ListMetricsRequest { server: server.unwrap_or_default() };
                let answer = fleet.list_metrics(request).await?.into_inner();
                let metrics: Vec<_> = answer.metrics.into_iter().map(Metric::from).collect();
                output.print(&metrics, |metrics| draw_metrics(metrics))
            }
            Self::Url(Server { server }) => {
                let link = fleet.get_monitoring_url(wire::GetMonitoringUrlRequest { server }).await?.into_inner();
                let expires_at = link.expires_at.map_or(Time(0), Time::from);
                output.print(&MonitoringUrl { url: link.url, expires_at }, |link| {
                    table::pairs(&[("url", link.url.clone()), ("expires at", link.expires_at.to_string())])
                })
            }
        }
    }
}

impl Series {
    fn into_request(self) -> wire::QuerySeriesRequest {
        wire::QuerySeriesRequest {
            selection: Some(wire::SeriesSelection {
                metrics: self.metrics,
                servers: self.servers,
                filter: self.filter.unwrap_or_default(),
                labels: self.labels.into_iter().collect(),
            }),
            from: self.from,
            to: self.to,
            step_ms: self.step.unwrap_or(0),
            group_by: self.group_by,
            aggregate: self.aggregate.unwrap_or_default(),
            top: self.top.unwrap_or(0),
        }
    }
}

/// A point with the names of its values, for programs and people alike.
#[derive(Debug, Serialize)]
struct Line {
    t: i64,
    values: Vec<(String, Option<f64>)>,
}

impl Watch {
    async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let labels: HashMap<_, _> = self.labels.into_iter().collect();
        let request = wire::WatchSeriesRequest { server: self.server, metrics: self.metrics, labels };
        let mut events = fleet.watch_series(request).await?.into_inner();
        let mut names = Vec::new();
        while let Some(event) = events.message().await? {
            match SeriesEvent::read(event) {
                Some(SeriesEvent::Series { series }) => {
                    names = series.iter().map(|series| called(&series.metric, series.labels.iter())).collect();
                }
                Some(SeriesEvent::Point { t, values }) => {
                    let line = Line { t, values: names.iter().cloned().zip(values).collect() };
                    output.item(&line, |line| {
                        let values = line.values.iter().map(|(name, value)| format!("{name} {}", number(*value)));
                        let time = Time(line.t.saturating_mul(1000));
                        table::printable(&format!("{time}  {}", values.collect::<Vec<_>>().join("  ")))
                    })?;
                }
                None => {}
            }
        }
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(document: Option<prost_types::Struct>) -> Result<T, Failure> {
    let document = structure::to_json(document.unwrap_or_default());
    serde_json::from_value(document).map_err(|error| {
        Failure::ended_badly(
            format!("the answer can't be read: {error}"),
            "use the `muster` that came with the control plane",
        )
    })
}

fn called<'a>(metric: &str, labels: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() { metric.to_owned() } else { format!("{metric}{{{}}}", labels.join(",")) }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn draw_server(metrics: &ServerMetrics) -> String {
    let system = &metrics.system;
    let gigabytes = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    let disks = system.disk.iter().map(|disk| format!("{} {:.1} %", disk.mountpoint, disk.usage_percent));
    let pairs = table::pairs(&[
        ("timestamp", metrics.timestamp.to_string()),
        ("health", metrics.health_status.clone()),
        ("cpu", format!("{:.1} % of {} cores", system.cpu.usage_percent, system.cpu.cores)),
        ("memory", format!("{:.1} % of {}", system.memory.usage_percent, gigabytes(system.memory.total_bytes))),
        ("load", format!("{:.2} {:.2} {:.2}", system.load.load_1m, system.load.load_5m, system.load.load_15m)),
        ("disks", disks.collect::<Vec<_>>().join(", ")),
        ("docker", metrics.docker.status.clone()),
        ("images", format!("{} in {}", metrics.docker.image_count, gigabytes(metrics.docker.image_bytes))),
    ]);
    let header = ["CONTAINER", "STATUS", "CPU %", "MEMORY MB", "RX B/S", "TX B/S"];
    let rows = metrics.containers.iter().map(|container| {
        let figures = &container.metrics;
        vec![
            container.container_name.clone(),
            container.status.clone(),
            format!("{:.1}", figures.cpu.usage_percent),
            format!("{:.1}", figures.memory.usage_bytes as f64 / 1e6),
            figures.network.rx_bytes.to_string(),
            figures.network.tx_bytes.to_string(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() { pairs } else { format!("{pairs}\n{}", table::draw(&header, rows)) }
}

fn draw_container(container: &ContainerMetrics) -> String {
    let figures = &container.metrics;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    table::pairs(&[
        ("container", container.container_name.clone()),
        ("id", container.container_id.clone()),
        ("server", container.server_id.clone()),
        ("status", container.status.clone()),
        ("timestamp", container.timestamp.to_string()),
        ("cpu", format!("{:.1} %", figures.cpu.usage_percent)),
        (
            "memory",
            format!("{:.1} of {:.1} MB", megabytes(figures.memory.usage_bytes), megabytes(figures.memory.limit_bytes)),
        ),
        ("network", format!("{} B/s in, {} B/s out", figures.network.rx_bytes, figures.network.tx_bytes)),
        ("block io", format!("{} reads/s, {} writes/s", figures.block_io.read_ops, figures.block_io.write_ops)),
    ])
}

fn draw_series(answer: &SeriesAnswer) -> String {
    let header = ["SERIES", "UNIT", "LAST", "MIN", "AVG", "MAX"];
    let rows = answer.series.iter().map(|series| {
        let SteppedSeries { min, avg, max, .. } = series;
        let known = |values: &[Option<f64>]| values.iter().flatten().copied().collect::<Vec<_>>();
        let means = known(avg);
        let mean = means.iter().sum::<f64>() / means.len().max(1) as f64;
        vec![
            called(&series.metric, series.labels.iter().filter(|(name, _)| *name != "server_id")),
            series.unit.clone(),
            number(means.last().copied()),
            number(known(min).into_iter().reduce(f64::min)),
            number((!means.is_empty()).then_some(mean)),
            number(known(max).into_iter().reduce(f64::max)),
        ]
    });
    table::draw(&header, rows.collect())
}

fn draw_metrics(metrics: &[Metric]) -> String {
    let rows = metrics
        .iter()
        .map(|metric| vec![metric.name.clone(), metric.kind.clone(), metric.unit.clone(), metric.labels.join(",")]);
    table::draw(&["NAME", "KIND", "UNIT", "LABELS"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_a_line_each_with_their_extremes() {
        let answer = SeriesAnswer {
            from: Time(0),
            to: Time(2_000_000),
            step_ms: 1000,
            series: vec![SteppedSeries {
                metric: "host_load_1m".into(),
                labels: [("server".to_owned(), "web-1".to_owned()), ("server_id".to_owned(), "x".to_owned())].into(),
                unit: "1".into(),
                t: vec![0, 1000, 2000],
                min: vec![Some(0.5), None, Some(1.0)],
                avg: vec![Some(0.75), None, Some(1.25)],
                max: vec![Some(1.0), None, Some(1.5)],
            }],
        };
        let drawn = draw_series(&answer);
        let line = drawn.lines().nth(1).expect("a line").split_whitespace().collect::<Vec<_>>();
        assert_eq!(line, ["host_load_1m{server=web-1}", "1", "1.25", "0.50", "1.00", "1.50"]);
    }
}
