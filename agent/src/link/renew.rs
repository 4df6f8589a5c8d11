//! When to renew a certificate. Pure.

/// How long after its end a certificate can still be renewed.
pub const HEALS_WITHIN_US: i64 = 30 * 24 * 3600 * 1_000_000;
/// How far past half of its life a renewal may be put off, as a fraction of that life: hosts that joined together don't
/// renew together.
const JITTER: f64 = 0.1;

/// When a certificate valid from `not_before_us` to `not_after_us` is due; `dice` is uniform in 0..=1.
#[must_use]
pub fn due_at_us(not_before_us: i64, not_after_us: i64, dice: f64) -> i64 {
    let life_us = not_after_us.saturating_sub(not_before_us).max(0);
    not_before_us.saturating_add((life_us as f64 * (0.5 + JITTER * dice.clamp(0.0, 1.0))) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_between_half_and_six_tenths_of_its_life() {
        assert_eq!(due_at_us(1000, 2000, 0.0), 1500);
        assert_eq!(due_at_us(1000, 2000, 1.0), 1600);
        assert_eq!(due_at_us(2000, 1000, 0.5), 2000, "a certificate that was never valid is due at once");
    }
}
