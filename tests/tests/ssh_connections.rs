//! The control plane's SSH side against servers that accept, refuse or lie.

use std::path::Path;

use anyhow::Result;
use muster::{
    agent_binary::AgentBinaries,
    dial::AddressPolicy,
    servers::{ConnectionOutcome, Fingerprint, SshAuth, SshTarget, SudoMode},
    ssh::{AgentRun, Carriage, Connector, Elevation, KeyProblem, RunEvent, Session, SshError, Unreachable},
};
use muster_tests::{
    patience::SOON,
    ssh_server::{Accepts, Shown, SshServer},
};
use russh::keys::{HashAlg, PrivateKey, decode_secret_key};
use secrecy::SecretString;
use tokio::{net::TcpListener, sync::mpsc};

const PASSWORD: &str = "correct horse 'battery' $taple";

macro_rules! key {
    ($name:literal) => {
        include_str!(concat!("../../control-plane/src/ssh/fixtures/", $name, ".pem"))
    };
}

const ED25519: &str = key!("ed25519-openssh");
const ECDSA: &str = key!("ecdsa256-openssh");
const RSA: &str = key!("rsa-openssh");
const OTHER: &str = key!("ed25519-pkcs8");
const OTHER_RSA: &str = key!("rsa-pkcs8");

fn private(pem: &str) -> PrivateKey {
    decode_secret_key(pem, None).expect("a key")
}

fn fingerprint(pem: &str) -> Fingerprint {
    private(pem).public_key().fingerprint(HashAlg::Sha256).to_string().parse().expect("a fingerprint")
}

fn connector() -> Connector {
    Connector::new(AddressPolicy { allow_loopback: true, allow_private: true })
}

fn target(port: u16, auth: SshAuth) -> SshTarget {
    SshTarget {
        host: "127.0.0.1".to_owned(),
        port,
        username: "ops".parse().expect("a name"),
        auth,
        sudo_mode: SudoMode::None,
        host_key: None,
    }
}

fn password(text: &str) -> SshAuth {
    SshAuth::Password(SecretString::from(text))
}

fn key(pem: &str) -> SshAuth {
    SshAuth::Key { private_key: SecretString::from(pem), passphrase: None, sudo_password: None }
}

async fn log_in(target: &SshTarget) -> Result<Session, SshError> {
    connector().dial(target).await?.authenticate().await
}

async fn refused(target: &SshTarget) -> SshError {
    match log_in(target).await {
        Err(error) => error,
        Ok(_) => panic!("let in"),
    }
}

async fn server(accepts: Accepts) -> SshServer {
    SshServer::start(vec![private(ED25519)], accepts).await.expect("starts")
}

#[tokio::test]
async fn a_password_lets_in_and_a_wrong_one_does_not() {
    let server = server(Accepts::Password(PASSWORD.to_owned())).await;
    assert!(log_in(&target(server.port(), password(PASSWORD))).await.is_ok());

    let error = refused(&target(server.port(), password("wrong"))).await;
    assert_eq!(error.outcome(), ConnectionOutcome::AuthFailed);
    assert!(matches!(&error, SshError::AuthFailed { username, .. } if username.as_str() == "ops"), "{error}");
    assert!(error.remedy().contains("password"), "{}", error.remedy());
    assert!(!format!("{error:?} {error} {}", error.remedy()).contains("wrong"));
}

#[tokio::test]
async fn a_server_that_asks_gets_the_password_as_its_answer() {
    let server = server(Accepts::Prompt(PASSWORD.to_owned())).await;
    assert!(log_in(&target(server.port(), password(PASSWORD))).await.is_ok());
    assert_eq!(server.shown().last(), Some(&Shown::Answer(PASSWORD.to_owned())));
    assert_eq!(refused(&target(server.port(), password("wrong"))).await.outcome(), ConnectionOutcome::AuthFailed);
}

#[tokio::test]
async fn a_server_without_passwords_is_told_from_a_wrong_password() {
    let server = server(Accepts::Key(private(OTHER).public_key().clone())).await;
    let error = refused(&target(server.port(), password(PASSWORD))).await;
    assert_eq!(error.outcome(), ConnectionOutcome::AuthFailed);
    assert!(error.remedy().contains("PasswordAuthentication"), "{}", error.remedy());
}

