//! How often somebody may try to sign in: per account and per source address, a few tries at will and then ever longer
//! waits.
//!
//! A try counts as failed from its beginning and is taken back when it succeeds, so that many at once count like many one
//! after the other. An account's waits stay short: a stranger who keeps failing must not lock its owner out for long. Both
//! tables are bounded; when one is full, whoever failed least and longest ago is forgotten. What is counted lives in
//! memory, and each replica counts for itself.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ring::digest::{SHA256, digest};

use crate::error::{Error, ErrorKind};

const SECOND_US: i64 = 1_000_000;
/// Accounts and addresses remembered, each.
pub const MAX_ENTRIES: usize = 10_000;

/// How tries are slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Failures without a wait.
    pub free: u32,
    /// The first wait; each further one is twice as long.
    pub first_wait_us: i64,
    pub longest_wait_us: i64,
    /// Failures are forgotten when none was added for so long.
    pub forgotten_after_us: i64,
}

/// An account: five tries at will, then waits up to a minute, so 1,440 guesses a day at most.
pub const ACCOUNT_PACE: Pace =
    Pace { free: 5, first_wait_us: SECOND_US, longest_wait_us: 60 * SECOND_US, forgotten_after_us: 3_600 * SECOND_US };
/// An address, which people may share: twenty tries at will, then waits up to a quarter of an hour.
pub const SOURCE_PACE: Pace = Pace {
    free: 20,
    first_wait_us: SECOND_US,
    longest_wait_us: 900 * SECOND_US,
    forgotten_after_us: 3_600 * SECOND_US,
};

/// Try again after so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait(u32);

/// Who tries, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    account: [u8; 32],
    source: Option<IpAddr>,
}

impl Try {
    /// A try at the account called `name`, from `source`. An IPv6 network of 64 bits counts as one address: its owner has
    /// all of them.
    #[must_use]
    pub fn new(name: &str, source: Option<IpAddr>) -> Self {
        let mut account = [0; 32];
        account.copy_from_slice(digest(&SHA256, name.trim().to_lowercase().as_bytes()).as_ref());
        let network = |address: IpAddr| match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address => address,
        };
        Self { account, source: source.map(network) }
    }
}

/// Every try, wherever a password is asked for. Clones share what they count.
#[derive(Debug, Clone, Default)]
pub struct Tries {
    throttle: Arc<Mutex<Throttle>>,
}

impl Tries {
    /// Begins a try, which counts as failed until [`Self::succeeded`].
    ///
    /// # Errors
    /// [`ErrorKind::Exhausted`] with the time to wait; then nothing is counted.
    pub fn begin(&self, attempt: Try, now_us: i64) -> Result<(), Error> {
        self.throttle().begin(attempt, now_us).map_err(|Wait(seconds)| {
            metrics::counter!("muster_sign_ins_total", "outcome" => "throttled").increment(1);
            let detail = format!("too many failures: try again in {seconds} seconds");
            Error::new(ErrorKind::Exhausted, "too_many_failures", detail).retry_after(seconds)
        })
    }

    /// The try was good: the account starts anew, and the address as if it had not been made.
    pub fn succeeded(&self, attempt: Try) {
        self.throttle().succeeded(attempt);
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was tried so far.
#[derive(Debug)]
struct Throttle {
    accounts: Table<[u8; 32]>,
    sources: Table<IpAddr>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { accounts: Table::new(ACCOUNT_PACE, MAX_ENTRIES), sources: Table::new(SOURCE_PACE, MAX_ENTRIES) }
    }
}

impl Throttle {
    fn begin(&mut self, attempt: Try, now_us: i64) -> Result<(), Wait> {
        let waits = [
            Some(self.accounts.wait_us(&attempt.account, now_us)),
            attempt.source.map(|source| self.sources.wait_us(&source, now_us)),
        ];
        let wait_us = waits.into_iter().flatten().max().unwrap_or(0);
        if wait_us > 0 {
            let seconds = wait_us.unsigned_abs().div_ceil(SECOND_US.unsigned_abs());
            return Err(Wait(u32::try_from(seconds).unwrap_or(u32::MAX)));
        }
        self.accounts.count(attempt.account, now_us);
        if let Some(source) = attempt.source {
            self.sources.count(source, now_us);
        }
        Ok(())
    }

    fn succeeded(&mut self, attempt: Try) {
        self.accounts.entries.remove(&attempt.account);
        if let Some(source) = attempt.source {
            self.sources.take_back(source);
        }
    }
}

#[derive(Debug)]
struct Table<K> {
    pace: Pace,
    capacity: usize,
    entries: HashMap<K, Entry>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    failures: u32,
    last_us: i64,
    blocked_until_us: i64,
}

impl<K: Eq + Hash + Copy> Table<K> {
    fn new(pace: Pace, capacity: usize) -> Self {
        Self { pace, capacity, entries: HashMap::new() }
    }

    fn wait_us(&self, key: &K, now_us: i64) -> i64 {
        // A clock that was set back must not make anybody wait longer than the longest wait.
        let left = |entry: &Entry| entry.blocked_until_us.saturating_sub(now_us).clamp(0, self.pace.longest_wait_us);
        self.entries.get(key).map_or(0, left)
    }

