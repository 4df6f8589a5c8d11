use std::collections::BTreeSet;

use muster_shared::{command::CommandBody, id::ServerId};
use proptest::prelude::*;

use super::*;
use crate::executor::journal::Journal;

fn envelope(issued_at_us: i64, expires_at_us: i64) -> Envelope {
    Envelope {
        command_id: CommandId::generate(),
        server_id: ServerId::generate(),
        issued_at_us,
        expires_at_us,
        body: CommandBody::RefreshFacts,
    }
}

fn submitted(envelope: &Envelope) -> Event {
    use prost::Message as _;
    let signed =
        wire::SignedCommand { envelope: wire::CommandEnvelope::from(envelope).encode_to_vec(), ..Default::default() };
    Event::Submitted { signed, envelope: envelope.clone() }
}

fn done() -> wire::Finished {
    finished(CommandOutcome::Succeeded, "", "")
}

fn outcomes(actions: &[Action]) -> Vec<String> {
    let reports = actions.iter().filter_map(|action| match action {
        Action::Report(wire::CommandUpdate { kind: Some(Kind::Finished(finished)), .. }) => Some(finished),
        _ => None,
    });
    reports.map(|finished| format!("{:?} {}", finished.outcome(), finished.code)).collect()
}

fn runs(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Run { .. })).count()
}

