//! Series over a range, step by step: of one server or of many, each by itself or put together by labels.

use std::collections::BTreeMap;

use muster_shared::{
    id::{OrgId, ServerId},
    metric::{Series, SeriesKind, unit},
};

use super::{
    Budget, MetricStore, Selection,
    block::rollup::rounded,
    group::{Group, Grouped},
    steps::{Bucket, MINUTE_US, Steps, scaled},
};
use crate::error::Error;

/// Most servers of one question.
pub const MAX_SERVERS: usize = 1000;
/// Most series of one answer.
pub const MAX_SERIES: usize = 2000;
/// Most values of one answer: series times steps.
pub const MAX_VALUES: usize = 1_000_000;
/// Most samples read for one answer.
const MAX_SAMPLES: usize = 60_000_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesQuery {
    pub selection: Selection,
    pub steps: Steps,
    pub group: Option<Group>,
    /// Only so many series, those with the greatest mean first.
    pub top: Option<usize>,
}

/// A series in steps. `NaN` stands for a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Stepped {
    pub metric: String,
    pub labels: BTreeMap<String, String>,
    /// See [`unit`].
    pub unit: String,
    pub min: Vec<f64>,
    pub avg: Vec<f64>,
    pub max: Vec<f64>,
}

/// A server and what its series are labelled with beside their own labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub server: ServerId,
    pub labels: BTreeMap<String, String>,
}

/// The series that `query` asks for of `servers`; by name and labels, or the greatest first where only so many are
/// asked for.
///
/// # Errors
/// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for more than one answer may hold; [`Error`] when the store
/// fails.
pub async fn query(
    samples: &MetricStore,
    org: OrgId,
    servers: &[Asked],
    query: &SeriesQuery,
) -> Result<Vec<Stepped>, Error> {
    if servers.len() > MAX_SERVERS {
        return Err(Error::invalid("too_many_servers", format!("at most {MAX_SERVERS} servers can be asked at once")));
    }
    let (mut budget, mut grouped) = (Budget::of(MAX_SAMPLES), Grouped::default());
    let mut found = Vec::new();
    for asked in servers {
        let stepped = of_server(samples, (org, asked), query, &mut budget).await?;
        match &query.group {
            Some(group) => {
                stepped.into_iter().for_each(|series| grouped.add(group, series));
                hold(grouped.len(), query.steps)?;
            }
            None => found.extend(stepped),
        }
        if query.group.is_none() {
            if let Some(top) = query.top {
                keep_greatest(&mut found, top);
            }
            hold(found.len(), query.steps)?;
        }
    }
    if let Some(group) = &query.group {
        found = grouped.finish(group);
    }
    match query.top {
        Some(top) => keep_greatest(&mut found, top),
        None => found.sort_by(|one, other| (&one.metric, &one.labels).cmp(&(&other.metric, &other.labels))),
    }
    Ok(found)
}

fn hold(series: usize, steps: Steps) -> Result<(), Error> {
    if series > MAX_SERIES || series.saturating_mul(steps.count()) > MAX_VALUES {
        let detail = format!(
            "the answer has more than {MAX_SERIES} series or {MAX_VALUES} values: ask for a longer step, for fewer \
             series by labels or servers, or for the `top` ones"
        );
        return Err(Error::invalid("answer_too_large", detail));
    }
    Ok(())
}

async fn of_server(
    samples: &MetricStore,
    (org, asked): (OrgId, &Asked),
    query: &SeriesQuery,
    budget: &mut Budget,
) -> Result<Vec<Stepped>, Error> {
    let steps = query.steps;
    let found = samples.buckets((org, asked.server), &query.selection, steps, budget).await?;
    let stepped = found
        .into_iter()
        .filter_map(|(series, buckets)| Stepped::of(&series, &asked.labels, (&buckets, steps.step_us)));
    Ok(stepped.collect())
}

impl Stepped {
    /// `None` where nothing is known of any step.
    fn of(series: &Series, more: &BTreeMap<String, String>, (buckets, step_us): (&[Bucket], i64)) -> Option<Self> {
        if buckets.iter().all(|bucket| bucket.weight == 0) {
            return None;
        }
        // Steps that may come from roll-ups have no more digits of a rate than those, wherever they come from.
        let is_rounded = series.kind == SeriesKind::Counter && step_us >= MINUTE_US;
        let end = |value: f64| if is_rounded { rounded(value) } else { value };
        let values = |of: &dyn Fn(&Bucket) -> f64| {
            let value = |bucket: &Bucket| if bucket.weight > 0 { scaled(series, of(bucket)) } else { f64::NAN };
            buckets.iter().map(value).collect()
        };
        let mut labels = series.labels.clone();
        labels.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
        Some(Self {
            metric: series.name.clone(),
            labels,
            unit: unit(&series.name, series.kind),
            min: values(&|bucket| end(bucket.min)),
            avg: values(&|bucket| bucket.mean(series.kind).unwrap_or(f64::NAN)),
            max: values(&|bucket| end(bucket.max)),
        })
    }

    /// The mean over all steps that have a value.
    fn mean(&self) -> f64 {
        let known = self.avg.iter().filter(|value| !value.is_nan());
        let (sum, count) = known.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        if count > 0.0 { sum / count } else { f64::NEG_INFINITY }
    }
}

fn keep_greatest(found: &mut Vec<Stepped>, count: usize) {
    found.sort_by(|one, other| {
        other
            .mean()
            .total_cmp(&one.mean())
            .then_with(|| (&one.metric, &one.labels).cmp(&(&other.metric, &other.labels)))
    });
    found.truncate(count);
}

/// A metric as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    pub name: String,
    pub unit: String,
    pub kind: SeriesKind,
    pub labels: Vec<String>,
}

/// The metrics that `series` are of, by name.
#[must_use]
pub fn metrics_of<'a>(series: impl IntoIterator<Item = &'a Series>) -> Vec<Metric> {
    let mut metrics: BTreeMap<&str, Metric> = BTreeMap::new();
    for series in series {
        let metric = metrics.entry(&series.name).or_insert_with(|| Metric {
            name: series.name.clone(),
            unit: unit(&series.name, series.kind),
            kind: series.kind,
            labels: Vec::new(),
        });
        for label in series.labels.keys() {
            if let Err(place) = metric.labels.binary_search(label) {
                metric.labels.insert(place, label.clone());
            }
        }
    }
    metrics.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stepped(name: &str, avg: &[f64]) -> Stepped {
        let labels = [("name".to_owned(), name.to_owned())].into();
        Stepped {
            metric: "x".into(),
            labels,
            unit: "1".into(),
            min: avg.to_vec(),
            avg: avg.to_vec(),
            max: avg.to_vec(),
        }
    }

    #[test]
    fn the_greatest_come_first_and_gaps_count_for_nothing() {
        let mut found = vec![stepped("a", &[1.0, 1.0]), stepped("b", &[f64::NAN, 5.0]), stepped("c", &[2.0, 3.0])];
        keep_greatest(&mut found, 2);
        assert_eq!(found.iter().map(|series| series.labels["name"].as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn an_answer_has_bounds() {
        let steps = |count: i64| Steps::new(0, (count - 1) * 1_000_000, Some(1_000_000)).expect("good");
        assert!(hold(100, steps(10_000)).is_ok());
        assert!(hold(101, steps(10_000)).is_err());
        assert!(hold(MAX_SERIES + 1, steps(1)).is_err());
    }
}
