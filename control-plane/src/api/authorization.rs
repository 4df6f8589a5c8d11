//! Who calls, and whether they may: the same for REST and gRPC.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, Method, Uri, header::AUTHORIZATION, request::Parts};
use muster_shared::id::OrgId;

use super::{
    cookie, csrf,
    door::Door,
    operation::Operation,
    rest::problem::{Problem, RequestId},
};
use crate::{
    access::{Access, Origin, Principal, Token},
    config::Config,
    edge::Peer,
    error::{Error, ErrorKind},
};

/// The header that names the organisation a request is about.
pub const ORGANIZATION_ID: HeaderName = HeaderName::from_static("x-organization-id");
/// The paths that name it.
const ORGANIZATIONS: &str = "/api/v1/organizations/";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Longest token looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 256;

/// Who may ask for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Anybody.
    Public,
    /// Everybody who proved who they are: it is about themselves.
    SignedIn,
    /// Those whose role and credential allow the operation.
    Guarded(Operation),
}

/// A request, as far as it tells who asks and for which organisation.
#[derive(Debug, Clone)]
pub struct Asked {
    headers: HeaderMap,
    wanted: Result<Wanted, NotAnOrganization>,
    /// A browser's session, and whether it is asked to change anything; gRPC knows none.
    session: Option<(Arc<Token>, bool)>,
    /// This site's own hosts and ports.
    authorities: Vec<String>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    /// As the guard saw it.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let nobody = || Error::new(ErrorKind::Unauthenticated, "unauthenticated", "this route knows no caller").into();
        parts.extensions.get().cloned().ok_or_else(nobody)
    }
}

/// The organisation a request names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wanted {
    /// It is about this one and no other.
    exactly: Option<OrgId>,
    /// This one where the caller may act in it.
    preferably: Option<OrgId>,
}

/// What stands where an organisation is named is none, so it does not exist.
#[derive(Debug, Clone, Copy)]
struct NotAnOrganization;

impl Asked {
    /// A REST request.
    #[must_use]
    pub fn rest(config: &Config, parts: &Parts) -> Self {
        let door = Door::of(parts);
        let is_change = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let session = cookie::session(&parts.headers, door.is_over_tls());
        Self {
            wanted: wanted(&parts.headers, &parts.uri),
            headers: parts.headers.clone(),
            session: session.map(|session| (Arc::new(session), is_change)),
            authorities: authorities(config, &door),
        }
    }

    /// A gRPC call.
    #[must_use]
    pub fn grpc(parts: &Parts) -> Self {
        let headers = parts.headers.clone();
        Self { wanted: wanted(&headers, &parts.uri), headers, session: None, authorities: Vec::new() }
    }

    /// The browser's session, where it is what proves who asks.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<Token>> {
        let (session, _) = self.session.as_ref()?;
        (!self.headers.contains_key(AUTHORIZATION)).then_some(session)
    }
}

/// This site's own hosts and ports, as origins name them.
#[must_use]
pub fn authorities(config: &Config, door: &Door) -> Vec<String> {
    let public = config.public_url.as_ref().map(ToString::to_string);
    let public =
        public.as_deref().and_then(|url| url.split_once("://")).map(|(_, authority)| csrf::authority(authority));
    [Some(csrf::authority(door.authority())), public].into_iter().flatten().filter(|it| !it.is_empty()).collect()
}

/// The organisation that a request names: in a header, else in its path, else in its query.
fn wanted(headers: &HeaderMap, uri: &Uri) -> Result<Wanted, NotAnOrganization> {
    let in_path = uri.path().strip_prefix(ORGANIZATIONS).and_then(|rest| rest.split('/').next());
    let exactly = match headers.get(ORGANIZATION_ID) {
        Some(header) => Some(header.to_str().map_err(|_| NotAnOrganization)?),
        None => in_path.filter(|id| !id.is_empty()),
    };
    let exactly = exactly.map(|id| id.trim().parse().map_err(|_| NotAnOrganization)).transpose()?;
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let preferably = pairs.filter(|(name, _)| *name == "organization_id").find_map(|(_, id)| id.parse().ok());
    Ok(Wanted { exactly, preferably })
}

