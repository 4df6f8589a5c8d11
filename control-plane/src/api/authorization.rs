//! Who calls, and whether they may: the same for REST and gRPC.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use super::{operation::Operation, rest::problem::RequestId};
use crate::{
    access::{Access, Origin, Principal},
    edge::Peer,
    error::{Error, ErrorKind},
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Longest token looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 256;

/// Authenticates the bearer token in `headers` and requires the permission of `operation`.
///
/// # Errors
/// [`ErrorKind::Unauthenticated`] or [`ErrorKind::PermissionDenied`].
pub async fn admit(
    access: &Access,
    headers: &HeaderMap,
    operation: Operation,
    now_us: i64,
) -> Result<Principal, Error> {
    let principal = access.authenticate(bearer(headers)?, now_us).await?;
    principal.require(operation.permission())?;
    Ok(principal)
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
        let detail = "an API token is needed: send `authorization: Bearer TOKEN`";
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
    fn only_bearer_tokens_count() {
        assert_eq!(token_of("Bearer mst_1").as_deref(), Some("mst_1"));
        assert_eq!(token_of("bearer  mst_1").as_deref(), Some("mst_1"));
        for value in ["mst_1", "Basic bXN0", "Bearer", "Bearer ", ""] {
            assert_eq!(token_of(value), None, "{value:?}");
        }
        assert_eq!(token_of(&format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1))), None);
    }
}
