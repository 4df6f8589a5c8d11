//! Commands.

use muster_shared::wire;

use super::{
    call::Call,
    servers::{filled, page},
};
use crate::{
    api::{
        model::{command::Command, time::Time},
        rest::commands::{self, command_id},
    },
    commands::CommandFilter,
    error::Error,
};

pub(super) async fn get(call: Call<wire::GetCommandRequest>) -> Result<wire::Command, Error> {
    let command = call.app.commands.get(call.caller.org_id, command_id(&call.request.id)?).await?;
    Ok(Command::of(&command).into())
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
    Ok(wire::ListCommandsResponse { commands: commands.iter().map(|command| Command::of(command).into()).collect() })
}

pub(super) async fn cancel(call: Call<wire::CancelFleetCommandRequest>) -> Result<wire::Command, Error> {
    let id = command_id(&call.request.id)?;
    Ok(commands::cancel(&call.app, &call.act(), id).await?.into())
}
