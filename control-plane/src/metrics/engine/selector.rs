//! What an engine is asked for, in PromQL. Pure.
//!
//! Every selector has the organisation's and the server's id as exact matchers, made of typed ids. Names and values that callers
//! gave are matched exactly as well, never as patterns: a name is taken only where it is one, and a value is quoted.

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{MAX_NAME_BYTES, Series, SeriesKind},
};

use crate::metrics::{
    Selection,
    identity::{KIND_LABEL, OFFSET, ORGANIZATION_LABEL, SERVER_ID_LABEL, canonical, keeps_label, kind_word},
};

/// The selectors of `selection` by metric, of both kinds or of one; none for what no series in an engine can have.
pub(super) fn selectors(
    whose: (OrgId, ServerId),
    selection: &Selection,
    kind: Option<SeriesKind>,
) -> Vec<(String, String)> {
    let Some(labels) = selection.labels().map(matcher).collect::<Option<String>>() else { return Vec::new() };
    let kind = kind.map_or_else(
        || format!(",{KIND_LABEL}=~\"gauge|counter\""),
        |kind| format!(",{KIND_LABEL}=\"{}\"", kind_word(kind)),
    );
    let names = selection.metrics().filter(|name| is_name(name));
    names.map(|name| (name.to_owned(), format!("{{__name__=\"{name}\"{}{kind}{labels}}}", identified(whose)))).collect()
}

/// The selector of what is left of a server's ticks behind their milliseconds.
pub(super) fn offsets(whose: (OrgId, ServerId)) -> String {
    format!("{{__name__=\"{OFFSET}\"{}}}", identified(whose))
}

fn identified((org, server): (OrgId, ServerId)) -> String {
    format!(",{ORGANIZATION_LABEL}=\"{org}\",{SERVER_ID_LABEL}=\"{server}\"")
}

fn is_name(name: &str) -> bool {
    let is_written = |name: &str| {
        let (name, labels) = (name.to_owned(), [].into());
        canonical(&Series { name, labels, scale: 0, kind: SeriesKind::Gauge }).is_some()
    };
    name.len() <= MAX_NAME_BYTES && keeps_label(name) && is_written(name)
}

/// `None` where no series can have such a label.
fn matcher((name, value): (&str, &str)) -> Option<String> {
    let can_be = keeps_label(name)
        && name.len() <= MAX_NAME_BYTES
        && !value.is_empty()
        && value.len() <= MAX_NAME_BYTES
        && !value.chars().any(char::is_control);
    can_be.then(|| format!(",{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metric: &str, labels: &[(&str, &str)]) -> Vec<String> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let selection = Selection::new([metric.to_owned()], labels).expect("good");
        let whose = (OrgId::generate(), ServerId::generate());
        let found = selectors(whose, &selection, Some(SeriesKind::Gauge));
        let own = format!("organization_id=\"{}\",server_id=\"{}\"", whose.0, whose.1);
        found.into_iter().map(|(_, selector)| selector.replace(&own, "<whose>")).collect()
    }

    #[test]
    fn whose_they_are_is_always_said() {
        assert_eq!(of("up", &[]), ["{__name__=\"up\",<whose>,muster_kind=\"gauge\"}"]);
        assert_eq!(of("up", &[("name", "a-1")]), ["{__name__=\"up\",<whose>,muster_kind=\"gauge\",name=\"a-1\"}"]);
    }

    #[test]
    fn what_callers_say_stays_a_value() {
        let quoted = of("up", &[("name", "x\"} or up{server_id=~\".*")]);
        assert_eq!(quoted, ["{__name__=\"up\",<whose>,muster_kind=\"gauge\",name=\"x\\\"} or up{server_id=~\\\".*\"}"]);
        assert_eq!(of("up", &[("name", "a\\")]), ["{__name__=\"up\",<whose>,muster_kind=\"gauge\",name=\"a\\\\\"}"]);
    }

    #[test]
    fn what_no_series_has_is_not_asked_for() {
        for metric in ["up\"} or {a=\"", "muster_server_up", "__name__", "1up", "a b", "ü", &"x".repeat(201)] {
            assert!(of(metric, &[]).is_empty(), "{metric}");
        }
        for label in [
            ("server_id", "x"),
            ("organization_id", "x"),
            ("a=\"b\",c", "x"),
            ("name", ""),
            ("name", "a\nb"),
            ("__a", "b"),
        ] {
            assert!(of("up", &[label]).is_empty(), "{label:?}");
        }
    }
}
