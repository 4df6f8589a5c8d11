//! Every beginning, and turns of two workers against a model of the host, killed and held up anywhere.

use proptest::prelude::*;

use super::*;

const NOBODY: usize = usize::MAX;

fn failure(code: &str) -> Failure {
    Failure { code: code.to_owned(), detail: format!("{code}.") }
}

#[test]
fn a_turn_begins_where_the_server_and_its_record_stand() {
    let recorded = [Recorded::Old, Recorded::New, Recorded::Other, Recorded::Nothing, Recorded::Deleted];
    let shown = |state, recorded, claims| match Course::begin(state, recorded, claims).1 {
        Next::Do(deed) => deed.step().to_owned() + if deed == Deed::EnterOld { " by the old key" } else { "" },
        Next::End(Ending::Settled(state, Some(why))) => format!("{}: {}", state.as_str(), why.code),
        other => panic!("{other:?}"),
    };
    let row = |state, claims| recorded.map(|recorded| shown(state, recorded, claims));
    let changed = "skipped: login_changed";
    assert_eq!(
        row(ServerState::Waiting, 1),
        ["connecting by the old key", "connecting", changed, changed, "skipped: server_deleted"]
    );
    assert_eq!(
        row(ServerState::Switched, MAX_CLAIMS),
        ["connecting by the old key", "connecting", "connecting", changed, "skipped: server_deleted"]
    );
    assert_eq!(
        row(ServerState::Switched, MAX_CLAIMS + 1),
        ["failed: turns_lost", "lingering: turns_lost", "lingering: turns_lost", changed, "skipped: server_deleted"]
    );
}

