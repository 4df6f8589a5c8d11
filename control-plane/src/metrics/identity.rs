//! What a series is called in the engine that is the metric store, and how it is known again. Pure.
//!
//! There a series has the labels that everybody writes to such engines, and two more: whether it counts up, and the power of ten
//! its integers count in. Engines keep milliseconds; what is left of a tick's time is a series of its own.

use std::collections::BTreeMap;

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{Series, SeriesKind},
};

use super::prometheus;

pub(super) const KIND_LABEL: &str = "muster_kind";
pub(super) const SCALE_LABEL: &str = "muster_scale";
pub(super) const ORGANIZATION_LABEL: &str = "organization_id";
pub(super) const SERVER_ID_LABEL: &str = "server_id";
/// The microseconds behind the milliseconds of a server's ticks, where there are any.
pub(super) const OFFSET: &str = "muster_sample_offset_microseconds";
/// Labels that are the control plane's, whatever a host says.
const RESERVED: [&str; 5] = [ORGANIZATION_LABEL, "server", SERVER_ID_LABEL, KIND_LABEL, SCALE_LABEL];
const SCALES: std::ops::RangeInclusive<i32> = -12..=12;

/// The word for a kind.
pub(super) fn kind_word(kind: SeriesKind) -> &'static str {
    match kind {
        SeriesKind::Gauge => "gauge",
        SeriesKind::Counter => "counter",
    }
}

/// The labels that say how to read a series' values.
pub(super) fn typed(series: &Series) -> [(&'static str, String); 2] {
    [(KIND_LABEL, kind_word(series.kind).to_owned()), (SCALE_LABEL, series.scale.to_string())]
}

/// Whether a host's label keeps its name in the engine.
pub(super) fn keeps_label(name: &str) -> bool {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_word
        && !name.is_empty()
        && !name.starts_with("__")
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !RESERVED.contains(&name)
}

/// The series as the engine knows it: without labels that have no value or are the control plane's. `None` of one that is
/// not written there at all.
pub(super) fn canonical(series: &Series) -> Option<Series> {
    let mut series = prometheus::is_exportable(series).then(|| series.clone())?;
    series.labels.retain(|name, value| !value.is_empty() && !RESERVED.contains(&name.as_str()));
    Some(series)
}

/// The series called `name` that the engine answered with `labels`; `None` of one that was not written by a metric store, or
/// is not this server's.
pub(super) fn read_back(
    name: &str,
    mut labels: BTreeMap<String, String>,
    (org, server): (OrgId, ServerId),
) -> Option<Series> {
    labels.remove("__name__");
    let is_whose = labels.get(ORGANIZATION_LABEL) == Some(&org.to_string())
        && labels.get(SERVER_ID_LABEL) == Some(&server.to_string());
    let kind = match labels.get(KIND_LABEL)?.as_str() {
        "gauge" => SeriesKind::Gauge,
        "counter" => SeriesKind::Counter,
        _ => return None,
    };
    let scale = labels.get(SCALE_LABEL)?.parse().ok().filter(|scale| SCALES.contains(scale))?;
    labels.retain(|name, _| !RESERVED.contains(&name.as_str()));
    is_whose.then(|| Series { name: name.to_owned(), labels, scale, kind })
}

/// The integer that `value` was, in the unit of a series of this scale: see [`Series::to_unit`]. Exact below 2^50.
pub(super) fn from_unit(scale: i32, value: f64) -> f64 {
    if scale < 0 { value * 10f64.powi(-scale) } else { value / 10f64.powi(scale) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::latest_tests::series;

    #[test]
    fn a_series_is_known_again() {
        let (org, server) = (OrgId::generate(), ServerId::generate());
        let told = series(
            "host_load_1m",
            &[("device", "a \"b\"\\"), ("server", "liar"), ("muster_kind", "x"), ("no", "")],
            -2,
        );
        let mut labels: BTreeMap<_, _> =
            told.labels.clone().into_iter().filter(|(_, value)| !value.is_empty()).collect();
        labels.extend(typed(&told).map(|(name, value)| (name.to_owned(), value)));
        labels.insert("server".to_owned(), "web-1".to_owned());
        labels.insert(ORGANIZATION_LABEL.to_owned(), org.to_string());
        labels.insert(SERVER_ID_LABEL.to_owned(), server.to_string());
        let again = read_back("host_load_1m", labels.clone(), (org, server));
        assert_eq!(again, canonical(&told));
        assert_eq!(again.expect("a series").labels, BTreeMap::from([("device".to_owned(), "a \"b\"\\".to_owned())]));
        assert_eq!(read_back("host_load_1m", labels.clone(), (OrgId::generate(), server)), None, "not theirs");
        labels.remove(SCALE_LABEL);
        assert_eq!(read_back("host_load_1m", labels, (org, server)), None, "written by somebody else");
    }

    #[test]
    fn labels_that_no_series_there_can_have_are_none() {
        for good in ["device", "_x", "name1"] {
            assert!(keeps_label(good), "{good}");
        }
        for bad in ["", "__name__", "1a", "server_id", "a=\"\"} or {b", "é", "a b"] {
            assert!(!keeps_label(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn integers_come_back(integer in -(1i64 << 50)..(1i64 << 50), scale in -9i32..=9) {
            let series = Series { scale, ..series("x", &[], 0) };
            prop_assert_eq!(from_unit(scale, series.to_unit(integer)).round() as i64, integer);
        }
    }
}
