//! Projects, who belongs to them, and the quota they share.

use muster_shared::wire;

use super::{call::Call, servers::page};
use crate::{
    api::{
        model::{
            project::{Project, ProjectCreate, ProjectMember, ProjectPatch},
            quota::{Quota, QuotaPut},
        },
        rest::{environments::project_of, projects::user_id},
    },
    error::Error,
    projects::{self, Scope},
};

type Result<T> = std::result::Result<T, Error>;

impl<T> Call<T> {
    async fn project(&self, reference: &str) -> Result<projects::Project> {
        project_of(&self.app, &self.caller, reference).await
    }
}

pub(super) async fn list(call: Call<wire::ListProjectsRequest>) -> Result<wire::ListProjectsResponse> {
    let (skip, limit) = page(call.request.skip, call.request.limit)?;
    let projects = call.app.projects.list(call.caller.org_id, Scope::of(&call.caller), skip, limit).await?;
    Ok(wire::ListProjectsResponse { projects: projects.iter().map(|it| Project::of(it).into()).collect() })
}

pub(super) async fn get(call: Call<wire::GetProjectRequest>) -> Result<wire::Project> {
    Ok(Project::of(&call.project(&call.request.project).await?).into())
}

pub(super) async fn create(mut call: Call<wire::CreateProjectRequest>) -> Result<wire::Project> {
    let new = ProjectCreate::from(std::mem::take(&mut call.request)).into_project()?;
    Ok(Project::of(&call.app.projects.create(&call.act(), new).await?).into())
}

pub(super) async fn update(mut call: Call<wire::UpdateProjectRequest>) -> Result<wire::Project> {
    let request = std::mem::take(&mut call.request);
    let id = call.project(&request.project).await?.id;
    let patch = ProjectPatch::try_from(request)?.into_patch()?;
    Ok(Project::of(&call.app.projects.update(&call.act(), id, &patch).await?).into())
}

pub(super) async fn delete(call: Call<wire::DeleteProjectRequest>) -> Result<wire::DeleteProjectResponse> {
    let id = call.project(&call.request.project).await?.id;
    call.app.projects.delete(&call.act(), id).await?;
    Ok(wire::DeleteProjectResponse {})
}

pub(super) async fn members(call: Call<wire::ListProjectMembersRequest>) -> Result<wire::ListProjectMembersResponse> {
    let id = call.project(&call.request.project).await?.id;
    let members = call.app.projects.members(call.caller.org_id, id).await?;
    Ok(wire::ListProjectMembersResponse { members: members.iter().map(|it| ProjectMember::of(it).into()).collect() })
}

pub(super) async fn add_member(call: Call<wire::AddProjectMemberRequest>) -> Result<wire::AddProjectMemberResponse> {
    let project = call.project(&call.request.project).await?;
    call.app.projects.add_member(&call.act(), &project, user_id(&call.request.user_id)?).await?;
    Ok(wire::AddProjectMemberResponse {})
}

pub(super) async fn remove_member(
    call: Call<wire::RemoveProjectMemberRequest>,
) -> Result<wire::RemoveProjectMemberResponse> {
    let project = call.project(&call.request.project).await?;
    call.app.projects.remove_member(&call.act(), &project, user_id(&call.request.user_id)?).await?;
    Ok(wire::RemoveProjectMemberResponse {})
}

pub(super) async fn quota(call: Call<wire::GetQuotaRequest>) -> Result<wire::Quota> {
    Ok(Quota::of(&call.app.quotas.get(call.caller.org_id).await?).into())
}

pub(super) async fn set_quota(mut call: Call<wire::SetQuotaRequest>) -> Result<wire::Quota> {
    let patch = QuotaPut::try_from(std::mem::take(&mut call.request))?.into_patch()?;
    Ok(Quota::of(&call.app.quotas.set(&call.act(), &patch).await?).into())
}
