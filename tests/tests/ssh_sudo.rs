//! Logins on real servers: passwords, keys and sudo in every mode. Their /tmp is mounted noexec, so the agent is
//! carried around that as well.

use anyhow::Result;
use muster::{
    agent_binary::AgentBinaries,
    dial::AddressPolicy,
    servers::{SshAuth, SshTarget, SudoMode},
    ssh::{AgentRun, Connector, Elevation, RunEvent, SshError},
};
use muster_shared::facts::Facts;
use muster_tests::{
    binaries,
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::SOON,
};
use russh::keys::decode_secret_key;
use secrecy::SecretString;
use tokio::sync::mpsc;

/// Characters that every layer on the way could take for something else.
const PASSWORD: &str = "p'a\"s$s \\w`o;rd";

/// One of each kind that OpenSSH makes.
const KEYS: [&str; 4] = [
    include_str!("../../control-plane/src/ssh/fixtures/ed25519-openssh.pem"),
    include_str!("../../control-plane/src/ssh/fixtures/ecdsa256-openssh.pem"),
    include_str!("../../control-plane/src/ssh/fixtures/ecdsa521-pkcs8.pem"),
    include_str!("../../control-plane/src/ssh/fixtures/rsa-openssh.pem"),
];

async fn server(release: Release) -> Result<LabServer> {
    let network = Network::create().await?;
    let server = LabServer::start(&network, release, Variant::Plain).await?;
    server.set_password("root", PASSWORD).await?;
    server.add_user("asked", PASSWORD, Sudo::WithPassword).await?;
    server.add_user("trusted", PASSWORD, Sudo::WithoutPassword).await?;
    server.add_user("nobody1", PASSWORD, Sudo::No).await?;
    Ok(server)
}

fn target(server: &LabServer, username: &str, sudo_mode: SudoMode) -> SshTarget {
    SshTarget {
        host: server.address().to_string(),
        port: 22,
        username: username.parse().expect("a name"),
        auth: SshAuth::Password(SecretString::from(PASSWORD)),
        sudo_mode,
        host_key: None,
    }
}

/// Runs the agent's own probe of the facts in a login, and answers as whom it ran: root or not.
async fn probed_as_root(target: &SshTarget, sudo_password: Option<&str>) -> Result<bool, SshError> {
    let agent = binaries::muster_agent();
    let binaries = AgentBinaries::new(agent.parent().expect("a folder"));
    let session = Connector::new(AddressPolicy::default()).dial(target).await?.authenticate().await?;
    let sudo_password = sudo_password.map(SecretString::from);
    let run = AgentRun {
        arguments: &["probe".to_owned(), "facts".to_owned(), "--json".to_owned()],
        sudo_mode: target.sudo_mode,
        sudo_password: sudo_password.as_ref(),
        secret: None,
        time_limit: SOON,
    };
    let (events, mut told) = mpsc::channel(64);
    let (ran, answer) = tokio::join!(
        async {
            let ran = session.run_agent(run, &binaries, &events).await;
            drop(events);
            ran
        },
        async {
            let mut answer = String::new();
            while let Some(event) = told.recv().await {
                if let RunEvent::Line(line) = event {
                    answer.push_str(&line);
                }
            }
            answer
        }
    );
    ran?;
    let facts: Facts = serde_json::from_str(&answer).expect("facts");
    Ok(facts.collected_as.is_root)
}

async fn left_behind(server: &LabServer) -> Result<String> {
    server.run(&["find", "/tmp", "/var/tmp", "/root", "/home", "-name", "muster-agent.*"]).await
}

async fn sudo_works_in_every_mode(release: Release) -> Result<()> {
    let server = server(release).await?;
    let cases = [
        ("root", SudoMode::Auto, None, true),
        ("root", SudoMode::Sudo, None, true),
        ("asked", SudoMode::Auto, Some(PASSWORD), true),
        ("asked", SudoMode::Sudo, Some(PASSWORD), true),
        ("asked", SudoMode::None, None, false),
        ("trusted", SudoMode::Auto, None, true),
        ("trusted", SudoMode::Auto, Some(PASSWORD), true),
    ];
    for (user, mode, password, as_root) in cases {
        let ran = probed_as_root(&target(&server, user, mode), password).await;
        assert_eq!(ran.map_err(|error| error.to_string()), Ok(as_root), "{user} {mode:?}");
    }
    let refused = [
        ("asked", None, Elevation::PasswordRequired),
        ("asked", Some("wrong"), Elevation::PasswordRefused),
        ("nobody1", Some(PASSWORD), Elevation::NotAllowed),
    ];
    for (user, password, expected) in refused {
        match probed_as_root(&target(&server, user, SudoMode::Auto), password).await {
            Err(SshError::Elevation(why)) => assert_eq!(why, expected, "{user}"),
            other => panic!("{user}: {other:?}"),
        }
    }
    assert_eq!(left_behind(&server).await?, "");
    keys_let_in(&server).await
}

/// Against the release's own sshd, whose signature algorithms differ.
async fn keys_let_in(server: &LabServer) -> Result<()> {
    for pem in KEYS {
        let key = decode_secret_key(pem, None)?;
        server.authorize_key("trusted", &key.public_key().to_openssh()?).await?;
        let auth = SshAuth::Key { private_key: SecretString::from(pem), passphrase: None, sudo_password: None };
        let target = SshTarget { auth, ..target(server, "trusted", SudoMode::Auto) };
        let dialled = Connector::new(AddressPolicy::default()).dial(&target).await?;
        assert_eq!(dialled.host_key.as_str(), server.host_key_fingerprint().await?);
        dialled.authenticate().await?.close().await;
    }
    Ok(())
}

#[tokio::test]
async fn sudo_works_in_every_mode_on_bullseye() -> Result<()> {
    sudo_works_in_every_mode(Release::Bullseye).await
}

#[tokio::test]
async fn sudo_works_in_every_mode_on_bookworm() -> Result<()> {
    sudo_works_in_every_mode(Release::Bookworm).await
}

#[tokio::test]
async fn sudo_works_in_every_mode_on_trixie() -> Result<()> {
    sudo_works_in_every_mode(Release::Trixie).await
}
