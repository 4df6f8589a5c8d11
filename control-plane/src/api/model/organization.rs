//! Organisations as callers see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;
use crate::{access::Principal, organizations};

/// An organisation the caller is a member of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8057", "name": "Acme Corp", "role": "owner", "created_at": "2025-01-15T10:30:00Z"
}))]
pub struct Organization {
    pub id: String,
    pub name: String,
    /// What the caller is there: `owner`, `admin`, `member`, `project_admin` or `project_member`.
    #[schema(pattern = "^(owner|admin|member|project_admin|project_member)$")]
    pub role: String,
    pub created_at: Option<Time>,
}

/// What an organisation shall be.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Acme Corp" }))]
pub struct OrganizationCreate {
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: String,
}

/// What about an organisation shall change.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "Acme Corporation" }))]
pub struct OrganizationPatch {
    #[schema(
        pattern = "^\\s*[\\p{L}\\p{N}]([^\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]{0,98}[^\\s\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb])?\\s*$"
    )]
    pub name: Option<String>,
}

impl Organization {
    /// `organization` as `caller` sees it.
    #[must_use]
    pub fn of(organization: &organizations::Organization, caller: &Principal) -> Self {
        // Who just made one owns it.
        let role = caller.acting_in(organization.id).map_or(crate::access::Role::Owner, |there| there.role);
        Self {
            id: organization.id.to_string(),
            name: organization.name.clone(),
            role: role.as_str().to_owned(),
            created_at: Some(Time(organization.created_at_us)),
        }
    }
}
