//! Batches on real databases, and beside the same changes made one by one.

use muster_shared::command::{CommandBody, CommandState};
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    commands::{Command, DEFAULT_TTL_US, Finished, LEASE_US, Step},
    error::{Error, ErrorKind},
    store::{
        suite::{Fleet, NOW_US},
        test_database::{TestDatabase, on_each},
    },
};

/// What `asked` starts waits for a writer, all of it, before [`Gathered::write`] is one.
struct Gathered<T> {
    store: Store,
    answers: Vec<JoinHandle<T>>,
}

impl<T: Send + 'static> Gathered<T> {
    async fn new<F: Future<Output = T> + Send + 'static>(store: &Store, asked: Vec<F>) -> Self {
        // As if somebody were writing.
        store.commands().lock().is_writing = true;
        let mut answers = Vec::new();
        for ask in asked {
            answers.push(tokio::spawn(ask));
            while store.commands().waiting() < answers.len() {
                tokio::task::yield_now().await;
            }
        }
        Self { store: store.clone(), answers }
    }

    async fn write(self) -> Vec<T> {
        Writer(self.store).run().await;
        let mut answered = Vec::new();
        for answer in self.answers {
            answered.push(answer.await.expect("no panic"));
        }
        answered
    }
}

type Submitted = std::result::Result<Command, Error>;

fn submit(fleet: &Fleet, server: ServerId, id: CommandId) -> impl Future<Output = Submitted> + use<> {
    let (commands, act) = (fleet.commands.clone(), fleet.act());
    async move { commands.submit_as(&act, id, server, CommandBody::RefreshFacts, DEFAULT_TTL_US).await }
}

fn finished() -> Update {
    let end = Finished {
        state: CommandState::Succeeded,
        code: "done".into(),
        detail: String::new(),
        result: None,
        receipt: None,
    };
    Update { seq: 3, at_us: NOW_US, step: Step::Finished(end) }
}

async fn servers(fleet: &Fleet, count: usize) -> Vec<ServerId> {
    let mut servers = Vec::new();
    for number in 0..count {
        servers.push(fleet.joined(&format!("host-{number}")).await.0);
    }
    servers
}

#[tokio::test]
async fn commands_of_many_servers_share_transactions_and_each_hears_of_its_own() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let servers = servers(&fleet, 20).await;
        let ids: Vec<_> = servers.iter().map(|_| CommandId::generate()).collect();
        let asked = servers.iter().zip(&ids).map(|(server, id)| submit(&fleet, *server, *id)).collect();
        let submitted = Gathered::new(&fleet.store, asked).await.write().await;
        for (submitted, (server, id)) in submitted.into_iter().zip(servers.iter().zip(&ids)) {
            let submitted = submitted.expect("submitted");
            assert_eq!((submitted.id, submitted.server_id), (*id, *server));
            assert_eq!(fleet.recorded_of(*id).await, ["COMMAND_SUBMITTED"]);
        }
        let claim = |(server, id): (&ServerId, &CommandId)| {
            let (store, server, id) = (fleet.store.clone(), *server, *id);
            async move { store.claim_command(server, id, "session", NOW_US, NOW_US + LEASE_US).await }
        };
        // Twice each: of two claims in one batch the first one gets it.
        let asked = servers.iter().zip(&ids).chain(servers.iter().zip(&ids)).map(claim).collect();
        let claimed = Gathered::new(&fleet.store, asked).await.write().await;
        let claimed: Vec<_> = claimed.into_iter().map(|claim| claim.expect("answered")).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(matches!(&claimed[at], Claim::Taken(command) if command.id == *id), "{:?}", claimed[at]);
            assert_eq!(claimed[at + ids.len()], Claim::HeldByAnother);
        }
        let end = |(server, id): (&ServerId, &CommandId)| {
            let (commands, server, id) = (fleet.commands.clone(), *server, *id);
            async move { commands.record(server, id, &finished(), NOW_US).await }
        };
        let asked = servers.iter().zip(&ids).map(end).collect();
        for recorded in Gathered::new(&fleet.store, asked).await.write().await {
            assert_eq!(recorded.expect("answered"), crate::commands::Recorded::Stored);
        }
        for id in ids {
            assert_eq!(fleet.commands.get(fleet.org, id).await.expect("read").state, CommandState::Succeeded);
            assert_eq!(fleet.recorded_of(id).await, ["COMMAND_FINISHED", "COMMAND_SUBMITTED"]);
        }
    })
    .await;
}

