use std::collections::{BTreeMap, BTreeSet, VecDeque};

use muster_shared::wire::{agent_message::Kind as FromAgent, control_message::Kind as FromControl};
use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(1000);

fn key(seq: u64) -> FrameKey {
    FrameKey { epoch: 1, seq }
}

fn message(kind: FromControl) -> Event {
    Event::Received(wire::ControlMessage { kind: Some(kind) })
}

fn opened() -> Event {
    Event::Opened { now_us: 0, allowed_families: Vec::new() }
}

fn welcome(generation: u64, window: u32) -> Event {
    message(FromControl::Welcome(wire::Welcome { generation, max_frames_in_flight: window, ..Default::default() }))
}

fn open(session: &mut Session, window: u32) -> Vec<Action> {
    session.handle(opened(), NOW);
    session.handle(welcome(5, window), NOW);
    session.handle(Event::GenerationSaved(5), NOW)
}

fn frames(actions: &[Action]) -> Vec<(u64, bool)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::SendFrame { key, backfill } => Some((key.seq, *backfill)),
            _ => None,
        })
        .collect()
}

fn update(seq: u64) -> wire::CommandUpdate {
    wire::CommandUpdate { command_id: "c".into(), seq, at_us: 0, kind: None }
}

fn ack(first: u64, last: u64) -> Event {
    message(FromControl::FrameAck(wire::FrameAck { epoch: 1, ranges: vec![wire::SeqRange { first, last }] }))
}

#[test]
fn the_generation_is_saved_before_it_is_confirmed_and_frames_wait_for_it() {
    let mut session = Session::new(HostWords::default(), 4, [key(1)]);
    let actions = session.handle(opened(), NOW);
    assert!(
        matches!(&actions[..], [Action::Send(FromAgent::Hello(hello))] if hello.generation == 4 && hello.spooled_frames == 1)
    );
    assert_eq!(session.handle(welcome(5, 1), NOW), vec![Action::SaveGeneration(5)]);
    let actions = session.handle(Event::GenerationSaved(5), NOW);
    assert_eq!(actions[0], Action::Send(FromAgent::Confirm(wire::Confirm { generation: 5 })));
    assert_eq!(frames(&actions), vec![(1, true)]);
}

#[test]
fn fresh_frames_go_first_and_the_backlog_newest_first() {
    let mut session = Session::new(HostWords::default(), 0, (1..=4).map(key));
    assert_eq!(frames(&open(&mut session, 2)), vec![(4, true), (3, true)]);
    assert!(frames(&session.handle(Event::Cut(key(5)), NOW)).is_empty());
    assert!(frames(&session.handle(Event::Cut(key(6)), NOW)).is_empty());
    assert_eq!(frames(&session.handle(ack(3, 4), NOW)), vec![(5, false), (6, false)]);
    assert_eq!(frames(&session.handle(ack(5, 6), NOW)), vec![(2, true), (1, true)]);
}

#[test]
fn silence_brings_everything_again() {
    let mut session = Session::new(HostWords::default(), 0, [key(1)]);
    session.handle(Event::Update(update(1)), NOW);
    session.handle(Event::Facts(wire::FactsReport { sha256: vec![1], ..Default::default() }), NOW);
    assert_eq!(open(&mut session, 4).iter().filter(|action| matches!(action, Action::Send(_))).count(), 3);
    assert_eq!(session.wake_at(), Some(NOW + RESEND_AFTER));
    assert_eq!(session.handle(Event::Woke, NOW + RESEND_AFTER / 2), vec![]);
    let again = session.handle(Event::Woke, NOW + RESEND_AFTER);
    assert_eq!((frames(&again), again.len()), (vec![(1, true)], 3));
    let freed = session.handle(ack(0, u64::MAX), NOW + RESEND_AFTER);
    assert_eq!(
        freed,
        vec![Action::Free(wire::FrameAck { epoch: 1, ranges: vec![wire::SeqRange { first: 1, last: 1 }] })]
    );
}

