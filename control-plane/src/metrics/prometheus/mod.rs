//! Series as Prometheus and its kin name them. Pure.
//!
//! Names and units are Muster's own, which follow Prometheus' conventions. Hosts choose names and labels within what the wire
//! lets them; what Prometheus couldn't read, or what would pass for the control plane's own, is left out here, so that
//! one host can't spoil what is told of the others.

mod exposition;
mod help;

use std::collections::BTreeMap;

use muster_shared::metric::Series;

pub use exposition::{Exposition, MAX_EXPORT_SERIES, TooManySeries};
pub use help::help;

/// 1 while a server's samples arrive, else 0.
pub const SERVER_UP: &str = "muster_server_up";
/// When a server's newest sample was taken there, in seconds since the epoch.
pub const SERVER_SAMPLE_TIMESTAMP_SECONDS: &str = "muster_server_sample_timestamp_seconds";
/// A server that nothing came from for longer has no newest values any more. An unwatched host sends every ten seconds.
pub const STALE_AFTER_US: i64 = 60 * 1_000_000;
/// What the control plane's own metrics begin with.
const OWN: &str = "muster_";

/// Whether a server whose newest sample arrived at `arrived_us`, if any did, counts as up.
#[must_use]
pub fn is_up(arrived_us: Option<i64>, now_us: i64) -> bool {
    arrived_us.is_some_and(|arrived_us| now_us.saturating_sub(arrived_us) <= STALE_AFTER_US)
}

/// Whether Prometheus can read the series' name and labels, and they are not the control plane's own.
#[must_use]
pub fn is_exportable(series: &Series) -> bool {
    let fits = |name: &str| !name.starts_with("__") && !name.starts_with(|first: char| first.is_ascii_digit());
    fits(&series.name) && !series.name.starts_with(OWN) && series.labels.keys().all(|label| fits(label))
}

/// The labels of a series of the server that has `own` labels; those win over the host's. A label without a value is none.
pub fn labels<'a>(series: &'a Series, own: &'a BTreeMap<String, String>) -> BTreeMap<&'a str, &'a str> {
    let all = series.labels.iter().chain(own);
    all.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latest_tests::series;

    #[test]
    fn what_prometheus_cannot_read_or_is_our_own_is_left_out() {
        assert!(is_exportable(&series("host_load_1m", &[("device", "a")], 0)));
        for (name, label) in [("0load", "a"), ("__name__", "a"), ("muster_server_up", "a"), ("up", "0a"), ("up", "__a")]
        {
            assert!(!is_exportable(&series(name, &[(label, "x")], 0)), "{name} {label}");
        }
    }

    #[test]
    fn a_server_is_up_until_nothing_came_for_a_minute() {
        assert!(is_up(Some(5), 5) && is_up(Some(5), 5 + STALE_AFTER_US) && is_up(Some(5), 4));
        assert!(!is_up(Some(5), 6 + STALE_AFTER_US) && !is_up(None, 5));
    }

    #[test]
    fn no_host_says_what_server_it_is() {
        let lying = series("host_load_1m", &[("server", "another"), ("device", "a"), ("empty", "")], 0);
        let own = BTreeMap::from([("server".to_owned(), "web-1".to_owned())]);
        assert_eq!(labels(&lying, &own), BTreeMap::from([("device", "a"), ("server", "web-1")]));
    }
}