#[tokio::test]
async fn one_change_that_cant_be_made_costs_no_other() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let servers = servers(&fleet, 3).await;
        let ids: Vec<_> = servers.iter().map(|_| CommandId::generate()).collect();
        let taken = submit(&fleet, servers[0], ids[0]).await.expect("alone").id;
        let asked = servers.iter().zip(&ids).map(|(server, id)| submit(&fleet, *server, *id)).collect();
        let submitted = Gathered::new(&fleet.store, asked).await.write().await;
        assert_eq!(submitted[0].as_ref().expect_err("taken").kind, ErrorKind::Conflict);
        assert!(submitted[1].is_ok() && submitted[2].is_ok());
        assert_eq!(fleet.recorded_of(taken).await.len(), 1);
        fleet.store.spoil_command(ids[1]).await;
        let end = |(server, id): (&ServerId, &CommandId)| {
            let (commands, server, id) = (fleet.commands.clone(), *server, *id);
            async move { commands.record(server, id, &finished(), NOW_US).await }
        };
        let asked = servers.iter().zip(&ids).map(end).collect();
        let recorded = Gathered::new(&fleet.store, asked).await.write().await;
        assert!(recorded[0].is_ok() && recorded[1].is_err() && recorded[2].is_ok(), "{recorded:?}");
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_away_tells_everybody_and_keeps_nothing() {
    let database = TestDatabase::sqlite().await;
    let fleet = Fleet::new(database.store.clone()).await;
    let servers = servers(&fleet, 5).await;
    let ids: Vec<_> = servers.iter().map(|_| CommandId::generate()).collect();
    let asked = servers.iter().zip(&ids).map(|(server, id)| submit(&fleet, *server, *id)).collect();
    let gathered = Gathered::new(&fleet.store, asked).await;
    database.store.close().await;
    for submitted in gathered.write().await {
        assert_eq!(submitted.expect_err("not kept").kind, ErrorKind::Unavailable);
    }
    let again = Store::open(&database.url).await.expect("opened");
    for id in ids {
        assert!(again.command(fleet.org, id).await.expect("read").is_none());
    }
}

#[tokio::test]
async fn who_left_before_it_was_its_turn_changes_nothing() {
    let database = TestDatabase::sqlite().await;
    let fleet = Fleet::new(database.store.clone()).await;
    let servers = servers(&fleet, 2).await;
    let ids = [CommandId::generate(), CommandId::generate()];
    let asked = servers.iter().zip(&ids).map(|(server, id)| submit(&fleet, *server, *id)).collect();
    let mut gathered = Gathered::new(&fleet.store, asked).await;
    let gone = gathered.answers.remove(0);
    gone.abort();
    assert!(gone.await.expect_err("gone").is_cancelled());
    assert!(gathered.write().await.remove(0).is_ok());
    assert!(fleet.store.command(fleet.org, ids[0]).await.expect("read").is_none());
    assert!(fleet.store.command(fleet.org, ids[1]).await.expect("read").is_some());
}

#[tokio::test]
async fn after_a_panic_those_in_line_hear_of_it_and_the_next_to_come_writes() {
    let database = TestDatabase::sqlite().await;
    let fleet = Fleet::new(database.store.clone()).await;
    let servers = servers(&fleet, 1).await;
    let waiting = Gathered::new(&fleet.store, vec![submit(&fleet, servers[0], CommandId::generate())]).await;
    let writer = Writer(fleet.store.clone());
    let ended = tokio::spawn(async move {
        let _writer = writer;
        panic!("as a fault would");
    });
    assert!(ended.await.expect_err("it panics").is_panic());
    for answer in waiting.answers {
        assert_eq!(answer.await.expect("no panic").expect_err("nobody wrote").kind, ErrorKind::Unavailable);
    }
    assert!(submit(&fleet, servers[0], CommandId::generate()).await.is_ok());
}

