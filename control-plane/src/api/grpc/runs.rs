//! Long calls that tell how they get on.

use futures_util::StreamExt as _;
use muster_shared::wire;

use super::call::{Answers, Call};
use crate::{
    api::model::{fix::FixRequest, structure},
    error::Error,
    progress::ProgressStream,
    secure::SecureOptions,
};

pub(super) async fn preflight(call: Call<wire::RunPreflightRequest>) -> Result<Answers<wire::ProgressEvent>, Error> {
    let server = call.server(&call.request.server).await?.id;
    Ok(told(call.app.preflight.start(&call.act(), server).await?))
}

pub(super) async fn fix(call: Call<wire::FixServerRequest>) -> Result<Answers<wire::ProgressEvent>, Error> {
    let server = call.server(&call.request.server).await?.id;
    let wish = FixRequest::from(call.request.clone()).into_wish()?;
    Ok(told(call.app.fixes.start(&call.act(), server, &wish).await?))
}

pub(super) async fn bootstrap(call: Call<wire::BootstrapRequest>) -> Result<Answers<wire::ProgressEvent>, Error> {
    let server = call.server(&call.request.server).await?.id;
    Ok(told(call.app.bootstrap.start(&call.act(), server).await?))
}

pub(super) async fn secure(call: Call<wire::SecureServerRequest>) -> Result<Answers<wire::ProgressEvent>, Error> {
    let server = call.server(&call.request.server).await?.id;
    let options = SecureOptions {
        disable_password_auth: call.request.disable_password_auth,
        keep_sudo_password: call.request.keep_sudo_password,
    };
    Ok(told(call.app.secure.start(&call.act(), server, options).await?))
}

pub(super) fn told(events: ProgressStream) -> Answers<wire::ProgressEvent> {
    Box::pin(events.map(|event| {
        Ok(wire::ProgressEvent { event: event.event.to_owned(), data: Some(structure::to_struct(event.data)) })
    }))
}
