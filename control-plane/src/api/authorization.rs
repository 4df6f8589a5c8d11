//! Who calls, and whether they may: the same for REST and gRPC.

use http::{HeaderMap, header::AUTHORIZATION};

use super::operation::Operation;
use crate::{
    access::{Access, Principal},
    error::{Error, ErrorKind},
};

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
    fn only_bearer_tokens_count() {
        assert_eq!(token_of("Bearer mst_1").as_deref(), Some("mst_1"));
        assert_eq!(token_of("bearer  mst_1").as_deref(), Some("mst_1"));
        for value in ["mst_1", "Basic bXN0", "Bearer", "Bearer ", ""] {
            assert_eq!(token_of(value), None, "{value:?}");
        }
        assert_eq!(token_of(&format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1))), None);
    }
}
