//! What a browser carries, sealed, from its way to the provider until it is signed in: nothing is stored for a stranger.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use muster_shared::{id::UserId, seal::Place};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind},
    keyring::{CARRIED_LIFE_US, CONTROL, Carried},
};

/// Time for a person to sign in there, and then to enter their second factor's code here.
pub const ATTEMPT_LIFE_US: i64 = CARRIED_LIFE_US;
/// Longest path to go to afterwards, in bytes.
const MAX_RETURN_BYTES: usize = 512;
const SECRET_BYTES: usize = 32;

/// An attempt to sign in: what the provider must bring back, or its answer is for somebody else.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub state: String,
    pub nonce: String,
    /// What PKCE's challenge was made of (RFC 7636).
    pub verifier: String,
    pub return_to: String,
    begun_at_us: i64,
}

/// Somebody whom the provider knew, and who has a second factor here.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Half {
    pub user_id: UserId,
    begun_at_us: i64,
}

impl Carried for Attempt {
    const PLACE: Place<'static> = place("attempt");

    fn begun_at_us(&self) -> i64 {
        self.begun_at_us
    }
}

impl Carried for Half {
    const PLACE: Place<'static> = place("half");

    fn begun_at_us(&self) -> i64 {
        self.begun_at_us
    }
}

impl Attempt {
    /// A new one, that goes on to `return_to`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a place that is not on this site.
    pub(super) fn begin(return_to: Option<&str>, now_us: i64) -> Result<Self, Error> {
        let return_to = return_to.unwrap_or("/");
        if !is_own_path(return_to) {
            let detail = format!("return_to must be a path on this site of at most {MAX_RETURN_BYTES} characters");
            return Err(Error::invalid("invalid_return_to", detail));
        }
        let [state, nonce, verifier] = [secret()?, secret()?, secret()?];
        Ok(Self { state, nonce, verifier, return_to: return_to.to_owned(), begun_at_us: now_us })
    }

    /// The challenge that its verifier answers, by S256.
    pub(super) fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }

    /// What is kept of an attempt that was used.
    pub(super) fn state_hash(&self) -> Vec<u8> {
        digest(&SHA256, self.state.as_bytes()).as_ref().to_vec()
    }
}

impl Half {
    pub(super) fn new(user_id: UserId, now_us: i64) -> Self {
        Self { user_id, begun_at_us: now_us }
    }
}

const fn place(column: &'static str) -> Place<'static> {
    Place { organization: CONTROL, table: "oidc", row: "cookie", column }
}

fn secret() -> Result<String, Error> {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::internal("the system has no randomness"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether browsers take `text` for a path on this site. Backslashes count as slashes to them, and control characters as
/// nothing.
fn is_own_path(text: &str) -> bool {
    text.len() <= MAX_RETURN_BYTES
        && text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// The attempt is over, was begun in another browser, or was used.
pub(super) fn stale() -> Error {
    let detail = "this sign-in was begun elsewhere, took too long or was used already: begin again";
    Error::new(ErrorKind::Unauthenticated, "oidc_attempt_stale", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Keyring;

    #[test]
    fn an_attempt_is_carried_and_never_taken_for_a_proof() {
        let keyring = Keyring::of_key(1);
        let attempt = Attempt::begin(Some("/servers?status=running"), 1_000).expect("begun");
        let carried = attempt.seal(&keyring).expect("sealed");
        let opened = Attempt::open(&keyring, &carried, 1_001).expect("ours");
        assert_eq!((opened.state, opened.return_to.as_str()), (attempt.state.clone(), "/servers?status=running"));
        assert!(Half::open(&keyring, &carried, 1_001).is_none(), "an attempt is no proof");
        let half = Half::new(UserId::generate(), 1_000).seal(&keyring).expect("sealed");
        assert!(Attempt::open(&keyring, &half, 1_001).is_none());
        for secret in [&attempt.state, &attempt.nonce, &attempt.verifier] {
            assert!(secret.len() >= 43 && !carried.contains(secret.as_str()));
        }
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let attempt = Attempt { verifier, ..Attempt::begin(None, 0).expect("begun") };
        assert_eq!(attempt.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn nobody_is_sent_to_another_site() {
        for good in ["/", "/servers/1?a=b#c"] {
            assert!(is_own_path(good), "{good}");
        }
        let long = format!("/{}", "a".repeat(MAX_RETURN_BYTES));
        for bad in
            ["", "servers", "//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil", "/\n", &long]
        {
            assert!(!is_own_path(bad), "{bad:?}");
        }
    }
}
