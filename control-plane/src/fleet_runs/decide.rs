//! How a run goes on. Pure.

use super::run::Tally;

/// What is to be done about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Servers of waves that have begun have yet to begin or to end.
    Wait,
    /// The next wave begins.
    Advance,
    /// The failures that were allowed are used up: nobody begins any more.
    Stop,
    /// Nobody is left.
    End,
}

/// How a run goes on that stands as `tally`, of whose servers `max_failures` may fail.
#[must_use]
pub fn step(tally: &Tally, max_failures: u32) -> Step {
    let waiting = tally.waiting_now + tally.waiting_later;
    if tally.failed > u64::from(max_failures) && waiting > 0 {
        Step::Stop
    } else if tally.waiting_now + tally.running > 0 {
        Step::Wait
    } else if tally.waiting_later > 0 {
        Step::Advance
    } else {
        Step::End
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wave_begins_when_the_one_before_has_ended_within_the_budget() {
        let tally = |waiting_now, running, waiting_later, failed| Tally {
            waiting_now,
            running,
            waiting_later,
            failed,
            ..Tally::default()
        };
        assert_eq!(step(&tally(2, 0, 5, 0), 0), Step::Wait);
        assert_eq!(step(&tally(0, 1, 5, 0), 0), Step::Wait);
        assert_eq!(step(&tally(0, 0, 5, 0), 0), Step::Advance);
        assert_eq!(step(&tally(0, 0, 5, 1), 1), Step::Advance, "as many as may");
        assert_eq!(step(&tally(0, 0, 5, 2), 1), Step::Stop);
        assert_eq!(step(&tally(1, 1, 0, 1), 0), Step::Stop, "in the middle of a wave, too");
        assert_eq!(step(&tally(0, 1, 0, 9), 0), Step::Wait, "whoever has begun comes to an end");
        assert_eq!(step(&tally(0, 0, 0, 9), 0), Step::End);
    }

    proptest! {
        /// Runs of any size end, no wave is larger than it may be, and no server begins once too many have failed.
        #[test]
        fn every_run_ends_and_keeps_its_bounds(
            servers in 1_u64..60,
            wave_size in 1_u64..20,
            max_failures in 0_u32..10,
            fates in prop::collection::vec(any::<bool>(), 60),
        ) {
            let mut tally = Tally { waiting_later: servers, ..Tally::default() };
            let mut fates = fates.into_iter();
            for _ in 0..500 {
                match step(&tally, max_failures) {
                    Step::End => break,
                    Step::Stop => {
                        tally.skipped += tally.waiting_now + tally.waiting_later;
                        (tally.waiting_now, tally.waiting_later) = (0, 0);
                    }
                    Step::Advance => {
                        prop_assert!(tally.running + tally.waiting_now == 0);
                        prop_assert!(tally.failed <= u64::from(max_failures));
                        tally.waiting_now = wave_size.min(tally.waiting_later);
                        tally.waiting_later -= tally.waiting_now;
                    }
                    Step::Wait if tally.waiting_now > 0 => {
                        prop_assert!(tally.failed <= u64::from(max_failures));
                        tally.waiting_now -= 1;
                        tally.running += 1;
                    }
                    Step::Wait => {
                        tally.running -= 1;
                        if fates.next().unwrap_or(true) { tally.succeeded += 1 } else { tally.failed += 1 }
                    }
                }
                prop_assert!(tally.running <= wave_size);
            }
            prop_assert_eq!(tally.succeeded + tally.failed + tally.skipped, servers);
        }
    }
}
