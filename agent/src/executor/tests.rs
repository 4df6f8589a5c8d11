use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::BytesMut;
use muster_shared::{
    command::{CommandBody, Envelope},
    id::ServerId,
    receipt,
    sign::CommandSigner,
};
use tempfile::TempDir;
use tokio::net::UnixStream;

use super::*;
use crate::clock::ManualClock;

const NOW_US: i64 = 1_000_000_000_000;

#[derive(Default)]
struct Counted(AtomicUsize);

#[async_trait]
impl Work for Counted {
    async fn run(&self, _: CommandId, _: CommandBody, _: mpsc::Sender<wire::Progress>) -> wire::Finished {
        self.0.fetch_add(1, Ordering::SeqCst);
        finished(CommandOutcome::Succeeded, "", "")
    }

    async fn facts_json(&self) -> Result<String, String> {
        Ok("{}".to_owned())
    }

    async fn containers_json(&self) -> Result<String, String> {
        Err("no engine".to_owned())
    }
}

struct Host {
    folder: TempDir,
    signer: CommandSigner,
    server_id: ServerId,
    work: Arc<Counted>,
    connection: Connection,
}

fn signer() -> CommandSigner {
    let key = CommandSigner::generate_pkcs8().expect("randomness");
    CommandSigner::from_pkcs8("k1", &key).expect("a fresh key")
}

fn start(folder: &Path, work: &Arc<Counted>) -> Executor {
    Executor::start(Settings {
        clock: Arc::new(ManualClock::at(NOW_US)),
        work: Arc::clone(work) as Arc<dyn Work>,
        journal: folder.join("journal"),
        trust: folder.join("trust.json"),
        policy: folder.join("policy.toml"),
        receipts: Some(receipts::load_or_make(&folder.join("receipt.key")).expect("a key")),
    })
    .expect("started")
}

impl Host {
    async fn new() -> Self {
        let (folder, signer, server_id) = (tempfile::tempdir().expect("a folder"), signer(), ServerId::generate());
        Trust::new(server_id, &signer.public_key()).save(&folder.path().join("trust.json")).expect("saved");
        let work = Arc::new(Counted::default());
        let connection = start(folder.path(), &work).connect().await.expect("connected");
        let mut host = Self { folder, signer, server_id, work, connection };
        host.subscribe().await;
        host
    }

    async fn restart(&mut self) {
        self.connection = start(self.folder.path(), &self.work).connect().await.expect("connected");
        self.subscribe().await;
    }

    async fn subscribe(&mut self) {
        let hello = self.connection.replies.recv().await.expect("a hello");
        assert!(matches!(hello.kind, Some(executor_reply::Kind::Hello(_))));
        self.ask(executor_request::Kind::Subscribe(wire::Subscribe {})).await;
    }

    async fn ask(&self, kind: executor_request::Kind) {
        self.connection.requests.send(wire::ExecutorRequest { kind: Some(kind) }).await.expect("taken");
    }

    fn envelope(&self) -> Envelope {
        Envelope {
            command_id: CommandId::generate(),
            server_id: self.server_id,
            issued_at_us: NOW_US,
            expires_at_us: NOW_US + 60_000_000,
            body: CommandBody::RefreshFacts,
        }
    }

    /// Submits and waits for an ending of that command: its outcome and code.
    async fn submit(&mut self, signed: wire::SignedCommand) -> (CommandOutcome, String) {
        self.ask(executor_request::Kind::Submit(signed)).await;
        self.ending().await
    }

    async fn ending(&mut self) -> (CommandOutcome, String) {
        let end = self.finished().await;
        (end.outcome(), end.code)
    }

    async fn finished(&mut self) -> wire::Finished {
        loop {
            let reply = self.connection.replies.recv().await.expect("a reply");
            if let Some(executor_reply::Kind::Update(update)) = reply.kind
                && let Some(Kind::Finished(end)) = update.kind
            {
                let ack = wire::AckUpdates { command_id: update.command_id, seq: update.seq };
                self.ask(executor_request::Kind::Ack(ack)).await;
                return end;
            }
        }
    }

    fn runs(&self) -> usize {
        self.work.0.load(Ordering::SeqCst)
    }
}

fn refused(code: &str) -> (CommandOutcome, String) {
    (CommandOutcome::Refused, code.to_owned())
}

