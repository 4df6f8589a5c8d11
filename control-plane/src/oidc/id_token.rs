//! The ID token (OpenID Connect Core 1.0, 2 and 3.1.3.7): a pure judgement of what the provider answered.
//!
//! Believed is only a token that the issuer signed by an allowed algorithm, for us, for this very attempt, and that is in
//! force. The e-mail address counts only where the provider says that it verified it.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::keys::{Algorithm, Keys};
use crate::users::Email;

/// Longest token looked at, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Longest name a provider may give somebody (Core 1.0, 2).
const MAX_SUBJECT_BYTES: usize = 255;
/// How far the two clocks may differ, in seconds.
const LEEWAY_SECONDS: f64 = 60.0;

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now_us: i64,
}

/// What is wrong with a token. For the operators' log: the person who signs in can't mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenFault {
    #[error("it is no signed token")]
    Malformed,
    #[error("it is signed by an algorithm that is not allowed")]
    Algorithm,
    #[error("none of the provider's keys is the one it names")]
    UnknownKey,
    #[error("its signature is not the provider's")]
    Signature,
    #[error("it is from another issuer")]
    Issuer,
    #[error("it is for somebody else")]
    Audience,
    #[error("it is not in force: check both clocks")]
    Time,
    #[error("it answers another attempt")]
    Nonce,
}

/// Who somebody is, as the provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    /// What the provider calls them, for good.
    pub subject: String,
    /// `None` where there is none, or the provider did not verify it.
    pub email: Option<Email>,
    /// Whether the provider told of an address at all, verified or not.
    pub tells_email: bool,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Body {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    #[serde(flatten)]
    person: Person,
}

/// What both the token and the provider's page about a person may tell.
#[derive(Deserialize)]
pub(super) struct Person {
    email: Option<Value>,
    email_verified: Option<Value>,
}

impl Person {
    /// The address, if the provider verified it, and whether it told of one. Words that only look true are not.
    pub(super) fn email(&self) -> (Option<Email>, bool) {
        let text = self.email.as_ref().and_then(Value::as_str);
        let verified = self.email_verified == Some(Value::Bool(true));
        (text.filter(|_| verified).and_then(|text| text.parse().ok()), text.is_some())
    }
}

/// Judges `token`.
///
/// # Errors
/// [`TokenFault`]; after [`TokenFault::UnknownKey`] newer keys may help.
pub(super) fn verify(token: &str, keys: &Keys, expected: Expected<'_>) -> Result<Claims, TokenFault> {
    let body = signed_body(token, keys)?;
    if body.iss != expected.issuer {
        return Err(TokenFault::Issuer);
    }
    let (is_named, is_only) = match &body.aud {
        Audience::One(one) => (one == expected.client_id, true),
        Audience::Many(many) => (many.iter().any(|one| one == expected.client_id), many.len() == 1),
    };
    let is_party = match &body.azp {
        Some(party) => party == expected.client_id,
        None => is_only,
    };
    if !is_named || !is_party {
        return Err(TokenFault::Audience);
    }
    #[expect(clippy::cast_precision_loss, reason = "microseconds of this century fit a double's 53 bits")]
    let now = expected.now_us as f64 / 1e6;
    let begins = body.nbf.unwrap_or(body.iat).max(body.iat);
    // Written so that what is no number is refused.
    if !(body.exp > now - LEEWAY_SECONDS && begins < now + LEEWAY_SECONDS) {
        return Err(TokenFault::Time);
    }
    let nonce = body.nonce.unwrap_or_default();
    if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return Err(TokenFault::Nonce);
    }
    if !(1..=MAX_SUBJECT_BYTES).contains(&body.sub.len()) || body.sub.chars().any(char::is_control) {
        return Err(TokenFault::Malformed);
    }
    let (email, tells_email) = body.person.email();
    Ok(Claims { subject: body.sub, email, tells_email })
}

fn signed_body(token: &str, keys: &Keys) -> Result<Body, TokenFault> {
    let parts: Vec<_> = token.split('.').collect();
    let [head, body, signature] = parts.as_slice() else { return Err(TokenFault::Malformed) };
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenFault::Malformed);
    }
    let header: Header = part(head)?;
    let algorithm = Algorithm::parse(&header.alg).ok_or(TokenFault::Algorithm)?;
    if header.crit.is_some() {
        return Err(TokenFault::Malformed);
    }
    let key = keys.find(header.kid.as_deref(), algorithm).ok_or(TokenFault::UnknownKey)?;
    let message = &token[..head.len() + 1 + body.len()];
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenFault::Malformed)?;
    if !key.verifies(algorithm, message.as_bytes(), &signature) {
        return Err(TokenFault::Signature);
    }
    part(body)
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, TokenFault> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenFault::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenFault::Malformed)
}

#[cfg(test)]
mod tests;
