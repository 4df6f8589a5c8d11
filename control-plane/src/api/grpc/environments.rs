//! Environments.

use muster_shared::wire;

use super::{call::Call, servers::page};
use crate::{
    api::{
        model::environment::{Environment, EnvironmentCreate, EnvironmentPut, Migration},
        rest::environments::{self, project_of, resolve},
    },
    error::Error,
    projects::Scope,
};

type Result<T> = std::result::Result<T, Error>;

pub(super) async fn list(call: Call<wire::ListEnvironmentsRequest>) -> Result<wire::ListEnvironmentsResponse> {
    let (request, org) = (&call.request, call.caller.org_id);
    let environments = match (request.project.as_str(), request.server.as_str()) {
        ("", "") => return Err(Error::invalid("no_target", "name a project or a server")),
        ("", server) => {
            let server = call.server(server).await?.id;
            call.app.environments.on_server(org, Scope::of(&call.caller), server).await?
        }
        (project, "") => {
            let (skip, limit) = page(request.skip, request.limit)?;
            let project = project_of(&call.app, &call.caller, project).await?.id;
            call.app.environments.of_project(org, project, skip, limit).await?
        }
        _ => return Err(Error::invalid("contradiction", "name a project or a server, not both")),
    };
    let environments = environments.iter().map(|it| Environment::of(it).into()).collect();
    Ok(wire::ListEnvironmentsResponse { environments })
}

pub(super) async fn get(call: Call<wire::GetEnvironmentRequest>) -> Result<wire::Environment> {
    let found = resolve(&call.app, &call.caller, &call.request.project, &call.request.environment).await?;
    Ok(Environment::of(&found).into())
}

pub(super) async fn create(mut call: Call<wire::CreateEnvironmentRequest>) -> Result<wire::Environment> {
    let request = std::mem::take(&mut call.request);
    let project = request.project.clone();
    let create = EnvironmentCreate::from(request);
    Ok(environments::create(&call.app, &call.caller, &call.act(), &project, create).await?.into())
}

pub(super) async fn update(mut call: Call<wire::UpdateEnvironmentRequest>) -> Result<wire::Environment> {
    let request = std::mem::take(&mut call.request);
    let (project, environment) = (request.project.clone(), request.environment.clone());
    let put = EnvironmentPut::try_from(request)?;
    Ok(environments::update(&call.app, &call.caller, &call.act(), (&project, &environment), put).await?.into())
}

pub(super) async fn delete(call: Call<wire::DeleteEnvironmentRequest>) -> Result<wire::DeleteEnvironmentResponse> {
    let found = resolve(&call.app, &call.caller, &call.request.project, &call.request.environment).await?;
    call.app.environments.delete(&call.act(), found.project.id, found.id).await?;
    Ok(wire::DeleteEnvironmentResponse {})
}

pub(super) async fn migrate(
    mut call: Call<wire::MigrateEnvironmentsRequest>,
) -> Result<wire::MigrateEnvironmentsResponse> {
    let request = std::mem::take(&mut call.request);
    let migration = Migration { target_vm_id: request.target, environment_ids: request.environment_ids };
    let moved = environments::migrate(&call.app, &call.caller, &call.act(), &request.server, &migration).await?;
    let environments = moved.environments.into_iter().map(Into::into).collect();
    Ok(wire::MigrateEnvironmentsResponse { environments })
}
