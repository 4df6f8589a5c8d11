//! The unit a metric's name ends with. Pure.

use super::SeriesKind;

/// Units that names end with. Whatever ends otherwise is a plain number.
const UNITS: [&str; 5] = ["bytes", "seconds", "cores", "percent", "ratio"];

/// What values of the metric `name` are read in: `bytes`, `seconds`, `cores` or `1` for a plain number; counters, whose
/// rates are read, `bytes/s`, `seconds/s` or `1/s`.
///
/// ```
/// # use muster_shared::metric::{SeriesKind, unit};
/// assert_eq!(unit("host_network_receive_bytes_total", SeriesKind::Counter), "bytes/s");
/// assert_eq!(unit("host_load_1m", SeriesKind::Gauge), "1");
/// ```
#[must_use]
pub fn unit(name: &str, kind: SeriesKind) -> String {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let ends = |unit: &&str| name.strip_suffix(*unit).is_some_and(|rest| rest.ends_with('_'));
    let unit = UNITS.into_iter().find(ends).unwrap_or("1");
    match kind {
        SeriesKind::Gauge => unit.to_owned(),
        SeriesKind::Counter => format!("{unit}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_a_whole_word_at_the_end() {
        assert_eq!(unit("container_memory_bytes", SeriesKind::Gauge), "bytes");
        assert_eq!(unit("host_cpu_seconds_total", SeriesKind::Counter), "seconds/s");
        assert_eq!(unit("host_forks_total", SeriesKind::Counter), "1/s");
        assert_eq!(unit("kilobytes", SeriesKind::Gauge), "1");
    }
}
