//! A call of the service: who asks, what, and whom; and how it is answered.

use std::pin::Pin;

use futures_util::Stream;
use tonic::{Request, Response, Status};

use super::status::to_status;
use crate::{
    access::{Act, Origin, Principal},
    api::authorization::Asked,
    app::App,
    error::Error,
};

/// A stream of answers.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A call: who asks, what, and whom.
pub(super) struct Call<T> {
    pub(super) app: App,
    pub(super) caller: Principal,
    /// What the caller was admitted by.
    pub(super) asked: Asked,
    origin: Origin,
    pub(super) request: T,
}

impl<T> Call<T> {
    /// What the caller does now.
    pub(super) fn act(&self) -> Act {
        self.caller.act(self.origin.clone(), self.app.clock.now_us())
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Fleet {
    app: App,
}

impl Fleet {
    pub(super) fn new(app: App) -> Self {
        Self { app }
    }

    /// For what anybody may ask.
    pub(super) fn app(&self) -> &App {
        &self.app
    }

    pub(super) fn call<T>(&self, request: Request<T>) -> Result<Call<T>, Status> {
        // The guard put the caller there; without one, nobody is admitted.
        let caller = request.extensions().get::<Principal>().cloned();
        let caller = caller.ok_or_else(|| Status::unauthenticated("nobody is admitted without a token"))?;
        let asked = request.extensions().get::<Asked>().cloned();
        let asked = asked.ok_or_else(|| Status::unauthenticated("nobody is admitted without a token"))?;
        let origin = request.extensions().get::<Origin>().cloned().unwrap_or_default();
        Ok(Call { app: self.app.clone(), caller, asked, origin, request: request.into_inner() })
    }
}

pub(super) type Answer<T> = Result<Response<T>, Status>;

pub(super) fn answer<T>(result: Result<T, Error>) -> Answer<T> {
    result.map(Response::new).map_err(|error| to_status(&error))
}
