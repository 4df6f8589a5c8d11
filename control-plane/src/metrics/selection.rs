//! Which series somebody asks for. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use muster_shared::metric::Series;

use crate::error::Error;

/// Most metrics of one question.
pub const MAX_METRICS: usize = 20;
/// Most labels of one question.
pub const MAX_LABELS: usize = 20;

/// Names of metrics, and the labels their series must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    metrics: BTreeSet<String>,
    labels: BTreeMap<String, String>,
}

impl Selection {
    /// Of these metrics, the series with these labels among their own.
    ///
    /// # Errors
    /// [`Error`] for no metric at all, and for too many.
    pub fn new(
        metrics: impl IntoIterator<Item = String>,
        labels: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let selection = Self { metrics: metrics.into_iter().collect(), labels: labels.into_iter().collect() };
        if selection.metrics.is_empty() || selection.metrics.contains("") {
            return Err(Error::invalid(
                "metric_missing",
                "metric: name at least one; /api/v1/monitoring/metrics lists them",
            ));
        }
        if selection.metrics.len() > MAX_METRICS || selection.labels.len() > MAX_LABELS {
            return Err(Self::too_many());
        }
        Ok(selection)
    }

    /// What is told of more than [`MAX_METRICS`] or [`MAX_LABELS`].
    #[must_use]
    pub fn too_many() -> Error {
        let detail = format!("at most {MAX_METRICS} metrics and {MAX_LABELS} labels can be asked for at once");
        Error::invalid("too_many_metrics", detail)
    }

    /// Whether `series` is asked for.
    #[must_use]
    pub fn takes(&self, series: &Series) -> bool {
        self.metrics.contains(&series.name)
            && self.labels.iter().all(|(label, value)| series.labels.get(label) == Some(value))
    }

    /// [`Self::takes`], to be asked elsewhere.
    pub(super) fn taken(&self) -> impl Fn(&Series) -> bool + Clone + Send + 'static {
        let selection = Arc::new(self.clone());
        move |series| selection.takes(series)
    }

    /// The labels that series must have.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The metrics' names.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.metrics.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latest_tests::series;

    #[test]
    fn every_label_has_to_match_and_no_more() {
        let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let selection = Selection::new(["up".to_owned()], owned(&[("a", "1")])).expect("good");
        assert!(selection.takes(&series("up", &[("a", "1"), ("b", "2")], 0)));
        assert!(!selection.takes(&series("up", &[("b", "1")], 0)));
        assert!(!selection.takes(&series("down", &[("a", "1")], 0)));
        assert!(Selection::new([], owned(&[])).is_err());
        assert!(Selection::new((0..=MAX_METRICS).map(|n| format!("m{n}")), owned(&[])).is_err());
    }
}