#[tokio::test]
async fn how_a_command_ends_is_signed_with_the_hosts_own_key() {
    let mut host = Host::new().await;
    let key = receipts::load_or_make(&host.folder.path().join("receipt.key")).expect("the executor's").public_key();
    let envelope = host.envelope();
    let signed = host.signer.sign(&envelope);
    host.ask(executor_request::Kind::Submit(signed.clone())).await;
    let end = host.finished().await;
    let receipt = receipt::verify(end.receipt.as_ref().expect("a receipt"), &key).expect("the host's");
    assert_eq!((receipt.command_id, receipt.server_id), (envelope.command_id, host.server_id));
    assert_eq!(receipt.command_sha256, receipt::sha256(&signed.envelope), "what was asked");
    assert_eq!(receipt.state, end.outcome().into());
    assert_eq!(receipt.result_sha256, receipt::result_sha256(end.result.as_ref()));
    assert_eq!((receipt.started_at_us, receipt.ended_at_us), (Some(NOW_US), NOW_US));

    let refused = Envelope { body: CommandBody::Reboot, ..host.envelope() };
    let signed = host.signer.sign(&refused);
    host.ask(executor_request::Kind::Submit(signed)).await;
    let end = host.finished().await;
    let receipt = receipt::verify(end.receipt.as_ref().expect("a receipt"), &key).expect("the host's");
    assert_eq!((receipt.code.as_str(), receipt.started_at_us), ("policy_refused", None), "it never started");
}

#[tokio::test]
async fn a_signed_command_runs_once_and_a_forged_one_never() {
    let mut host = Host::new().await;
    let envelope = host.envelope();
    let good = host.signer.sign(&envelope);
    let mut unsigned = good.clone();
    unsigned.signature.clear();
    assert_eq!(host.submit(unsigned).await, refused("signature_invalid"));
    let longer = host.signer.sign(&Envelope { expires_at_us: i64::MAX, ..envelope.clone() });
    let altered = wire::SignedCommand { signature: good.signature.clone(), ..longer };
    assert_eq!(host.submit(altered).await, refused("signature_invalid"));
    let stranger = signer().sign(&envelope);
    assert_eq!(host.submit(stranger).await, refused("signature_invalid"));
    let expired = host.signer.sign(&Envelope { expires_at_us: NOW_US, ..host.envelope() });
    assert_eq!(host.submit(expired).await, refused("expired"));
    let elsewhere = host.signer.sign(&Envelope { server_id: ServerId::generate(), ..host.envelope() });
    assert_eq!(host.submit(elsewhere).await, refused("wrong_host"));
    assert_eq!(host.runs(), 0);
    assert_eq!(host.submit(good).await.0, CommandOutcome::Succeeded, "forgeries under its id did it no harm");
    assert_eq!(host.runs(), 1);
}

#[tokio::test]
async fn a_replay_is_refused_also_after_a_restart_and_a_new_enrolment() {
    let mut host = Host::new().await;
    let command = host.signer.sign(&host.envelope());
    assert_eq!(host.submit(command.clone()).await.0, CommandOutcome::Succeeded);
    assert_eq!(host.submit(command.clone()).await, refused("replayed"));
    host.restart().await;
    assert_eq!(host.submit(command.clone()).await, refused("replayed"));
    let again = Trust::new(host.server_id, &host.signer.public_key());
    again.save(&host.folder.path().join("trust.json")).expect("enrolled again");
    assert_eq!(host.submit(command).await, refused("replayed"));
    assert_eq!(host.runs(), 1);
}

#[tokio::test]
async fn the_policy_counts_from_the_next_command_on() {
    let mut host = Host::new().await;
    let policy = host.folder.path().join("policy.toml");
    crate::durable::write_atomically(&policy, trust::policy_text(&[]).as_bytes(), 0o600).expect("written");
    let command = host.signer.sign(&host.envelope());
    assert_eq!(host.submit(command).await, refused("policy_refused"));
    crate::durable::write_atomically(&policy, b"allow = [\"observe\"]", 0o666).expect("written");
    let command = host.signer.sign(&host.envelope());
    assert_eq!(host.submit(command).await, refused("policy_refused"), "a file anybody can write allows nothing");
    std::fs::remove_file(&policy).expect("removed");
    let command = host.signer.sign(&host.envelope());
    assert_eq!(host.submit(command).await.0, CommandOutcome::Succeeded);
}

#[tokio::test]
async fn a_host_that_has_not_joined_obeys_nobody() {
    let mut host = Host::new().await;
    std::fs::remove_file(host.folder.path().join("trust.json")).expect("removed");
    host.ask(executor_request::Kind::Submit(host.signer.sign(&host.envelope()))).await;
    let reply = host.connection.replies.recv().await.expect("a reply");
    assert!(matches!(reply.kind, Some(executor_reply::Kind::Error(error)) if error.code == "not_enrolled"));
    assert_eq!(host.runs(), 0);
}