#[tokio::test]
async fn keys_of_each_kind_let_in() {
    let kinds = [
        (ED25519, "ssh-ed25519"),
        (ECDSA, "ecdsa-sha2-nistp256"),
        (key!("ecdsa384-sec1"), "ecdsa-sha2-nistp384"),
        (key!("ecdsa521-pkcs8"), "ecdsa-sha2-nistp521"),
        (RSA, "rsa-sha2-512"),
        (key!("rsa-pkcs1"), "rsa-sha2-512"),
    ];
    for (pem, algorithm) in kinds {
        let server = server(Accepts::Key(private(pem).public_key().clone())).await;
        if let Err(error) = log_in(&target(server.port(), key(pem))).await {
            panic!("{algorithm}: {error:?}");
        }
        assert_eq!(server.shown(), [Shown::Signature(algorithm.to_owned())]);
    }
}

#[tokio::test]
async fn a_key_the_server_does_not_know_is_refused_in_words() {
    let server = server(Accepts::Key(private(OTHER).public_key().clone())).await;
    let error = refused(&target(server.port(), key(RSA))).await;
    assert_eq!(error.outcome(), ConnectionOutcome::AuthFailed);
    assert!(error.remedy().contains("authorized_keys"), "{}", error.remedy());
}

#[tokio::test]
async fn an_encrypted_key_needs_its_passphrase() {
    let encrypted = key!("ed25519-openssh-encrypted");
    let public = decode_secret_key(encrypted, Some("open sesame")).expect("a key").public_key().clone();
    let server = server(Accepts::Key(public)).await;
    let with = |passphrase: Option<&str>| {
        let passphrase = passphrase.map(SecretString::from);
        target(
            server.port(),
            SshAuth::Key { private_key: SecretString::from(encrypted), passphrase, sudo_password: None },
        )
    };
    assert!(log_in(&with(Some("open sesame"))).await.is_ok());
    for (passphrase, problem) in [(None, KeyProblem::PassphraseMissing), (Some("wrong"), KeyProblem::PassphraseWrong)] {
        let error = refused(&with(passphrase)).await;
        assert_eq!(error.outcome(), ConnectionOutcome::AuthFailed);
        assert!(matches!(&error, SshError::KeyUnreadable(found) if *found == problem), "{error}");
    }
}

#[tokio::test]
async fn the_host_key_is_known_before_any_credential_is_sent() {
    let server = server(Accepts::Password(PASSWORD.to_owned())).await;
    let dialled = connector().dial(&target(server.port(), password(PASSWORD))).await.expect("dialled");
    assert!(dialled.first_contact);
    assert_eq!(dialled.host_key, fingerprint(ED25519));
    assert_eq!(server.shown(), []);
    assert!(dialled.authenticate().await.is_ok());
}

#[tokio::test]
async fn an_impostor_is_stopped_with_both_fingerprints_and_sees_no_credential() {
    let impostor = SshServer::start(vec![private(OTHER), private(OTHER_RSA)], Accepts::Nobody).await.expect("starts");
    for auth in [password(PASSWORD), key(RSA)] {
        let mut target = target(impostor.port(), auth);
        target.host_key = Some(fingerprint(ED25519));
        let error = refused(&target).await;
        assert_eq!(error.outcome(), ConnectionOutcome::HostKeyMismatch);
        let text = format!("{error} {}", error.remedy());
        assert!(text.contains(fingerprint(ED25519).as_str()) && text.contains(fingerprint(OTHER).as_str()), "{text}");
    }
    assert_eq!(impostor.shown(), []);
}

#[tokio::test]
async fn an_expected_key_of_another_family_is_no_change() {
    let keys = vec![private(ED25519), private(ECDSA), private(RSA)];
    let server = SshServer::start(keys, Accepts::Password(PASSWORD.to_owned())).await.expect("starts");
    for pem in [ED25519, ECDSA, RSA] {
        let mut target = target(server.port(), password(PASSWORD));
        target.host_key = Some(fingerprint(pem));
        let dialled = connector().dial(&target).await.expect("the same host");
        assert!(!dialled.first_contact);
        assert_eq!(dialled.host_key, fingerprint(pem));
    }
}

