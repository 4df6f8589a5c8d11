//! Servers, their connections and facts.

use muster_shared::wire::{self, test_connection_request::Target};

use super::call::Call;
use crate::{
    api::{
        model::{
            connection::{ConnectionTested, SshKeyUpdate, SshPasswordUpdate, VmCreate, VmPatch},
            request::field,
            server::Vm,
            structure,
        },
        rest::{
            credentials,
            extract::{self, DEFAULT_PAGE},
            servers::{self, filter, status},
        },
    },
    error::Error,
    servers::{Server, ServerFilter},
};

type Result<T> = std::result::Result<T, Error>;

impl<T> Call<T> {
    /// The server that the caller means by `reference`, an id or a name.
    pub(super) async fn server(&self, reference: &str) -> Result<Server> {
        self.app.servers.resolve(self.caller.org_id, reference).await
    }

    /// `server` as it is now.
    pub(super) fn shown(&self, server: &Server) -> wire::Server {
        Vm::of(server, self.app.clock.now_us()).into()
    }
}

/// A text that says something; an empty one stands for none.
pub(super) fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The bounds of a page; a limit of 0 stands for the default.
pub(super) fn page(skip: u32, limit: u32) -> Result<(u32, u32)> {
    extract::bounds(skip, if limit == 0 { DEFAULT_PAGE } else { limit })
}

pub(super) async fn list(call: Call<wire::ListServersRequest>) -> Result<wire::ListServersResponse> {
    let (skip, limit) = page(call.request.skip, call.request.limit)?;
    let page = ServerFilter { status: status(filled(&call.request.status))?, skip, limit };
    let filter = filter(filled(&call.request.filter))?;
    let servers = servers::list(&call.app, call.caller.org_id, page, filter.as_ref()).await?;
    Ok(wire::ListServersResponse { servers: servers.iter().map(|server| call.shown(server)).collect() })
}

pub(super) async fn get(call: Call<wire::GetServerRequest>) -> Result<wire::Server> {
    let server = call.server(&call.request.server).await?;
    let mut shown = call.shown(&server);
    if call.request.include_facts
        && let Some((facts, _)) = call.app.servers.facts(server.org_id, server.id).await?
    {
        shown.facts = Some(structure::to_struct(serde_json::to_value(facts).map_err(Error::internal)?));
    }
    Ok(shown)
}

pub(super) async fn create(mut call: Call<wire::CreateServerRequest>) -> Result<wire::Server> {
    let request = std::mem::take(&mut call.request);
    let key = Some(request.idempotency_key.clone()).filter(|key| !key.is_empty());
    let key = key.map(|key| field("idempotency_key", &key)).transpose()?;
    let org = call.caller.org_id;
    let server = VmCreate::from(request).into_server(org)?;
    let server = call.app.servers.create(&call.act(), server, key.as_ref()).await?;
    Ok(call.shown(&server))
}

pub(super) async fn update(mut call: Call<wire::UpdateServerRequest>) -> Result<wire::Server> {
    let request = std::mem::take(&mut call.request);
    let id = call.server(&request.server).await?.id;
    let patch = VmPatch::try_from(request)?.into_patch()?;
    let server = call.app.servers.update(&call.act(), id, &patch).await?;
    Ok(call.shown(&server))
}

pub(super) async fn test_connection(
    mut call: Call<wire::TestConnectionRequest>,
) -> Result<wire::TestConnectionResponse> {
    let tested = match call.request.target.take() {
        Some(Target::Server(reference)) => {
            let id = call.server(&reference).await?.id;
            ConnectionTested::of(&call.app.connection_test.run_saved(call.caller.org_id, id).await?, Some(id))
        }
        Some(Target::Connection(connection)) => {
            let connection = VmCreate::from(connection).into_connection()?;
            ConnectionTested::of(&call.app.connection_test.run(call.caller.org_id, &connection).await?, None)
        }
        None => return Err(Error::invalid("no_target", "name a saved server, or give a connection")),
    };
    Ok(tested.into())
}

pub(super) async fn accept_host_key(call: Call<wire::AcceptHostKeyRequest>) -> Result<wire::Server> {
    let key = field("fingerprint", &call.request.fingerprint)?;
    let id = call.server(&call.request.server).await?.id;
    let server = call.app.servers.accept_host_key(&call.act(), id, &key).await?;
    Ok(call.shown(&server))
}

pub(super) async fn set_ssh_password(mut call: Call<wire::SetSshPasswordRequest>) -> Result<wire::Server> {
    let request = std::mem::take(&mut call.request);
    let server = request.server.clone();
    let login = || SshPasswordUpdate::from(request).into_login();
    Ok(credentials::replace(&call.app, &call.act(), &server, login).await?.into())
}

pub(super) async fn set_ssh_key(mut call: Call<wire::SetSshKeyRequest>) -> Result<wire::Server> {
    let request = std::mem::take(&mut call.request);
    let server = request.server.clone();
    let login = || SshKeyUpdate::from(request).into_login();
    Ok(credentials::replace(&call.app, &call.act(), &server, login).await?.into())
}

pub(super) async fn refresh_facts(call: Call<wire::RefreshFactsRequest>) -> Result<wire::Server> {
    let id = call.server(&call.request.server).await?.id;
    let server = call.app.facts.run(&call.act(), id).await?;
    Ok(call.shown(&server))
}

pub(super) async fn delete(call: Call<wire::DeleteServerRequest>) -> Result<wire::DeleteServerResponse> {
    let id = call.server(&call.request.server).await?.id;
    call.app.server_deletion.run(&call.act(), id, call.request.force).await?;
    Ok(wire::DeleteServerResponse {})
}
