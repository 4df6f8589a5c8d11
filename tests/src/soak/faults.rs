//! What goes wrong in a soak, and when: planned before it begins, so that a seed says it all. Pure.
//!
//! Faults come in the middle of the run: it begins with a fleet that comes online undisturbed, and ends with a while in
//! which nothing is killed and memory shows whether it is flat.

use std::time::Duration;

use super::dice::Dice;
use crate::fault_proxy::Weather;

/// The part of the run that has faults.
const FROM: f64 = 0.1;
const UNTIL: f64 = 0.6;
/// Bad weather on a link is over by then.
const LONGEST_WEATHER: Duration = Duration::from_secs(40);
/// Most that a slow link delays each chunk.
const LONGEST_DELAY: Duration = Duration::from_millis(300);
const FAIR: Weather = Weather::Fair { delay: Duration::ZERO };

/// One thing that goes wrong, or right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL of the control plane, which is started again at once.
    KillControlPlane,
    /// Some of the agents are killed, and come back by and by.
    KillAgents,
    /// A link changes.
    Weather { link: usize, weather: Weather },
}

/// A fault and its time since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) at: Duration,
    pub(super) fault: Fault,
}

/// `kills` of either side and as many spells of bad weather on each of `links`, spread over the run by chance.
#[must_use]
pub(super) fn plan(dice: &mut Dice, length: Duration, kills: usize, links: usize) -> Vec<Planned> {
    let part = length.mul_f64(UNTIL - FROM) / u32::try_from(kills.max(1)).unwrap_or(u32::MAX);
    let mut planned = Vec::new();
    for kill in 0..u32::try_from(kills).unwrap_or(u32::MAX) {
        let begin = length.mul_f64(FROM) + part * kill;
        planned.push(Planned { at: begin + dice.up_to(part), fault: Fault::KillControlPlane });
        planned.push(Planned { at: begin + dice.up_to(part), fault: Fault::KillAgents });
        for link in 0..links {
            let at = begin + dice.up_to(part / 2);
            planned.push(Planned { at, fault: Fault::Weather { link, weather: bad(dice) } });
            let better = at + dice.up_to(LONGEST_WEATHER.min(part / 2));
            planned.push(Planned { at: better, fault: Fault::Weather { link, weather: FAIR } });
        }
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}

fn bad(dice: &mut Dice) -> Weather {
    match dice.below(5) {
        0 => Weather::Silent { to_server: true, to_client: true },
        1 => Weather::Silent { to_server: true, to_client: false },
        2 => Weather::Silent { to_server: false, to_client: true },
        3 => Weather::Fair { delay: dice.up_to(LONGEST_DELAY) },
        _ => Weather::Cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_its_seeds_kills_as_often_as_asked_and_ends_with_fair_links() {
        let length = Duration::from_secs(1200);
        let made = |seed| plan(&mut Dice::of(seed), length, 8, 3);
        assert_eq!(made(5), made(5));
        assert_ne!(made(5), made(6));
        for seed in 0..50 {
            let planned = made(seed);
            let count = |fault: Fault| planned.iter().filter(|planned| planned.fault == fault).count();
            assert_eq!((count(Fault::KillControlPlane), count(Fault::KillAgents)), (8, 8));
            assert!(planned.iter().all(|planned| (0.1..0.6001).contains(&(planned.at.as_secs_f64() / 1200.0))));
            for link in 0..3 {
                let of_link =
                    |planned: &&Planned| matches!(planned.fault, Fault::Weather { link: it, .. } if it == link);
                let last = planned.iter().rfind(of_link).map(|planned| planned.fault);
                assert_eq!(last, Some(Fault::Weather { link, weather: FAIR }), "seed {seed}");
            }
        }
    }
}
