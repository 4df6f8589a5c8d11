//! Waiting for what announces itself by no event: asked again and again, within a limit.

use std::{future::Future, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

/// How long to rest between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the answer is `Some`, and returns it with how long that took.
///
/// # Errors
/// When `limit` passes first: `what` was awaited, and the last error or "not yet".
pub async fn until<T, F, Fut>(what: &str, limit: Duration, mut ask: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Option<T>>>,
{
    let end = Instant::now() + limit;
    let mut last = "it never came to be".to_owned();
    loop {
        match tokio::time::timeout_at(end, ask()).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => {
                anyhow::bail!("waited {limit:?} for {what}: the last question was never answered; before: {last}")
            }
        }
        if Instant::now() + PAUSE >= end {
            anyhow::bail!("waited {limit:?} for {what}: {last}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
