//! Canary secrets, sent through every route that takes one, are found nowhere afterwards: in no answer, log, event as it
//! is streamed, audit entry, database, file of it or backup.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use futures_util::FutureExt as _;
use http::StatusCode;
use muster_shared::{id::ServerId, wire};
use russh::keys::{Algorithm, PrivateKey, key::safe_rng, ssh_key::LineEnding};
use serde_json::{Value, json};
use tonic::Code;
use tracing_subscriber::fmt::MakeWriter;

use super::{
    test_api::Api,
    test_streams::{EventStream, Interface},
};
use crate::{
    events::EventKind,
    keyring::reseal,
    store::{
        Dialect,
        test_database::{TestDatabase, dump, tables_with},
    },
};

/// Everything that was logged.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics while it holds this").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What was sent, in every form it could show up in.
#[derive(Debug, Default)]
struct Canaries(Vec<Vec<u8>>);

impl Canaries {
    fn text(&mut self, name: &str) -> String {
        let text = format!("canary-{name}-{}", self.0.len());
        self.0.push(text.clone().into_bytes());
        text
    }

    /// A private key: the lines of its text, and the secret in it.
    fn key(&mut self) -> String {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).expect("a key");
        let pem = key.to_openssh(LineEnding::LF).expect("a text").to_string();
        self.remember(&pem);
        let secret = key.key_data().ed25519().expect("an Ed25519 key").private.to_bytes();
        self.0.push(secret.to_vec());
        pem
    }

    /// The lines of a private key that hold the secret part; those before hold the public one.
    fn remember(&mut self, pem: &str) {
        let secret = pem.lines().skip(4).filter(|line| line.len() == 70);
        self.0.extend(secret.map(|line| line.as_bytes().to_vec()));
    }

    fn found_in(&self, text: &[u8]) -> Option<String> {
        let found = self.0.iter().find(|canary| holds(text, canary));
        found.map(|canary| String::from_utf8_lossy(canary).into_owned())
    }
}

fn holds(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

/// Sends canaries and keeps every answer.
struct Sender<'a> {
    api: &'a Api,
    canaries: Canaries,
    answers: Vec<String>,
}