#[test]
fn what_was_never_sent_cannot_be_acknowledged() {
    let mut session = Session::new(HostWords::default(), 0, [key(1), key(2)]);
    open(&mut session, 1);
    let freed = session.handle(ack(0, u64::MAX), NOW);
    assert_eq!(freed[0], Action::Free(wire::FrameAck { epoch: 1, ranges: vec![wire::SeqRange { first: 2, last: 2 }] }));
    assert_eq!(frames(&freed), vec![(1, true)], "the unsent one is still sent");
    assert_eq!(session.handle(ack(9, 3), NOW), vec![], "a backward range frees nothing");
}

#[test]
fn a_silent_or_confused_control_plane_is_left() {
    let mut session = Session::new(HostWords::default(), 0, []);
    session.handle(opened(), NOW);
    assert_eq!(session.wake_at(), Some(NOW + WELCOME_WITHIN));
    assert!(matches!(session.handle(Event::Woke, NOW + WELCOME_WITHIN)[..], [Action::Close(_)]));
    assert!(matches!(session.handle(ack(1, 1), NOW)[..], [Action::Close(_)]));
    session.handle(welcome(1, 0), NOW);
    session.handle(Event::GenerationSaved(1), NOW);
    assert!(matches!(session.handle(welcome(2, 0), NOW)[..], [Action::Close(_)]));
}

#[test]
fn the_executors_journal_waits_when_too_much_is_held() {
    let mut session = Session::new(HostWords::default(), 0, []);
    for seq in 1..=MAX_HELD_UPDATES as u64 {
        assert!(session.wants_updates());
        session.handle(Event::Update(update(seq)), NOW);
    }
    assert!(!session.wants_updates());
    let sent = open(&mut session, 0);
    let sent = sent.iter().filter(|action| matches!(action, Action::Send(FromAgent::CommandUpdate(_)))).count();
    assert_eq!(sent, UPDATES_WINDOW);
    let command_ack = wire::CommandAck { command_id: "c".into(), seq: u64::MAX };
    let actions = session.handle(message(FromControl::CommandAck(command_ack)), NOW);
    assert_eq!(actions[0], Action::AckUpdates { command_id: "c".into(), seq: UPDATES_WINDOW as u64 });
    assert!(session.wants_updates());
}

/// A control plane and a network that lose, repeat and reorder, against which the session is run.
#[derive(Default)]
struct World {
    now: Duration,
    spooled: BTreeSet<FrameKey>,
    next_seq: u64,
    generation: u64,
    saved: u64,
    window: u32,
    up: bool,
    /// Frames on their way to the control plane.
    to_control: VecDeque<FrameKey>,
    updates_to_control: VecDeque<u64>,
    acks: Vec<FrameKey>,
    durable: BTreeSet<FrameKey>,
    durable_updates: BTreeSet<u64>,
    journal: BTreeMap<u64, ()>,
    next_update: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Cut,
    NewUpdate,
    Connect,
    Disconnect,
    /// The control plane makes the n-th frame on its way durable; those before it are overtaken.
    Store(usize),
    DropOne,
    Ack(usize),
    RepeatAck,
    AckUpdates,
    Lose,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Cut),
        1 => Just(Step::NewUpdate),
        2 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        4 => (0usize..8).prop_map(Step::Store),
        1 => Just(Step::DropOne),
        4 => (0usize..8).prop_map(Step::Ack),
        1 => Just(Step::RepeatAck),
        1 => Just(Step::AckUpdates),
        1 => Just(Step::Lose),
        2 => (0u64..40).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..200)
}

