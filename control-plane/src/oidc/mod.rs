//! Signing in through an OpenID provider: the code flow with PKCE, bound to the browser that began it.
//!
//! The provider's word stands for the password, never for the second factor that somebody turned on here. Nothing is kept of
//! an attempt before it comes back; what came back once is refused the next time.

mod attempt;
mod fetch;
mod id_token;
mod keys;
mod person;
mod provider;

pub use attempt::ATTEMPT_LIFE_US;

use std::sync::Arc;

use attempt::{Attempt, Half, stale};
use fetch::Fetch;
use provider::{Provider, ProviderError};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    app::chain,
    config::OidcSettings,
    dial::Dialler,
    error::{Error, ErrorKind},
    keyring::{Carried as _, Keyring},
    percent,
    store::Store,
    user_sessions::{Browser, Opened, UserSessions},
    users::{Account, Tries, Try},
};

/// Longest code or other word taken from a provider by way of a browser, in bytes.
const MAX_WORD_BYTES: usize = 4096;
/// How a session that was opened this way is on record.
const MEANS: &str = "oidc";

/// Who the provider knows somebody as: its own name for them is good for ever, their e-mail address is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}

/// Where to send a browser, and what it shall carry.
#[derive(Debug)]
pub struct Begun {
    pub url: String,
    pub cookie: String,
}

/// What the provider sent a browser back with.
#[derive(Debug, Default)]
pub struct Returned {
    pub code: Option<SecretString>,
    pub state: Option<String>,
    pub issuer: Option<String>,
    /// Why it did not let them in.
    pub error: Option<String>,
}

/// How far somebody is whom the provider knew.
#[derive(Debug)]
pub enum Finished {
    SignedIn {
        opened: Opened,
        return_to: String,
    },
    /// The code of their second factor is still needed; the browser shall carry this until then.
    HalfWay {
        cookie: String,
        return_to: String,
    },
}

/// Signing in through the provider that is set up, if one is. Clones share what is known of it.
#[derive(Debug, Clone)]
pub struct Oidc {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    settings: OidcSettings,
    provider: Provider,
    store: Store,
    keyring: Keyring,
    user_sessions: UserSessions,
    tries: Tries,
}

impl Oidc {
    /// Through the provider of `settings`, asked by way of `dialler`.
    ///
    /// # Errors
    /// When an authority of the settings is no certificate.
    pub fn new(
        settings: Option<OidcSettings>,
        dialler: Dialler,
        (store, keyring): (Store, Keyring),
        (user_sessions, tries): (UserSessions, Tries),
    ) -> Result<Self, rustls::Error> {
        let Some(settings) = settings else { return Ok(Self { shared: None }) };
        let provider = Provider::new(Fetch::new(dialler, &settings.authorities)?);
        Ok(Self { shared: Some(Arc::new(Shared { settings, provider, store, keyring, user_sessions, tries })) })
    }

    /// Whether a provider is set up.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Begins to sign somebody in, who shall be sent to `return_to` afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where no provider is set up; [`ErrorKind::Unavailable`] when it does not answer;
    /// [`ErrorKind::Invalid`] for a place that is not on this site.
    pub async fn begin(&self, return_to: Option<&str>, now_us: i64) -> Result<Begun, Error> {
        let shared = self.shared()?;
        let settings = &shared.settings;
        let attempt = Attempt::begin(return_to, now_us)?;
        let metadata = shared.provider.metadata(&settings.issuer, now_us).await.map_err(failed)?;
        let endpoint = &metadata.authorization_endpoint;
        let query = percent::pairs(&[
            ("response_type", "code"),
            ("client_id", &settings.client_id),
            ("redirect_uri", &settings.redirect_uri),
            ("scope", &settings.scopes),
            ("state", &attempt.state),
            ("nonce", &attempt.nonce),
            ("code_challenge", &attempt.challenge()),
            ("code_challenge_method", "S256"),
        ]);
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok(Begun { url: format!("{endpoint}{joint}{query}"), cookie: attempt.seal(&shared.keyring)? })
    }