impl Sender<'_> {
    async fn send(&mut self, method: &str, path: &str, body: Value, expected: StatusCode) -> Value {
        let (status, answer) = self.api.call(method, path, &body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
        self.answers.push(answer.to_string());
        answer
    }

    async fn send_servers(&mut self) {
        let vms = "/api/v1/vms";
        let body =
            json!({ "name": "one", "ipv4_address": "127.0.0.1", "ssh_password": self.canaries.text("password") });
        self.send("POST", vms, body, StatusCode::CREATED).await;
        let body = json!({
            "name": "two", "ipv4_address": "127.0.0.1", "ssh_private_key": self.canaries.key(),
            "ssh_key_passphrase": self.canaries.text("phrase"), "ssh_sudo_password": self.canaries.text("sudo")
        });
        self.send("POST", vms, body, StatusCode::CREATED).await;
        let body = json!({ "ssh_password": self.canaries.text("patched") });
        self.send("PATCH", "/api/v1/vms/one", body, StatusCode::OK).await;
        let body = json!({ "ipv4_address": "127.0.0.1", "ssh_password": self.canaries.text("tested") });
        self.send("POST", "/api/v1/vms/test-connection", body, StatusCode::OK).await;
        self.send("POST", "/api/v1/vms/one/test-connection", Value::Null, StatusCode::OK).await;
    }

    async fn send_refused(&mut self) {
        let refused = StatusCode::UNPROCESSABLE_ENTITY;
        self.canaries.0.push(b"918273645".to_vec());
        let bodies = [
            json!({ "name": "-x", "fqdn": "a.example", "ssh_password": self.canaries.text("refused") }),
            json!({ "nmae": "x", "ssh_password": self.canaries.text("misspelt") }),
            json!({ "name": "x", "ssh_password": 918_273_645 }),
        ];
        for body in bodies {
            self.send("POST", "/api/v1/vms", body, refused).await;
        }
        let body = json!({ "ssh_private_key": self.canaries.text("no key"), "test_connection": false });
        self.send("PUT", "/api/v1/vms/two/ssh-key", body, refused).await;
    }

    async fn send_logins(&mut self) {
        for (test, expected) in [(false, StatusCode::OK), (true, StatusCode::CONFLICT)] {
            let body = json!({ "ssh_password": self.canaries.text("set"), "test_connection": test });
            self.send("PUT", "/api/v1/vms/one/ssh-password", body, expected).await;
            let body = json!({
                "ssh_private_key": self.canaries.key(), "ssh_key_passphrase": self.canaries.text("needless"),
                "ssh_sudo_password": self.canaries.text("sudo"), "test_connection": test
            });
            self.send("PUT", "/api/v1/vms/two/ssh-key", body, expected).await;
        }
    }

    async fn send_key_pairs(&mut self, keys: &str) {
        let body = json!({
            "name": "brought", "private_key": self.canaries.key(), "passphrase": self.canaries.text("needless")
        });
        let pair = self.send("POST", keys, body, StatusCode::CREATED).await;
        let body = json!({ "ssh_key_pair_id": pair["id"], "test_connection": false });
        self.send("PUT", "/api/v1/vms/two/ssh-key", body, StatusCode::OK).await;
        let encrypted = include_str!("../ssh/fixtures/ed25519-openssh-encrypted.pem");
        let body = json!({ "name": "x", "private_key": encrypted, "passphrase": self.canaries.text("wrong") });
        self.send("POST", keys, body, StatusCode::UNPROCESSABLE_ENTITY).await;
        // The one answer that shows a private key, once.
        let (status, made) = self.api.call("POST", keys, &json!({ "name": "made" })).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        self.canaries.remember(made["private_key"].as_str().expect("a private key"));
    }

    async fn send_by_grpc(&mut self, method: &str, message: &impl prost::Message, expected: Code) {
        let (code, answer) = self.api.send_grpc(method, message).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(code, expected, "{method}: {answer}");
        self.answers.push(answer);
    }

    async fn send_over_grpc(&mut self) {
        let connection = |password: String| {
            Some(wire::Connection {
                ipv4_address: "127.0.0.1".into(),
                ssh_password: password,
                ..wire::Connection::default()
            })
        };
        let connection_to_keep = connection(self.canaries.text("grpc"));
        let create = wire::CreateServerRequest {
            name: "three".into(),
            connection: connection_to_keep,
            ..wire::CreateServerRequest::default()
        };
        self.send_by_grpc("CreateServer", &create, Code::Ok).await;
        let target = connection(self.canaries.text("grpc")).map(wire::test_connection_request::Target::Connection);
        self.send_by_grpc("TestConnection", &wire::TestConnectionRequest { target }, Code::Ok).await;
        for (test, expected) in [(false, Code::Ok), (true, Code::FailedPrecondition)] {
            let ssh_password = self.canaries.text("grpc");
            let set = wire::SetSshPasswordRequest { server: "three".into(), ssh_password, test_connection: Some(test) };
            self.send_by_grpc("SetSshPassword", &set, expected).await;
            let set = wire::SetSshKeyRequest {
                server: "three".into(),
                ssh_private_key: self.canaries.key(),
                ssh_key_passphrase: self.canaries.text("needless"),
                ssh_sudo_password: self.canaries.text("sudo"),
                test_connection: Some(test),
                ..wire::SetSshKeyRequest::default()
            };
            self.send_by_grpc("SetSshKey", &set, expected).await;
        }
        let pair = wire::CreateSshKeyPairRequest {
            name: "brought by gRPC".into(),
            private_key: self.canaries.key(),
            passphrase: self.canaries.text("needless"),
            ..wire::CreateSshKeyPairRequest::default()
        };
        self.send_by_grpc("CreateSshKeyPair", &pair, Code::Ok).await;
        let user = wire::CreateUserRequest {
            name: "grace".into(),
            password: self.canaries.text("password"),
            ..wire::CreateUserRequest::default()
        };
        self.send_by_grpc("CreateUser", &user, Code::Ok).await;
        for method in ["ListServers", "ListUsers", "ListSshKeyPairs", "ListAudit", "ExportAudit"] {
            self.send_by_grpc(method, &wire::ListAuditRequest::default(), Code::Ok).await;
        }
    }

    async fn read_all(&mut self, keys: &str) {
        let paths = ["vms", "vms/one", "vms/two", "audit", "keyring", "openapi.json"];
        for path in paths.map(|path| format!("/api/v1/{path}")).into_iter().chain([keys.to_owned()]) {
            self.send("GET", &path, Value::Null, StatusCode::OK).await;
        }
    }
}

