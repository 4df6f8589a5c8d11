//! A question for series, as callers put it: a query string's pairs or a message's fields.

use std::collections::BTreeMap;

use muster_shared::wire;

use super::time::Time;
use crate::{
    error::Error,
    metrics::{Aggregate, Group, MAX_LABELS, MAX_METRICS, MAX_SERIES, Selection, SeriesQuery, steps},
};

/// How far back a range reaches unless its start is given, in microseconds.
const DEFAULT_RANGE_US: i64 = 300 * 1_000_000;
/// Most servers named, and labels grouped by.
const MAX_NAMES: usize = 1000;

/// What is asked, not yet looked at as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesParameters {
    pub metrics: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub servers: Vec<String>,
    pub filter: Option<String>,
    pub from_us: Option<i64>,
    pub to_us: Option<i64>,
    pub step_us: Option<i64>,
    pub group_by: Vec<String>,
    pub aggregate: Option<Aggregate>,
    pub top: Option<usize>,
}

impl SeriesParameters {
    /// Reads a query string's pairs, of which only those named in `known` may occur.
    ///
    /// # Errors
    /// [`Error`] naming the parameter that is unknown or unusable.
    pub fn read(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self, Error> {
        let (mut parameters, mut labels) = (Self::default(), 0);
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let detail = format!("unknown parameter `{name}`: expected one of {}", known.join(", "));
                return Err(Error::invalid("invalid_query", detail));
            }
            match name.as_str() {
                "metric" => parameters.metrics.push(value),
                "label" => {
                    let (label, value) = value.split_once('=').ok_or_else(|| {
                        Error::invalid("invalid_label", "label: expected name=value, such as device=eth0")
                    })?;
                    parameters.labels.insert(label.to_owned(), value.to_owned());
                    labels += 1;
                }
                "server" => parameters.servers.push(value),
                "filter" => parameters.filter = Some(value),
                "from" => parameters.from_us = Some(point("from", &value)?),
                "to" => parameters.to_us = Some(point("to", &value)?),
                "step" => parameters.step_us = Some(steps::parse_step(&value)?),
                "group_by" => parameters.group_by.extend(value.split(',').map(str::to_owned)),
                "aggregate" => parameters.aggregate = Some(Aggregate::parse(&value)?),
                "top" => parameters.top = Some(top(value.parse().ok())?),
                _ => {}
            }
        }
        // As many as were written, be some of them the same.
        if parameters.metrics.len() > MAX_METRICS || labels > MAX_LABELS {
            return Err(Selection::too_many());
        }
        if parameters.servers.len() > MAX_NAMES || parameters.group_by.len() > MAX_NAMES {
            return Err(Error::invalid(
                "too_many_names",
                format!("at most {MAX_NAMES} servers and labels can be named"),
            ));
        }
        Ok(parameters)
    }

    /// The same from a message.
    ///
    /// # Errors
    /// [`Error`] naming the field that is unusable.
    pub fn of(request: wire::QuerySeriesRequest) -> Result<Self, Error> {
        let selection = request.selection.unwrap_or_default();
        let time = |time: Option<prost_types::Timestamp>| time.map(|time| Time::from(time).0);
        let step_us = Some(request.step_ms).filter(|step| *step != 0).map(|step| step.saturating_mul(1000));
        Ok(Self {
            metrics: selection.metrics,
            labels: selection.labels.into_iter().collect(),
            servers: selection.servers,
            filter: Some(selection.filter).filter(|filter| !filter.is_empty()),
            from_us: time(request.from),
            to_us: time(request.to),
            step_us,
            group_by: request.group_by,
            aggregate: Some(request.aggregate)
                .filter(|word| !word.is_empty())
                .map(|word| Aggregate::parse(&word))
                .transpose()?,
            top: Some(request.top)
                .filter(|count| *count > 0)
                .map(|count| top(usize::try_from(count).ok()))
                .transpose()?,
        })
    }

    /// The question, as of `now_us`.
    ///
    /// # Errors
    /// [`Error`] for what can't be asked.
    pub fn query(self, now_us: i64) -> Result<SeriesQuery, Error> {
        let to_us = self.to_us.unwrap_or(now_us);
        let from_us = self.from_us.unwrap_or_else(|| to_us.saturating_sub(DEFAULT_RANGE_US));
        let group = match (self.group_by.is_empty(), self.aggregate) {
            (true, None) => None,
            (_, aggregate) => Some(Group { by: self.group_by, aggregate: aggregate.unwrap_or_default() }),
        };
        Ok(SeriesQuery {
            selection: Selection::new(self.metrics, self.labels)?,
            steps: steps::Steps::new(from_us, to_us, self.step_us)?,
            group,
            top: self.top,
        })
    }
}

fn top(count: Option<usize>) -> Result<usize, Error> {
    count
        .filter(|count| (1..=MAX_SERIES).contains(count))
        .ok_or_else(|| Error::invalid("invalid_top", format!("top: 1 to {MAX_SERIES}")))
}

fn point(field: &str, text: &str) -> Result<i64, Error> {
    if let Ok(seconds) = text.parse::<f64>()
        && (0.0..1e11).contains(&seconds)
    {
        // In range, so the cast keeps all but the fraction of a microsecond.
        return Ok((seconds * 1e6) as i64);
    }
    let time = text.parse::<prost_types::Timestamp>();
    time.map(|time| Time::from(time).0).map_err(|_| {
        Error::invalid("invalid_time", format!("{field}: expected RFC 3339, such as 2025-01-15T10:30:00Z, or seconds"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: i64 = 1_736_937_000_000_000;

    fn read(pairs: &[(&str, &str)]) -> Result<SeriesQuery, Error> {
        let owned = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let known = ["metric", "label", "server", "from", "to", "step", "group_by", "aggregate", "top"];
        SeriesParameters::read(owned, &known)?.query(NOW_US)
    }

    #[test]
    fn ranges_are_read_in_either_form_and_end_now() {
        let range = |pairs: &[(&str, &str)]| {
            let pairs = [&[("metric", "up")], pairs].concat();
            read(&pairs).map(|query| (query.steps.from_us, query.steps.to_us)).ok()
        };
        assert_eq!(range(&[]), Some((NOW_US - DEFAULT_RANGE_US, NOW_US)));
        let both = [("from", "1736936999.5"), ("to", "2025-01-15T10:30:00Z")];
        assert_eq!(range(&both), Some((NOW_US - 500_000, NOW_US)));
        for bad in
            [[("from", "yesterday"), ("to", "20")], [("from", "20"), ("to", "10")], [("from", "1e300"), ("to", "1")]]
        {
            assert_eq!(range(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_can_t_be_asked_says_which_parameter() {
        let code = |pairs: &[(&str, &str)]| read(pairs).map_err(|error| error.code).err();
        assert_eq!(code(&[]), Some("metric_missing"));
        assert_eq!(code(&[("metric", "up"), ("metrics", "up")]), Some("invalid_query"));
        assert_eq!(code(&[("metric", "up"), ("label", "device")]), Some("invalid_label"));
        assert_eq!(code(&[("metric", "up"), ("top", "0")]), Some("invalid_top"));
        assert_eq!(code(&[("metric", "up"), ("aggregate", "median")]), Some("invalid_aggregate"));
        assert_eq!(code(&[("metric", "up"), ("group_by", "server,name"), ("top", "10"), ("step", "10s")]), None);
    }
}