#[tokio::test]
async fn unacknowledged_updates_are_told_again_on_a_new_connection() {
    let mut host = Host::new().await;
    host.ask(executor_request::Kind::Submit(host.signer.sign(&host.envelope()))).await;
    // Received, started, finished; none is acknowledged.
    for _ in 0..3 {
        host.connection.replies.recv().await.expect("an update");
    }
    host.restart().await;
    assert_eq!(host.ending().await.0, CommandOutcome::Succeeded);
    assert_eq!(host.runs(), 1);
}

#[tokio::test]
async fn the_socket_serves_its_users_and_nobody_else() {
    let host = Host::new().await;
    let executor = start(host.folder.path(), &host.work);
    let (mine, others) = (host.folder.path().join("mine.sock"), host.folder.path().join("others.sock"));
    let me = rustix::process::geteuid().as_raw();
    let listener = socket::bind(&mine, None).expect("bound");
    assert!(socket::bind(&mine, None).is_err(), "it is served already");
    tokio::spawn(socket::serve(listener, executor.clone(), vec![me]));
    let listener = socket::bind(&others, None).expect("bound");
    tokio::spawn(socket::serve(listener, executor, vec![me + 1]));

    let mut stream = UnixStream::connect(&mine).await.expect("connected");
    let request = wire::ExecutorRequest { kind: Some(executor_request::Kind::ReadFacts(wire::ReadFacts {})) };
    socket::write_message(&mut stream, &request).await.expect("written");
    let mut buffer = BytesMut::new();
    let mut next = async || {
        socket::read_message::<wire::ExecutorReply>(&mut stream, &mut buffer).await.expect("read").and_then(|r| r.kind)
    };
    assert!(matches!(next().await, Some(executor_reply::Kind::Hello(_))));
    assert_eq!(next().await, Some(executor_reply::Kind::FactsJson("{}".into())));

    let mut stream = UnixStream::connect(&others).await.expect("connected");
    let answer = socket::read_message::<wire::ExecutorReply>(&mut stream, &mut BytesMut::new()).await;
    assert!(!matches!(answer, Ok(Some(_))), "not even a hello");
}

#[tokio::test]
async fn a_message_that_is_too_large_or_no_message_ends_the_connection() {
    let host = Host::new().await;
    let path = host.folder.path().join("executor.sock");
    let me = rustix::process::geteuid().as_raw();
    let listener = socket::bind(&path, None).expect("bound");
    tokio::spawn(socket::serve(listener, start(host.folder.path(), &host.work), vec![me]));
    for bytes in [&[0xff; 11][..], &[0x80, 0x80, 0x80, 0x02], &[3, 0xff, 0xff, 0xff]] {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = UnixStream::connect(&path).await.expect("connected");
        stream.write_all(bytes).await.expect("written");
        let mut buffer = BytesMut::new();
        let hello = socket::read_message::<wire::ExecutorReply>(&mut stream, &mut buffer).await;
        if matches!(hello, Ok(Some(_))) {
            let end = socket::read_message::<wire::ExecutorReply>(&mut stream, &mut buffer).await;
            assert!(!matches!(end, Ok(Some(_))), "{bytes:?}");
        }
    }
}

/// Work of a host whose process dies at the order, before or after it was given.
struct Dying {
    power: power::FakePower,
    gives: bool,
}

#[async_trait]
impl Work for Dying {
    async fn run(&self, _: CommandId, _: CommandBody, _: mpsc::Sender<wire::Progress>) -> wire::Finished {
        if self.gives {
            power::Power::order(&self.power, crate::os::power::Transition::Reboot).await.expect("taken");
        }
        std::future::pending().await
    }

    async fn settle(&self, _: CommandId, body: CommandBody, begun: machine::Begun, now_us: i64) -> wire::Finished {
        power::settle(&self.power, &body, &begun, now_us).await
    }

    fn boot_id(&self) -> String {
        power::Power::boot(&self.power).id
    }

    async fn facts_json(&self) -> Result<String, String> {
        Ok("{}".to_owned())
    }

    async fn containers_json(&self) -> Result<String, String> {
        Ok("[]".to_owned())
    }
}

fn start_dying(folder: &Path, work: &Arc<Dying>) -> Executor {
    Executor::start(Settings {
        clock: Arc::new(ManualClock::at(NOW_US)),
        work: Arc::clone(work) as Arc<dyn Work>,
        journal: folder.join("journal"),
        trust: folder.join("trust.json"),
        policy: folder.join("policy.toml"),
        receipts: Some(receipts::load_or_make(&folder.join("receipt.key")).expect("a key")),
    })
    .expect("started")
}

async fn subscribed(executor: &Executor) -> Connection {
    let connection = executor.connect().await.expect("connected");
    let kind = Some(executor_request::Kind::Subscribe(wire::Subscribe {}));
    connection.requests.send(wire::ExecutorRequest { kind }).await.expect("taken");
    connection
}