/// A backup made by the database's own means.
async fn backup(api: &Api) -> Vec<u8> {
    let url = &api.app.config.database_url;
    let file = api.folder.path().join("backup");
    match url.dialect() {
        Dialect::Sqlite => {
            api.app.store.copy_into(&file).await;
            std::fs::read(file).expect("a copy")
        }
        Dialect::Postgres => dump(url).await,
    }
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[tokio::test]
async fn what_is_secret_is_found_nowhere() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("each test has a process of its own");
    let postgres = TestDatabase::postgres().await;
    for database in std::iter::once(None).chain(postgres.as_ref().map(|database| Some(database.url.clone()))) {
        let api = Api::open_on(database).await;
        let mut events = api.app.events.subscribe();
        let mut streams = Vec::new();
        for interface in Interface::ALL {
            streams.push(EventStream::open(&api, interface, &api.owner, true).await.expect("a stream"));
        }
        let org = api.app.store.first_organization().await.expect("read").expect("an organization");
        let keys = format!("/api/v1/organizations/{org}/ssh-keys");
        let mut sender = Sender { api: &api, canaries: Canaries::default(), answers: Vec::new() };
        sender.send_servers().await;
        sender.send_refused().await;
        sender.send_logins().await;
        sender.send_key_pairs(&keys).await;
        sender.send_over_grpc().await;
        sender.send("POST", "/api/v1/keyring/rotate", Value::Null, StatusCode::OK).await;
        reseal(&api.app.store, &api.app.keyring).await.expect("sealed anew");
        sender.read_all(&keys).await;
        let Sender { canaries, answers, .. } = sender;
        assert!(canaries.0.len() > 20, "{}", canaries.0.len());
        for answer in &answers {
            assert_eq!(canaries.found_in(answer.as_bytes()), None, "{answer}");
        }
        let mut heard = 0;
        while let Some(Some(Ok(event))) = events.next().now_or_never() {
            assert_eq!(canaries.found_in(format!("{event:?}").as_bytes()), None);
            heard += 1;
        }
        assert!(heard > 5, "{heard}");
        let last = ServerId::generate();
        api.app.events.publish(org, last, EventKind::ServerChanged);
        for stream in &mut streams {
            assert!(stream.until("server_changed", &last.to_string()).await.len() > 5);
            assert!(holds(stream.bytes(), b"three"), "the stream tells of servers");
            assert_eq!(canaries.found_in(stream.bytes()), None);
        }
        let backup = backup(&api).await;
        assert!(holds(&backup, b"brought"), "the backup holds what is no secret");
        assert_eq!(canaries.found_in(&backup), None);
        let digits = Canaries(canaries.0.iter().map(|canary| hex::encode(canary).into_bytes()).collect());
        assert_eq!(digits.found_in(&backup), None, "written in digits");
        let mut files = Vec::new();
        files_below(api.folder.path(), &mut files);
        let mut bytes = Vec::new();
        for path in files {
            bytes.push(std::fs::read(&path).expect("readable"));
            assert_eq!(bytes.last().and_then(|bytes| canaries.found_in(bytes)), None, "{path:?}");
        }
        if api.app.store.dialect() == Dialect::Sqlite {
            assert!(bytes.iter().any(|bytes| holds(bytes, b"brought")), "SQLite's own files are among them");
        }
        if api.app.store.dialect() == Dialect::Postgres {
            for canary in &canaries.0 {
                assert_eq!(tables_with(&api.app.store, canary).await, Vec::<String>::new());
            }
            assert_ne!(tables_with(&api.app.store, b"brought").await, Vec::<String>::new(), "the search finds things");
        }
        let log = log.0.lock().expect("no test panics while it holds this");
        assert!(log.windows(15).any(|window| window == b"request refused"), "the log was captured");
        assert_eq!(canaries.found_in(&log), None);
    }
}
