//! The caller and their organisations.

use muster_shared::wire;

use super::call::Call;
use crate::{
    api::{
        model::{organization::Organization, request::field},
        rest::{me, organizations::acted_in},
    },
    error::Error,
};

type Result<T> = std::result::Result<T, Error>;

impl<T> Call<T> {
    fn organization(&self, organization: &crate::organizations::Organization) -> wire::Organization {
        Organization::of(organization, &self.caller).into()
    }
}

pub(super) async fn me(call: Call<wire::GetMeRequest>) -> Result<wire::Me> {
    Ok(me::me(&call.app, &call.caller).await?.into())
}

pub(super) async fn list(call: Call<wire::ListOrganizationsRequest>) -> Result<wire::ListOrganizationsResponse> {
    let organizations = call.app.organizations.of(&call.caller).await?;
    let organizations = organizations.iter().map(|organization| call.organization(organization)).collect();
    Ok(wire::ListOrganizationsResponse { organizations })
}

pub(super) async fn create(call: Call<wire::CreateOrganizationRequest>) -> Result<wire::Organization> {
    let organization = call.app.organizations.create(&call.act(), &field("name", &call.request.name)?).await?;
    Ok(call.organization(&organization))
}

pub(super) async fn get(call: Call<wire::GetOrganizationRequest>) -> Result<wire::Organization> {
    let id = acted_in(&call.act(), &call.request.id)?;
    Ok(call.organization(&call.app.organizations.get(id).await?))
}

pub(super) async fn update(call: Call<wire::UpdateOrganizationRequest>) -> Result<wire::Organization> {
    let act = call.act();
    let id = acted_in(&act, &call.request.id)?;
    let organization = match call.request.name.as_str() {
        "" => call.app.organizations.get(id).await?,
        name => call.app.organizations.rename(&act, &field("name", name)?).await?,
    };
    Ok(call.organization(&organization))
}