    /// Signs in whom the provider sent back, in the browser that carries `cookie`.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`]: the attempt is not this browser's, is over or was used, or the provider did not let
    /// them in; [`ErrorKind::PermissionDenied`] for somebody who is nobody here; [`ErrorKind::Unavailable`] when the
    /// provider does not answer; [`ErrorKind::Exhausted`] after too many failures from one address.
    pub async fn finish(
        &self,
        returned: &Returned,
        cookie: Option<&str>,
        browser: &Browser,
        now_us: i64,
    ) -> Result<Finished, Error> {
        let shared = self.shared()?;
        let attempt = cookie.and_then(|it| Attempt::open(&shared.keyring, it, now_us)).ok_or_else(stale)?;
        if returned.state.as_deref() != Some(attempt.state.as_str()) {
            return Err(stale());
        }
        let counted = Try::new(&attempt.state, browser.origin.address);
        shared.tries.begin(counted, now_us)?;
        // Whatever comes of it, this attempt is over.
        let ends_at_us = now_us.saturating_add(ATTEMPT_LIFE_US);
        if !shared.store.use_oidc_attempt(&attempt.state_hash(), ends_at_us, now_us).await? {
            return Err(stale());
        }
        let account = shared.account(returned, &attempt, browser, now_us).await?;
        shared.tries.succeeded(counted);
        if account.has_totp {
            let cookie = Half::new(account.id, now_us).seal(&shared.keyring)?;
            return Ok(Finished::HalfWay { cookie, return_to: attempt.return_to });
        }
        let opened = shared.user_sessions.open(&account, MEANS, browser, now_us).await?;
        Ok(Finished::SignedIn { opened, return_to: attempt.return_to })
    }

    /// Signs in the half-way person whose browser carries `cookie`, with their second factor's code.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`] for a wrong code or when it took too long; [`ErrorKind::Exhausted`] after too many
    /// tries.
    pub async fn complete(
        &self,
        cookie: Option<&str>,
        code: &SecretString,
        browser: &Browser,
        now_us: i64,
    ) -> Result<Opened, Error> {
        let shared = self.shared()?;
        let half = cookie.and_then(|it| Half::open(&shared.keyring, it, now_us)).ok_or_else(stale)?;
        let account = shared.store.account(half.user_id).await?.ok_or_else(stale)?;
        let counted = Try::new(&account.name, browser.origin.address);
        shared.tries.begin(counted, now_us)?;
        shared.user_sessions.require_code(&account, Some(code.expose_secret()), browser, now_us).await?;
        let opened = shared.user_sessions.open(&account, MEANS, browser, now_us).await?;
        shared.tries.succeeded(counted);
        Ok(opened)
    }

    fn shared(&self) -> Result<&Shared, Error> {
        let off = || {
            let detail = "no OpenID provider is set up here: sign in with a name and a password";
            Error::new(ErrorKind::NotFound, "oidc_off", detail)
        };
        self.shared.as_deref().ok_or_else(off)
    }
}

impl Shared {
    async fn account(
        &self,
        returned: &Returned,
        attempt: &Attempt,
        browser: &Browser,
        now_us: i64,
    ) -> Result<Account, Error> {
        let settings = &self.settings;
        let metadata = self.provider.metadata(&settings.issuer, now_us).await.map_err(failed)?;
        if !metadata.is_issuer(returned.issuer.as_deref()) {
            return Err(stale());
        }
        if let Some(error) = &returned.error {
            let word: String = error.chars().filter(|it| it.is_ascii_graphic()).take(60).collect();
            let detail = format!("the provider did not let you in: it says {word:?}");
            return Err(Error::new(ErrorKind::Unauthenticated, "oidc_denied", detail));
        }
        let code = returned.code.as_ref().map(|code| code.expose_secret()).unwrap_or_default();
        if code.is_empty() || code.len() > MAX_WORD_BYTES {
            return Err(stale());
        }
        let proof = (attempt.verifier.as_str(), attempt.nonce.as_str());
        let claims = self.provider.redeem(settings, code, proof, now_us).await.map_err(failed)?;
        self.person(claims, browser, now_us).await
    }
}

/// What the person who signs in is told; the operator is told the reason.
fn failed(error: ProviderError) -> Error {
    tracing::warn!(error = %chain(&error), "signing in through the OpenID provider failed");
    let (kind, code, detail) = match &error {
        ProviderError::Fetch(_) | ProviderError::Metadata(_) | ProviderError::Keys => {
            (ErrorKind::Unavailable, "oidc_unavailable", "the OpenID provider does not answer as it should; try again")
        }
        ProviderError::Code(_) => {
            (ErrorKind::Unauthenticated, "oidc_code_refused", "the provider took its word back: begin again")
        }
        ProviderError::Answer(_) | ProviderError::Token(_) => (
            ErrorKind::Unauthenticated,
            "oidc_answer_refused",
            "the provider's answer is not acceptable; the control plane's log says why",
        ),
    };
    Error::new(kind, code, detail).because(error)
}
