//! What somebody at a terminal sees while they wait: a call that takes longer than a moment says what it is and for how long
//! it has been going on. It stands on standard error, and only where that is a terminal.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use indicatif::{ProgressBar, ProgressStyle};
use tonic::body::Body;
use tower::Service;

/// Whatever ends sooner needs no explanation.
const A_MOMENT: Duration = Duration::from_millis(700);
/// How often what moves is drawn.
const TICK: Duration = Duration::from_millis(120);
const SO_LONG: &str = "{spinner} {msg}, {elapsed}";
const SO_FAR: &str = "{spinner} {bar:24} {pos}/{len}  {wide_msg}";

/// Something that is going on, on a terminal; nothing elsewhere. Gone once it is dropped.
pub(super) struct Indicator(ProgressBar);

impl Indicator {
    /// Shows `what` and for how long.
    pub(super) fn of(what: impl Into<String>) -> Self {
        let bar = ProgressBar::new_spinner().with_style(style(SO_LONG)).with_message(what.into());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Shows nothing at all.
    pub(super) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    pub(super) fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// So many of `all` are over: from now on it is a bar.
    pub(super) fn reach(&self, over: u64, all: u64) {
        if self.0.length().is_none() {
            self.0.set_style(style(SO_FAR));
        }
        self.0.set_length(all.max(over));
        self.0.set_position(over);
    }

    /// Prints while nothing is drawn.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for Indicator {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The templates are this file's own; one that can't be read leaves the plain look.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Waits for `work`, and shows `what` once that takes longer than a moment.
pub(super) async fn during<T>(what: impl Into<String>, work: impl Future<Output = T>) -> T {
    explained_after(A_MOMENT, what, work).await
}

async fn explained_after<T>(moment: Duration, what: impl Into<String>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Ok(done) = tokio::time::timeout(moment, &mut work).await {
        return done;
    }
    let _shown = Indicator::of(what);
    work.await
}

/// A connection whose calls say what they are when they take long.
#[derive(Debug, Clone)]
pub struct Explained<S> {
    inner: S,
    /// Whether the terminal is free for it.
    shows: bool,
}

impl<S> Explained<S> {
    /// `shows` says whether the terminal is free for it.
    pub(super) fn new(inner: S, shows: bool) -> Self {
        Self { inner, shows }
    }
}

impl<S> Service<Request<Body>> for Explained<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let what = spoken(request.uri().path());
        let work = self.inner.call(request);
        if self.shows { Box::pin(during(what, work)) } else { Box::pin(work) }
    }
}

/// What a method is called in words: `/muster.v1.FleetService/TestConnection` as `test connection`.
fn spoken(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_told_in_words() {
        assert_eq!(spoken("/muster.v1.FleetService/TestConnection"), "test connection");
        assert_eq!(spoken("/muster.v1.FleetService/GetMe"), "get me");
    }

    #[test]
    fn the_templates_can_be_read() {
        for template in [SO_LONG, SO_FAR] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[tokio::test]
    async fn whatever_takes_long_still_ends_with_its_result() {
        assert_eq!(during("count", async { 1 }).await, 1);
        let (tell, told) = tokio::sync::oneshot::channel();
        let slow = tokio::spawn(explained_after(Duration::ZERO, "count", told));
        tell.send(2).expect("somebody waits");
        assert_eq!(slow.await.expect("it ends").expect("told"), 2);
    }
}
