//! Batches against real databases, and against a model that writes one entry at a time.

use muster_shared::policy::Family;
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    servers::AgentStatus,
    sessions::{
        Cut, Sessions,
        generation::{CloneSign, Decision, Presented, Record, decide},
    },
    store::{
        suite::{Fleet, NOW_US},
        test_database::{TestDatabase, on_each},
    },
};

fn claim(server_id: ServerId, serial: &str, generation: u64) -> SessionClaim {
    SessionClaim {
        serial: serial.into(),
        server_id,
        generation,
        machine_id_sha256: "machine-1".into(),
        boot_id: "boot-1".into(),
        agent_version: "0.1.0".into(),
        allowed_families: vec![Family::Observe],
    }
}

/// Entries that all wait before the writer starts, so that it takes them in one batch.
struct Gathered {
    ledger: Ledger,
    writer: LedgerWriter,
    answers: Vec<JoinHandle<Result<Entered, Error>>>,
}

impl Gathered {
    async fn new(store: &Store, entries: Vec<Entry>) -> Self {
        let (ledger, writer) = Ledger::new(store.clone(), Clock::system());
        let mut answers = Vec::new();
        for entry in entries {
            let (waiting, queued) = (ledger.clone(), answers.len() + 1);
            answers.push(tokio::spawn(async move { waiting.enter(entry).await }));
            while writer.entries.len() < queued {
                tokio::task::yield_now().await;
            }
        }
        Self { ledger, writer, answers }
    }

    /// The answers, in order, of one batch.
    async fn write(self) -> Vec<Result<Entered, Error>> {
        drop(self.ledger);
        // The queue is closed once everybody has been answered.
        self.writer.run(CancellationToken::new()).await;
        let mut outcomes = Vec::new();
        for answer in self.answers {
            outcomes.push(answer.await.expect("no panic"));
        }
        outcomes
    }
}

fn opened(fleet: &Fleet, generation: u64) -> Entered {
    Entered::Session(SessionOutcome::Opened { org_id: fleet.org, generation })
}

async fn status(fleet: &Fleet, server: ServerId) -> AgentStatus {
    fleet.servers.get(fleet.org, server).await.expect("read").agent.status
}

#[tokio::test]
async fn of_two_sessions_opened_in_one_batch_the_newest_stays_and_the_older_is_told() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("debian").await;
        let open = || Entry::Open(claim(server, &serial, 0));
        let outcomes = Gathered::new(&fleet.store, vec![open(), open()]).await.write().await;
        let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect("entered")).collect();
        assert_eq!(outcomes, [opened(&fleet, 1), opened(&fleet, 2)]);
        let sessions = Sessions::default();
        let older = sessions.open(fleet.org, server, 1, 0).expect("the first to register");
        let newer = sessions.open(fleet.org, server, 2, 0).expect("a newer one");
        assert_eq!(older.orders.borrow().cut, Some(Cut::Superseded));
        assert_eq!(newer.orders.borrow().cut, None);
        drop(older);
        assert!(sessions.open(fleet.org, server, 1, 0).is_none(), "the older one registers late");
        assert!(sessions.is_online(server));
    })
    .await;
}

#[tokio::test]
async fn many_hosts_come_back_in_few_transactions_and_each_hears_of_its_own() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let mut hosts = Vec::new();
        for number in 0..20 {
            hosts.push(fleet.joined(&format!("host-{number}")).await);
        }
        let mut entries: Vec<_> = hosts.iter().map(|(server, serial)| Entry::Open(claim(*server, serial, 0))).collect();
        entries.push(Entry::Open(claim(hosts[0].0, "another's serial", 0)));
        let outcomes = Gathered::new(&fleet.store, entries).await.write().await;
        for outcome in &outcomes[..20] {
            assert_eq!(*outcome.as_ref().expect("entered"), opened(&fleet, 1));
        }
        assert_eq!(*outcomes[20].as_ref().expect("entered"), Entered::Session(SessionOutcome::Unknown));
        for (server, _) in hosts {
            assert_eq!(status(&fleet, server).await, AgentStatus::Online);
        }
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_fails_tells_everybody_and_opens_nothing() {
    let database = TestDatabase::sqlite().await;
    let fleet = Fleet::new(database.store.clone()).await;
    let (server, serial) = fleet.joined("debian").await;
    let (other, other_serial) = fleet.joined("other").await;
    let entries = vec![
        Entry::Open(claim(server, &serial, 0)),
        Entry::Open(claim(other, &other_serial, 0)),
        Entry::Confirm { org: fleet.org, server, generation: 1 },
    ];
    let gathered = Gathered::new(&fleet.store, entries).await;
    database.store.close().await;
    for outcome in gathered.write().await {
        assert_eq!(outcome.expect_err("not entered").kind, ErrorKind::Unavailable);
    }
    let again = Store::open(&database.url).await.expect("opened");
    for server in [server, other] {
        let row = again.server(fleet.org, server).await.expect("read").expect("there");
        assert_ne!(row.agent.status, AgentStatus::Online);
    }
}

