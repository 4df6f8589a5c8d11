use proptest::prelude::*;

use super::*;

/// A host of steps, and what has become of each.
#[derive(Debug, Clone)]
struct Model {
    life: Life,
    /// How often each step was begun.
    begun: Vec<u32>,
    /// Whether the step is in force; unknown while it is applied counts as in force.
    in_force: Vec<bool>,
    confirmed: bool,
    /// The change may be taken back without the process that makes it.
    armed: bool,
}

impl Model {
    fn new(shape: Shape) -> Self {
        let steps = shape.steps as usize;
        let life = Life::new(shape);
        Self { life, begun: vec![0; steps], in_force: vec![false; steps], confirmed: false, armed: false }
    }

    /// Does what is due, as well or badly as `luck` has it. A bad deed may still have had its effect.
    fn advance(&mut self, luck: u8) {
        let Some(deed) = self.life.deed() else { return };
        let well = !luck.is_multiple_of(8);
        let event = match deed {
            Deed::Arm => {
                self.armed |= well;
                if well { Event::Armed } else { Event::NotArmed }
            }
            Deed::Begin(step) => {
                assert!(self.in_force[..step as usize].iter().all(|in_force| *in_force), "in order");
                if well { Event::Begun } else { Event::NotBegun }
            }
            Deed::Apply(step) => {
                self.begun[step as usize] += 1;
                assert!(self.life.shape.arm_before.is_none_or(|first| step < first || self.armed), "armed in time");
                self.in_force[step as usize] = true;
                if well { Event::Applied } else { Event::NotApplied }
            }
            Deed::Verify => {
                if well {
                    Event::Holds
                } else {
                    Event::HoldsNot
                }
            }
            Deed::Invert(step) => {
                self.in_force[step as usize] &= !well;
                if well { Event::Inverted } else { Event::NotInverted }
            }
            Deed::Refresh => {
                if well {
                    Event::Refreshed
                } else {
                    Event::NotRefreshed
                }
            }
        };
        self.life.handle(event).expect("the deed's own event");
    }

    /// The process dies, with the deed done, half done or not begun, and another finds what is on disk.
    fn crash(&mut self, luck: u8) {
        match self.life.deed() {
            Some(Deed::Apply(step)) if luck & 1 == 0 => {
                self.begun[step as usize] += 1;
                self.in_force[step as usize] = true;
            }
            Some(Deed::Invert(step)) if luck & 1 == 0 => self.in_force[step as usize] = false,
            Some(Deed::Arm) if luck & 1 == 0 => self.armed = true,
            _ => {}
        }
        let json = serde_json::to_vec(&self.life).expect("json");
        self.life = serde_json::from_slice(&json).expect("the same life");
        let holds = self.in_force.iter().all(|in_force| *in_force) && luck & 2 == 0;
        self.life.handle(Event::Found { holds }).expect("can always be found");
    }

    fn outside(&mut self, luck: u8) {
        let event = [Event::Confirmed, Event::Overdue, Event::UndoAsked][usize::from(luck % 3)];
        let before = self.life;
        match self.life.handle(event) {
            Ok(()) => self.confirmed |= event == Event::Confirmed,
            Err(_) => assert_eq!(self.life, before, "what does not belong changes nothing"),
        }
    }

