//! `/api/v1/session` and `/api/v1/sessions`: signing in with a browser, and what was opened that way.

use axum::extract::{FromRequestParts, Path, State};
use http::{
    HeaderValue, StatusCode,
    header::{SET_COOKIE, USER_AGENT},
    request::Parts,
};
use muster_shared::id::UserSessionId;
use secrecy::ExposeSecret as _;

use super::{
    extract::Body,
    problem::{Problem, RequestId},
    routes::{Acting, Caller, CsrfToken},
};
use crate::{
    access::{Credential, Principal},
    api::{
        authorization::{authorities, origin},
        cookie, csrf,
        door::Door,
        model::{
            secret::WriteOnly,
            session::{OpenSession, Session, SessionPatch, SignIn},
            time::Time,
        },
    },
    app::App,
    error::Error,
    user_sessions::{Browser, Credentials, Opened},
};

type SetCookie = [(http::HeaderName, HeaderValue); 1];

/// Somebody who is not signed in yet. A request that another site made is refused: nobody shall find themselves signed in
/// as somebody else.
#[derive(Debug)]
pub struct Visitor(pub Browser, pub Door);

impl FromRequestParts<App> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let door = Door::of(parts);
        csrf::check_site(&parts.headers, &authorities(&app.config, &door))?;
        Ok(Self(visiting(parts), door))
    }
}

/// Where a request comes from, and what it says it is.
pub(super) fn visiting(parts: &Parts) -> Browser {
    let origin = origin(&parts.headers, parts.extensions.get(), parts.extensions.get::<RequestId>());
    let user_agent = parts.headers.get(USER_AGENT).map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    Browser { origin, user_agent: user_agent.unwrap_or_default() }
}

/// Sign in. The session is a cookie that scripts can't read; changes need its `csrf_token` as `x-csrf-token`, too.
#[utoipa::path(post, path = "/api/v1/session", tag = "account", request_body = SignIn, responses(
    (status = 201, description = "Signed in", body = Session),
    (status = 400, description = "The body is not JSON"),
    (status = 401, description = "The name, the password or the code is wrong, or the code is missing"),
    (status = 403, description = "Another site asked"),
    (status = 422, description = "A field is not acceptable"),
    (status = 429, description = "Too many failures, or too many at once",
        headers(("retry-after" = u32, description = "Seconds to wait")))))]
pub async fn sign_in(
    State(app): State<App>,
    Visitor(browser, door): Visitor,
    Body(shown): Body<SignIn>,
) -> Result<(StatusCode, SetCookie, axum::Json<Session>), Problem> {
    let code = shown.totp_code.map(|code| code.into_inner().expose_secret().to_owned());
    let credentials = Credentials { name: shown.name, password: WriteOnly::into_inner(shown.password), code };
    let opened = app.user_sessions.sign_in(&credentials, &browser, app.clock.now_us()).await?;
    let session = opened_session(&app, &opened).await?;
    let set_cookie = [(SET_COOKIE, cookie::set(&opened.secret, door.is_over_tls()))];
    Ok((StatusCode::CREATED, set_cookie, axum::Json(session)))
}

/// Show the session the request came with.
#[utoipa::path(get, path = "/api/v1/session", tag = "account", responses(
    (status = 200, description = "The session", body = Session),
    (status = 404, description = "The request came with a token instead")))]
pub async fn get_session(
    Caller(caller): Caller,
    csrf: Option<axum::Extension<CsrfToken>>,
) -> Result<axum::Json<Session>, Problem> {
    let (id, csrf) = current(&caller, csrf)?;
    Ok(axum::Json(shown_session(&caller, id, &csrf.0)))
}

/// Choose the organisation that the session acts in.
#[utoipa::path(patch, path = "/api/v1/session", tag = "account", request_body = SessionPatch, responses(
    (status = 200, description = "The session", body = Session),
    (status = 400, description = "The body is not JSON"),
    (status = 404, description = "The caller is no member of it, or came with a token"),
    (status = 422, description = "A field is not acceptable")))]
pub async fn update_session(
    State(app): State<App>,
    Caller(caller): Caller,
    csrf: Option<axum::Extension<CsrfToken>>,
    Body(patch): Body<SessionPatch>,
) -> Result<axum::Json<Session>, Problem> {
    let (id, csrf) = current(&caller, csrf)?;
    let org = patch.organization_id.parse().map_err(|_| Error::not_found("organization"))?;
    let caller = app.user_sessions.choose(&caller, id, org).await?;
    Ok(axum::Json(shown_session(&caller, id, &csrf.0)))
}

/// Sign out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "account", responses(
    (status = 204, description = "Signed out"),
    (status = 404, description = "The request came with a token instead")))]
pub async fn sign_out(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    door: Door,
) -> Result<(StatusCode, SetCookie), Problem> {
    let Credential::Session(id) = caller.credential else { return Err(Error::not_found("session").into()) };
    app.user_sessions.end(&caller, &act, id).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie::clear(door.is_over_tls()))]))
}

/// List the caller's sessions, newest first.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "account",
    responses((status = 200, description = "The sessions", body = Vec<OpenSession>)))]
pub async fn list_sessions(
    State(app): State<App>,
    Caller(caller): Caller,
) -> Result<axum::Json<Vec<OpenSession>>, Problem> {
    let sessions = app.user_sessions.list(caller.user_id, app.clock.now_us()).await?;
    let is_current = |id| caller.credential == Credential::Session(id);
    Ok(axum::Json(sessions.iter().map(|session| OpenSession::of(session, is_current(session.id))).collect()))
}

/// End one of the caller's sessions at once.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "account",
    params(("id" = String, Path, description = "A session's id")), responses(
        (status = 204, description = "It is over"),
        (status = 404, description = "The caller has no such session")))]
pub async fn end_session(
    State(app): State<App>,
    Caller(caller): Caller,
    Acting(act): Acting,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id.parse().map_err(|_| Error::not_found("session"))?;
    app.user_sessions.end(&caller, &act, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A session that was just opened, as its browser is told.
pub(super) async fn opened_session(app: &App, opened: &Opened) -> Result<Session, Error> {
    let caller = app.access.by_session(&opened.secret, app.clock.now_us()).await?;
    Ok(shown_session(&caller, opened.session.id, &csrf::token_of(&opened.secret)))
}

fn current(caller: &Principal, csrf: Option<axum::Extension<CsrfToken>>) -> Result<(UserSessionId, CsrfToken), Error> {
    match (caller.credential, csrf) {
        (Credential::Session(id), Some(axum::Extension(csrf))) => Ok((id, csrf)),
        _ => Err(Error::not_found("session")),
    }
}

fn shown_session(caller: &Principal, id: UserSessionId, csrf_token: &str) -> Session {
    Session {
        id: id.to_string(),
        user_id: caller.user_id.to_string(),
        user_name: caller.user_name.to_string(),
        organization_id: caller.org_id.to_string(),
        csrf_token: csrf_token.to_owned(),
        must_change_password: caller.must_change_password,
        expires_at: caller.expires_at_us.map(Time),
    }
}
