//! The caller as they see themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{organization::Organization, secret::WriteOnly};

/// Who asks, and what they may do in the organisation acted in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "01890a5d-ac96-774b-bcce-b302099a8058", "name": "ada", "email": "ada@example.com",
    "organization_id": "01890a5d-ac96-774b-bcce-b302099a8057", "role": "member",
    "permissions": ["org.servers.list", "org.servers.view", "org.monitoring.view"],
    "organizations": [{
        "id": "01890a5d-ac96-774b-bcce-b302099a8057", "name": "Acme Corp", "role": "member",
        "created_at": "2025-01-15T10:30:00Z"
    }],
    "has_password": true, "must_change_password": false, "totp_enabled": true
}))]
pub struct Me {
    pub id: String,
    pub name: String,
    pub email: Option<String>,
    /// The organisation this request acts in.
    pub organization_id: String,
    pub role: String,
    /// What both the role and the token's scopes allow.
    pub permissions: Vec<String>,
    /// Every organisation the caller may act in with this token or session.
    pub organizations: Vec<Organization>,
    pub has_password: bool,
    pub must_change_password: bool,
    pub totp_enabled: bool,
}

/// A new password for the caller.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "current_password": "correct horse battery", "new_password": "staple battery horse" }))]
pub struct PasswordChange {
    /// Needed where there is one.
    pub current_password: Option<WriteOnly>,
    /// 12 to 128 characters.
    #[schema(value_type = String, format = Password, write_only, min_length = 12, max_length = 128)]
    pub new_password: WriteOnly,
}

/// The caller's password, to set up a second factor.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "password": "correct horse battery" }))]
pub struct TotpEnroll {
    /// Needed where there is one.
    pub password: Option<WriteOnly>,
}

/// A second factor being set up, once.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "otpauth_uri": "otpauth://totp/Muster:ada?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Muster"
}))]
pub struct TotpEnrolled {
    /// Base32, to type in.
    pub secret: String,
    /// To show as a QR code.
    pub otpauth_uri: String,
}

/// The first code of a second factor.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "code": "287082" }))]
pub struct TotpConfirm {
    pub code: WriteOnly,
}

/// Recovery codes, once: each is good for one sign-in without the device.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({ "recovery_codes": ["MZXW-6YTB-OI2G-K43U"] }))]
pub struct TotpConfirmed {
    pub recovery_codes: Vec<String>,
}

/// What turning the second factor off needs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "password": "correct horse battery", "code": "287082" }))]
pub struct TotpDisable {
    /// Needed where there is one.
    pub password: Option<WriteOnly>,
    /// A current code, or a recovery code.
    pub code: WriteOnly,
}
