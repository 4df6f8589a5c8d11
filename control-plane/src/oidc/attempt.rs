//! What a browser carries, sealed, from its way to the provider until it is signed in: nothing is stored for a stranger.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use muster_shared::{id::UserId, seal::Place};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, ErrorKind},
    keyring::{CONTROL, Keyring},
};

/// Time for a person to sign in there, and then to enter their second factor's code here.
pub const ATTEMPT_LIFE_US: i64 = 10 * 60 * 1_000_000;
/// Longest path to go to afterwards, in bytes.
const MAX_RETURN_BYTES: usize = 512;
/// Longest cookie looked at, in bytes.
const MAX_SEALED_BYTES: usize = 4096;
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

/// Something that is only good for a while.
pub(super) trait Passing: Serialize + DeserializeOwned {
    /// Keeps one from being taken for another.
    const COLUMN: &'static str;

    fn begun_at_us(&self) -> i64;
}

impl Passing for Attempt {
    const COLUMN: &'static str = "attempt";

    fn begun_at_us(&self) -> i64 {
        self.begun_at_us
    }
}

impl Passing for Half {
    const COLUMN: &'static str = "half";

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

/// `what` as a browser carries it.
///
/// # Errors
/// [`Error`] where it can't be sealed.
pub(super) fn seal<T: Passing>(keyring: &Keyring, what: &T) -> Result<String, Error> {
    let plain = serde_json::to_vec(what).map_err(Error::internal)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(keyring.seal(&place(T::COLUMN), &plain).map_err(Error::internal)?))
}

/// What a browser brings back; `None` for what we did not give it, or not lately.
pub(super) fn open<T: Passing>(keyring: &Keyring, carried: &str, now_us: i64) -> Option<T> {
    if carried.len() > MAX_SEALED_BYTES {
        return None;
    }
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(carried).ok()?;
    let plain = keyring.open(&place(T::COLUMN), &sealed).ok()?;
    let what: T = serde_json::from_slice(&plain).ok()?;
    (0..ATTEMPT_LIFE_US).contains(&now_us.saturating_sub(what.begun_at_us())).then_some(what)
}

fn place(column: &'static str) -> Place<'static> {
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

    #[test]
    fn what_a_browser_carries_is_ours_and_passes() {
        let keyring = Keyring::of_key(1);
        let attempt = Attempt::begin(Some("/servers?status=running"), 1_000).expect("begun");
        let carried = seal(&keyring, &attempt).expect("sealed");
        let opened: Attempt = open(&keyring, &carried, 1_001).expect("ours");
        assert_eq!((opened.state, opened.return_to.as_str()), (attempt.state.clone(), "/servers?status=running"));
        assert!(open::<Attempt>(&keyring, &carried, 1_000 + ATTEMPT_LIFE_US).is_none(), "too late");
        assert!(open::<Attempt>(&keyring, &carried, 999).is_none(), "before it began");
        assert!(open::<Attempt>(&Keyring::of_key(2), &carried, 1_001).is_none(), "another's");
        assert!(open::<Half>(&keyring, &carried, 1_001).is_none(), "an attempt is no proof");
        let half = seal(&keyring, &Half::new(UserId::generate(), 1_000)).expect("sealed");
        assert!(open::<Attempt>(&keyring, &half, 1_001).is_none());
        for text in ["", "e30", "=", &"a".repeat(MAX_SEALED_BYTES + 1)] {
            assert!(open::<Attempt>(&keyring, text, 1_001).is_none());
        }
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
