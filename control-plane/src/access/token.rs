//! Bearer tokens: 256 random bits behind a prefix that names what they are for. Only their hash is kept.

use std::fmt;

use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

/// The prefix of API tokens.
pub const API_TOKEN_PREFIX: &str = "mst_";
/// The prefix of what browsers' sessions are known by.
pub const SESSION_PREFIX: &str = "mse_";
const SECRET_BYTES: usize = 32;

/// A token as it is handed out, once.
pub struct Token(Zeroizing<String>);

/// The system has no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness")]
pub struct NoRandomness;

/// What is kept of a token, and looked up by.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl Token {
    /// A new token.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(prefix: &str) -> Result<Self, NoRandomness> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        SystemRandom::new().fill(secret.as_mut()).map_err(|_| NoRandomness)?;
        let digits = Zeroizing::new(hex::encode(secret.as_slice()));
        Ok(Self(Zeroizing::new(format!("{prefix}{}", digits.as_str()))))
    }

    /// A token that somebody presents, if it has the form of one with `prefix`.
    #[must_use]
    pub fn parse(text: &str, prefix: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix(prefix)?;
        let is_token = digits.len() == 2 * SECRET_BYTES && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_token.then(|| Self(Zeroizing::new(text.trim().to_owned())))
    }

    /// The token itself: for its owner's eyes.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        TokenHash(hash)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl TokenHash {
    /// The hash with these bytes: SHA-256 of a token that somebody else made.
    #[must_use]
    pub fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, as the database keeps them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_never_show_themselves() {
        let token = Token::generate(API_TOKEN_PREFIX).expect("randomness");
        let presented = Token::parse(token.reveal(), API_TOKEN_PREFIX).expect("a token");
        assert_eq!(presented.hash(), token.hash());
        assert!(!format!("{token:?}{:?}", token.hash()).contains(&token.reveal()[4..12]));
        assert_ne!(token.hash(), Token::generate(API_TOKEN_PREFIX).expect("randomness").hash());
    }

    #[test]
    fn what_is_no_token_is_refused_before_any_lookup() {
        let long = format!("mst_{}", "a".repeat(63));
        for text in ["", "mst_", "mjt_00", long.as_str(), &"a".repeat(68)] {
            assert!(Token::parse(text, API_TOKEN_PREFIX).is_none(), "{text}");
        }
    }
}
