//! The text that Prometheus scrapes: the newest value of every series, a family at a time. Pure.
//!
//! Values have no timestamp unless asked for. As Prometheus advises, whoever scrapes then says when it was, and a series that
//! is not there any more ends at once instead of five minutes later.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use muster_shared::metric::SeriesKind;

use super::{SERVER_SAMPLE_TIMESTAMP_SECONDS, SERVER_UP, help, is_exportable, labels};
use crate::metrics::Latest;

/// Most series of one exposition; at about 150 bytes each.
pub const MAX_EXPORT_SERIES: usize = 250_000;

/// There are more series than one exposition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are more than {MAX_EXPORT_SERIES} series: scrape a part of the servers at a time, chosen by `server` or `filter`"
)]
pub struct TooManySeries;

/// The newest values of many servers.
#[derive(Debug, Default)]
pub struct Exposition {
    families: BTreeMap<String, Family>,
    series: usize,
    has_timestamps: bool,
    help: HashMap<&'static str, &'static str>,
}

/// The series of one name. By their labels as they are written, so that none is there twice.
#[derive(Debug, Default)]
struct Family {
    /// `None` where hosts don't agree.
    kind: Option<SeriesKind>,
    help: Option<&'static str>,
    values: BTreeMap<String, (f64, i64)>,
}

impl Exposition {
    /// Of nothing yet; with the times of samples where `has_timestamps`.
    #[must_use]
    pub fn new(has_timestamps: bool) -> Self {
        Self { has_timestamps, help: help(), ..Self::default() }
    }

