//! Series put together by labels. Pure.

use std::collections::BTreeMap;

use super::query::Stepped;
use crate::error::Error;

/// How values of one step become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Aggregate {
    #[default]
    Sum,
    Avg,
    Min,
    Max,
}

impl Aggregate {
    /// `sum`, `avg`, `min` or `max`.
    ///
    /// # Errors
    /// [`Error`] for any other word.
    pub fn parse(word: &str) -> Result<Self, Error> {
        match word {
            "sum" => Ok(Self::Sum),
            "avg" => Ok(Self::Avg),
            "min" => Ok(Self::Min),
            "max" => Ok(Self::Max),
            _ => Err(Error::invalid("invalid_aggregate", "aggregate: one of sum, avg, min and max")),
        }
    }
}

/// Which labels stay, and what becomes of series that are the same but for the others. Metrics are never put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub by: Vec<String>,
    pub aggregate: Aggregate,
}

/// Series put together so far, by metric and labels.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    groups: BTreeMap<(String, BTreeMap<String, String>), Sums>,
}

#[derive(Debug)]
struct Sums {
    series: Stepped,
    /// How many series had a value, by step.
    counts: Vec<f64>,
}

impl Grouped {
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn add(&mut self, group: &Group, mut series: Stepped) {
        series.labels.retain(|label, _| group.by.contains(label));
        let counts = || series.avg.iter().map(|value| if value.is_nan() { 0.0 } else { 1.0 });
        match self.groups.get_mut(&(series.metric.clone(), series.labels.clone())) {
            None => {
                let counts = counts().collect();
                self.groups.insert((series.metric.clone(), series.labels.clone()), Sums { series, counts });
            }
            Some(sums) => {
                sums.counts.iter_mut().zip(counts()).for_each(|(count, more)| *count += more);
                let of = |one: &mut Vec<f64>, other: &[f64]| {
                    one.iter_mut().zip(other).for_each(|(one, other)| *one = together(group.aggregate, *one, *other));
                };
                of(&mut sums.series.min, &series.min);
                of(&mut sums.series.avg, &series.avg);
                of(&mut sums.series.max, &series.max);
            }
        }
    }

    pub(super) fn finish(self, group: &Group) -> Vec<Stepped> {
        let finished = self.groups.into_values().map(|Sums { mut series, counts }| {
            if group.aggregate == Aggregate::Avg {
                for values in [&mut series.min, &mut series.avg, &mut series.max] {
                    values.iter_mut().zip(&counts).for_each(|(value, count)| *value /= count);
                }
            }
            series
        });
        finished.collect()
    }
}

fn together(aggregate: Aggregate, one: f64, other: f64) -> f64 {
    match aggregate {
        _ if one.is_nan() => other,
        _ if other.is_nan() => one,
        Aggregate::Sum | Aggregate::Avg => one + other,
        Aggregate::Min => one.min(other),
        Aggregate::Max => one.max(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(host: &str, device: &str, values: &[f64]) -> Stepped {
        let labels = [("server".to_owned(), host.to_owned()), ("device".to_owned(), device.to_owned())].into();
        let values = values.to_vec();
        Stepped { metric: "x".into(), labels, unit: "1".into(), min: values.clone(), avg: values.clone(), max: values }
    }

    fn grouped(aggregate: Aggregate) -> Vec<(String, Vec<f64>)> {
        let group = Group { by: vec!["server".to_owned()], aggregate };
        let mut grouped = Grouped::default();
        for one in [
            series("a", "eth0", &[1.0, 2.0, f64::NAN]),
            series("a", "eth1", &[3.0, f64::NAN, f64::NAN]),
            series("b", "eth0", &[5.0, 5.0, 5.0]),
        ] {
            grouped.add(&group, one);
        }
        grouped.finish(&group).into_iter().map(|series| (series.labels["server"].clone(), series.avg)).collect()
    }

    #[test]
    fn values_of_one_step_become_one_and_gaps_stay() {
        for (aggregate, expected) in
            [(Aggregate::Sum, 4.0), (Aggregate::Avg, 2.0), (Aggregate::Min, 1.0), (Aggregate::Max, 3.0)]
        {
            let found = grouped(aggregate);
            assert_eq!(found[0].1[..2], [expected, 2.0], "{aggregate:?}");
            assert!(found[0].1[2].is_nan());
            assert_eq!(found[1], ("b".to_owned(), vec![5.0, 5.0, 5.0]));
        }
    }
}
