//! The provider: what it says of itself (OpenID Connect Discovery 1.0), its keys, and the exchange of a code for who somebody
//! is. Both documents are kept for an hour; keys are asked for anew where a token names one that is not among them.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;

use super::{
    fetch::{Fetch, FetchError, Sent},
    id_token::{Claims, Expected, Person, TokenFault, verify},
    keys::Keys,
};
use crate::{config::OidcSettings, percent};

/// How long what the provider said is believed.
const BELIEVED_FOR_US: i64 = 3_600 * 1_000_000;
/// How often keys are asked for at most: a token that names an unknown one must not become a way to flood the provider.
const KEYS_AT_MOST_EVERY_US: i64 = 2 * 1_000_000;
/// Longest word of the provider's that is logged.
const MAX_LOGGED_CHARS: usize = 100;

/// Why the provider did not say who somebody is.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    #[error("the provider does not answer")]
    Fetch(#[from] FetchError),
    #[error("the provider's description of itself is not usable: {0}")]
    Metadata(&'static str),
    #[error("the provider's keys are not usable")]
    Keys,
    /// The code is wrong, used or too old.
    #[error("the provider refuses the code: {0:?}")]
    Code(String),
    #[error("the provider's answer is not usable: {0}")]
    Answer(&'static str),
    #[error("the provider's token is not acceptable: {0}")]
    Token(#[from] TokenFault),
}

/// What a provider says of itself, as far as it is used.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Reads it, if it is this issuer's: another's would have tokens of another believed.
    fn parse(json: &[u8], issuer: &str) -> Result<Self, ProviderError> {
        let metadata: Self = serde_json::from_slice(json).map_err(|_| ProviderError::Metadata("fields are missing"))?;
        if metadata.issuer != issuer {
            return Err(ProviderError::Metadata("it names another issuer than oidc_issuer"));
        }
        if !metadata.authorization_endpoint.starts_with("https://") {
            return Err(ProviderError::Metadata("people would be sent to an address without TLS"));
        }
        Ok(metadata)
    }

    /// Whether `said` is the issuer, as far as it has to say so (RFC 9207): it keeps one provider's answer from being taken
    /// for another's.
    pub(super) fn is_issuer(&self, said: Option<&str>) -> bool {
        match said {
            Some(said) => said == self.issuer,
            None => !self.authorization_response_iss_parameter_supported,
        }
    }

    /// Whether we prove ourselves in a header; providers that don't say take that.
    fn takes_basic(&self) -> bool {
        let takes = |methods: &Vec<String>| methods.iter().any(|method| method == "client_secret_basic");
        self.token_endpoint_auth_methods_supported.as_ref().is_none_or(takes)
    }
}

#[derive(Debug, Clone)]
struct Known {
    metadata: Arc<Metadata>,
    keys: Keys,
    described_at_us: i64,
    keys_at_us: i64,
}

/// The provider that is set up.
#[derive(Debug)]
pub(super) struct Provider {
    fetch: Fetch,
    known: Mutex<Option<Known>>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(deserialize_with = "secret")]
    id_token: SecretString,
    #[serde(default, deserialize_with = "secret_if_any")]
    access_token: Option<SecretString>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

fn secret_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    #[serde(flatten)]
    person: Person,
}

impl Provider {
    pub(super) fn new(fetch: Fetch) -> Self {
        Self { fetch, known: Mutex::new(None) }
    }

    /// What the provider says of itself.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub(super) async fn metadata(&self, issuer: &str, now_us: i64) -> Result<Arc<Metadata>, ProviderError> {
        Ok(self.known(issuer, now_us).await?.metadata)
    }

    async fn known(&self, issuer: &str, now_us: i64) -> Result<Known, ProviderError> {
        // Held while asking: many who sign in at once ask once.
        let mut kept = self.known.lock().await;
        if let Some(known) = kept.as_ref().filter(|known| is_recent(known.described_at_us, now_us, BELIEVED_FOR_US)) {
            return Ok(known.clone());
        }
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let metadata = Metadata::parse(&self.fetch.get(&url).await?, issuer)?;
        let keys = self.keys(&metadata).await?;
        let known = Known { metadata: Arc::new(metadata), keys, described_at_us: now_us, keys_at_us: now_us };
        *kept = Some(known.clone());
        Ok(known)
    }

    async fn keys(&self, metadata: &Metadata) -> Result<Keys, ProviderError> {
        Keys::parse(&self.fetch.get(&metadata.jwks_uri).await?).ok_or(ProviderError::Keys)
    }

    /// Newer keys than those of `known`; `None` where they were asked for a moment ago.
    async fn newer_keys(&self, known: &Known, now_us: i64) -> Result<Option<Keys>, ProviderError> {
        let mut kept = self.known.lock().await;
        let Some(kept) = kept.as_mut() else { return Ok(None) };
        if kept.keys_at_us > known.keys_at_us {
            return Ok(Some(kept.keys.clone()));
        }
        if is_recent(kept.keys_at_us, now_us, KEYS_AT_MOST_EVERY_US) {
            return Ok(None);
        }
        kept.keys = self.keys(&kept.metadata).await?;
        kept.keys_at_us = now_us;
        Ok(Some(kept.keys.clone()))
    }

    /// Who the person is whom the provider sent back with `code`.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub(super) async fn redeem(
        &self,
        settings: &OidcSettings,
        code: &str,
        (verifier, nonce): (&str, &str),
        now_us: i64,
    ) -> Result<Claims, ProviderError> {
        let known = self.known(&settings.issuer, now_us).await?;
        let tokens = self.exchange(settings, &known.metadata, code, verifier).await?;
        let token = tokens.id_token.expose_secret();
        let expected = Expected { issuer: &settings.issuer, client_id: &settings.client_id, nonce, now_us };
        let claims = match verify(token, &known.keys, expected) {
            Err(TokenFault::UnknownKey) => {
                let keys = self.newer_keys(&known, now_us).await?.ok_or(TokenFault::UnknownKey)?;
                verify(token, &keys, expected)?
            }
            judged => judged?,
        };
        match (&known.metadata.userinfo_endpoint, tokens.access_token) {
            (Some(url), Some(access_token)) if !claims.tells_email => self.complete(claims, url, access_token).await,
            _ => Ok(claims),
        }
    }

    async fn exchange(
        &self,
        settings: &OidcSettings,
        metadata: &Metadata,
        code: &str,
        verifier: &str,
    ) -> Result<Tokens, ProviderError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", settings.redirect_uri.as_str()),
            ("code_verifier", verifier),
        ];
        let mut authorization = None;
        match &settings.client_secret {
            Some(secret) if metadata.takes_basic() => {
                // RFC 6749, 2.3.1: both are encoded as in a form first.
                let (id, secret) = (percent::encoded(&settings.client_id), percent::encoded(secret.expose_secret()));
                let credentials = SecretString::from(BASE64_STANDARD.encode(format!("{id}:{secret}")));
                authorization = Some(("Basic", credentials));
            }
            Some(secret) => {
                form.extend([("client_id", settings.client_id.as_str()), ("client_secret", secret.expose_secret())]);
            }
            None => form.push(("client_id", settings.client_id.as_str())),
        }
        let sent = Sent { form: Some(percent::pairs(&form)), authorization };
        let (status, body) = self.fetch.ask(&metadata.token_endpoint, sent).await?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|_| ProviderError::Answer("it holds no ID token")),
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => {
                let refused = serde_json::from_slice::<Refused>(&body).map(|it| it.error).unwrap_or_default();
                Err(ProviderError::Code(refused.chars().take(MAX_LOGGED_CHARS).collect()))
            }
            status => Err(FetchError::Status(metadata.token_endpoint.clone(), status).into()),
        }
    }

    /// Asks for the address that the token does not tell.
    async fn complete(&self, claims: Claims, url: &str, access: SecretString) -> Result<Claims, ProviderError> {
        let sent = Sent { form: None, authorization: Some(("Bearer", access)) };
        let (status, body) = self.fetch.ask(url, sent).await?;
        if status != StatusCode::OK {
            return Err(FetchError::Status(url.to_owned(), status).into());
        }
        let info: UserInfo =
            serde_json::from_slice(&body).map_err(|_| ProviderError::Answer("what it tells of a person is no JSON"))?;
        // Core 1.0, 5.3.4: without this somebody else's address could be put in.
        if info.sub != claims.subject {
            return Err(ProviderError::Answer("it tells of another person than the token"));
        }
        let (email, tells_email) = info.person.email();
        Ok(Claims { email, tells_email, ..claims })
    }
}