#[tokio::test]
async fn one_row_that_cant_be_read_costs_no_other() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, serial) = fleet.joined("debian").await;
        let (spoilt, spoilt_serial) = fleet.joined("spoilt").await;
        fleet.store.spoil_agent_status(spoilt).await;
        let entries = vec![Entry::Open(claim(spoilt, &spoilt_serial, 0)), Entry::Open(claim(server, &serial, 0))];
        let outcomes = Gathered::new(&fleet.store, entries).await.write().await;
        assert_eq!(outcomes[0].as_ref().expect_err("unreadable").kind, ErrorKind::Internal);
        assert_eq!(*outcomes[1].as_ref().expect("entered"), opened(&fleet, 1));
    })
    .await;
}

#[tokio::test]
async fn a_host_that_left_before_its_turn_opens_nothing() {
    let database = TestDatabase::sqlite().await;
    let fleet = Fleet::new(database.store.clone()).await;
    let (server, serial) = fleet.joined("debian").await;
    let gathered = Gathered::new(&fleet.store, vec![Entry::Open(claim(server, &serial, 0))]).await;
    let Gathered { ledger, writer, answers } = gathered;
    for answer in answers {
        answer.abort();
        assert!(answer.await.expect_err("gone").is_cancelled());
    }
    drop(ledger);
    writer.run(CancellationToken::new()).await;
    assert_ne!(status(&fleet, server).await, AgentStatus::Online);
}

#[test]
fn a_session_nobody_waited_for_is_closed_again() {
    let (org_id, server) = (OrgId::generate(), ServerId::generate());
    let entry = Entry::Open(claim(server, "s", 4));
    let session = Entered::Session(SessionOutcome::Opened { org_id, generation: 5 });
    let Some(Entry::Close(closing)) = abandon(&entry, session, NOW_US) else { panic!("not closed") };
    assert_eq!((closing.server, closing.generation, closing.is_current), (server, 5, true));
    assert!(abandon(&entry, Entered::Session(SessionOutcome::Revoked), NOW_US).is_none());
}

/// What the entries of one host do to its row, one after the other.
#[derive(Debug, Clone, Default)]
struct Model {
    record: Record,
    is_online: bool,
    is_quarantined: bool,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Open(u64),
    Confirm(u64),
    Close(u64),
}

impl Model {
    fn expect(&mut self, org_id: OrgId, act: Act) -> Entered {
        match act {
            Act::Open(_) if self.is_quarantined => Entered::Session(SessionOutcome::Quarantined),
            Act::Open(generation) => {
                match decide(&self.record, &Presented { generation, machine_id_sha256: "machine-1" }) {
                    Decision::Clone(sign) => {
                        assert_eq!(sign, CloneSign::OldGeneration);
                        (self.is_quarantined, self.is_online) = (true, false);
                        Entered::Session(SessionOutcome::Clone { org_id, sign })
                    }
                    Decision::Open { generation, confirmed } => {
                        (self.record.issued, self.record.confirmed, self.is_online) = (generation, confirmed, true);
                        Entered::Session(SessionOutcome::Opened { org_id, generation })
                    }
                }
            }
            Act::Confirm(generation) => {
                let changes = self.record.confirmed < generation && generation <= self.record.issued;
                if changes {
                    self.record.confirmed = generation;
                }
                Entered::Changed(changes)
            }
            Act::Close(generation) => {
                let changes = self.is_online && self.record.issued == generation;
                self.is_online &= !changes;
                Entered::Changed(changes)
            }
        }
    }
}

fn entry(org: OrgId, (server, serial): &(ServerId, String), act: Act) -> Entry {
    match act {
        Act::Open(generation) => Entry::Open(claim(*server, serial, generation)),
        Act::Confirm(generation) => Entry::Confirm { org, server: *server, generation },
        Act::Close(generation) => Entry::Close(Closing {
            org,
            server: *server,
            generation,
            lease_owner: format!("{server}/{generation}"),
            is_current: true,
            last_seen_at_us: NOW_US,
        }),
    }
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let act = prop_oneof![
        4 => (0..6u64).prop_map(Act::Open),
        4 => (0..6u64).prop_map(Act::Confirm),
        1 => (0..6u64).prop_map(Act::Close),
    ];
    (0..3usize, act)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn batches_end_as_if_each_entry_had_come_alone(
        batches in prop::collection::vec(prop::collection::vec(act(), 1..12), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let database = TestDatabase::sqlite().await;
            let fleet = Fleet::new(database.store.clone()).await;
            let hosts = [fleet.joined("a").await, fleet.joined("b").await, fleet.joined("c").await];
            let mut models: [Model; 3] = std::array::from_fn(|_| Model {
                record: Record { machine_id_sha256: "machine-1".into(), ..Record::default() },
                ..Model::default()
            });
            for batch in batches {
                let entries: Vec<_> = batch.iter().map(|(host, act)| entry(fleet.org, &hosts[*host], *act)).collect();
                let expected: Vec<_> =
                    batch.iter().map(|(host, act)| models[*host].expect(fleet.org, *act)).collect();
                prop_assert_eq!(fleet.store.enter(&entries, NOW_US).await.expect("entered"), expected);
            }
            for (model, (server, _)) in models.iter().zip(&hosts) {
                let found = status(&fleet, *server).await;
                prop_assert_eq!(found == AgentStatus::Online, model.is_online);
                prop_assert_eq!(found == AgentStatus::Quarantined, model.is_quarantined);
            }
            database.store.close().await;
            Ok(())
        })?;
    }
}
