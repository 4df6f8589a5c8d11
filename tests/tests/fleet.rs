//! Simulated hosts against the real control plane: identity, streams, samples and commands.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use http::Method;
use muster_shared::wire;
use muster_tests::{
    control_plane::{ControlPlane, Database, Settings},
    fleet::{Ended, Fleet, Host, Pace, Session, enrol_with, envelope_of, now_us},
    patience::{SOON, held_to},
    wait,
};
use serde_json::{Value, json};
use tonic::Code;

/// The promise on revocation.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

fn claims(name: &str) -> wire::HostClaims {
    wire::HostClaims { hostname: name.to_owned(), arch: "x86_64".to_owned(), ..Default::default() }
}

async fn token(control_plane: &ControlPlane) -> Result<String> {
    Ok(control_plane.join_token(None).await?["token"].as_str().context("a token")?.to_owned())
}

#[tokio::test]
async fn samples_are_stored_once_acknowledged_and_summarised_while_fresh() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let mut fleet = Fleet::enrol(&control_plane, 5, 12).await?;
    fleet.start(control_plane.address(), Pace { period: Duration::from_millis(200), ticks: 1 });
    fleet.all_online(SOON).await?;
    let host = &fleet.hosts()[0];
    let summary = control_plane.first_sample(host.server_id(), SOON).await?;
    assert_eq!(summary["memory_usage_percent"], json!(75.0), "{summary}");
    assert_eq!(summary["disk_usage_percent"], json!(75.0), "{summary}");
    wait::until("the processor's share", SOON, || async {
        let summary = control_plane.first_sample(host.server_id(), SOON).await?;
        Ok((summary["cpu_usage_percent"] == json!(25.0)).then_some(()))
    })
    .await?;
    let shown = control_plane.rest().get(&format!("/api/v1/vms/{}", host.server_id())).await?;
    assert_eq!((&shown["agent_status"], &shown["name"]), (&json!("online"), &json!(host.name())));
    fleet.settle(SOON).await?;
    let stored = fleet.verify(&control_plane).await?;
    assert!(stored.frames >= 10, "{stored:?}");
    Ok(())
}

#[tokio::test]
async fn one_of_a_hundred_wins_a_token() -> Result<()> {
    for database in [Database::Sqlite].into_iter().chain(postgres()) {
        let control_plane = Settings::new().on(database).start().await?;
        let token = token(&control_plane).await?;
        let (address, pin) = (control_plane.address(), control_plane.ca_pin());
        let race = (0..100).map(|runner| enrol_with(address, pin, &token, claims(&format!("runner-{runner}"))));
        let ended = join_all(race.map(Box::pin)).await;
        let winners = ended.iter().filter(|runner| runner.is_ok()).count();
        assert_eq!(winners, 1, "{database:?}");
        for refusal in ended.iter().filter_map(|runner| runner.as_ref().err()) {
            assert_eq!(refusal.code(), Code::Unauthenticated, "{refusal}");
        }
        let servers = control_plane.rest().get("/api/v1/vms").await?;
        assert_eq!(servers.as_array().map(Vec::len), Some(1), "{database:?}");
    }
    Ok(())
}

/// PostgreSQL where `tests/run` has started one.
fn postgres() -> Option<Database> {
    std::env::var_os("MUSTER_TEST_POSTGRES_URL").map(|_| Database::Postgres)
}

#[tokio::test]
async fn an_unknown_a_revoked_and_an_expired_token_let_nobody_in() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let (address, pin) = (control_plane.address(), control_plane.ca_pin());
    let refused = async |token: &str| match enrol_with(address, pin, token, claims("x")).await {
        Ok(_) => anyhow::bail!("enrolled"),
        Err(status) => Ok(status.code()),
    };
    assert_eq!(refused("mjt_unknown").await?, Code::Unauthenticated);
    let created = control_plane.join_token(None).await?;
    let path = format!("/api/v1/join-tokens/{}", created["id"].as_str().context("an id")?);
    assert!(control_plane.rest().call(Method::DELETE, &path, None).await?.status.is_success());
    assert_eq!(refused(created["token"].as_str().context("a token")?).await?, Code::Unauthenticated);
    Ok(())
}

async fn revoke(control_plane: &ControlPlane, host: &Host) -> Result<Value> {
    control_plane.rest().post(&format!("/api/v1/vms/{}/agent/revoke", host.server_id()), &json!({})).await
}