/// Whether what was learnt at `then_us` is younger than `life_us`; a clock that was set back makes it old.
fn is_recent(then_us: i64, now_us: i64, life_us: i64) -> bool {
    (0..life_us).contains(&now_us.saturating_sub(then_us))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn described() -> Value {
        json!({
            "issuer": "https://id.example.com", "authorization_endpoint": "https://id.example.com/auth",
            "token_endpoint": "https://id.example.com/token", "jwks_uri": "https://id.example.com/keys"
        })
    }

    fn parse(json: &Value) -> Result<Metadata, ProviderError> {
        Metadata::parse(json.to_string().as_bytes(), "https://id.example.com")
    }

    #[test]
    fn a_provider_speaks_for_itself_only() {
        let metadata = parse(&described()).expect("usable");
        assert!(
            metadata.takes_basic() && metadata.is_issuer(None) && metadata.is_issuer(Some("https://id.example.com"))
        );
        assert!(!metadata.is_issuer(Some("https://evil.example.com")));
        for (field, value) in [
            ("issuer", json!("https://evil.example.com")),
            ("authorization_endpoint", json!("http://id.example.com/auth")),
            ("token_endpoint", json!(null)),
        ] {
            let mut wrong = described();
            wrong[field] = value;
            assert!(parse(&wrong).is_err(), "{field}");
        }
    }

    #[test]
    fn a_provider_that_says_who_answers_must_say_it() {
        let mut described = described();
        described["authorization_response_iss_parameter_supported"] = json!(true);
        described["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
        let metadata = parse(&described).expect("usable");
        assert!(!metadata.is_issuer(None) && !metadata.takes_basic());
    }

    #[test]
    fn what_is_known_grows_old_in_both_directions() {
        assert!(is_recent(10, 10, 5) && is_recent(10, 14, 5));
        assert!(!is_recent(10, 15, 5) && !is_recent(10, 9, 5));
    }
}
