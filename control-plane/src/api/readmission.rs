//! Whether whoever opened a stream may still read it. A stream outlives the check at its door, so the door's check is made
//! again while it lasts: at least every [`RECHECK`], and never longer ago than that when something is told.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, sleep_until};

use super::{
    authorization::{Admission, Asked, admit},
    operation::Operation,
};
use crate::{
    access::{Access, Permission, Principal},
    app::App,
    clock::Clock,
    error::{Error, ErrorKind},
};

/// How old a check may be. Whatever was taken from the reader is out of the stream within a second.
pub const RECHECK: Duration = Duration::from_millis(500);

/// A reader of a stream, and what it was admitted with.
#[derive(Debug)]
pub struct Readmission {
    access: Access,
    clock: Clock,
    asked: Asked,
    operation: Operation,
    principal: Principal,
    checked: Instant,
}

impl Readmission {
    /// `principal` was just admitted to `operation`, as it `asked`.
    #[must_use]
    pub fn new(app: &App, asked: Asked, operation: Operation, principal: Principal) -> Self {
        Self {
            access: app.access.clone(),
            clock: app.clock.clone(),
            asked,
            operation,
            principal,
            checked: Instant::now(),
        }
    }

    /// The reader, as it was admitted.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Goes on only where the reader may still do all that it could when it was admitted, and nothing else.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] or [`ErrorKind::PermissionDenied`]: it may not, or may other things now.
    /// [`ErrorKind::Unavailable`]: that can't be found out, so nothing may be told.
    pub async fn check(&mut self) -> Result<(), Error> {
        if self.checked.elapsed() < RECHECK {
            return Ok(());
        }
        // What changes while this is found out is found by the next check.
        let looked = Instant::now();
        let admission = Admission::Guarded(self.operation);
        let now = admit(&self.access, &self.asked, admission, self.clock.now_us()).await?;
        let is_same =
            |permission: &Permission| now.require(*permission).is_ok() == self.principal.require(*permission).is_ok();
        if now.org_id != self.principal.org_id || !Permission::ALL.iter().all(is_same) {
            let detail = "what you may see has changed: open the stream again";
            return Err(Error::new(ErrorKind::PermissionDenied, "access_changed", detail));
        }
        self.checked = looked;
        Ok(())
    }

    /// `events` for as long as the reader may read them; what ends them before their end comes last.
    pub fn guard<T: Send>(
        self,
        events: impl Stream<Item = Result<T, Error>> + Send,
    ) -> impl Stream<Item = Result<T, Error>> + Send {
        stream::try_unfold((self, Box::pin(events)), async |(mut readmission, mut events)| {
            loop {
                tokio::select! {
                    event = events.next() => {
                        readmission.check().await?;
                        return Ok(event.transpose()?.map(|event| (event, (readmission, events))));
                    }
                    () = readmission.due() => readmission.check().await?,
                }
            }
        })
    }

    /// Waits until the next check is due.
    pub async fn due(&self) {
        sleep_until(self.checked + RECHECK).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, StatusCode};
    use tokio::time::timeout;
    use tower::ServiceExt as _;

    use super::*;
    use crate::api::test_api::Api;

    #[tokio::test]
    async fn following_a_server_ends_with_the_right_to() {
        let api = Api::open().await;
        api.make_server("web-1").await;
        let request = Request::builder()
            .uri("/api/v1/monitoring/servers/web-1/live")
            .header("authorization", format!("Bearer {}", api.owner))
            .body(Body::empty())
            .expect("a request");
        let response = api.router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body().into_data_stream();
        assert!(timeout(RECHECK + RECHECK, body.next()).await.is_err(), "it goes on while nothing changes");
        let owner = api.app.access.authenticate(&api.owner, 1).await.expect("the owner");
        api.app.store.revoke_tokens(owner.org_id, 1).await;
        let end = timeout(Duration::from_secs(1), body.next()).await.expect("ended within a second");
        assert!(end.is_none(), "{end:?}");
    }
}