/// Authenticates whoever asks, by a token or else by a browser's session, and requires what `admission` does.
///
/// # Errors
/// [`ErrorKind::Unauthenticated`]; [`ErrorKind::PermissionDenied`]; [`ErrorKind::NotFound`] for an organisation that the
/// caller is no member of.
pub async fn admit(access: &Access, asked: &Asked, admission: Admission, now_us: i64) -> Result<Principal, Error> {
    let wanted = asked.wanted;
    let in_one = || wanted.map_err(|NotAnOrganization| Error::not_found("organization"));
    let principal = match &asked.session {
        Some((session, is_change)) if asked.session().is_some() => {
            let anywhere = access.by_session(session, now_us).await?;
            if *is_change {
                csrf::check(&asked.headers, session, &asked.authorities)?;
            }
            acting(anywhere, in_one()?)?
        }
        _ => {
            let bearer = bearer(&asked.headers)?;
            let anywhere = access.authenticate(bearer, now_us).await?;
            acting(anywhere, in_one()?)?
        }
    };
    if let Admission::Guarded(operation) = admission {
        if principal.must_change_password {
            let detail = "first replace the password that somebody gave you: PUT /api/v1/me/password";
            return Err(Error::new(ErrorKind::PermissionDenied, "password_change_required", detail));
        }
        principal.require(operation.permission())?;
    }
    Ok(principal)
}

fn acting(principal: Principal, wanted: Wanted) -> Result<Principal, Error> {
    match wanted {
        Wanted { exactly: Some(org), .. } => principal.acting_in(org),
        Wanted { preferably: Some(org), .. } => Ok(principal.acting_in(org).unwrap_or(principal)),
        Wanted { .. } => Ok(principal),
    }
}

/// Where a request came from. Behind a proxy on this very machine, which speaks plain HTTP to us, it is the address
/// that proxy wrote last into `x-forwarded-for`; from anybody else the header is not believed.
#[must_use]
pub fn origin(headers: &HeaderMap, peer: Option<&Peer>, request_id: Option<&RequestId>) -> Origin {
    let forwarded = || {
        let value = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
        value.rsplit(',').next()?.trim().parse().ok()
    };
    let address = peer.map(|peer| {
        let address = peer.address.ip().to_canonical();
        let is_proxy = !peer.over_tls && address.is_loopback();
        forwarded().filter(|_| is_proxy).unwrap_or(address)
    });
    Origin { address, request_id: request_id.map(|id| Arc::clone(&id.0)) }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let missing = || {
        let detail = "sign in, or send an API token as `authorization: Bearer TOKEN`";
        Error::new(ErrorKind::Unauthenticated, "unauthenticated", detail)
    };
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(missing)?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && (1..=MAX_TOKEN_BYTES).contains(&token.len()) {
        Ok(token)
    } else {
        Err(missing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(value: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header"))]);
        bearer(&headers).ok().map(str::to_owned)
    }

    #[test]
    fn only_a_proxy_on_this_machine_says_for_whom_it_asks() {
        let headers = HeaderMap::from_iter([(FORWARDED_FOR, "192.0.2.1, 198.51.100.7".parse().expect("a header"))]);
        let from = |address: &str, over_tls| {
            let peer = Peer { address: address.parse().expect("an address"), over_tls, certificate: None };
            origin(&headers, Some(&peer), None).address.expect("an address").to_string()
        };
        assert_eq!(from("127.0.0.1:5000", false), "198.51.100.7");
        assert_eq!(from("127.0.0.1:5000", true), "127.0.0.1");
        assert_eq!(from("[::ffff:203.0.113.9]:5000", false), "203.0.113.9");
    }

    #[test]
    fn a_header_wins_over_the_path_and_both_over_the_query() {
        let (one, two) = (OrgId::generate(), OrgId::generate());
        let named = |header: Option<String>, uri: String| {
            let headers = header.map(|id| (ORGANIZATION_ID, id.parse().expect("a header"))).into_iter().collect();
            wanted(&headers, &uri.parse().expect("a URI")).ok()
        };
        let exactly = |org| Some(Wanted { exactly: Some(org), preferably: None });
        let path = |org: OrgId| format!("/api/v1/organizations/{org}/members");
        assert_eq!(named(None, "/api/v1/vms".into()), Some(Wanted::default()));
        assert_eq!(named(None, "/api/v1/organizations".into()), Some(Wanted::default()));
        assert_eq!(named(None, path(one)), exactly(one));
        assert_eq!(named(Some(two.to_string()), path(one)), exactly(two));
        assert_eq!(named(Some("Acme".into()), path(one)), None);
        assert_eq!(named(None, "/api/v1/organizations/Acme".into()), None);
        let query = |id: &str| named(None, format!("/api/v1/vms?skip=0&organization_id={id}"));
        assert_eq!(query(&one.to_string()), Some(Wanted { exactly: None, preferably: Some(one) }));
        assert_eq!(query("Acme"), Some(Wanted::default()));
    }

    #[test]
    fn only_bearer_tokens_count() {
        assert_eq!(token_of("Bearer mst_1").as_deref(), Some("mst_1"));
        assert_eq!(token_of("bearer  mst_1").as_deref(), Some("mst_1"));
        for value in ["mst_1", "Basic bXN0", "Bearer", "Bearer ", ""] {
            assert_eq!(token_of(value), None, "{value:?}");
        }
        assert_eq!(token_of(&format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1))), None);
    }
}
