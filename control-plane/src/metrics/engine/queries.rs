//! Asking the engine: at most [`MAX_AT_ONCE`] questions at once, each answer at most [`MAX_ANSWER_BYTES`]. After an engine
//! couldn't be reached, nobody waits for it again for [`AWAY_FOR_US`].

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Semaphore;

use super::{
    super::exchange::{Client, Reply, SendError},
    answer::{self, Found},
};
use crate::{clock::Clock, percent};

/// Questions asked at once; more wait.
pub const MAX_AT_ONCE: usize = 8;
/// Largest answer, in bytes: a little more than a million samples. What is longer is asked for in smaller pieces.
pub const MAX_ANSWER_BYTES: usize = 32 << 20;
/// How long an engine that couldn't be reached counts as away.
const AWAY_FOR_US: i64 = 5_000_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("the engine is away: {0}")]
    Away(String),
    /// It is there, and yet has no answer.
    #[error("the engine failed: {0}")]
    Failed(String),
    /// Smaller pieces may do.
    #[error("the engine has too much to say: {0}")]
    TooMuch(String),
    #[error("the engine refused the question: {0}")]
    Refused(String),
}

/// The way to ask. Clones share it.
#[derive(Debug, Clone)]
pub struct Queries(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    idle: Mutex<Vec<Client>>,
    places: Semaphore,
    away_until_us: AtomicI64,
    is_failing: AtomicBool,
    clock: Clock,
}

impl Queries {
    /// Asks where `client` goes.
    #[must_use]
    pub fn new(client: Client, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            client,
            idle: Mutex::default(),
            places: Semaphore::new(MAX_AT_ONCE),
            away_until_us: AtomicI64::new(i64::MIN),
            is_failing: AtomicBool::new(false),
            clock,
        }))
    }

    /// Whether an engine of Prometheus' kind answers there.
    ///
    /// # Errors
    /// [`Trouble`].
    pub async fn check(&self) -> Result<(), Trouble> {
        self.matrix("/api/v1/query", &[("query", "{__name__=\"muster_nothing\"}[1s]")]).await.map(drop)
    }

    /// The series of a question whose answer is a matrix.
    pub(super) async fn matrix(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<Found>, Trouble> {
        let body = self.ask(path, parameters).await?;
        let read = tokio::task::spawn_blocking(move || answer::read(&body)).await;
        let read = read.map_err(|error| Trouble::Refused(error.to_string()))?;
        read.map_err(|error| Trouble::Refused(crate::app::chain(&error)))
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Bytes, Trouble> {
        let shared = &*self.0;
        if shared.clock.now_us() < shared.away_until_us.load(Ordering::Relaxed) {
            return Err(Trouble::Away("it could not be reached a moment ago".to_owned()));
        }
        // It is never closed.
        let _place = shared.places.acquire().await.map_err(|error| Trouble::Away(error.to_string()))?;
        let form = percent::pairs(parameters);
        let mut client = self.idle().pop().unwrap_or_else(|| shared.client.another());
        let was_connected = client.is_connected();
        let mut reply = client.ask(path, form.clone(), MAX_ANSWER_BYTES).await;
        if was_connected && matches!(reply, Err(SendError::Exchange(_) | SendError::Connection(_))) {
            // A kept connection may have been closed meanwhile.
            reply = client.ask(path, form, MAX_ANSWER_BYTES).await;
        }
        if matches!(reply, Err(SendError::Connection(_))) {
            shared.away_until_us.store(shared.clock.now_us() + AWAY_FOR_US, Ordering::Relaxed);
        }
        let answered = judged(reply);
        self.note(answered.as_ref().err());
        self.idle().push(client);
        answered
    }

    /// Counts failures, and says when they begin and end.
    fn note(&self, trouble: Option<&Trouble>) {
        if trouble.is_some() {
            metrics::counter!("muster_metric_store_read_failures_total").increment(1);
        }
        match (self.0.is_failing.swap(trouble.is_some(), Ordering::Relaxed), trouble) {
            (false, Some(trouble)) => {
                tracing::warn!(error = %trouble, "the metric store's engine gave no answer");
            }
            (true, None) => tracing::info!("the metric store's engine answers again"),
            _ => {}
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn judged(reply: Result<Reply, SendError>) -> Result<Bytes, Trouble> {
    let reply = reply.map_err(|error| match error {
        SendError::Connection(_) => Trouble::Away(crate::app::chain(&error)),
        error => Trouble::Failed(crate::app::chain(&error)),
    })?;
    let said = || format!("{}: {}", reply.status, reply.words());
    match (reply.status, &reply.body) {
        (StatusCode::OK, Some(body)) => Ok(body.clone()),
        (StatusCode::OK, None) => Err(Trouble::TooMuch("its answer is too long".to_owned())),
        (StatusCode::UNPROCESSABLE_ENTITY, _) => Err(Trouble::TooMuch(said())),
        (
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS,
            _,
        ) => Err(Trouble::Away(said())),
        (status, _) if status.is_server_error() => Err(Trouble::Failed(said())),
        _ => Err(Trouble::Refused(said())),
    }
}
