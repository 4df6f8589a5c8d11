//! The cookie a browser's session is known by. Over TLS its name makes browsers refuse it from anybody but this very host;
//! the plain door, which is for a proxy on the same machine, can't have that.

use http::{HeaderMap, HeaderValue, header::COOKIE};

use crate::access::{SESSION_PREFIX, Token};

const OVER_TLS: &str = "__Host-muster";
const PLAIN: &str = "muster";
/// What a browser carries while it signs in through an OpenID provider.
const SIGN_IN_OVER_TLS: &str = "__Host-muster-oidc";
const SIGN_IN_PLAIN: &str = "muster-oidc";
/// Longest cookie header looked at.
const MAX_COOKIES_BYTES: usize = 16 * 1024;

/// The session that the browser names, if it names one.
#[must_use]
pub fn session(headers: &HeaderMap, over_tls: bool) -> Option<Token> {
    value(headers, name(over_tls)).and_then(|value| Token::parse(value, SESSION_PREFIX))
}

/// The value of the cookie called `name`.
pub fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let headers = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let mut pairs = headers.filter(|header| header.len() <= MAX_COOKIES_BYTES).flat_map(|header| header.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// What makes the browser keep `session`.
#[must_use]
pub fn set(session: &Token, over_tls: bool) -> HeaderValue {
    header(&format!("{}={}; {}", name(over_tls), session.reveal(), attributes(over_tls)))
}

/// What makes the browser forget its session.
#[must_use]
pub fn clear(over_tls: bool) -> HeaderValue {
    header(&format!("{}=; Max-Age=0; {}", name(over_tls), attributes(over_tls)))
}

/// What the browser carries of its attempt to sign in through a provider.
#[must_use]
pub fn sign_in(headers: &HeaderMap, over_tls: bool) -> Option<&str> {
    value(headers, sign_in_name(over_tls))
}

/// What makes the browser carry `sealed` for `seconds`. Unlike the session's it comes along when another site, the provider,
/// sends the browser here; it is good for nothing but what that site brings.
#[must_use]
pub fn set_sign_in(sealed: &str, seconds: i64, over_tls: bool) -> HeaderValue {
    let attributes = attributes(over_tls).replace("SameSite=Strict", "SameSite=Lax");
    header(&format!("{}={sealed}; Max-Age={seconds}; {attributes}", sign_in_name(over_tls)))
}

/// What makes the browser forget its attempt.
#[must_use]
pub fn clear_sign_in(over_tls: bool) -> HeaderValue {
    set_sign_in("", 0, over_tls)
}

fn sign_in_name(over_tls: bool) -> &'static str {
    if over_tls { SIGN_IN_OVER_TLS } else { SIGN_IN_PLAIN }
}

fn header(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn name(over_tls: bool) -> &'static str {
    if over_tls { OVER_TLS } else { PLAIN }
}

fn attributes(over_tls: bool) -> &'static str {
    if over_tls { "Path=/; HttpOnly; SameSite=Strict; Secure" } else { "Path=/; HttpOnly; SameSite=Strict" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_comes_back_through_the_door_it_was_given_at() {
        let token = Token::generate(SESSION_PREFIX).expect("randomness");
        for over_tls in [true, false] {
            let set = set(&token, over_tls);
            let text = set.to_str().expect("ASCII");
            assert!(text.contains("HttpOnly") && text.contains("SameSite=Strict") && text.contains("Path=/"));
            assert_eq!(text.contains("Secure") && text.starts_with("__Host-"), over_tls);
            assert!(!format!("{set:?}").contains(token.reveal()), "no log shows it");
            let pair = text.split(';').next().expect("a pair");
            let headers: HeaderMap =
                [(COOKIE, format!("a=b; {pair}").parse().expect("a header"))].into_iter().collect();
            assert_eq!(session(&headers, over_tls).expect("a session").hash(), token.hash());
            assert!(session(&headers, !over_tls).is_none());
        }
    }

    #[test]
    fn an_attempt_comes_along_from_the_provider_and_is_no_session() {
        for over_tls in [true, false] {
            let set = set_sign_in("c2VhbGVk", 600, over_tls);
            let text = set.to_str().expect("ASCII");
            assert!(text.contains("SameSite=Lax") && text.contains("HttpOnly") && text.contains("Max-Age=600"));
            assert_eq!(text.contains("Secure") && text.starts_with("__Host-"), over_tls);
            let pair = text.split(';').next().expect("a pair");
            let headers: HeaderMap = [(COOKIE, pair.parse().expect("a header"))].into_iter().collect();
            assert_eq!(sign_in(&headers, over_tls), Some("c2VhbGVk"));
            assert!(session(&headers, over_tls).is_none());
            assert!(clear_sign_in(over_tls).to_str().expect("ASCII").contains("Max-Age=0"));
        }
    }

    #[test]
    fn what_is_no_session_is_none() {
        for text in ["", "muster", "muster=", "muster=mse_00", "xmuster=mse_00", "=;;="] {
            let headers: HeaderMap = [(COOKIE, text.parse().expect("a header"))].into_iter().collect();
            assert!(session(&headers, false).is_none(), "{text}");
        }
    }
}
