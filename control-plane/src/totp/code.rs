//! Time-based one-time passwords (RFC 6238) with its defaults, which every authenticator app knows: HMAC-SHA-1, 30 seconds,
//! six digits.

use ring::hmac;

/// How long a code is shown.
pub const STEP_US: i64 = 30 * 1_000_000;
/// Steps a device's clock may be off, either way.
pub const MAX_STEPS_OFF: i64 = 1;
const DIGITS: usize = 6;

/// The step that `now_us` falls in.
#[must_use]
pub fn step_at(now_us: i64) -> i64 {
    now_us.div_euclid(STEP_US)
}

/// The code of `secret` for `step`.
#[must_use]
pub fn code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    // RFC 4226, 5.3: the last four bits say where the 31 bits of the number lie.
    let at = tag.last().map_or(0, |last| usize::from(last & 0xf));
    let number = tag.iter().skip(at).take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) & 0x7fff_ffff;
    format!("{:0DIGITS$}", number % 1_000_000)
}

/// Which step near `now_us` the code given belongs to, if any.
#[must_use]
pub fn matching_step(secret: &[u8], given: &str, now_us: i64) -> Option<i64> {
    let now = step_at(now_us);
    let is_code = given.len() == DIGITS && given.bytes().all(|digit| digit.is_ascii_digit());
    if !is_code {
        return None;
    }
    // The newest first; every candidate is looked at, whichever fits.
    let steps = (now - MAX_STEPS_OFF..=now + MAX_STEPS_OFF).rev();
    steps
        .filter(|step| bool::from(subtle::ConstantTimeEq::ct_eq(code(secret, *step).as_bytes(), given.as_bytes())))
        .max()
}

/// Base32 (RFC 4648) without padding, as authenticator apps take secrets.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = bytes.len() * 8;
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    (0..bits)
        .step_by(5)
        .map(|at| {
            let digit = (at..at + 5).fold(0_usize, |digit, at| digit << 1 | usize::from(bit(at)));
            char::from(ALPHABET[digit])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    /// RFC 6238, appendix B: the last six digits of its eight, for SHA-1.
    #[test]
    fn codes_are_those_of_the_rfc() {
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(SECRET, step_at(seconds * 1_000_000)), expected, "{seconds}");
        }
    }

    /// RFC 4648, section 10.
    #[test]
    fn base32_is_that_of_the_rfc() {
        for (text, expected) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(text.as_bytes()), expected);
        }
    }

    #[test]
    fn what_is_no_code_matches_nothing() {
        for given in ["", "28708", "2870820", "28708a", "２８７０８２"] {
            assert_eq!(matching_step(SECRET, given, 59_000_000), None, "{given}");
        }
        assert_eq!(matching_step(SECRET, "287082", 59_000_000), Some(1));
    }

    proptest! {
        #[test]
        fn a_code_is_good_one_step_either_way_and_no_further(
            secret in proptest::collection::vec(any::<u8>(), 20), step in 1000_i64..1_000_000_000, off in -5_i64..=5,
        ) {
            let matched = matching_step(&secret, &code(&secret, step), (step + off) * STEP_US);
            if off.abs() <= MAX_STEPS_OFF {
                prop_assert!(matched.is_some());
            } else {
                // Six digits collide by chance, but never with the step itself.
                prop_assert_ne!(matched, Some(step));
            }
        }
    }
}
