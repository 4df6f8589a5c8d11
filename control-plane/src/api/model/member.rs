//! Members as callers see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;
use crate::{access::Role, error::Error, members};

/// A user as a member of an organisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "user_id": "01890a5d-ac96-774b-bcce-b302099a8058", "name": "ada", "role": "admin", "since": "2025-01-15T10:30:00Z"
}))]
pub struct Member {
    pub user_id: String,
    pub name: String,
    /// `owner`, `admin`, `member`, `project_admin` or `project_member`.
    #[schema(pattern = "^(owner|admin|member|project_admin|project_member)$")]
    pub role: String,
    pub since: Option<Time>,
}

/// Who shall be a member.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ada", "role": "admin" }))]
pub struct MemberAdd {
    /// The name of an existing user; `POST /api/v1/users` makes a new one.
    #[schema(pattern = "^\\s*[a-z0-9][a-z0-9._@+-]{0,63}\\s*$")]
    pub name: String,
    /// `owner`, `admin`, `member`, `project_admin` or `project_member`.
    #[schema(pattern = "^(owner|admin|member|project_admin|project_member)$")]
    pub role: String,
}

/// What a member shall be.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "role": "member" }))]
pub struct MemberPatch {
    /// `owner`, `admin`, `member`, `project_admin` or `project_member`.
    #[schema(pattern = "^(owner|admin|member|project_admin|project_member)$")]
    pub role: Option<String>,
}

impl Member {
    /// `member` as it is shown.
    #[must_use]
    pub fn of(member: &members::Member) -> Self {
        Self {
            user_id: member.user_id.to_string(),
            name: member.name.clone(),
            role: member.role.as_str().to_owned(),
            since: Some(Time(member.since_us)),
        }
    }
}

/// The role named `word`.
///
/// # Errors
/// A word that is no role.
pub fn role(word: &str) -> Result<Role, Error> {
    let expected = || Role::ALL.map(Role::as_str).join(", ");
    Role::parse(word).ok_or_else(|| Error::invalid("invalid_field", format!("role: expected one of {}", expected())))
}