#[test]
fn started_is_kept_before_it_is_told_or_done() {
    let (mut machine, command) = (Machine::default(), envelope(1, 100));
    let actions = machine.handle(submitted(&command), 1);
    assert!(matches!(actions[..], [Action::Keep { durable: true, .. }, Action::Report(_)]));
    let actions = machine.handle(Event::Woke, 1);
    assert!(matches!(actions[..], [Action::Keep { durable: true, .. }, Action::Report(_), Action::Run { .. }]));
    let actions = machine.handle(Event::Ended(command.command_id, done()), 1);
    assert!(matches!(actions[..], [Action::Keep { durable: true, .. }, Action::Report(_)]));
    assert_eq!(machine.unacknowledged().iter().map(|update| update.seq).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_repetition_runs_nothing_and_is_answered_with_what_is_known() {
    let (mut machine, command) = (Machine::default(), envelope(1, 100));
    machine.handle(submitted(&command), 1);
    machine.handle(Event::Woke, 1);
    machine.handle(Event::Ended(command.command_id, done()), 1);
    let again = machine.handle(submitted(&command), 2);
    assert_eq!((runs(&again), again.len()), (0, 3));
    machine.handle(Event::Acknowledged { id: command.command_id, seq: 3 }, 2);
    let again = machine.handle(submitted(&command), 2);
    assert_eq!(outcomes(&again), ["Refused replayed"]);
    assert!(machine.handle(Event::Woke, 2).is_empty());
}

#[test]
fn a_family_that_is_off_is_refused() {
    let (mut machine, command) = (Machine::default(), envelope(1, 100));
    machine.set_policy(Policy { allow: BTreeSet::new() });
    machine.handle(submitted(&command), 1);
    let actions = machine.handle(Event::Woke, 1);
    assert_eq!((outcomes(&actions), runs(&actions)), (vec!["Refused policy_refused".to_owned()], 0));
}

fn powerful(body: CommandBody) -> (Machine, Envelope) {
    let mut machine = Machine::default();
    machine.set_policy(Policy { allow: Family::ALL.into() });
    machine.set_boot_id("boot:1".into());
    (machine, Envelope { body, ..envelope(1, 100) })
}

#[test]
fn a_command_that_ends_the_boot_keeps_which_one_and_lets_nothing_else_begin() {
    for body in [CommandBody::Reboot, CommandBody::Stop] {
        let (mut machine, command) = powerful(body);
        let (waiting, late) = (envelope(1, 100), envelope(1, 100));
        machine.handle(submitted(&command), 1);
        machine.handle(submitted(&waiting), 1);
        let actions = machine.handle(Event::Woke, 1);
        let Some(Action::Keep { notes, durable: true, .. }) = actions.first() else { panic!("{actions:?}") };
        let [Note::Update(wire::CommandUpdate { kind: Some(Kind::Started(started)), .. })] = notes.as_slice() else {
            panic!("{notes:?}");
        };
        assert_eq!((started.boot.as_str(), runs(&actions)), ("boot:1", 1));
        assert_eq!(outcomes(&machine.handle(submitted(&late), 2)), ["Refused going_down"]);
        let failed = finished(CommandOutcome::Failed, "order_refused", "");
        let actions = machine.handle(Event::Ended(command.command_id, failed), 3);
        assert_eq!(runs(&actions), 1, "what waited begins when the host stays");
        assert_eq!(outcomes(&machine.handle(submitted(&late), 4)), Vec::<String>::new());
    }
}

#[test]
fn a_host_that_powers_off_takes_no_command_unless_it_is_still_there_much_later() {
    let (mut machine, stop) = powerful(CommandBody::Stop);
    machine.handle(submitted(&stop), 1);
    machine.handle(Event::Woke, 1);
    machine.handle(Event::Ended(stop.command_id, done()), 2);
    assert_eq!(outcomes(&machine.handle(submitted(&envelope(1, 100)), 3)), ["Refused going_down"]);
    machine.handle(Event::StillUp(stop.command_id), 4);
    assert_eq!(outcomes(&machine.handle(submitted(&envelope(1, 100)), 5)), Vec::<String>::new());
}

#[test]
fn the_next_process_finds_out_how_a_reboot_ended_and_runs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let (_, command) = powerful(CommandBody::Reboot);
    let (mut journal, mut machine) = Journal::open(&path).expect("opened");
    machine.set_policy(Policy { allow: Family::ALL.into() });
    machine.set_boot_id("boot:1".into());
    for event in [submitted(&command), Event::Woke, Event::Acknowledged { id: command.command_id, seq: 2 }] {
        for action in machine.handle(event, 7) {
            if let Action::Keep { notes, durable, .. } = action {
                journal.append(&notes, durable).expect("written");
            }
        }
    }
    // Twice: the second reads what the first has rewritten.
    for _ in 0..2 {
        let (_, mut machine) = Journal::open(&path).expect("opened again");
        machine.set_policy(Policy { allow: Family::ALL.into() });
        machine.set_boot_id("boot:2".into());
        let actions = machine.recover(9);
        let begun = Begun { at_us: 7, boot: "boot:1".into() };
        assert_eq!(actions, [Action::Settle { id: command.command_id, body: CommandBody::Reboot, begun }]);
        assert_eq!(outcomes(&machine.handle(submitted(&envelope(1, 100)), 9)), ["Refused going_down"]);
        let actions = machine.handle(Event::Settled(command.command_id, done()), 9);
        assert_eq!(outcomes(&actions), ["Succeeded "]);
        assert_eq!(outcomes(&machine.handle(submitted(&envelope(1, 100)), 9)), Vec::<String>::new());
    }
}

#[test]
fn what_waits_can_be_cancelled_or_expire_and_what_runs_cannot() {
    let mut machine = Machine::default();
    let commands = [envelope(1, 100), envelope(1, 100), envelope(1, 5)];
    for command in &commands {
        machine.handle(submitted(command), 1);
    }
    assert_eq!(runs(&machine.handle(Event::Woke, 1)), 1, "one of a family at a time");
    assert!(machine.handle(Event::Cancelled(commands[0].command_id), 1).is_empty());
    assert_eq!(outcomes(&machine.handle(Event::Cancelled(commands[1].command_id), 1)), ["Cancelled cancelled"]);
    let actions = machine.handle(Event::Ended(commands[0].command_id, done()), 5);
    assert_eq!(outcomes(&actions), ["Succeeded ", "Expired expired"]);
}

#[test]
fn a_full_disk_refuses_new_commands_and_starts_none() {
    let (mut machine, first, second) = (Machine::default(), envelope(1, 100), envelope(1, 100));
    machine.handle(submitted(&first), 1);
    let refused = machine.handle(Event::NotKept(first.command_id), 1);
    assert_eq!(outcomes(&refused), ["Refused journal_unavailable"]);
    assert!(!machine.knows(first.command_id), "it can be submitted again");
    machine.handle(submitted(&second), 1);
    assert_eq!(runs(&machine.handle(Event::Woke, 1)), 1);
    assert!(machine.handle(Event::NotKept(second.command_id), 1).is_empty());
    assert_eq!(machine.unacknowledged().len(), 1, "it has not started");
    assert_eq!(runs(&machine.handle(Event::Woke, 2)), 1, "it starts once there is room");
}

#[test]
fn old_commands_are_forgotten_without_letting_replays_in() {
    let mut machine = Machine::default();
    let oldest = envelope(1, i64::MAX);
    for at in 0..=MAX_REMEMBERED as i64 {
        let command = if at == 0 { oldest.clone() } else { envelope(at + 1, i64::MAX) };
        machine.handle(submitted(&command), at);
        machine.handle(Event::Woke, at);
        machine.handle(Event::Ended(command.command_id, done()), at);
        machine.handle(Event::Acknowledged { id: command.command_id, seq: 3 }, at);
    }
    assert!(machine.entries.len() <= MAX_REMEMBERED && !machine.knows(oldest.command_id));
    assert_eq!(outcomes(&machine.handle(submitted(&oldest), 9)), ["Refused replayed"]);
}

#[derive(Debug, Clone)]
enum Step {
    Submit(usize),
    End(usize),
    Progress(usize),
    Ack(usize, u64),
    Cancel(usize),
    /// The process dies after this many of the next event's actions, and starts again from the journal.
    CrashAfter(usize, usize),
    DiskFull(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0usize..5;
    let step = prop_oneof![
        4 => which.clone().prop_map(Step::Submit),
        3 => which.clone().prop_map(Step::End),
        1 => which.clone().prop_map(Step::Progress),
        2 => (which.clone(), 0u64..6).prop_map(|(at, seq)| Step::Ack(at, seq)),
        1 => which.clone().prop_map(Step::Cancel),
        2 => (which.clone(), 0usize..6).prop_map(|(at, after)| Step::CrashAfter(at, after)),
        1 => which.prop_map(Step::DiskFull),
    ];
    proptest::collection::vec(step, 0..60)
}

/// The shell, with a real journal, that can die between any two actions.
struct Shell {
    folder: tempfile::TempDir,
    journal: Journal,
    machine: Machine,
    effects: Vec<CommandId>,
    ends: Vec<(CommandId, i32)>,
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, machine) = Journal::open(&folder.path().join("journal")).expect("opened");
        Self { folder, journal, machine, effects: Vec::new(), ends: Vec::new() }
    }

    fn restart(&mut self) {
        let (journal, machine) = Journal::open(&self.folder.path().join("journal")).expect("opened again");
        (self.journal, self.machine) = (journal, machine);
        let actions = self.machine.recover(0);
        self.obey(actions, usize::MAX);
    }

    fn obey(&mut self, actions: Vec<Action>, at_most: usize) {
        for action in actions.into_iter().take(at_most) {
            match action {
                Action::Keep { notes, durable, .. } => self.journal.append(&notes, durable).expect("written"),
                Action::Run { id, .. } => self.effects.push(id),
                Action::Report(wire::CommandUpdate { command_id, kind: Some(Kind::Finished(end)), .. }) => {
                    let id: CommandId = command_id.parse().expect("an id");
                    if end.code != "replayed" && !self.ends.contains(&(id, end.outcome)) {
                        self.ends.push((id, end.outcome));
                    }
                }
                Action::Report(_) | Action::Settle { .. } => {}
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let actions = self.machine.handle(event, 0);
        self.obey(actions, usize::MAX);
    }
}

proptest! {
    // Each case syncs a real journal many times.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is submitted how often, and wherever the process dies: each command begins at most once, and ends in
    /// one way only.
    #[test]
    fn a_command_begins_at_most_once(steps in steps()) {
        let commands: Vec<Envelope> = (0..5).map(|_| envelope(1, i64::MAX)).collect();
        let mut shell = Shell::new();
        for step in steps {
            match step {
                Step::Submit(at) => {
                    shell.tell(submitted(&commands[at]));
                    shell.tell(Event::Woke);
                }
                Step::End(at) => shell.tell(Event::Ended(commands[at].command_id, done())),
                Step::Progress(at) => {
                    let line = wire::Progress { kind: Some(progress::Kind::Line("x".into())) };
                    shell.tell(Event::Progressed(commands[at].command_id, line));
                }
                Step::Ack(at, seq) => shell.tell(Event::Acknowledged { id: commands[at].command_id, seq }),
                Step::Cancel(at) => shell.tell(Event::Cancelled(commands[at].command_id)),
                Step::CrashAfter(at, after) => {
                    let mut actions = shell.machine.handle(submitted(&commands[at]), 0);
                    actions.extend(shell.machine.handle(Event::Woke, 0));
                    shell.obey(actions, after);
                    shell.restart();
                }
                Step::DiskFull(at) => {
                    let actions = shell.machine.handle(submitted(&commands[at]), 0);
                    if let Some(Action::Keep { id, .. }) = actions.first() {
                        shell.tell(Event::NotKept(*id));
                    }
                }
            }
        }
        shell.restart();
        for command in &commands {
            let begun = shell.effects.iter().filter(|id| **id == command.command_id).count();
            prop_assert!(begun <= 1, "begun {begun} times");
            let refused = i32::from(CommandOutcome::Refused);
            let ends = shell.ends.iter().filter(|(id, end)| *id == command.command_id && *end != refused);
            prop_assert!(ends.count() <= 1);
        }
    }
}
