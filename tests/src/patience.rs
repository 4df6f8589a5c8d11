//! How long to wait. What should be at once is awaited within [`SOON`]; what is promised within a time is held to it,
//! as far as the machine has time for it ([`held_to`]).

use std::{fs, time::Duration};

/// For whatever should be at once: an end to waiting in vain, generous enough for a machine that is very busy.
pub const SOON: Duration = Duration::from_secs(60);
/// However busy the machine is, a promise is stretched no further than this.
const MAX_STRETCH: f64 = 10.0;

/// `promise` where this machine's cores have time; where more wants to run than there are cores, each gets its share
/// only, and the promise is stretched accordingly.
#[must_use]
pub fn held_to(promise: Duration) -> Duration {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    stretched(promise, &fs::read_to_string("/proc/loadavg").unwrap_or_default(), cores)
}

fn stretched(promise: Duration, loadavg: &str, cores: usize) -> Duration {
    let mut fields = loadavg.split(' ');
    let mut number = |at| fields.nth(at).and_then(|field| field.split('/').next()?.parse().ok()).unwrap_or(0.0f64);
    // Over the last minute, and at this moment.
    let (last_minute, now) = (number(0), number(2));
    promise.mul_f64((last_minute.max(now) / cores as f64).clamp(1.0, MAX_STRETCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_strict_until_the_cores_are_taken_and_has_an_end() {
        let promise = |loadavg| stretched(Duration::from_secs(3), loadavg, 2).as_secs();
        assert_eq!(promise("1.99 5.00 6.00 2/300 123"), 3);
        assert_eq!(promise("6.00 0.00 0.00 2/300 123"), 9);
        assert_eq!(promise("1.00 0.00 0.00 8/300 123"), 12);
        assert_eq!(promise("900.0 0.00 0.00 2/300 123"), 30);
        assert_eq!(promise(""), 3);
    }
}
