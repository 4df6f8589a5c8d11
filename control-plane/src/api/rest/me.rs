//! `/api/v1/me`

use axum::extract::State;
use http::StatusCode;
use secrecy::ExposeSecret as _;

use super::{
    extract::Body,
    problem::Problem,
    routes::{Acting, Caller},
};
use crate::{
    access::{Permission, Principal},
    api::model::{
        me::{Me, PasswordChange, TotpConfirm, TotpConfirmed, TotpDisable, TotpEnroll, TotpEnrolled},
        organization::Organization,
        secret::WriteOnly,
    },
    app::App,
    error::Error,
};

/// Show who asks, and what they may do.
#[utoipa::path(get, path = "/api/v1/me", tag = "account",
    responses((status = 200, description = "The caller", body = Me)))]
pub async fn get_me(State(app): State<App>, Caller(caller): Caller) -> Result<axum::Json<Me>, Problem> {
    Ok(axum::Json(me(&app, &caller).await?))
}

/// Who `caller` is.
///
/// # Errors
/// [`Error`] when the store fails.
pub async fn me(app: &App, caller: &Principal) -> Result<Me, Error> {
    let account = app.store.account(caller.user_id).await?.ok_or_else(|| Error::not_found("user"))?;
    let organizations = app.organizations.of(caller).await?;
    let allowed = Permission::ALL.iter().filter(|permission| caller.may(**permission));
    Ok(Me {
        id: caller.user_id.to_string(),
        name: caller.user_name.to_string(),
        email: account.email,
        organization_id: caller.org_id.to_string(),
        role: caller.role.as_str().to_owned(),
        permissions: allowed.map(|permission| permission.as_str().to_owned()).collect(),
        organizations: organizations.iter().map(|organization| Organization::of(organization, caller)).collect(),
        has_password: account.password.is_some(),
        must_change_password: account.must_change_password,
        totp_enabled: account.has_totp,
    })
}

/// Replace the caller's password, or set the first one. Every other session of theirs ends.
#[utoipa::path(put, path = "/api/v1/me/password", tag = "account", request_body = PasswordChange, responses(
    (status = 204, description = "It is replaced"),
    (status = 400, description = "The body is not JSON"),
    (status = 409, description = "It was changed meanwhile"),
    (status = 422, description = "The password is too short, too long or the user's name"),
    (status = 429, description = "Too many failures, or too many passwords being tried at once")))]
pub async fn change_password(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, Problem> {
    let current = change.current_password.map(WriteOnly::into_inner);
    let password = change.new_password.into_inner();
    app.users.change_own_password(&caller, &act, current.as_ref(), &password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begin to set up a second factor. It counts once its first code is confirmed.
#[utoipa::path(post, path = "/api/v1/me/totp", tag = "account", request_body = TotpEnroll, responses(
    (status = 201, description = "The secret for an authenticator app, once", body = TotpEnrolled),
    (status = 400, description = "The body is not JSON"),
    (status = 409, description = "A second factor is on already"),
    (status = 422, description = "A field is not acceptable"),
    (status = 429, description = "Too many failures, or too many passwords being tried at once")))]
pub async fn enroll_totp(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Body(enroll): Body<TotpEnroll>,
) -> Result<(StatusCode, axum::Json<TotpEnrolled>), Problem> {
    let password = enroll.password.map(WriteOnly::into_inner);
    let enrolling = app.totp.enroll(&caller, &act, password.as_ref()).await?;
    let enrolled = TotpEnrolled {
        secret: enrolling.secret.expose_secret().to_owned(),
        otpauth_uri: enrolling.otpauth_uri.expose_secret().to_owned(),
    };
    Ok((StatusCode::CREATED, axum::Json(enrolled)))
}

/// Turn the second factor on with its first code.
#[utoipa::path(post, path = "/api/v1/me/totp/confirm", tag = "account", request_body = TotpConfirm, responses(
    (status = 200, description = "It is on; recovery codes, once", body = TotpConfirmed),
    (status = 400, description = "The body is not JSON"),
    (status = 409, description = "It is on already, or none is being set up"),
    (status = 422, description = "The code is wrong")))]
pub async fn confirm_totp(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Body(confirm): Body<TotpConfirm>,
) -> Result<axum::Json<TotpConfirmed>, Problem> {
    let codes = app.totp.confirm(&caller, &act, confirm.code.into_inner().expose_secret()).await?;
    let recovery_codes = codes.iter().map(|code| code.expose_secret().to_owned()).collect();
    Ok(axum::Json(TotpConfirmed { recovery_codes }))
}

/// Turn the second factor off.
#[utoipa::path(post, path = "/api/v1/me/totp/disable", tag = "account", request_body = TotpDisable, responses(
    (status = 204, description = "It is off"),
    (status = 400, description = "The body is not JSON"),
    (status = 409, description = "There is none"),
    (status = 422, description = "A field is not acceptable"),
    (status = 429, description = "Too many failures, or too many passwords being tried at once")))]
pub async fn disable_totp(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Body(disable): Body<TotpDisable>,
) -> Result<StatusCode, Problem> {
    let password = disable.password.map(WriteOnly::into_inner);
    let code = disable.code.into_inner();
    app.totp.disable(&caller, &act, password.as_ref(), code.expose_secret()).await?;
    Ok(StatusCode::NO_CONTENT)
}
