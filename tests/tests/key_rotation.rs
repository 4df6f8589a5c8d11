//! SIGKILL while the master key is turned, again and again: every secret still opens, and what was begun is completed after
//! the restart.

#![allow(clippy::print_stdout, reason = "the times are what the run shows")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use muster::{
    events::Events,
    keyring::Keyring,
    servers::{Servers, SshAuth},
    store::{DatabaseUrl, Store},
};
use muster_tests::{
    control_plane::{ControlPlane, Database, Settings},
    patience::SOON,
    wait,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

/// Secrets to seal anew in each turn.
const SERVERS: usize = 240;
/// A ring holds 16 keys.
const KILLS: u64 = 12;

async fn fill(control_plane: &ControlPlane) -> Result<Vec<String>> {
    let make = |number: usize| async move {
        let body = json!({
            "name": format!("web-{number}"), "ipv4_address": "203.0.113.10", "ssh_password": format!("secret-{number}"),
        });
        let server = control_plane.rest().post("/api/v1/vms", &body).await?;
        Ok::<_, anyhow::Error>(server["id"].as_str().context("an id")?.to_owned())
    };
    stream::iter(0..SERVERS).map(make).buffered(8).try_collect().await
}

/// Opens every secret as the control plane does, while none runs.
async fn all_open(control_plane: &ControlPlane, url: &DatabaseUrl, org: &str, servers: &[String]) -> Result<()> {
    let store = Store::open(url).await?;
    let keyring = Keyring::open_or_create(control_plane.directory(), &store, 0).await?;
    let noun = Servers::new(store.clone(), keyring, Events::default());
    for (number, id) in servers.iter().enumerate() {
        let target = noun.ssh_target(org.parse()?, id.parse()?).await.with_context(|| format!("server {number}"))?;
        let SshAuth::Password(password) = &target.auth else { anyhow::bail!("server {number} has another login") };
        ensure!(password.expose_secret() == format!("secret-{number}"), "server {number} has another password");
    }
    store.close().await;
    Ok(())
}

/// How many values older keys still seal, and how many keys there are.
async fn standing(control_plane: &ControlPlane) -> Result<(u64, usize)> {
    let ring = control_plane.rest().get("/api/v1/keyring").await?;
    let keys = ring["keys"].as_array().context("keys")?.len();
    Ok((ring["remaining"].as_u64().context("a number")?, keys))
}

async fn survives_kills(database: Database) -> Result<()> {
    let mut control_plane = Settings::new().on(database).start().await?;
    let me = control_plane.rest().get("/api/v1/me").await?;
    let org = me["organization_id"].as_str().context("an id")?.to_owned();
    let servers = fill(&control_plane).await?;
    let url: DatabaseUrl = control_plane.database().address().parse()?;
    let mut interrupted = 0;
    for round in 0..KILLS {
        let rest = control_plane.rest().clone();
        let turning =
            tokio::spawn(async move { rest.call(Method::POST, "/api/v1/keyring/rotate", Some(&Value::Null)).await });
        // From before the key is in the file to after the last value is sealed with it.
        let jitter = u64::from(Uuid::new_v4().as_bytes()[0]) % 8;
        tokio::time::sleep(Duration::from_millis(round * 8 + jitter)).await;
        control_plane.kill().await?;
        let _ = turning.await?;
        all_open(&control_plane, &url, &org, &servers).await.with_context(|| format!("after kill {round}"))?;
        control_plane.start_again().await?;
        interrupted += usize::from(standing(&control_plane).await?.0 > 0);
    }
    wait::until("everything to be sealed with the newest key", SOON, || async {
        Ok((standing(&control_plane).await?.0 == 0).then_some(()))
    })
    .await?;
    let (_, keys) = standing(&control_plane).await?;
    println!("{KILLS} kills, {keys} keys, {interrupted} times with values left to seal anew after the restart");
    ensure!(keys > 2, "hardly any key was added before the kills");
    control_plane.terminate().await?;
    all_open(&control_plane, &url, &org, &servers).await?;
    Ok(())
}

/// Load the whole machine, so one at a time.
mod alone {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn twelve_kills_while_the_master_key_turns_lose_no_secret_on_sqlite() -> Result<()> {
        survives_kills(Database::Sqlite).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn twelve_kills_while_the_master_key_turns_lose_no_secret_on_postgresql() -> Result<()> {
        survives_kills(Database::Postgres).await
    }
}
