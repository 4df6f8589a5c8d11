//! Users as their organisation's admins see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{member::role, request::field, secret::WriteOnly, time::Time};
use crate::{access::Role, error::Error, members, users};

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8058", "name": "ada", "email": "ada@example.com", "role": "admin",
    "has_password": true, "must_change_password": false, "totp_enabled": true, "created_at": "2025-01-15T10:30:00Z"
}))]
pub struct User {
    pub id: String,
    pub name: String,
    pub email: Option<String>,
    /// What the user is in the organisation acted in.
    #[schema(pattern = "^(owner|admin|member|project_admin|project_member)$")]
    pub role: String,
    pub has_password: bool,
    /// Somebody else gave the password; it is good for nothing but replacing it.
    pub must_change_password: bool,
    pub totp_enabled: bool,
    /// Since when the user is a member.
    pub created_at: Option<Time>,
}

/// What a user shall be.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "ada", "email": "ada@example.com", "password": "for the first time only", "role": "member"
}))]
pub struct UserCreate {
    /// What the user signs in with: lower-case letters, digits and `. _ @ + -`; unique on the control plane.
    #[schema(pattern = "^\\s*[a-z0-9][a-z0-9._@+-]{0,63}\\s*$")]
    pub name: String,
    #[schema(
        max_length = 254,
        pattern = "^([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*)?$"
    )]
    pub email: Option<String>,
    /// 12 to 128 characters; to be replaced at the first sign-in.
    #[schema(value_type = Option<String>, format = Password, write_only, min_length = 12, max_length = 128)]
    pub password: Option<WriteOnly>,
    /// `member` unless given.
    #[schema(pattern = "^(owner|admin|member|project_admin|project_member)$")]
    pub role: Option<String>,
}

/// What about a user shall change. The role is the membership's.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "email": "ada@example.org" }))]
pub struct UserPatch {
    #[schema(pattern = "^\\s*[a-z0-9][a-z0-9._@+-]{0,63}\\s*$")]
    pub name: Option<String>,
    /// An empty text takes it away.
    #[schema(
        max_length = 254,
        pattern = "^([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*)?$"
    )]
    pub email: Option<String>,
    /// 12 to 128 characters; to be replaced at the next sign-in. The user's sessions end.
    #[schema(value_type = Option<String>, format = Password, write_only, min_length = 12, max_length = 128)]
    pub password: Option<WriteOnly>,
}

impl User {
    /// `member` as it is shown.
    #[must_use]
    pub fn of(member: &members::Member) -> Self {
        Self {
            id: member.user_id.to_string(),
            name: member.name.clone(),
            email: member.email.clone(),
            role: member.role.as_str().to_owned(),
            has_password: member.has_password,
            must_change_password: member.must_change_password,
            totp_enabled: member.has_totp,
            created_at: Some(Time(member.since_us)),
        }
    }
}

impl UserCreate {
    /// The user, checked.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_create(self) -> Result<users::UserCreate, Error> {
        let email = self.email.filter(|email| !email.trim().is_empty());
        Ok(users::UserCreate {
            name: field("name", &self.name)?,
            email: email.map(|email| field("email", &email)).transpose()?,
            password: self.password.map(WriteOnly::into_inner),
            role: self.role.as_deref().map_or(Ok(Role::Member), role)?,
        })
    }
}

impl UserPatch {
    /// The changes, checked.
    ///
    /// # Errors
    /// A field that is not acceptable.
    pub fn into_update(self) -> Result<users::UserUpdate, Error> {
        let email = |email: String| match email.trim() {
            "" => Ok(None),
            email => field("email", email).map(Some),
        };
        Ok(users::UserUpdate {
            name: self.name.as_deref().map(|name| field("name", name)).transpose()?,
            email: self.email.map(email).transpose()?,
            password: self.password.map(WriteOnly::into_inner),
        })
    }
}
