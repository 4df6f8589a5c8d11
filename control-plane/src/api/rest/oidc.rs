//! `/api/v1/oidc`: signing in through an OpenID provider.

use axum::extract::{FromRequestParts, State};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, LOCATION, SET_COOKIE},
    request::Parts,
};

use super::{
    extract::{Body, Query},
    problem::Problem,
    session::{Visitor, opened_session},
};
use crate::{
    api::{
        cookie,
        door::Door,
        model::{
            oidc::{OidcCallback, OidcLogin, OidcSecondFactor, OidcStanding},
            secret::WriteOnly,
            session::Session,
        },
        rest::session::visiting,
    },
    app::App,
    error::Error,
    oidc::{ATTEMPT_LIFE_US, Finished, Returned},
    percent,
    user_sessions::Browser,
};

const LOGIN_PATH: &str = "/api/v1/oidc/login";
/// The dashboard's page that asks for the second factor's code.
const SECOND_FACTOR_PAGE: &str = "/sign-in";
const ATTEMPT_LIFE_SECONDS: i64 = ATTEMPT_LIFE_US / 1_000_000;

/// A browser that is sent elsewhere, with cookies to keep or to forget. None of it is kept on the way.
type Sent = (StatusCode, [(HeaderName, HeaderValue); 2], axum::response::AppendHeaders<Vec<(HeaderName, HeaderValue)>>);

/// What the browser carries of its attempt to sign in.
#[derive(Debug)]
pub struct Carried(Option<String>);

impl<S: Sync> FromRequestParts<S> for Carried {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(cookie::sign_in(&parts.headers, Door::of(parts).is_over_tls()).map(str::to_owned)))
    }
}

/// Whoever comes from anywhere: the provider sends them here.
#[derive(Debug)]
pub struct Passenger(Browser, Door);

impl<S: Sync> FromRequestParts<S> for Passenger {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(visiting(parts), Door::of(parts)))
    }
}

/// Tell whether people can sign in through an OpenID provider.
#[utoipa::path(get, path = "/api/v1/oidc", tag = "account",
    responses((status = 200, description = "Whether they can", body = OidcStanding)))]
pub async fn get_oidc(State(app): State<App>) -> axum::Json<OidcStanding> {
    axum::Json(OidcStanding { enabled: app.oidc.is_on(), login_path: LOGIN_PATH.to_owned() })
}

/// Send the browser to the OpenID provider.
#[utoipa::path(get, path = "/api/v1/oidc/login", tag = "account", params(OidcLogin), responses(
    (status = 302, description = "To the provider, with a cookie that binds the attempt to this browser for ten minutes",
        headers(("location" = String, description = "The provider's address"))),
    (status = 404, description = "No provider is set up"),
    (status = 422, description = "return_to is no path on this site"),
    (status = 503, description = "The provider does not answer")))]
pub async fn begin_oidc_login(
    State(app): State<App>,
    Passenger(_, door): Passenger,
    Query(asked): Query<OidcLogin>,
) -> Result<Sent, Problem> {
    let begun = app.oidc.begin(asked.return_to.as_deref(), app.clock.now_us()).await?;
    let carry = cookie::set_sign_in(&begun.cookie, ATTEMPT_LIFE_SECONDS, door.is_over_tls());
    sent(StatusCode::FOUND, &begun.url, vec![carry])
}

/// Take a browser back from the OpenID provider, and sign it in.
#[utoipa::path(get, path = "/api/v1/oidc/callback", tag = "account", params(OidcCallback), responses(
    (status = 303, description = "Signed in: to where the attempt began, with the session's cookie. Where the user has a \
        second factor here: to the page that asks for its code, with a cookie for POST /api/v1/oidc/second-factor",
        headers(("location" = String, description = "A path on this site"))),
    (status = 401, description = "The attempt is another browser's, over or used; or the provider did not let them in"),
    (status = 403, description = "Nobody here is that person, or the provider did not verify their address"),
    (status = 404, description = "No provider is set up"),
    (status = 429, description = "Too many failures",
        headers(("retry-after" = u32, description = "Seconds to wait"))),
    (status = 503, description = "The provider does not answer")))]
pub async fn finish_oidc_login(
    State(app): State<App>,
    Passenger(browser, door): Passenger,
    Carried(carried): Carried,
    Query(asked): Query<OidcCallback>,
) -> Result<Sent, Problem> {
    let OidcCallback { code, state, iss, error } = asked;
    let returned = Returned { code: code.map(WriteOnly::into_inner), state, issuer: iss, error };
    let over_tls = door.is_over_tls();
    let finished = app.oidc.finish(&returned, carried.as_deref(), &browser, app.clock.now_us()).await?;
    match finished {
        Finished::SignedIn { opened, return_to } => {
            let cookies = vec![cookie::set(&opened.secret, over_tls), cookie::clear_sign_in(over_tls)];
            sent(StatusCode::SEE_OTHER, &return_to, cookies)
        }
        Finished::HalfWay { cookie, return_to } => {
            let query = percent::pairs(&[("second_factor", "oidc"), ("return_to", &return_to)]);
            let carry = cookie::set_sign_in(&cookie, ATTEMPT_LIFE_SECONDS, over_tls);
            sent(StatusCode::SEE_OTHER, &format!("{SECOND_FACTOR_PAGE}?{query}"), vec![carry])
        }
    }
}

/// Complete signing in through the provider with the second factor's code.
#[utoipa::path(post, path = "/api/v1/oidc/second-factor", tag = "account", request_body = OidcSecondFactor, responses(
    (status = 201, description = "Signed in", body = Session),
    (status = 400, description = "The body is not JSON"),
    (status = 401, description = "The code is wrong, or signing in took too long"),
    (status = 403, description = "Another site asked"),
    (status = 404, description = "No provider is set up"),
    (status = 422, description = "A field is not acceptable"),
    (status = 429, description = "Too many failures",
        headers(("retry-after" = u32, description = "Seconds to wait")))))]
pub async fn complete_oidc_login(
    State(app): State<App>,
    Visitor(browser, door): Visitor,
    Carried(carried): Carried,
    Body(shown): Body<OidcSecondFactor>,
) -> Result<(StatusCode, axum::response::AppendHeaders<[(HeaderName, HeaderValue); 2]>, axum::Json<Session>), Problem> {
    let code = shown.totp_code.into_inner();
    let opened = app.oidc.complete(carried.as_deref(), &code, &browser, app.clock.now_us()).await?;
    let session = opened_session(&app, &opened).await?;
    let over_tls = door.is_over_tls();
    let cookies = [(SET_COOKIE, cookie::set(&opened.secret, over_tls)), (SET_COOKIE, cookie::clear_sign_in(over_tls))];
    Ok((StatusCode::CREATED, axum::response::AppendHeaders(cookies), axum::Json(session)))
}

fn sent(status: StatusCode, to: &str, cookies: Vec<HeaderValue>) -> Result<Sent, Problem> {
    let location = HeaderValue::try_from(to).map_err(Error::internal)?;
    let headers = [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let cookies = cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)).collect();
    Ok((status, headers, axum::response::AppendHeaders(cookies)))
}