    fn count(&mut self, key: K, now_us: i64) {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.capacity {
            self.make_room(now_us);
        }
        let Pace { free, first_wait_us, longest_wait_us, forgotten_after_us } = self.pace;
        let entry = self.entries.entry(key).or_default();
        if now_us.saturating_sub(entry.last_us) > forgotten_after_us {
            *entry = Entry::default();
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.last_us = now_us;
        if let Some(doublings) = entry.failures.checked_sub(free + 1) {
            let wait_us = first_wait_us.saturating_mul(1_i64.checked_shl(doublings.min(40)).unwrap_or(i64::MAX));
            entry.blocked_until_us = now_us.saturating_add(wait_us.min(longest_wait_us));
        }
    }

    fn take_back(&mut self, key: K) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.failures = entry.failures.saturating_sub(1);
            entry.blocked_until_us = 0;
            if entry.failures == 0 {
                self.entries.remove(&key);
            }
        }
    }

    fn make_room(&mut self, now_us: i64) {
        let forgotten_after_us = self.pace.forgotten_after_us;
        self.entries.retain(|_, entry| now_us.saturating_sub(entry.last_us) <= forgotten_after_us);
        if self.entries.len() >= self.capacity {
            let least =
                self.entries.iter().min_by_key(|(_, entry)| (entry.failures, entry.last_us)).map(|(key, _)| *key);
            if let Some(least) = least {
                self.entries.remove(&least);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_US: i64 = 1_800_000_000 * SECOND_US;

    fn of(name: &str, source: &str) -> Try {
        Try::new(name, Some(source.parse().expect("an address")))
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut throttle = Throttle::default();
        let mut now_us = NOW_US;
        for _ in 0..5 {
            throttle.begin(of("ada", "192.0.2.1"), now_us).expect("free");
        }
        let mut waits = Vec::new();
        for _ in 0..9 {
            throttle.begin(of("ada", "192.0.2.1"), now_us).expect("waited");
            let Wait(seconds) = throttle.begin(of("ADA ", "192.0.2.2"), now_us).expect_err("the account waits");
            waits.push(seconds);
            now_us += i64::from(seconds) * SECOND_US;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        throttle.begin(of("bob", "192.0.2.3"), now_us).expect("another account from elsewhere is free");
    }

    #[test]
    fn success_frees_the_account_and_takes_one_back_from_the_address() {
        let mut throttle = Throttle::default();
        for number in 0..20 {
            throttle.begin(of(&format!("user-{number}"), "2001:db8::1"), NOW_US).expect("free");
        }
        throttle.begin(of("mine", "2001:db8::2"), NOW_US).expect("the last free one");
        throttle.succeeded(of("mine", "2001:db8::2"));
        throttle.begin(of("other", "2001:db8::3"), NOW_US).expect("taken back");
        let waits = throttle.begin(of("other", "2001:db8::ffff"), NOW_US);
        assert_eq!(waits, Err(Wait(1)), "one network is one address, and success does not wipe its failures");
    }

    #[test]
    fn failures_are_forgotten_and_a_clock_set_back_locks_nobody_out() {
        let mut throttle = Throttle::default();
        for _ in 0..6 {
            throttle.begin(of("ada", "192.0.2.1"), NOW_US).expect("free");
        }
        assert_eq!(throttle.begin(of("ada", "192.0.2.1"), NOW_US - 1_000_000 * SECOND_US), Err(Wait(60)));
        let later_us = NOW_US + ACCOUNT_PACE.forgotten_after_us + 1;
        for _ in 0..5 {
            throttle.begin(of("ada", "192.0.2.1"), later_us).expect("forgotten");
        }
    }

    #[test]
    fn a_full_table_forgets_those_who_failed_least() {
        let mut table = Table::new(ACCOUNT_PACE, 10);
        for _ in 0..7 {
            table.count(u32::MAX, NOW_US);
        }
        for key in 0..1000 {
            table.count(key, NOW_US + i64::from(key));
            assert!(table.entries.len() <= 10);
        }
        assert!(table.wait_us(&u32::MAX, NOW_US) > 0, "noise does not wash a guesser's failures away");
    }

    proptest! {
        /// Whatever the rhythm, one account is never tried more often than its pace allows.
        #[test]
        fn no_rhythm_gets_more_tries(gaps_ms in proptest::collection::vec(0_i64..40_000, 1..200)) {
            let mut throttle = Throttle::default();
            let (mut now_us, mut admitted) = (NOW_US, Vec::new());
            for (nth, gap_ms) in gaps_ms.into_iter().enumerate() {
                now_us += gap_ms * 1_000;
                let source = format!("10.0.{}.{}", nth / 250, nth % 250);
                if throttle.begin(of("ada", &source), now_us).is_ok() {
                    admitted.push(now_us);
                }
            }
            for (nth, pair) in admitted.windows(2).enumerate().skip(5) {
                let wait_us = (SECOND_US << (nth - 5).min(20)).min(ACCOUNT_PACE.longest_wait_us);
                prop_assert!(pair[1] - pair[0] >= wait_us, "try {nth}");
            }
        }
    }
}