async fn next_update(connection: &mut Connection) -> Kind {
    loop {
        let reply = connection.replies.recv().await.expect("a reply");
        if let Some(executor_reply::Kind::Update(wire::CommandUpdate { kind: Some(kind), .. })) = reply.kind {
            return kind;
        }
    }
}

/// The process dies with the command started: before the order, or after it in the same or in the next boot. The next
/// process says within its bound how it ended, and orders nothing.
#[tokio::test(start_paused = true)]
async fn a_reboot_is_ordered_at_most_once_wherever_the_process_dies() {
    let cases = [
        (false, "boot:1", CommandOutcome::Failed, 0),
        (true, "boot:1", CommandOutcome::Failed, 1),
        (true, "boot:2", CommandOutcome::Succeeded, 1),
    ];
    for (gives, next_boot, expected, orders) in cases {
        let (folder, signer, server_id) = (tempfile::tempdir().expect("a folder"), signer(), ServerId::generate());
        Trust::new(server_id, &signer.public_key()).save(&folder.path().join("trust.json")).expect("saved");
        let policy = trust::policy_text(&[Family::Power]);
        let path = folder.path().join("policy.toml");
        crate::durable::write_atomically(&path, policy.as_bytes(), 0o600).expect("written");
        let first = Arc::new(Dying { power: power::FakePower::in_boot("boot:1"), gives });
        let executor = start_dying(folder.path(), &first);
        let mut connection = subscribed(&executor).await;
        let command = signer.sign(&Envelope {
            command_id: CommandId::generate(),
            server_id,
            issued_at_us: NOW_US,
            expires_at_us: NOW_US + 60_000_000,
            body: CommandBody::Reboot,
        });
        let kind = Some(executor_request::Kind::Submit(command));
        connection.requests.send(wire::ExecutorRequest { kind }).await.expect("taken");
        while !matches!(next_update(&mut connection).await, Kind::Started(_)) {}
        // The work runs beside this task on the same thread.
        while first.power.orders() < orders {
            tokio::task::yield_now().await;
        }
        drop((connection, executor));

        let second = Arc::new(Dying { power: power::FakePower::in_boot(next_boot), gives: true });
        let since = tokio::time::Instant::now();
        let mut connection = subscribed(&start_dying(folder.path(), &second)).await;
        let outcome = loop {
            if let Kind::Finished(end) = next_update(&mut connection).await {
                break end.outcome();
            }
        };
        assert_eq!((outcome, first.power.orders(), second.power.orders()), (expected, orders, 0), "{next_boot}");
        assert!(since.elapsed() <= Duration::from_secs(15), "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn a_changed_policy_is_told_to_whoever_is_connected() {
    let mut host = Host::new().await;
    let policy = trust::policy_text(&[Family::Observe, Family::Power]);
    let path = host.folder.path().join("policy.toml");
    crate::durable::write_atomically(&path, policy.as_bytes(), 0o600).expect("written");
    // Any event has it read; without one it is read every few seconds.
    let command_id = CommandId::generate().to_string();
    host.ask(executor_request::Kind::Cancel(wire::CancelCommand { command_id })).await;
    let reply = host.connection.replies.recv().await.expect("a reply");
    let Some(executor_reply::Kind::Hello(hello)) = reply.kind else { panic!("{reply:?}") };
    assert_eq!(hello.allowed_families, ["observe", "power"]);
}

/// A stop waits for the link to have sent what it holds, or for as long as that may take.
#[tokio::test(start_paused = true)]
async fn a_stop_asks_the_link_to_drain_and_does_not_wait_for_ever() {
    for answers in [true, false] {
        let mut host = Host::new().await;
        let policy = trust::policy_text(&[Family::Power]);
        let path = host.folder.path().join("policy.toml");
        crate::durable::write_atomically(&path, policy.as_bytes(), 0o600).expect("written");
        let stop = host.signer.sign(&Envelope { body: CommandBody::Stop, ..host.envelope() });
        host.ask(executor_request::Kind::Submit(stop)).await;
        loop {
            let reply = host.connection.replies.recv().await.expect("a reply");
            if matches!(reply.kind, Some(executor_reply::Kind::Drain(_))) {
                break;
            }
        }
        assert_eq!(host.runs(), 0, "nothing is ordered before that");
        let since = tokio::time::Instant::now();
        if answers {
            host.ask(executor_request::Kind::Drained(wire::Drained {})).await;
        }
        assert_eq!(host.ending().await.0, CommandOutcome::Succeeded);
        assert_eq!((host.runs(), since.elapsed() >= DRAIN_WITHIN), (1, !answers));
    }
}
