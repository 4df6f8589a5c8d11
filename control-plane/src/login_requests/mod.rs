//! Terminals that ask to be signed in: `muster login` shows an address, somebody who is signed in opens it and approves, and
//! the terminal's own token is good from then on.
//!
//! The terminal makes its token itself and tells only the token's hash, so nothing secret stands in an address, comes back
//! or is kept here. A request is a sealed text that its asker carries: nothing is stored for a stranger, any replica can
//! open it, and after [`LIFE_US`] it is of no use. What an approval makes is an API token like any other: bounded in number
//! and time, listed among its user's own, revocable, on record. Whoever approves compares a code that both sides make of the
//! hash, so that a request of somebody else is noticed. (RFC 8628, with the device's secret made by the device.)

use muster_shared::seal::Place;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::{
    access::{Act, Principal, TokenHash},
    api_tokens::{ApiToken, ApiTokenName, ApiTokens, NewApiToken},
    error::{Error, ErrorKind},
    keyring::{CARRIED_LIFE_US, CONTROL, Carried, Keyring},
};

/// Time for a person to approve.
pub const LIFE_US: i64 = CARRIED_LIFE_US;
/// What a code is written with (Crockford): no letter that looks like a digit.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of a code, in two groups.
const CODE_LETTERS: usize = 8;

/// A request, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// What the token will be called; the asker chose it.
    pub name: ApiTokenName,
    pub hash: TokenHash,
    pub begun_at_us: i64,
}

/// As it is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    name: String,
    #[serde(with = "hex")]
    hash: [u8; 32],
    begun_at_us: i64,
}

impl Carried for Sealed {
    const PLACE: Place<'static> =
        Place { organization: CONTROL, table: "login_requests", row: "request", column: "sealed" };

    fn begun_at_us(&self) -> i64 {
        self.begun_at_us
    }
}

/// Requests to be signed in. Clones share what they stand on.
#[derive(Debug, Clone)]
pub struct LoginRequests {
    keyring: Keyring,
    api_tokens: ApiTokens,
}

impl LoginRequest {
    /// The code that the terminal shows as well.
    #[must_use]
    pub fn code(&self) -> String {
        code_of(&self.hash)
    }

    /// When it is of no use any more.
    #[must_use]
    pub fn expires_at_us(&self) -> i64 {
        self.begun_at_us.saturating_add(LIFE_US)
    }
}

/// The code to compare, such as `7k2m-x9dq`, of a token's hash: 40 bits.
#[must_use]
pub fn code_of(hash: &TokenHash) -> String {
    let digest = digest(&SHA256, hash.as_bytes());
    let bits = digest.as_ref().iter().take(5).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let letter = |nth: usize| {
        let at = (bits >> (5 * (CODE_LETTERS - 1 - nth))) & 31;
        char::from(LETTERS[usize::try_from(at).unwrap_or(0)])
    };
    let (first, second): (String, String) =
        ((0..CODE_LETTERS / 2).map(letter).collect(), (CODE_LETTERS / 2..CODE_LETTERS).map(letter).collect());
    format!("{first}-{second}")
}

impl LoginRequests {
    /// Requests sealed with `keyring`, whose tokens are kept with `api_tokens`.
    #[must_use]
    pub fn new(keyring: Keyring, api_tokens: ApiTokens) -> Self {
        Self { keyring, api_tokens }
    }

    /// A new request for the token with this hash, and as its asker carries it.
    ///
    /// # Errors
    /// [`Error`] where it can't be sealed.
    pub fn begin(&self, name: ApiTokenName, hash: TokenHash, now_us: i64) -> Result<(LoginRequest, String), Error> {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_bytes());
        let carried = Sealed { name: name.to_string(), hash: bytes, begun_at_us: now_us }.seal(&self.keyring)?;
        metrics::counter!("muster_login_requests_total", "outcome" => "begun").increment(1);
        Ok((LoginRequest { name, hash, begun_at_us: now_us }, carried))
    }

    /// What somebody is asked to approve.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for what is no request of ours, or too old.
    pub fn open(&self, carried: &str, now_us: i64) -> Result<LoginRequest, Error> {
        self.opened(carried, now_us).ok_or_else(|| {
            let detail = "there is no such request to sign in, or it is too old: begin again with `muster login`";
            Error::new(ErrorKind::NotFound, "login_request_stale", detail)
        })
    }

    fn opened(&self, carried: &str, now_us: i64) -> Option<LoginRequest> {
        let Sealed { name, hash, begun_at_us } = Sealed::open(&self.keyring, carried, now_us)?;
        Some(LoginRequest { name: name.parse().ok()?, hash: TokenHash::of_bytes(hash), begun_at_us })
    }

    /// Makes the asker's token one of the caller's, for the organisation acted in.
    ///
    /// # Errors
    /// As [`Self::open`] and [`ApiTokens::create`]; [`ErrorKind::Precondition`] where it was approved before.
    pub async fn approve(
        &self,
        caller: &Principal,
        act: &Act,
        carried: &str,
        ttl_seconds: Option<u64>,
    ) -> Result<ApiToken, Error> {
        let request = self.open(carried, act.at_us)?;
        let new = NewApiToken { name: request.name, scopes: None, ttl_seconds };
        let token = self.api_tokens.create_of_hash(caller, act, new, &request.hash).await?;
        metrics::counter!("muster_login_requests_total", "outcome" => "approved").increment(1);
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        access::{API_TOKEN_PREFIX, Token},
        store::test_database::TestDatabase,
    };

    #[tokio::test]
    async fn a_request_is_ours_and_passes() {
        let store = TestDatabase::sqlite().await.store.clone();
        let of_key =
            |key| LoginRequests::new(Keyring::of_key(key), ApiTokens::new(store.clone(), Duration::from_secs(60)));
        let (ours, theirs) = (of_key(1), of_key(2));
        let token = Token::generate(API_TOKEN_PREFIX).expect("randomness");
        let name: ApiTokenName = "muster on laptop".parse().expect("a name");
        let (begun, carried) = ours.begin(name, token.hash(), 1_000).expect("begun");
        assert_eq!(ours.open(&carried, 1_001).expect("ours"), begun);
        assert!(!carried.contains(token.reveal()) && !carried.contains(&hex::encode(token.hash().as_bytes())));
        for (requests, at_us) in [(&ours, 1_000 + LIFE_US), (&ours, 999), (&theirs, 1_001)] {
            assert_eq!(requests.open(&carried, at_us).expect_err("no use").kind, ErrorKind::NotFound);
        }
    }

    #[test]
    fn both_sides_make_the_same_code_of_a_hash() {
        let code = code_of(&TokenHash::of_bytes([0; 32]));
        assert_eq!(code, code_of(&TokenHash::of_bytes([0; 32])));
        assert_ne!(code, code_of(&TokenHash::of_bytes([1; 32])));
        assert!(code.len() == CODE_LETTERS + 1 && code.chars().nth(4) == Some('-'), "{code}");
        assert!(code.bytes().all(|byte| byte == b'-' || LETTERS.contains(&byte)));
    }
}
