//! Following the fleet.

use futures_util::StreamExt as _;
use muster_shared::wire;

use super::call::{Answers, Call};
use crate::{
    api::{events::follow, operation::Operation, readmission::Readmission},
    error::Error,
};

pub(super) async fn watch(call: Call<wire::WatchEventsRequest>) -> Result<Answers<wire::FleetEvent>, Error> {
    let readmission = Readmission::new(&call.app, call.asked, Operation::WatchEvents, call.caller);
    let events = follow(call.app, readmission, Some(&call.request.last_event_id), call.request.samples)?;
    Ok(Box::pin(events.map(|event| Ok(event.into()))))
}
