//! Whether whoever opened a stream may still read it. A stream outlives the check at its door, so the door's check is made
//! again while it lasts: at least every [`RECHECK`], and never longer ago than that when something is told.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, sleep_until};

use super::{authorization::admit, operation::Operation};
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
    headers: HeaderMap,
    operation: Operation,
    principal: Principal,
    checked: Instant,
}

impl Readmission {
    /// `principal` was just admitted to `operation` by these `headers`.
    #[must_use]
    pub fn new(app: &App, headers: HeaderMap, operation: Operation, principal: Principal) -> Self {
        Self {
            access: app.access.clone(),
            clock: app.clock.clone(),
            headers,
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
        let asked = Instant::now();
        let now = admit(&self.access, &self.headers, self.operation, self.clock.now_us()).await?;
        let is_same =
            |permission: &Permission| now.require(*permission).is_ok() == self.principal.require(*permission).is_ok();
        if now.org_id != self.principal.org_id || !Permission::ALL.iter().all(is_same) {
            let detail = "what you may see has changed: open the stream again";
            return Err(Error::new(ErrorKind::PermissionDenied, "access_changed", detail));
        }
        self.checked = asked;
        Ok(())
    }

    /// Waits until the next check is due.
    pub async fn due(&self) {
        sleep_until(self.checked + RECHECK).await;
    }
}
