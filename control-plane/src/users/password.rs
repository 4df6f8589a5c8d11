//! Passwords: their rules, and Argon2id. What is kept is a PHC string, so each hash says how it was made and the cost may
//! rise later.

use std::{fmt, str::FromStr, sync::Arc};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::{OnceCell, Semaphore};

use super::UserName;
use crate::error::{Error, ErrorKind};

/// The shortest and the longest password, in characters.
pub const MIN_PASSWORD_CHARS: usize = 12;
pub const MAX_PASSWORD_CHARS: usize = 128;
/// Passwords hashed at once, so that sign-ins can't take all memory and every core.
const AT_ONCE: usize = 2;
/// How many may wait for their turn.
const MAX_WAITING: usize = 64;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Highest cost of a stored hash that is still tried.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;

/// What making or trying a password costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

/// The OWASP Password Storage Cheat Sheet's recommendation for Argon2id: 19 MiB, two passes, one lane.
impl Default for Cost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// A hashed password, as the database keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// A text that is no hashed password this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hashed password")]
pub struct NotAHash;

impl PasswordHash {
    /// The PHC string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl FromStr for PasswordHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        take_apart(text).map(|_| Self(text.to_owned())).ok_or(NotAHash)
    }
}

/// Refuses a password that is too short, too long, or the user's own name.
///
/// # Errors
/// [`ErrorKind::Invalid`].
fn check_rules(password: &SecretString, name: &str) -> Result<(), Error> {
    let text = password.expose_secret();
    let chars = text.chars().take(MAX_PASSWORD_CHARS + 1).count();
    if !(MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&chars) {
        let detail = format!("a password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters");
        return Err(Error::invalid("weak_password", detail));
    }
    if text.to_lowercase() == name.to_lowercase() {
        return Err(Error::invalid("weak_password", "the password is the user's name"));
    }
    Ok(())
}

/// The one place where passwords are hashed and tried. Clones share its bounds.
#[derive(Debug, Clone)]
pub struct Passwords {
    cost: Cost,
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// What the password of a user that does not exist is tried against.
    decoy: Arc<OnceCell<PasswordHash>>,
}

impl Passwords {
    /// Hashes at `cost`.
    #[must_use]
    pub fn new(cost: Cost) -> Self {
        Self {
            cost,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(AT_ONCE + MAX_WAITING)),
            decoy: Arc::default(),
        }
    }

    /// Hashes a password that may be chosen by the user called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] against the rules; [`ErrorKind::Exhausted`] when too many wait.
    pub async fn hash(&self, password: &SecretString, name: &UserName) -> Result<PasswordHash, Error> {
        check_rules(password, name.as_str())?;
        self.make(password.clone()).await
    }

    /// Whether `password` is the one that was hashed. Where there is none it takes as long, and is not.
    ///
    /// # Errors
    /// [`ErrorKind::Exhausted`] when too many wait.
    pub async fn matches(&self, hash: Option<&PasswordHash>, password: &SecretString) -> Result<bool, Error> {
        let is_known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash.clone(),
            None => self.decoy.get_or_try_init(|| self.make(SecretString::from(String::new()))).await?.clone(),
        };
        let too_long = password.expose_secret().chars().take(MAX_PASSWORD_CHARS + 1).count() > MAX_PASSWORD_CHARS;
        let tried = if too_long { SecretString::from(String::new()) } else { password.clone() };
        let is_it = self.in_turn(move || try_out(&hash, &tried)).await?;
        Ok(is_it && is_known && !too_long)
    }

    async fn make(&self, password: SecretString) -> Result<PasswordHash, Error> {
        let cost = self.cost;
        self.in_turn(move || make(cost, &password)).await?
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let busy = |_| {
            let detail = "too many people are signing in at once: try again in a moment";
            Error::new(ErrorKind::Exhausted, "busy", detail).retry_after(1)
        };
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(Error::internal)?;
        // A caller who goes away does not give the turn back early: the work goes on and holds it.
        let done = tokio::task::spawn_blocking(move || {
            let answer = work();
            drop((turn, place));
            answer
        });
        done.await.map_err(Error::internal)
    }
}