#[test]
fn every_deed_is_followed_by_what_its_outcome_asks_for() {
    let deeds = [
        Deed::EnterOld,
        Deed::EnterRecorded,
        Deed::Deploy,
        Deed::ProveNew,
        Deed::Switch,
        Deed::RemoveOld,
        Deed::TryOld,
        Deed::TakeBack,
    ];
    for deed in deeds {
        for (deployed, switched) in [(false, false), (true, false), (false, true)] {
            let next = |outcome| Course { deployed, switched, failure: None }.after(deed, outcome);
            let is_silent = |outcome| next(outcome) == Next::End(Ending::Silent);
            assert!(is_silent(Outcome::Lost) && is_silent(Outcome::Unknown), "{deed:?}");
            for outcome in [Outcome::Failed(failure("broken")), Outcome::Refused(failure("refused"))] {
                match (deed, next(outcome.clone())) {
                    (Deed::TryOld, Next::End(Ending::Settled(ServerState::Rotated, None))) => {
                        assert!(matches!(outcome, Outcome::Refused(_)));
                    }
                    (Deed::EnterOld, Next::Do(Deed::ProveNew)) => assert!(matches!(outcome, Outcome::Refused(_))),
                    (_, Next::Do(Deed::TakeBack)) => assert!(deployed && !switched && deed != Deed::TakeBack),
                    (_, Next::End(Ending::Settled(state, _))) => {
                        assert_eq!(state, if switched { ServerState::Lingering } else { ServerState::Failed });
                        assert!(!deployed || deed == Deed::TakeBack, "{deed:?} leaves the new key behind");
                    }
                    (_, other) => panic!("{deed:?} {outcome:?}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn the_old_pair_goes_only_when_nothing_depends_on_it() {
    let tally = |open, failed, lingering| Tally { open, failed, lingering, rotated: 3, skipped: 2 };
    assert_eq!(conclusion(&tally(1, 0, 0), 0), Conclusion::GoesOn);
    assert_eq!(conclusion(&tally(0, 1, 0), 1), Conclusion::Partial);
    assert_eq!(conclusion(&tally(0, 0, 1), 0), Conclusion::Partial);
    assert_eq!(conclusion(&tally(0, 0, 0), 1), Conclusion::Partial, "skipped or deleted, and still recorded with it");
    assert_eq!(conclusion(&tally(0, 0, 0), 0), Conclusion::Done);
}

/// What may go wrong with a deed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// It fails, and did nothing.
    Before,
    /// It fails, and had done its work.
    After,
    /// Its worker is killed when it has done its work.
    Killed,
    /// Somebody changed the server's record.
    Changed,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A worker goes on, or begins a turn.
    Go { worker: usize, fault: Fault },
    /// The lease lapses while its worker lives on.
    Lapse,
    /// The rotation is taken up again.
    Again,
}

#[derive(Debug)]
struct World {
    old_lets_in: bool,
    new_lets_in: bool,
    refuses_new: bool,
    /// The old key is kept in another place than its owner's file, too.
    kept_elsewhere: bool,
    recorded: Recorded,
    state: ServerState,
    holder: usize,
    claims: u32,
    turns: [Option<(Course, Deed)>; 2],
}

impl World {
    fn new(refuses_new: bool, kept_elsewhere: bool) -> Self {
        Self {
            old_lets_in: true,
            new_lets_in: false,
            refuses_new,
            kept_elsewhere,
            recorded: Recorded::Old,
            state: ServerState::Waiting,
            holder: NOBODY,
            claims: 0,
            turns: [None, None],
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Lapse => self.holder = NOBODY,
            Event::Again if self.holder == NOBODY => {
                self.claims = 0;
                self.state = match self.state {
                    ServerState::Failed => ServerState::Waiting,
                    ServerState::Lingering => ServerState::Switched,
                    state => state,
                };
            }
            Event::Again => {}
            Event::Go { worker, fault } => match self.turns[worker].take() {
                None => self.claim(worker),
                Some((mut course, deed)) => {
                    let outcome = self.does(worker, deed, fault);
                    if fault != Fault::Killed {
                        let next = course.after(deed, outcome);
                        self.follow(worker, course, next);
                    }
                }
            },
        }
    }

    fn claim(&mut self, worker: usize) {
        if self.holder != NOBODY || !self.state.is_open() {
            return;
        }
        (self.holder, self.claims) = (worker, self.claims + 1);
        let (course, next) = Course::begin(self.state, self.recorded, self.claims);
        self.follow(worker, course, next);
    }

    fn follow(&mut self, worker: usize, course: Course, next: Next) {
        match next {
            Next::Do(deed) => self.turns[worker] = Some((course, deed)),
            Next::End(Ending::Silent) => {}
            Next::End(_) if self.holder != worker => {}
            Next::End(Ending::Again) => self.holder = NOBODY,
            Next::End(Ending::Settled(state, _)) => (self.state, self.holder) = (state, NOBODY),
        }
    }

    fn does(&mut self, worker: usize, deed: Deed, fault: Fault) -> Outcome {
        if self.holder != worker {
            return Outcome::Lost;
        }
        match fault {
            Fault::Before if deed == Deed::Switch => return Outcome::Unknown,
            Fault::Before => return Outcome::Failed(failure("broken")),
            Fault::Changed if deed == Deed::Switch => return Outcome::Changed,
            _ => {}
        }
        let login = |lets_in| if lets_in { Outcome::Done } else { Outcome::Refused(failure("refused")) };
        let done = match deed {
            Deed::EnterOld | Deed::TryOld => login(self.old_lets_in),
            Deed::EnterRecorded => login(self.recorded_lets_in()),
            Deed::ProveNew => login(self.new_lets_in && !self.refuses_new),
            Deed::Deploy => {
                self.new_lets_in = true;
                Outcome::Done
            }
            Deed::Switch => {
                (self.recorded, self.state) = (Recorded::New, ServerState::Switched);
                Outcome::Done
            }
            Deed::RemoveOld if self.kept_elsewhere => Outcome::Nothing,
            Deed::RemoveOld if !std::mem::replace(&mut self.old_lets_in, false) => Outcome::Nothing,
            Deed::RemoveOld => Outcome::Done,
            Deed::TakeBack => {
                self.new_lets_in = false;
                Outcome::Done
            }
        };
        match fault {
            Fault::After if deed == Deed::Switch => Outcome::Unknown,
            Fault::After => Outcome::Failed(failure("broken")),
            _ => done,
        }
    }

    fn recorded_lets_in(&self) -> bool {
        match self.recorded {
            Recorded::Old => self.old_lets_in,
            _ => self.new_lets_in && !self.refuses_new,
        }
    }

    fn check(&self) {
        assert!(self.recorded_lets_in(), "locked out: {self:?}");
        match self.state {
            ServerState::Rotated => assert!(self.recorded == Recorded::New && !self.old_lets_in, "{self:?}"),
            ServerState::Failed => assert_eq!(self.recorded, Recorded::Old, "{self:?}"),
            ServerState::Lingering | ServerState::Switched => assert_eq!(self.recorded, Recorded::New, "{self:?}"),
            ServerState::Waiting | ServerState::Skipped => {}
        }
        let count = |is: bool| u64::from(is);
        let tally = Tally {
            open: count(self.state.is_open()),
            failed: count(self.state == ServerState::Failed),
            lingering: count(self.state == ServerState::Lingering),
            ..Tally::default()
        };
        if conclusion(&tally, count(self.recorded == Recorded::Old)) == Conclusion::Done {
            assert!(self.recorded == Recorded::New && !self.old_lets_in, "the old pair went too early: {self:?}");
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let fault = prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::Before),
        1 => Just(Fault::After),
        1 => Just(Fault::Killed),
        1 => Just(Fault::Changed),
    ];
    prop_oneof![
        12 => (0_usize..2, fault).prop_map(|(worker, fault)| Event::Go { worker, fault }),
        1 => Just(Event::Lapse),
        1 => Just(Event::Again),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn whatever_is_killed_or_late_the_login_on_record_works(
        refuses_new in any::<bool>(),
        kept_elsewhere in any::<bool>(),
        events in prop::collection::vec(event(), 1..80),
    ) {
        let mut world = World::new(refuses_new, kept_elsewhere);
        for event in events {
            world.happens(event);
            world.check();
        }
        // Left in peace, every turn comes to its end.
        world.turns = [None, None];
        world.holder = NOBODY;
        for _ in 0..40 {
            world.happens(Event::Go { worker: 0, fault: Fault::None });
            world.check();
        }
        prop_assert!(!world.state.is_open(), "{:?}", world);
        if !refuses_new && !kept_elsewhere && world.state != ServerState::Failed {
            prop_assert!(!world.old_lets_in || world.state == ServerState::Lingering, "{:?}", world);
        }
    }
}
