//! Commands.

use muster_shared::wire;

use super::{fleet::Call, servers::page};
use crate::{
    api::{
        model::command::Command,
        rest::commands::{self, command_id},
    },
    error::Error,
};

pub(super) async fn get(call: Call<wire::GetCommandRequest>) -> Result<wire::Command, Error> {
    let command = call.app.commands.get(call.caller.org_id, command_id(&call.request.id)?).await?;
    Ok(Command::of(&command).into())
}

pub(super) async fn list(call: Call<wire::ListCommandsRequest>) -> Result<wire::ListCommandsResponse, Error> {
    let (skip, limit) = page(call.request.skip, call.request.limit)?;
    let server = call.server(&call.request.server).await?.id;
    let commands = call.app.commands.list(call.caller.org_id, Some(server), skip, limit).await?;
    Ok(wire::ListCommandsResponse { commands: commands.iter().map(|command| Command::of(command).into()).collect() })
}

pub(super) async fn cancel(call: Call<wire::CancelFleetCommandRequest>) -> Result<wire::Command, Error> {
    let id = command_id(&call.request.id)?;
    Ok(commands::cancel(&call.app, &call.act(), id).await?.into())
}
