//! What somebody else carries for us: sealed, and good for a while only. Nothing is stored for a stranger, and any replica
//! can open it.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use muster_shared::seal::Place;
use serde::{Serialize, de::DeserializeOwned};

use super::Keyring;
use crate::error::Error;

/// How long it is good for, in microseconds: time for a person to do what it is about.
pub const CARRIED_LIFE_US: i64 = 10 * 60 * 1_000_000;
/// Longest text looked at, in bytes.
pub const MAX_CARRIED_BYTES: usize = 4096;

/// Something that is carried.
pub trait Carried: Serialize + DeserializeOwned {
    /// Keeps one kind from being taken for another.
    const PLACE: Place<'static>;

    /// When it began to be good.
    fn begun_at_us(&self) -> i64;

    /// As it is carried: base64 for addresses and cookies.
    ///
    /// # Errors
    /// [`Error`] where it can't be sealed.
    fn seal(&self, keyring: &Keyring) -> Result<String, Error> {
        let plain = serde_json::to_vec(self).map_err(Error::internal)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(keyring.seal(&Self::PLACE, &plain).map_err(Error::internal)?))
    }

    /// What is brought back; `None` for what we did not give away, or not lately.
    fn open(keyring: &Keyring, carried: &str, now_us: i64) -> Option<Self> {
        if carried.len() > MAX_CARRIED_BYTES {
            return None;
        }
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(carried).ok()?;
        let plain = keyring.open(&Self::PLACE, &sealed).ok()?;
        let what: Self = serde_json::from_slice(&plain).ok()?;
        (0..CARRIED_LIFE_US).contains(&now_us.saturating_sub(what.begun_at_us())).then_some(what)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::keyring::CONTROL;

    const fn place(column: &'static str) -> Place<'static> {
        Place { organization: CONTROL, table: "tests", row: "carried", column }
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct One(i64);

    impl Carried for One {
        const PLACE: Place<'static> = place("one");

        fn begun_at_us(&self) -> i64 {
            self.0
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Another(i64);

    impl Carried for Another {
        const PLACE: Place<'static> = place("another");

        fn begun_at_us(&self) -> i64 {
            self.0
        }
    }

    #[test]
    fn what_is_brought_back_is_ours_of_its_kind_and_passes() {
        let keyring = Keyring::of_key(1);
        let carried = One(1_000).seal(&keyring).expect("sealed");
        assert_eq!(One::open(&keyring, &carried, 1_001), Some(One(1_000)));
        assert!(One::open(&keyring, &carried, 1_000 + CARRIED_LIFE_US).is_none(), "too late");
        assert!(One::open(&keyring, &carried, 999).is_none(), "before it began");
        assert!(One::open(&Keyring::of_key(2), &carried, 1_001).is_none(), "another's");
        assert!(Another::open(&keyring, &carried, 1_001).is_none(), "another kind");
        for text in ["", "e30", "=", &"a".repeat(MAX_CARRIED_BYTES + 1)] {
            assert!(One::open(&keyring, text, 1_001).is_none());
        }
    }
}
