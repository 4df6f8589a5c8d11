//! Requests that a browser sends by itself, cookie and all, because another site told it to: how they are told apart.
//!
//! What changes anything must carry the session's token in a header, which another site can neither read nor set, and must
//! not come from elsewhere as far as the browser says where it comes from.

use http::{HeaderMap, HeaderName, header::ORIGIN};
use ring::digest::{Context, SHA256};
use subtle::ConstantTimeEq as _;

use crate::{
    access::Token,
    error::{Error, ErrorKind},
};

/// The header that carries the token.
pub const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const DOMAIN: &[u8] = b"muster-csrf-v1\0";

/// The token of a session: whoever holds the session can tell it, and it tells nothing of the session.
#[must_use]
pub fn token_of(session: &Token) -> String {
    let mut context = Context::new(&SHA256);
    context.update(DOMAIN);
    context.update(session.reveal().as_bytes());
    hex::encode(context.finish())
}

/// Goes on only with the session's token, from the site itself.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`].
pub fn check(headers: &HeaderMap, session: &Token, authorities: &[String]) -> Result<(), Error> {
    check_site(headers, authorities)?;
    let given = headers.get(CSRF_TOKEN).map(http::HeaderValue::as_bytes).unwrap_or_default();
    if bool::from(given.ct_eq(token_of(session).as_bytes())) {
        return Ok(());
    }
    let detail = "the session's token is missing: send `x-csrf-token` as GET /api/v1/session answers it";
    Err(Error::new(ErrorKind::PermissionDenied, "csrf", detail))
}

/// Goes on unless the browser says that another site asked. `authorities` are this site's own hosts and ports.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`].
pub fn check_site(headers: &HeaderMap, authorities: &[String]) -> Result<(), Error> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let is_own = |origin: String| {
        let authority = match origin.split_once("://") {
            Some(("https", authority)) => authority.strip_suffix(":443").unwrap_or(authority),
            Some(("http", authority)) => authority.strip_suffix(":80").unwrap_or(authority),
            _ => return false,
        };
        authorities.iter().any(|own| own.eq_ignore_ascii_case(authority))
    };
    let from_here = headers.get_all(ORIGIN).iter().map(text).all(is_own)
        && headers.get_all(FETCH_SITE).iter().map(text).all(|site| matches!(site.as_str(), "same-origin" | "none"));
    if from_here {
        return Ok(());
    }
    Err(Error::new(ErrorKind::PermissionDenied, "cross_site", "another site asked for this in your name"))
}

/// A host and port as an origin names them: without the port that goes without saying.
#[must_use]
pub fn authority(text: &str) -> String {
    text.strip_suffix(":443").or_else(|| text.strip_suffix(":80")).unwrap_or(text).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::SESSION_PREFIX;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().expect("a header"));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_the_site_itself_with_the_token_gets_through() {
        let session = Token::generate(SESSION_PREFIX).expect("randomness");
        let token = token_of(&session);
        let other = token_of(&Token::generate(SESSION_PREFIX).expect("randomness"));
        let own = [authority("Fleet.example:443"), authority("127.0.0.1:8443")];
        let passes = |pairs: &[(&'static str, &str)]| check(&headers(pairs), &session, &own).is_ok();
        assert!(passes(&[("x-csrf-token", &token)]), "programs say neither");
        assert!(passes(&[("x-csrf-token", &token), ("origin", "https://fleet.example")]));
        assert!(passes(&[("x-csrf-token", &token), ("origin", "https://127.0.0.1:8443")]));
        assert!(passes(&[("x-csrf-token", &token), ("sec-fetch-site", "same-origin")]));
        assert!(!passes(&[]));
        assert!(!passes(&[("origin", "https://fleet.example")]));
        assert!(!passes(&[("x-csrf-token", &other)]));
        assert!(!passes(&[("x-csrf-token", "")]));
        for origin in ["https://evil.example", "null", "", "https://fleet.example.evil.example", "ftp://fleet.example"]
        {
            assert!(!passes(&[("x-csrf-token", &token), ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", ""] {
            assert!(!passes(&[("x-csrf-token", &token), ("sec-fetch-site", site)]), "{site}");
        }
    }

    #[test]
    fn the_token_does_not_tell_the_session() {
        let session = Token::generate(SESSION_PREFIX).expect("randomness");
        assert_ne!(token_of(&session), hex::encode(session.hash().as_bytes()));
        assert!(!session.reveal().contains(&token_of(&session)));
    }
}