#[derive(Debug, Clone)]
enum Act {
    Claim(u8),
    Report(u64, Box<Step>),
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let step =
        prop_oneof![Just(Step::Received), Just(Step::Started), Just(Step::Line("x".into())), Just(finished().step),];
    let act = prop_oneof![
        1 => (0..2u8).prop_map(Act::Claim),
        3 => (1..5u64, step).prop_map(|(seq, step)| Act::Report(seq, Box::new(step))),
    ];
    (0..3usize, act)
}

fn change(command: &Command, act: &Act) -> CommandChange {
    let (server, id) = (command.server_id, command.id);
    match act {
        Act::Claim(session) => CommandChange::Claim {
            server,
            id,
            lease_owner: session.to_string(),
            now_us: NOW_US,
            lease_until_us: NOW_US + LEASE_US,
        },
        Act::Report(seq, step) => CommandChange::Step {
            from: Box::new(server.into()),
            id,
            update: Box::new(Update { seq: *seq, at_us: NOW_US, step: Step::clone(step) }),
            now_us: NOW_US,
        },
    }
}

/// An outcome without what names the command.
fn word(changed: &CommandChanged) -> &'static str {
    match changed {
        CommandChanged::Inserted(_) => "inserted",
        CommandChanged::Claimed(Claim::Taken(_)) => "taken",
        CommandChanged::Claimed(Claim::HeldByAnother) => "held",
        CommandChanged::Claimed(Claim::NoLongerWaiting) => "no longer waiting",
        CommandChanged::Recorded(RecordOutcome::Stored { .. }) => "stored",
        CommandChanged::Recorded(RecordOutcome::Duplicate { .. }) => "duplicate",
        CommandChanged::Recorded(RecordOutcome::Unknown) => "unknown",
        CommandChanged::Recorded(RecordOutcome::Foreign) => "foreign",
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn batches_end_as_if_each_change_had_come_alone(
        batches in prop::collection::vec(prop::collection::vec(act(), 1..12), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let database = TestDatabase::sqlite().await;
            let fleet = Fleet::new(database.store.clone()).await;
            let mut commands = Vec::new();
            for server in servers(&fleet, 6).await {
                commands.push(submit(&fleet, server, CommandId::generate()).await.expect("submitted"));
            }
            let (together, alone) = commands.split_at(3);
            for batch in &batches {
                let changes: Vec<_> = batch.iter().map(|(of, act)| change(&together[*of], act)).collect();
                let made = fleet.store.change_commands(&changes).await.expect("made");
                let mut expected = Vec::new();
                for (of, act) in batch {
                    let made = fleet.store.change_commands(&[change(&alone[*of], act)]).await.expect("made");
                    expected.extend(made.iter().map(word));
                }
                prop_assert_eq!(made.iter().map(word).collect::<Vec<_>>(), expected);
            }
            for (one, other) in together.iter().zip(alone) {
                let one = fleet.store.command(fleet.org, one.id).await.expect("read").expect("there");
                let other = fleet.store.command(fleet.org, other.id).await.expect("read").expect("there");
                prop_assert_eq!(one.state, other.state);
                prop_assert_eq!(one.receipt, other.receipt);
                let steps = |id| fleet.store.command_updates(fleet.org, id, 0);
                prop_assert_eq!(steps(one.id).await.expect("read"), steps(other.id).await.expect("read"));
                prop_assert_eq!(fleet.recorded_of(one.id).await, fleet.recorded_of(other.id).await);
            }
            database.store.close().await;
            Ok(())
        })?;
    }
}