#[tokio::test]
async fn a_closed_port_and_another_service_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let other = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        stream.try_write(b"220 mail.example.com ESMTP\r\n").expect("written");
    });
    let error = refused(&target(port, password(PASSWORD))).await;
    assert!(matches!(error, SshError::Unreachable { why: Unreachable::NotSsh, .. }), "{error}");
    other.await.expect("served");

    let error = refused(&target(port, password(PASSWORD))).await;
    assert!(matches!(error, SshError::Unreachable { why: Unreachable::Refused, .. }), "{error}");
    assert_eq!(error.outcome(), ConnectionOutcome::Unreachable);
}

#[tokio::test]
async fn this_machine_is_not_dialled_unless_allowed() {
    let server = server(Accepts::Password(PASSWORD.to_owned())).await;
    let target = target(server.port(), password(PASSWORD));
    let error = Connector::default().dial(&target).await.err().expect("refused");
    assert!(matches!(error, SshError::AddressRefused { .. }), "{error}");
    assert_eq!(error.outcome(), ConnectionOutcome::Failed);
}

/// What `program`, in the agent's place, does on the server.
async fn run(program: &str, arguments: &[&str], secret: Option<&str>) -> (Result<(), SshError>, Vec<RunEvent>) {
    let folder = tempfile::tempdir().expect("a directory");
    if Path::new(program).exists() {
        std::fs::copy(program, folder.path().join("muster-agent")).expect("copied");
    }
    let server = server(Accepts::Password(PASSWORD.to_owned())).await;
    let session = log_in(&target(server.port(), password(PASSWORD))).await.expect("let in");
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let secret = secret.map(SecretString::from);
    let run = AgentRun {
        arguments: &arguments,
        sudo_mode: SudoMode::None,
        sudo_password: None,
        secret: secret.as_ref(),
        time_limit: SOON,
    };
    let (events, mut told) = mpsc::channel(64);
    let result = session.run_agent(run, &AgentBinaries::new(folder.path()), &events).await;
    drop(events);
    let mut all = Vec::new();
    while let Some(event) = told.recv().await {
        all.push(event);
    }
    session.close().await;
    (result, all)
}

fn lines(events: &[RunEvent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| if let RunEvent::Line(line) = event { Some(line.as_str()) } else { None })
        .collect()
}

#[tokio::test]
async fn the_agent_is_carried_run_and_heard() {
    let (result, events) = run("/bin/echo", &["it's", "$(touch canary)", "; false", "*"], None).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(lines(&events), ["it's $(touch canary) ; false *"]);
    let size = std::fs::metadata("/bin/echo").expect("there").len();
    assert!(matches!(&events[0], RunEvent::Greeted { arch, .. } if arch == std::env::consts::ARCH), "{events:?}");
    assert_eq!(events[1..3], [RunEvent::Uploading { bytes: size as usize }, RunEvent::Running]);
}

#[tokio::test]
async fn the_secret_is_the_agents_standard_input() {
    let (result, events) = run("/bin/cat", &[], Some("muj_0123456789")).await;
    assert!(result.is_ok(), "{result:?}");
    // An unfinished last line is a line too.
    assert_eq!(lines(&events), ["muj_0123456789"]);
}

#[tokio::test]
async fn the_agents_failure_is_told_in_its_words() {
    let (result, _) = run("/bin/ls", &["/no/such/place"], None).await;
    match result {
        Err(SshError::Agent { status: 2, detail }) => assert!(detail.contains("/no/such/place"), "{detail}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_there_is_no_agent_for_is_named() {
    let (result, _) = run("/no/agent", &[], None).await;
    assert!(matches!(result, Err(SshError::Carriage(Carriage::NoAgentFor(_)))), "{result:?}");
}

#[tokio::test]
async fn every_failure_has_a_remedy() {
    let errors = [
        SshError::Elevation(Elevation::PasswordRefused),
        SshError::Elevation(Elevation::NotAllowed),
        SshError::Carriage(Carriage::NoExecutableDirectory),
        SshError::Timeout { during: "the login", seconds: 30 },
        SshError::Unreachable { address: "host".into(), port: 22, why: Unreachable::Dns },
    ];
    for error in errors {
        assert!(error.remedy().len() > 20, "{error}");
    }
}