    /// Adds a server with its `own` labels: whether it is up, and if it is, its newest readings.
    ///
    /// # Errors
    /// [`TooManySeries`].
    pub fn add(
        &mut self,
        own: &BTreeMap<String, String>,
        now_us: i64,
        latest: Option<&Latest>,
    ) -> Result<(), TooManySeries> {
        let written = write_labels(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let help = "Whether the server's samples arrive.";
        self.put(SERVER_UP, SeriesKind::Gauge, Some(help), written.clone(), (f64::from(latest.is_some()), now_us))?;
        let Some(latest) = latest else { return Ok(()) };
        let help = "When the server's newest sample was taken.";
        let taken = latest.at_us as f64 / 1e6;
        let name = SERVER_SAMPLE_TIMESTAMP_SECONDS;
        self.put(name, SeriesKind::Gauge, Some(help), written, (taken, latest.at_us))?;
        for (series, value) in latest.values().filter(|(series, _)| is_exportable(series)) {
            let known = self.help.get(series.name.as_str()).copied();
            let written = write_labels(labels(series, own).into_iter());
            self.put(&series.name, series.kind, known, written, (value, latest.at_us))?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        name: &str,
        kind: SeriesKind,
        help: Option<&'static str>,
        labels: String,
        value: (f64, i64),
    ) -> Result<(), TooManySeries> {
        if !self.families.contains_key(name) {
            self.families.insert(name.to_owned(), Family { kind: Some(kind), help, values: BTreeMap::new() });
        }
        let Some(family) = self.families.get_mut(name) else { return Ok(()) };
        family.kind = family.kind.filter(|known| *known == kind);
        if family.values.insert(labels, value).is_none() {
            self.series += 1;
        }
        if self.series > MAX_EXPORT_SERIES { Err(TooManySeries) } else { Ok(()) }
    }

    /// How many series are in it.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series
    }

    /// The text, version 0.0.4.
    #[must_use]
    pub fn finish(self) -> String {
        let mut text = String::with_capacity(self.series * 150);
        for (name, family) in self.families {
            let kind = match family.kind {
                Some(SeriesKind::Counter) => "counter",
                Some(SeriesKind::Gauge) => "gauge",
                None => "untyped",
            };
            let help = family.help.unwrap_or("Reported by hosts newer than this control plane.");
            // Writing to a text can't fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", help.replace('\\', "\\\\"));
            for (labels, (value, at_us)) in family.values {
                let _ = match self.has_timestamps {
                    true => writeln!(text, "{name}{labels} {value} {}", at_us.div_euclid(1000)),
                    false => writeln!(text, "{name}{labels} {value}"),
                };
            }
        }
        text
    }
}

fn write_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut written = String::new();
    for (name, value) in labels {
        written.push(if written.is_empty() { '{' } else { ',' });
        let _ = write!(written, "{name}=\"");
        for character in value.chars() {
            match character {
                '\\' => written.push_str("\\\\"),
                '"' => written.push_str("\\\""),
                '\n' => written.push_str("\\n"),
                other => written.push(other),
            }
        }
        written.push('"');
    }
    if !written.is_empty() {
        written.push('}');
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latest_tests::{latest_of, series};

    fn own(name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("server".to_owned(), name.to_owned()), ("server_id".to_owned(), "1".to_owned())])
    }

    #[test]
    fn a_family_is_told_once_with_all_its_series() {
        let web = latest_of(&[
            (series("host_load_1m", &[], -2), 1, 25),
            (series("host_network_receive_bytes_total", &[("device", "eth0")], 0), 1, 2),
        ]);
        let db = latest_of(&[(series("host_load_1m", &[], -2), 1, 150)]);
        let mut exposition = Exposition::new(false);
        exposition.add(&own("web"), 9, Some(&web)).expect("few");
        exposition.add(&own("db"), 9, Some(&db)).expect("few");
        exposition.add(&own("gone"), 9, None).expect("few");
        assert_eq!(exposition.series(), 8);
        assert_eq!(
            exposition.finish(),
            "# HELP host_load_1m Load average of one minute.\n\
             # TYPE host_load_1m gauge\n\
             host_load_1m{server=\"db\",server_id=\"1\"} 1.5\n\
             host_load_1m{server=\"web\",server_id=\"1\"} 0.25\n\
             # HELP host_network_receive_bytes_total Bytes received.\n\
             # TYPE host_network_receive_bytes_total counter\n\
             host_network_receive_bytes_total{device=\"eth0\",server=\"web\",server_id=\"1\"} 2\n\
             # HELP muster_server_sample_timestamp_seconds When the server's newest sample was taken.\n\
             # TYPE muster_server_sample_timestamp_seconds gauge\n\
             muster_server_sample_timestamp_seconds{server=\"db\",server_id=\"1\"} 2\n\
             muster_server_sample_timestamp_seconds{server=\"web\",server_id=\"1\"} 2\n\
             # HELP muster_server_up Whether the server's samples arrive.\n\
             # TYPE muster_server_up gauge\n\
             muster_server_up{server=\"db\",server_id=\"1\"} 1\n\
             muster_server_up{server=\"gone\",server_id=\"1\"} 0\n\
             muster_server_up{server=\"web\",server_id=\"1\"} 1\n"
        );
    }

    #[test]
    fn times_are_told_where_they_are_asked_for() {
        let mut exposition = Exposition::new(true);
        exposition.add(&own("web"), 9_000, Some(&latest_of(&[(series("up", &[], 0), 1, 7)]))).expect("few");
        let text = exposition.finish();
        assert!(text.contains("up{server=\"web\",server_id=\"1\"} 7 2000\n"), "{text}");
    }

    #[test]
    fn hosts_can_break_neither_the_text_nor_a_family() {
        let hostile = "a\\\"}\n# TYPE x gauge";
        let both = latest_of(&[
            (series("up", &[("name", hostile)], 0), 1, 7),
            (series("up", &[("name", hostile)], -1), 1, 8),
            (series("0up", &[], 0), 1, 9),
        ]);
        let counting = muster_shared::metric::Series { kind: SeriesKind::Counter, ..series("up", &[], 0) };
        let mut exposition = Exposition::new(false);
        exposition.add(&own("a"), 9, Some(&both)).expect("few");
        exposition.add(&own("b"), 9, Some(&latest_of(&[(counting, 1, 2)]))).expect("few");
        let text = exposition.finish();
        assert!(text.contains("# TYPE up untyped"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("up{")).count(), 2, "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE")).count(), 3, "{text}");
        assert!(text.contains(r#"name="a\\\"}\n# TYPE x gauge""#), "{text}");
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut exposition = Exposition { series: MAX_EXPORT_SERIES, ..Exposition::default() };
        assert_eq!(exposition.add(&own("a"), 9, None), Err(TooManySeries));
    }
}
