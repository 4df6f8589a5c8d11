//! Projects as callers see and make them.

use muster_shared::wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    filled,
    request::{field, optional},
    time::Time,
};
use crate::{
    error::Error,
    projects::{self, NewProject},
};

/// A project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8070", "organization_id": "01890a5d-ac96-774b-bcce-b302099a8058",
    "name": "E-commerce Shop", "slug": "ecommerce-shop", "description": "The shop of our largest customer",
    "odoo_version": "17.0", "environment_count": 2, "created_at": "2025-01-15T10:30:00Z",
    "updated_at": "2025-01-15T10:30:00Z"
}))]
pub struct Project {
    pub id: String,
    pub organization_id: String,
    pub name: String,
    /// Unique in the organisation.
    pub slug: String,
    pub description: Option<String>,
    /// The version it runs, as its owner writes it.
    pub odoo_version: Option<String>,
    pub environment_count: u32,
    pub created_at: Option<Time>,
    pub updated_at: Option<Time>,
}

/// A project to make.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "E-commerce Shop", "slug": "ecommerce-shop", "odoo_version": "17.0" }))]
pub struct ProjectCreate {
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: String,
    /// Made of the name unless given.
    #[schema(max_length = 63, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    pub slug: Option<String>,
    #[schema(max_length = 500)]
    pub description: Option<String>,
    #[schema(
        pattern = "^\\s*([\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?)?\\s*$"
    )]
    pub odoo_version: Option<String>,
}

/// What to change of a project; what is absent stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Shop", "odoo_version": "18.0" }))]
pub struct ProjectPatch {
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: Option<String>,
    #[schema(max_length = 63, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    pub slug: Option<String>,
    #[schema(max_length = 500)]
    pub description: Option<String>,
    #[schema(
        pattern = "^\\s*([\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?)?\\s*$"
    )]
    pub odoo_version: Option<String>,
}

/// Somebody who belongs to a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "user_id": "01890a5d-ac96-774b-bcce-b302099a8090", "user_name": "kim", "role": "project_admin",
    "added_at": "2025-01-15T10:30:00Z"
}))]
pub struct ProjectMember {
    pub user_id: String,
    pub user_name: String,
    /// What the user is in the organisation: `owner`, `admin`, `member`, `project_admin` or `project_member`.
    pub role: String,
    pub added_at: Option<Time>,
}

impl Project {
    /// `project` as it is.
    #[must_use]
    pub fn of(project: &projects::Project) -> Self {
        Self {
            id: project.id.to_string(),
            organization_id: project.org_id.to_string(),
            name: project.name.to_string(),
            slug: project.slug.to_string(),
            description: filled(project.description.to_string()),
            odoo_version: filled(project.odoo_version.to_string()),
            environment_count: project.environment_count,
            created_at: Some(Time(project.created_at_us)),
            updated_at: Some(Time(project.updated_at_us)),
        }
    }
}

impl ProjectMember {
    /// `member` as it is.
    #[must_use]
    pub fn of(member: &projects::ProjectMember) -> Self {
        Self {
            user_id: member.user_id.to_string(),
            user_name: member.user_name.clone(),
            role: member.role.as_str().to_owned(),
            added_at: Some(Time(member.added_at_us)),
        }
    }
}

impl ProjectCreate {
    /// The project to make.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_project(self) -> Result<NewProject, Error> {
        Ok(NewProject {
            name: field("name", &self.name)?,
            slug: self.slug.map(|slug| field("slug", &slug)).transpose()?,
            description: optional("description", self.description)?.unwrap_or_default(),
            odoo_version: optional("odoo_version", self.odoo_version)?.unwrap_or_default(),
        })
    }
}

impl ProjectPatch {
    /// The changes. An empty text empties a description or version.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_patch(self) -> Result<projects::ProjectPatch, Error> {
        Ok(projects::ProjectPatch {
            name: self.name.map(|name| field("name", &name)).transpose()?,
            slug: self.slug.map(|slug| field("slug", &slug)).transpose()?,
            description: self.description.map(|text| field("description", &text)).transpose()?,
            odoo_version: self.odoo_version.map(|text| field("odoo_version", &text)).transpose()?,
        })
    }
}

impl From<wire::CreateProjectRequest> for ProjectCreate {
    fn from(request: wire::CreateProjectRequest) -> Self {
        Self {
            name: request.name,
            slug: filled(request.slug),
            description: filled(request.description),
            odoo_version: filled(request.odoo_version),
        }
    }
}

impl TryFrom<wire::UpdateProjectRequest> for ProjectPatch {
    type Error = Error;

    fn try_from(request: wire::UpdateProjectRequest) -> Result<Self, Error> {
        let mut patch = Self::default();
        for path in request.update_mask.unwrap_or_default().paths {
            match path.as_str() {
                "name" => patch.name = Some(request.name.clone()),
                "slug" => patch.slug = Some(request.slug.clone()),
                "description" => patch.description = Some(request.description.clone()),
                "odoo_version" => patch.odoo_version = Some(request.odoo_version.clone()),
                _ => return Err(Error::invalid("invalid_mask", "update_mask names a field there is not")),
            }
        }
        Ok(patch)
    }
}

impl From<Project> for wire::Project {
    fn from(project: Project) -> Self {
        Self {
            id: project.id,
            organization_id: project.organization_id,
            name: project.name,
            slug: project.slug,
            description: project.description.unwrap_or_default(),
            odoo_version: project.odoo_version.unwrap_or_default(),
            environment_count: project.environment_count,
            created_at: project.created_at.map(Into::into),
            updated_at: project.updated_at.map(Into::into),
        }
    }
}

impl From<wire::Project> for Project {
    fn from(project: wire::Project) -> Self {
        Self {
            id: project.id,
            organization_id: project.organization_id,
            name: project.name,
            slug: project.slug,
            description: filled(project.description),
            odoo_version: filled(project.odoo_version),
            environment_count: project.environment_count,
            created_at: project.created_at.map(Into::into),
            updated_at: project.updated_at.map(Into::into),
        }
    }
}

impl From<ProjectMember> for wire::ProjectMember {
    fn from(member: ProjectMember) -> Self {
        Self {
            user_id: member.user_id,
            user_name: member.user_name,
            role: member.role,
            added_at: member.added_at.map(Into::into),
        }
    }
}

impl From<wire::ProjectMember> for ProjectMember {
    fn from(member: wire::ProjectMember) -> Self {
        Self {
            user_id: member.user_id,
            user_name: member.user_name,
            role: member.role,
            added_at: member.added_at.map(Into::into),
        }
    }
}
