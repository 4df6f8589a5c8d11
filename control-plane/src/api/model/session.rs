//! Browsers' sessions as their users see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{secret::WriteOnly, time::Time};
use crate::user_sessions;

/// What somebody shows to sign in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ada", "password": "correct horse battery" }))]
pub struct SignIn {
    #[schema(max_length = 254)]
    pub name: String,
    pub password: WriteOnly,
    /// The second factor's code where it is on, or a recovery code.
    pub totp_code: Option<WriteOnly>,
}

/// The session a request came with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8060", "user_id": "01890a5d-ac96-774b-bcce-b302099a8058", "user_name": "ada",
    "organization_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "csrf_token": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "must_change_password": false,
    "expires_at": "2025-01-16T10:30:00Z"
}))]
pub struct Session {
    pub id: String,
    pub user_id: String,
    pub user_name: String,
    /// Where requests act that name no organisation.
    pub organization_id: String,
    /// What every change must send as `x-csrf-token`.
    pub csrf_token: String,
    /// Until the password is replaced, nothing but the account can be used.
    pub must_change_password: bool,
    pub expires_at: Option<Time>,
}

/// What about a session shall change.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "organization_id": "01890a5d-ac96-774b-bcce-b302099a8057" }))]
pub struct SessionPatch {
    /// Where requests act that name no organisation.
    #[schema(format = Uuid)]
    pub organization_id: String,
}

/// A session in the list of its user's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8060", "current": true, "source_address": "203.0.113.7",
    "user_agent": "Mozilla/5.0", "created_at": "2025-01-15T10:30:00Z", "last_used_at": "2025-01-15T11:30:00Z",
    "expires_at": "2025-01-16T10:30:00Z"
}))]
pub struct OpenSession {
    pub id: String,
    /// Whether the request came with it.
    pub current: bool,
    pub source_address: String,
    pub user_agent: String,
    pub created_at: Option<Time>,
    /// To the minute.
    pub last_used_at: Option<Time>,
    pub expires_at: Option<Time>,
}

impl OpenSession {
    /// `session` as it is shown.
    #[must_use]
    pub fn of(session: &user_sessions::UserSession, current: bool) -> Self {
        Self {
            id: session.id.to_string(),
            current,
            source_address: session.source_address.clone(),
            user_agent: session.user_agent.clone(),
            created_at: Some(Time(session.created_at_us)),
            last_used_at: Some(Time(session.last_used_at_us)),
            expires_at: Some(Time(session.expires_at_us)),
        }
    }
}