#[tokio::test]
async fn revocation_cuts_a_live_stream_within_five_seconds_and_for_good() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let host = Arc::new(Host::enrol(&control_plane, "doomed", 12).await?);
    let mut session = welcomed(&host, &control_plane).await?;
    let begun = Instant::now();
    revoke(&control_plane, &host).await?;
    let ended = tokio::time::timeout(held_to(REVOKED_WITHIN), async {
        loop {
            if let Some(ended) = session.hear().await? {
                return Ok::<_, anyhow::Error>(ended);
            }
        }
    });
    let ended = ended.await.context("the stream still stands after five seconds")??;
    println!("revocation cut the stream after {} ms: {ended:?}", begun.elapsed().as_millis());
    let again = refusal(&host, &control_plane).await?;
    assert_eq!(again.code(), Code::PermissionDenied, "{again}");
    let renewal = host.identity().lock().await.renew(control_plane.address()).await.expect_err("refused");
    assert_eq!(renewal.downcast::<tonic::Status>()?.code(), Code::PermissionDenied);
    Ok(())
}

/// How the control plane turns down a stream of this host.
async fn refusal(host: &Arc<Host>, control_plane: &ControlPlane) -> Result<tonic::Status> {
    let error = match Session::open(Arc::clone(host), control_plane.address()).await {
        Err(error) => error,
        Ok(mut session) => loop {
            match session.hear().await? {
                Some(Ended::Broken(status)) => return Ok(status),
                Some(other) => anyhow::bail!("{other:?}"),
                None => {}
            }
        },
    };
    error.downcast()
}

#[tokio::test]
async fn a_copied_identity_is_quarantined_at_its_second_connection_and_released_by_a_person() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let host = Arc::new(Host::enrol(&control_plane, "original", 12).await?);
    let mut first = welcomed(&host, &control_plane).await?;
    // The copy was made before the first Welcome: it comes with an older generation than the one confirmed since.
    wait::until("the confirmation to be stored", SOON, || async {
        let query = "SELECT agent_confirmed_generation FROM servers";
        Ok((control_plane.database().number(query).await? == 1).then_some(()))
    })
    .await?;
    let copy = Arc::new(host.copied_before_its_first_welcome().await);
    let refused = refusal(&copy, &control_plane).await?;
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    // A message that was on its way can't be answered any more: that is the stream's end as well.
    let cut = tokio::time::timeout(held_to(REVOKED_WITHIN), async { while matches!(first.hear().await, Ok(None)) {} });
    cut.await.context("the original's stream still stands")?;
    assert_eq!(refusal(&host, &control_plane).await?.code(), Code::PermissionDenied);
    let path = format!("/api/v1/vms/{}", host.server_id());
    assert_eq!(control_plane.rest().get(&path).await?["agent_status"], "quarantined");
    control_plane.rest().post(&format!("{path}/agent/release-quarantine"), &json!({})).await?;
    assert_eq!(
        refusal(&host, &control_plane).await?.code(),
        Code::PermissionDenied,
        "identities given out stay refused"
    );
    Ok(())
}

#[tokio::test]
async fn an_expired_certificate_renews_itself_and_opens_no_stream_before() -> Result<()> {
    let control_plane = Settings::new().argument("--agent-certificate-ttl=8s").start().await?;
    let host = Arc::new(Host::enrol(&control_plane, "sleeper", 12).await?);
    let expires_us = host.identity().lock().await.not_after_us;
    wait::until("the certificate to expire", SOON, || async { Ok((now_us() > expires_us + 1_000_000).then_some(())) })
        .await?;
    let refused = refusal(&host, &control_plane).await?;
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    host.identity().lock().await.renew(control_plane.address()).await?;
    let _session = welcomed(&host, &control_plane).await?;
    Ok(())
}

#[tokio::test]
async fn forged_results_for_another_servers_command_are_not_stored() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    control_plane.expect_unfinished_commands();
    let target = Arc::new(Host::enrol(&control_plane, "target", 12).await?);
    let forger = Arc::new(Host::enrol(&control_plane, "forger", 12).await?);
    let mut asked = welcomed(&target, &control_plane).await?;
    let mut forging = welcomed(&forger, &control_plane).await?;
    let preflight = format!("/api/v1/vms/{}/preflight", target.server_id());
    let _events = control_plane.rest().stream(&preflight, None).await?;
    let command = envelope_of(&asked.delivery().await?)?.command_id;
    let forged = forger.history().deliver(&command, now_us());
    for update in forged {
        forging.send(wire::agent_message::Kind::CommandUpdate(update)).await?;
    }
    // What a stream brings is handled in order: once this frame is acknowledged, the updates before it were judged.
    forger.history().sample(now_us(), 1);
    forging.send_frames().await?;
    tokio::time::timeout(SOON, async {
        while !forger.history().waiting().is_empty() {
            ensure!(forging.hear().await?.is_none(), "the forger's stream ended");
        }
        Ok(())
    })
    .await
    .context("the frame is not acknowledged")??;
    assert_eq!(control_plane.database().number("SELECT COUNT(*) FROM command_updates").await?, 0);
    Ok(())
}

async fn welcomed(host: &Arc<Host>, control_plane: &ControlPlane) -> Result<Session> {
    let mut session = Session::open(Arc::clone(host), control_plane.address()).await?;
    ensure!(session.hear().await?.is_none(), "the stream ended before its welcome");
    Ok(session)
}
