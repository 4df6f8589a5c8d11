//! Commands.

use futures_util::StreamExt as _;
use muster_shared::wire;

use super::{
    call::{Answers, Call},
    servers::{filled, page},
};
use crate::{
    api::{
        following::follow,
        model::{structure, time::Time},
        operation::Operation,
        readmission::Readmission,
        rest::commands::{self, command_id, listed, shown},
    },
    commands::CommandFilter,
    error::Error,
};

pub(super) async fn get(call: Call<wire::GetCommandRequest>) -> Result<wire::Command, Error> {
    let command = call.app.commands.get(call.caller.org_id, command_id(&call.request.id)?).await?;
    Ok(shown(&call.app, &command).await?.into())
}

pub(super) async fn watch(call: Call<wire::WatchCommandRequest>) -> Result<Answers<wire::ProgressEvent>, Error> {
    let id = command_id(&call.request.id)?;
    let readmission = Readmission::new(&call.app, call.asked, Operation::WatchCommand, call.caller);
    let followed = follow(&call.app, readmission, id, call.request.after_seq).await?;
    Ok(Box::pin(followed.map(|(_, event)| {
        Ok(wire::ProgressEvent { event: event.event.to_owned(), data: Some(structure::to_struct(event.data)) })
    })))
}

pub(super) async fn list(call: Call<wire::ListCommandsRequest>) -> Result<wire::ListCommandsResponse, Error> {
    let (skip, limit) = page(call.request.skip, call.request.limit)?;
    let server = match filled(&call.request.server) {
        Some(server) => Some(call.server(server).await?.id),
        None => None,
    };
    let since_us = call.request.since.map(|since| Time::from(since).0);
    let filter = CommandFilter { server, since_us, skip, limit, ..CommandFilter::default() };
    let filter = filter.of_words(filled(&call.request.state), filled(&call.request.kind))?;
    let commands = call.app.commands.list(call.caller.org_id, &filter).await?;
    let commands = listed(&call.app, &commands).await?;
    Ok(wire::ListCommandsResponse { commands: commands.into_iter().map(Into::into).collect() })
}

pub(super) async fn cancel(call: Call<wire::CancelFleetCommandRequest>) -> Result<wire::Command, Error> {
    let id = command_id(&call.request.id)?;
    Ok(commands::cancel(&call.app, &call.act(), id).await?.into())
}