    fn check(&self) {
        assert!(self.begun.iter().all(|times| *times <= 1), "a step was begun twice: {self:?}");
        match self.life.phase {
            Phase::Committed => {
                assert!(self.in_force.iter().all(|in_force| *in_force), "committed and not in force: {self:?}");
                let dangerous = self.life.shape.arm_before.is_some();
                assert!(!dangerous || self.confirmed, "committed without a word: {self:?}");
            }
            Phase::Undone => assert!(!self.in_force.contains(&true), "undone and still in force: {self:?}"),
            Phase::Ready { .. } | Phase::Applying { .. } | Phase::Verifying | Phase::Awaiting => {
                let dangerous = self.life.shape.arm_before.is_some_and(|first| self.life.begun > first);
                assert!(!dangerous || self.life.is_pending(), "nobody would take it back: {self:?}");
            }
            Phase::Undoing { .. } | Phase::Refreshing { .. } | Phase::UndoFailed => {}
        }
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1..6u32).prop_flat_map(|steps| prop::option::of(0..steps).prop_map(move |arm_before| Shape { steps, arm_before }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    /// 4,000 changes of 40 transitions each, a third of them crashes.
    #[test]
    fn whatever_dies_when_a_change_is_made_whole_or_taken_back(
        shape in shapes(),
        lucks in prop::collection::vec((0..9u8, any::<u8>()), 40),
    ) {
        let mut model = Model::new(shape);
        for (what, luck) in lucks {
            match what {
                0..=4 => model.advance(luck),
                5..=7 => model.crash(luck),
                _ => model.outside(luck),
            }
            model.check();
        }
        // With nothing failing any more it comes to rest by itself, or by its deadline.
        for _ in 0..3 {
            for _ in 0..20 {
                model.advance(1);
                model.check();
            }
            if model.life.is_pending() {
                model.life.handle(Event::Overdue).expect("it is pending and at rest");
            }
        }
        prop_assert!(model.life.is_over(), "{model:?}");
    }
}

#[test]
fn a_plain_change_goes_straight_through() {
    let mut life = Life::new(Shape { steps: 2, arm_before: None });
    let mut deeds = Vec::new();
    let events = [Event::Begun, Event::Applied, Event::Begun, Event::Applied, Event::Holds];
    for event in events {
        deeds.push(life.deed().expect("something is due"));
        life.handle(event).expect("in order");
    }
    assert_eq!(deeds, [Deed::Begin(0), Deed::Apply(0), Deed::Begin(1), Deed::Apply(1), Deed::Verify]);
    assert_eq!((life.phase, life.deed(), life.is_over()), (Phase::Committed, None, true));
    assert!(life.handle(Event::Overdue).is_err(), "no deadline was set");
}

#[test]
fn a_dangerous_step_is_armed_just_before_and_kept_only_when_confirmed() {
    let mut life = Life::new(Shape { steps: 2, arm_before: Some(1) });
    for event in [Event::Begun, Event::Applied] {
        life.handle(event).expect("in order");
    }
    assert_eq!((life.deed(), life.is_pending()), (Some(Deed::Arm), false));
    for event in [Event::Armed, Event::Begun, Event::Applied, Event::Holds] {
        life.handle(event).expect("in order");
    }
    assert_eq!((life.phase, life.is_pending()), (Phase::Awaiting, true));
    let mut kept = life;
    kept.handle(Event::Confirmed).expect("it waits for that");
    assert_eq!((kept.phase, kept.is_pending()), (Phase::Committed, false));
    life.handle(Event::Overdue).expect("it waits for that");
    assert_eq!(life.deed(), Some(Deed::Invert(1)));
    assert!(life.handle(Event::Confirmed).is_err(), "too late");
}

#[test]
fn what_could_not_be_taken_back_does_not_keep_the_rest_from_it_and_is_tried_again() {
    let mut life = Life::new(Shape { steps: 2, arm_before: Some(0) });
    for event in [Event::Armed, Event::Begun, Event::Applied, Event::Begun, Event::NotApplied, Event::NotInverted] {
        life.handle(event).expect("in order");
    }
    assert_eq!(life.deed(), Some(Deed::Invert(0)));
    life.handle(Event::Inverted).expect("in order");
    life.handle(Event::Refreshed).expect("in order");
    assert_eq!((life.phase, life.is_pending()), (Phase::UndoFailed, true));
    life.handle(Event::Overdue).expect("again");
    assert_eq!(life.deed(), Some(Deed::Invert(1)));
}