fn make(cost: Cost, password: &SecretString) -> Result<PasswordHash, Error> {
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).map_err(|_| Error::internal("the system has no randomness"))?;
    let hash = argon2id(cost, password, &salt).ok_or_else(|| Error::internal("the password can't be hashed"))?;
    let Cost { memory_kib, passes, lanes } = cost;
    let (salt, hash) = (BASE64.encode(salt), BASE64.encode(hash));
    Ok(PasswordHash(format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")))
}

fn try_out(hash: &PasswordHash, password: &SecretString) -> bool {
    let Some((cost, salt, expected)) = take_apart(hash.as_str()) else { return false };
    argon2id(cost, password, &salt).is_some_and(|made| bool::from(made.ct_eq(&expected)))
}

fn argon2id(cost: Cost, password: &SecretString, salt: &[u8]) -> Option<[u8; HASH_BYTES]> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(HASH_BYTES)).ok()?;
    let mut made = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose_secret().as_bytes(), salt, &mut made)
        .ok()?;
    Some(made)
}

/// Cost, salt and hash of a PHC string.
fn take_apart(text: &str) -> Option<(Cost, Vec<u8>, Vec<u8>)> {
    let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
    let (cost, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let mut numbers = cost.split(',');
    let mut number = |name: &str| numbers.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let cost = Cost { memory_kib: number("m=")?, passes: number("t=")?, lanes: number("p=")? };
    let is_bounded = cost.memory_kib <= MAX_MEMORY_KIB && cost.passes <= MAX_PASSES && cost.lanes <= 16;
    let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
    (is_bounded && hash.len() == HASH_BYTES).then_some((cost, salt, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn rules_say_what_they_want() {
        let name = "ada.lovelace";
        check_rules(&secret("correct horse"), name).expect("long enough");
        check_rules(&secret(&"ü".repeat(128)), name).expect("characters count, not bytes");
        for bad in ["", "eleven char", &"x".repeat(129), "Ada.Lovelace"] {
            assert_eq!(check_rules(&secret(bad), name).expect_err("refused").code, "weak_password", "{bad}");
        }
    }

    #[test]
    fn the_cost_is_the_recommended_one_and_stands_in_the_hash() {
        assert_eq!(Cost::default(), Cost { memory_kib: 19_456, passes: 2, lanes: 1 });
        let hash = make(CHEAP, &secret("correct horse")).expect("hashed");
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hash.as_str());
        assert!(!format!("{hash:?}").contains("argon2id"));
    }

    /// Of the reference implementation's own tests.
    #[test]
    fn hashes_of_other_programs_are_understood() {
        let hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let hash: PasswordHash = hash.parse().expect("a hash");
        assert!(try_out(&hash, &secret("password")));
        assert!(!try_out(&hash, &secret("Password")));
    }

    #[test]
    fn what_is_no_hash_or_too_dear_is_refused() {
        for text in [
            "",
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA",
            "$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc$x",
        ] {
            assert!(text.parse::<PasswordHash>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_password_is_recognised_and_nobody_s_never_is() {
        let passwords = Passwords::new(CHEAP);
        let name = "ada".parse().expect("a name");
        let password = secret("correct horse");
        let hash = passwords.hash(&password, &name).await.expect("hashed");
        assert_ne!(hash, passwords.hash(&password, &name).await.expect("hashed"), "salted");
        assert!(passwords.matches(Some(&hash), &password).await.expect("tried"));
        assert!(!passwords.matches(Some(&hash), &secret("correct hors")).await.expect("tried"));
        for anything in ["", "correct horse", &"x".repeat(10_000)] {
            assert!(!passwords.matches(None, &secret(anything)).await.expect("tried"));
        }
    }

    #[tokio::test]
    async fn more_than_may_wait_are_sent_away() {
        let passwords = Passwords::new(CHEAP);
        let _places = passwords.queue.acquire_many((AT_ONCE + MAX_WAITING) as u32).await.expect("free");
        let error = passwords.matches(None, &secret("x")).await.expect_err("full");
        assert_eq!(error.kind, ErrorKind::Exhausted);
    }
}
