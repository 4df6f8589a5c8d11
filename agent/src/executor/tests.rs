use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::BytesMut;
use muster_shared::{
    command::{CommandBody, Envelope},
    id::ServerId,
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
    async fn run(&self, _: CommandBody, _: mpsc::Sender<wire::Progress>) -> wire::Finished {
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
        loop {
            let reply = self.connection.replies.recv().await.expect("a reply");
            if let Some(executor_reply::Kind::Update(update)) = reply.kind
                && let Some(Kind::Finished(end)) = update.kind
            {
                let ack = wire::AckUpdates { command_id: update.command_id, seq: update.seq };
                self.ask(executor_request::Kind::Ack(ack)).await;
                return (end.outcome(), end.code);
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