impl World {
    fn obey(&mut self, session: &mut Session, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(FromAgent::CommandUpdate(update)) => self.updates_to_control.push_back(update.seq),
                Action::SendFrame { key, backfill } => {
                    assert!(self.spooled.contains(&key), "a frame is sent only while it is spooled");
                    assert!(self.up);
                    assert!(backfill || !self.durable.contains(&key), "a fresh frame is sent once");
                    self.to_control.push_back(key);
                }
                Action::SaveGeneration(generation) => {
                    self.saved = generation;
                    let more = session.handle(Event::GenerationSaved(generation), self.now);
                    self.obey(session, more);
                }
                Action::Free(ack) => {
                    for range in ack.ranges {
                        for seq in range.first..=range.last {
                            let key = FrameKey { epoch: ack.epoch, seq };
                            assert!(self.durable.contains(&key), "only durable frames are freed");
                            assert!(self.spooled.remove(&key), "and each once");
                        }
                    }
                }
                Action::AckUpdates { seq, .. } => {
                    for acknowledged in 1..=seq {
                        assert!(self.durable_updates.contains(&acknowledged), "only stored updates leave the journal");
                        self.journal.remove(&acknowledged);
                    }
                }
                _ => {}
            }
        }
    }

    fn tell(&mut self, session: &mut Session, event: Event) {
        let actions = session.handle(event, self.now);
        self.obey(session, actions);
        if let Phase::Open(open) = &session.phase {
            assert!(open.in_flight.len() <= open.window);
        }
    }

    fn step(&mut self, session: &mut Session, step: Step) {
        match step {
            Step::Cut => {
                self.next_seq += 1;
                self.spooled.insert(key(self.next_seq));
                self.tell(session, Event::Cut(key(self.next_seq)));
            }
            Step::NewUpdate => {
                self.next_update += 1;
                self.journal.insert(self.next_update, ());
                self.tell(session, Event::Update(update(self.next_update)));
            }
            Step::Connect => {
                self.disconnect(session);
                self.up = true;
                self.generation += 1;
                self.tell(session, opened());
                self.tell(session, welcome(self.generation, self.window));
            }
            Step::Disconnect => self.disconnect(session),
            Step::Store(at) if !self.to_control.is_empty() => {
                let at = at % self.to_control.len();
                if let Some(key) = self.to_control.remove(at) {
                    self.durable.insert(key);
                    self.acks.push(key);
                }
            }
            Step::DropOne => _ = self.to_control.pop_front(),
            Step::Ack(at) if self.up && !self.acks.is_empty() => {
                let key = self.acks.remove(at % self.acks.len());
                self.tell(session, ack(key.seq, key.seq));
            }
            Step::RepeatAck if self.up => {
                for key in self.durable.clone() {
                    self.tell(session, ack(key.seq, key.seq));
                }
            }
            Step::AckUpdates if self.up => {
                self.durable_updates.extend(self.updates_to_control.drain(..));
                let stored = (1..).take_while(|seq| self.durable_updates.contains(seq)).last();
                if let Some(seq) = stored {
                    let ack = wire::CommandAck { command_id: "c".into(), seq };
                    self.tell(session, message(FromControl::CommandAck(ack)));
                }
            }
            Step::Lose => {
                if let Some(key) = self.spooled.pop_first() {
                    self.to_control.retain(|sent| *sent != key);
                    self.tell(session, Event::Lost(vec![key]));
                }
            }
            Step::Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.tell(session, Event::Woke);
            }
            _ => {}
        }
    }

    fn disconnect(&mut self, session: &mut Session) {
        self.up = false;
        self.to_control.clear();
        self.updates_to_control.clear();
        self.acks.clear();
        self.tell(session, Event::Closed);
    }
}

proptest! {
    /// Whatever the network does: nothing is freed that isn't durable, and once it behaves, everything arrives.
    #[test]
    fn no_frame_is_lost_or_acknowledged_wrongly(steps in steps(), window in 1u32..6) {
        let mut world = World { window, ..World::default() };
        let mut session = Session::new(HostWords::default(), 0, []);
        for step in steps {
            world.step(&mut session, step);
        }
        let held: BTreeSet<FrameKey> = world.spooled.clone();
        world.step(&mut session, Step::Connect);
        for _ in 0..held.len() + 1 {
            while !world.to_control.is_empty() {
                world.step(&mut session, Step::Store(0));
            }
            while !world.acks.is_empty() {
                world.step(&mut session, Step::Ack(0));
            }
        }
        for _ in 0..4 {
            world.step(&mut session, Step::AckUpdates);
        }
        prop_assert!(held.iter().all(|key| world.durable.contains(key)), "everything spooled arrived");
        prop_assert!(world.spooled.is_empty());
        prop_assert!(world.journal.is_empty());
        prop_assert_eq!(session.held_frames(), 0);
        prop_assert_eq!(world.saved, world.generation);
    }
}
