//! Where samples are kept beyond the last hour: in the control plane's own database, or in an engine of Prometheus' kind.
//! Grouping, `top`, units and shapes stand above it and are the same for both.

use std::collections::BTreeMap;

use muster_shared::{
    id::{OrgId, ServerId},
    metric::Series,
};

use super::{
    Budget, History, Points, Selection,
    engine::{Engine, Queries, Trouble},
    exchange::{Client, Destination},
    steps::{Bucket, Steps},
};
use crate::error::Error;

/// The one that is set up. Clones share it.
#[derive(Debug, Clone)]
pub enum MetricStore {
    /// Frames and blocks of the database.
    Embedded(History),
    /// The database's newest frames, and the engine for what is older.
    Engine(Box<Engine>),
}

impl MetricStore {
    /// The database's samples in `history`, or those of the engine at `destination` and the newest of the database.
    ///
    /// # Errors
    /// When an authority of the destination's is no certificate.
    pub fn new(history: History, destination: Option<Destination>) -> Result<Self, rustls::Error> {
        let Some(destination) = destination else { return Ok(Self::Embedded(history)) };
        let queries = Queries::new(Client::new(destination)?, history.clock.clone());
        Ok(Self::Engine(Box::new(Engine::new(history, queries))))
    }

    /// Whether what answers for the engine is one. One that is away may come back.
    ///
    /// # Errors
    /// [`Trouble`] with what answers instead.
    pub async fn check(&self) -> Result<(), Trouble> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::Engine(engine) => match engine.check().await {
                Err(trouble @ (Trouble::Away(_) | Trouble::Failed(_))) => {
                    tracing::warn!(error = %trouble, "the metric store's engine does not answer yet: samples wait in the database");
                    Ok(())
                }
                checked => checked,
            },
        }
    }

    /// What the series that `selection` takes were in each of `steps`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for more than `budget`;
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when an engine is away that alone has it; [`Error`] when
    /// the store fails.
    pub async fn buckets(
        &self,
        whose: (OrgId, ServerId),
        selection: &Selection,
        steps: Steps,
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Vec<Bucket>>, Error> {
        match self {
            Self::Embedded(history) => history.buckets(whose, selection, steps, budget).await,
            Self::Engine(engine) => engine.buckets(whose, selection, steps, budget).await,
        }
    }

    /// The samples of `from_us..to_us` that `selection` takes, in order of time, each once.
    ///
    /// # Errors
    /// As [`Self::buckets`].
    pub async fn samples(
        &self,
        whose: (OrgId, ServerId),
        selection: &Selection,
        range_us: (i64, i64),
        budget: &mut Budget,
    ) -> Result<BTreeMap<Series, Points>, Error> {
        match self {
            Self::Embedded(history) => history.samples(whose, selection, range_us, budget).await,
            Self::Engine(engine) => engine.samples(whose, selection, range_us, budget).await,
        }
    }
}
