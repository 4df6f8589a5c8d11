//! What a host said of a command while it carried it out. It is kept as long as the command; what is shown of it is
//! bounded: the newest [`SHOWN_LINES`] of one command, the newest [`LISTED_LINES`] of each that runs in a list, and those
//! of [`MAX_LISTED`] of them. Whoever wants every line follows the command.

use muster_shared::{command::CommandBody, preflight::CheckName};

use super::{Step, Update};

/// Lines of a command that is shown by itself.
pub const SHOWN_LINES: usize = 200;
/// Lines of each running command of a list.
pub const LISTED_LINES: usize = 20;
/// Running commands of a list whose lines are read, newest first.
pub const MAX_LISTED: usize = 100;
/// Steps of a command that are no lines, at most.
pub(super) const OTHER_STEPS: usize = 16;

/// The newest of what a host said.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Lines and checks, oldest first; never empty.
    pub lines: Vec<Update>,
    /// Whether more was said before them.
    pub has_earlier: bool,
    /// How much of the command is over, where that can be told: of a preflight.
    pub percent: Option<u32>,
}

impl Progress {
    /// What is shown of a command's `newest` steps, which come newest first and are `limit` and [`OTHER_STEPS`] more at
    /// most; `None` where nothing was said.
    pub(super) fn of(body: &CommandBody, newest: Vec<Update>, limit: usize) -> Option<Self> {
        let may_have_more = newest.len() == limit + OTHER_STEPS;
        let mut lines: Vec<Update> =
            newest.into_iter().filter(|update| matches!(update.step, Step::Line(_) | Step::Check(_))).collect();
        let has_earlier = may_have_more || lines.len() > limit;
        lines.truncate(limit);
        lines.reverse();
        let checked = lines.iter().filter(|update| matches!(update.step, Step::Check(_))).count();
        let percent = matches!(body, CommandBody::Preflight(_))
            .then(|| u32::try_from((checked * 100 / CheckName::ALL.len()).min(100)).unwrap_or(100));
        (!lines.is_empty()).then_some(Self { lines, has_earlier, percent })
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::{command::PreflightArgs, preflight::CheckResult};

    use super::*;

    fn newest_first(steps: Vec<Step>) -> Vec<Update> {
        let numbered = steps.into_iter().zip(1..).map(|(step, seq)| Update { seq, at_us: 0, step });
        let mut updates: Vec<_> = numbered.collect();
        updates.reverse();
        updates
    }

    fn line(number: usize) -> Step {
        Step::Line(format!("line {number}"))
    }

    #[test]
    fn the_newest_lines_are_shown_in_order_and_older_ones_are_known_of() {
        let said = |lines: usize, limit| {
            let mut steps =
                newest_first([Step::Received, Step::Started].into_iter().chain((0..lines).map(line)).collect());
            steps.truncate(limit + OTHER_STEPS);
            Progress::of(&CommandBody::RefreshFacts, steps, limit)
        };
        assert_eq!(said(0, 3), None);
        let seqs = |progress: &Progress| progress.lines.iter().map(|update| update.seq).collect::<Vec<_>>();
        let all = said(3, 3).expect("lines");
        assert_eq!((seqs(&all), all.has_earlier, all.percent), (vec![3, 4, 5], false, None));
        for lines in [4, 17, 18, 1000] {
            let cut = said(lines, 3).expect("lines");
            let last = lines as u64 + 2;
            assert_eq!((seqs(&cut), cut.has_earlier), (vec![last - 2, last - 1, last], true), "{lines}");
        }
    }

    #[test]
    fn a_preflight_says_how_much_of_it_is_over() {
        let check = |name| Step::Check(CheckResult::passed(name, "well"));
        let preflight = CommandBody::Preflight(PreflightArgs::default());
        let percent = |count: usize| {
            let checks = CheckName::ALL.into_iter().take(count).map(check).collect();
            Progress::of(&preflight, newest_first(checks), LISTED_LINES).and_then(|progress| progress.percent)
        };
        assert_eq!((percent(0), percent(1), percent(7), percent(14)), (None, Some(7), Some(50), Some(100)));
    }
}
