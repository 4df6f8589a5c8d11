//! When a server is looked at, and when it is tried over SSH. Pure.
//!
//! Every server has its own place in each [`EVERY_US`], given by its id, so that a fleet is spread evenly however it was
//! made and whenever the control plane started. A check looks at what is known; a probe connects. They differ where a
//! probe would do harm: a login that was refused is not tried again every two minutes, since hosts lock out who does
//! that, and with the address the people who work from it.

use muster_shared::id::ServerId;

use crate::servers::ConnectionOutcome;

const SECOND_US: i64 = 1_000_000;

/// No server is left unlooked-at for longer.
pub const EVERY_US: i64 = 120 * SECOND_US;
/// The first attempt after one that found nobody; each further one waits twice as long, up to [`EVERY_US`].
const UNREACHED_AGAIN_US: i64 = 15 * SECOND_US;
/// The first attempt after a refused login or another host key. No ten minutes see more than two of them: the usual
/// lock-outs begin with three.
const REFUSED_AGAIN_US: i64 = 6 * 60 * SECOND_US;
/// The longest that a refused login waits.
const REFUSED_AGAIN_MAX_US: i64 = 3_600 * SECOND_US;

/// The server's next turn after `now_us`.
#[must_use]
pub(super) fn next_check(server: ServerId, now_us: i64) -> i64 {
    let place = place(server);
    let into = (now_us - place).rem_euclid(EVERY_US);
    now_us.saturating_add(EVERY_US - into)
}

/// When to try again after an attempt that ended so, the last of `failures` in a row.
#[must_use]
pub(super) fn next_probe(server: ServerId, outcome: ConnectionOutcome, failures: u32, now_us: i64) -> i64 {
    let doubled = |first_us: i64, most_us: i64| {
        let times = 1_i64.checked_shl(failures.saturating_sub(1).min(30)).unwrap_or(1);
        first_us.saturating_mul(times).min(most_us)
    };
    match outcome {
        ConnectionOutcome::Success => next_check(server, now_us),
        ConnectionOutcome::Unreachable | ConnectionOutcome::Failed => {
            now_us.saturating_add(doubled(UNREACHED_AGAIN_US, EVERY_US))
        }
        ConnectionOutcome::AuthFailed | ConnectionOutcome::HostKeyMismatch => {
            now_us.saturating_add(doubled(REFUSED_AGAIN_US, REFUSED_AGAIN_MAX_US))
        }
    }
}

/// The end of an id is random; its start is the time it was made.
fn place(server: ServerId) -> i64 {
    let (_, random) = server.as_uuid().as_u64_pair();
    // The remainder is far below 2⁶³.
    (random % EVERY_US.unsigned_abs()).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_US: i64 = 1_800_000_000_000_000;

    #[test]
    fn a_fleet_is_spread_evenly() {
        const SLOTS: usize = 24;
        let mut slots = [0_u32; SLOTS];
        for _ in 0..SLOTS * 200 {
            let wait_us = next_check(ServerId::generate(), NOW_US) - NOW_US;
            slots[usize::try_from((wait_us - 1) * SLOTS as i64 / EVERY_US).expect("in range")] += 1;
        }
        assert!(slots.iter().all(|count| (120..=290).contains(count)), "{slots:?}");
    }

    #[test]
    fn a_refused_login_is_tried_less_and_less() {
        let server = ServerId::generate();
        let minutes = |outcome| {
            (1..=6).map(|failures| (next_probe(server, outcome, failures, NOW_US) - NOW_US) / 60 / SECOND_US).collect()
        };
        let refused: Vec<i64> = minutes(ConnectionOutcome::AuthFailed);
        assert_eq!(refused, [6, 12, 24, 48, 60, 60]);
        let unreached: Vec<i64> = minutes(ConnectionOutcome::Unreachable);
        assert_eq!(unreached, [0, 0, 1, 2, 2, 2]);
    }

    #[test]
    fn no_ten_minutes_see_three_refused_logins() {
        let server = ServerId::generate();
        let mut attempts = vec![NOW_US];
        for failures in 1..20 {
            let last = attempts[attempts.len() - 1];
            attempts.push(next_probe(server, ConnectionOutcome::AuthFailed, failures, last));
        }
        assert!(attempts.windows(3).all(|three| three[2] - three[0] > 600 * SECOND_US));
    }

    proptest! {
        #[test]
        fn the_next_turn_is_within_two_minutes_and_always_the_same(now_us in 0_i64..NOW_US * 2, later in 0..EVERY_US) {
            let server = ServerId::generate();
            let next = next_check(server, now_us);
            prop_assert!(next > now_us && next <= now_us + EVERY_US);
            let then = now_us + later;
            let expected = if then < next { next } else { next + EVERY_US };
            prop_assert_eq!(next_check(server, then), expected);
        }

        #[test]
        fn whoever_is_not_reached_is_tried_every_two_minutes_at_least(failures: u32) {
            let next = next_probe(ServerId::generate(), ConnectionOutcome::Unreachable, failures, NOW_US);
            prop_assert!(next > NOW_US && next <= NOW_US + EVERY_US);
        }
    }
}
