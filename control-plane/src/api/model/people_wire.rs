//! People to and from the wire.

use muster_shared::wire;

use super::{
    api_token::{ApiToken, ApiTokenCreate, ApiTokenCreated},
    filled,
    me::Me,
    member::Member,
    organization::Organization,
    secret::WriteOnly,
    user::{User, UserCreate, UserPatch},
};
use crate::error::Error;

impl From<Organization> for wire::Organization {
    fn from(organization: Organization) -> Self {
        Self {
            id: organization.id,
            name: organization.name,
            role: organization.role,
            created_at: organization.created_at.map(Into::into),
        }
    }
}

impl From<Me> for wire::Me {
    fn from(me: Me) -> Self {
        Self {
            id: me.id,
            name: me.name,
            email: me.email.unwrap_or_default(),
            organization_id: me.organization_id,
            role: me.role,
            permissions: me.permissions,
            organizations: me.organizations.into_iter().map(Into::into).collect(),
            has_password: me.has_password,
            must_change_password: me.must_change_password,
            totp_enabled: me.totp_enabled,
        }
    }
}

impl From<Member> for wire::Member {
    fn from(member: Member) -> Self {
        Self { user_id: member.user_id, name: member.name, role: member.role, since: member.since.map(Into::into) }
    }
}

impl From<wire::Member> for Member {
    fn from(member: wire::Member) -> Self {
        Self { user_id: member.user_id, name: member.name, role: member.role, since: member.since.map(Into::into) }
    }
}

impl From<User> for wire::User {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            email: user.email.unwrap_or_default(),
            role: user.role,
            has_password: user.has_password,
            must_change_password: user.must_change_password,
            totp_enabled: user.totp_enabled,
            created_at: user.created_at.map(Into::into),
        }
    }
}

impl From<wire::User> for User {
    fn from(user: wire::User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            email: filled(user.email),
            role: user.role,
            has_password: user.has_password,
            must_change_password: user.must_change_password,
            totp_enabled: user.totp_enabled,
            created_at: user.created_at.map(Into::into),
        }
    }
}

impl From<wire::CreateUserRequest> for UserCreate {
    fn from(request: wire::CreateUserRequest) -> Self {
        Self {
            name: request.name,
            email: filled(request.email),
            password: filled(request.password).map(WriteOnly::from),
            role: filled(request.role),
        }
    }
}

impl TryFrom<wire::UpdateUserRequest> for UserPatch {
    type Error = Error;

    /// Takes the fields that the mask names.
    fn try_from(request: wire::UpdateUserRequest) -> Result<Self, Error> {
        let mut patch = Self::default();
        for path in request.update_mask.unwrap_or_default().paths {
            match path.as_str() {
                "name" => patch.name = Some(request.name.clone()),
                "email" => patch.email = Some(request.email.clone()),
                "password" => patch.password = Some(WriteOnly::from(request.password.clone())),
                _ => return Err(Error::invalid("invalid_mask", "update_mask names a field there is not")),
            }
        }
        Ok(patch)
    }
}

impl From<wire::CreateApiTokenRequest> for ApiTokenCreate {
    fn from(request: wire::CreateApiTokenRequest) -> Self {
        Self {
            name: request.name,
            ttl_seconds: Some(request.ttl_seconds).filter(|seconds| *seconds > 0),
            scopes: Some(request.scopes).filter(|scopes| !scopes.is_empty()),
        }
    }
}

impl From<ApiTokenCreated> for wire::CreateApiTokenResponse {
    fn from(token: ApiTokenCreated) -> Self {
        Self {
            id: token.id,
            token: token.token,
            name: token.name,
            is_scoped: token.scopes.is_some(),
            scopes: token.scopes.unwrap_or_default(),
            expires_at: token.expires_at.map(Into::into),
        }
    }
}

impl From<wire::CreateApiTokenResponse> for ApiTokenCreated {
    fn from(token: wire::CreateApiTokenResponse) -> Self {
        Self {
            id: token.id,
            token: token.token,
            name: token.name,
            scopes: token.is_scoped.then_some(token.scopes),
            expires_at: token.expires_at.map(Into::into),
        }
    }
}

impl From<ApiToken> for wire::ApiToken {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            is_scoped: token.scopes.is_some(),
            scopes: token.scopes.unwrap_or_default(),
            created_at: token.created_at.map(Into::into),
            expires_at: token.expires_at.map(Into::into),
            last_used_at: token.last_used_at.map(Into::into),
        }
    }
}

impl From<wire::ApiToken> for ApiToken {
    fn from(token: wire::ApiToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scopes: token.is_scoped.then_some(token.scopes),
            created_at: token.created_at.map(Into::into),
            expires_at: token.expires_at.map(Into::into),
            last_used_at: token.last_used_at.map(Into::into),
        }
    }
}
