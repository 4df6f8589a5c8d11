//! Signing in through a certified OpenID provider, and everything that must not get anybody in.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use muster::totp::code::{code, step_at};
use muster_shared::tls::{Trust, client_config};
use muster_tests::{
    browser::{Browser, From, Page},
    control_plane::{ControlPlane, Database, Settings, free_port},
    patience::SOON,
    process::Process,
    wait,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

const CLIENT_ID: &str = "muster of the tests";
const CLIENT_SECRET: &str = "canary/secret+of:the client";
const ATTEMPT: &str = "__Host-muster-oidc";
const SESSION: &str = "__Host-muster";

/// A provider, and a control plane that people sign in to through it.
struct World {
    control_plane: ControlPlane,
    provider: SocketAddr,
    sites: Vec<(SocketAddr, Arc<ClientConfig>)>,
    url: String,
    _running: Process,
    _folder: TempDir,
}

fn http1(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

impl World {
    async fn start(settings: Settings) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).map(|()| path.to_string_lossy().into_owned())
        };
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?;
        let (pem, key) = (file("ca.pem", &certificate.pem())?, file("key.pem", &key.serialize_pem())?);
        let port = free_port();
        let redirect_uri = format!("https://127.0.0.1:{port}/api/v1/oidc/callback");
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("oidc/provider.mjs");
        let script = script.to_str().context("a path in UTF-8")?;
        let arguments = [script, &pem, &key, CLIENT_ID, CLIENT_SECRET, &redirect_uri];
        let running = Process::start(&PathBuf::from("node"), &arguments, &[])?;
        let line = running.lines().first("the provider", SOON, |line| line.starts_with("{\"issuer\"")).await?;
        let line: Value = serde_json::from_str(&line)?;
        let issuer = line["issuer"].as_str().context("an issuer")?;

        let secret = file("secret", &format!("{CLIENT_SECRET}\n"))?;
        let settings = [
            ("--oidc-issuer", issuer),
            ("--oidc-client-id", CLIENT_ID),
            ("--oidc-client-secret-file", &secret),
            ("--oidc-ca-file", &pem),
            ("--allow-loopback-addresses", "true"),
        ]
        .into_iter()
        .fold(settings.port(port), |settings, (name, value)| settings.argument(name).argument(value));
        let control_plane = settings.start().await?;
        let provider = issuer.trim_start_matches("https://").parse()?;
        let sites = vec![
            (provider, http1(client_config(Trust::Roots(vec![certificate.der().clone()]), None)?)),
            (control_plane.address(), http1(client_config(Trust::Pin(control_plane.ca_pin()), None)?)),
        ];
        let url = format!("https://{}", control_plane.address());
        Ok(Self { control_plane, provider, sites, url, _running: running, _folder: folder })
    }

    fn browser(&self) -> Browser {
        Browser::new(self.sites.clone())
    }

    /// Begins, and goes through the provider as `person`; answers the address the provider sends the browser back to.
    async fn come_back(&self, browser: &mut Browser, person: &str) -> Result<String> {
        let begun = browser.open(&format!("{}/api/v1/oidc/login?return_to=/servers", self.url), From::Itself).await?;
        ensure!(begun.status == StatusCode::FOUND, "{} {}", begun.status, begun.text);
        let mut at = format!("{}&login_hint={person}", begun.location()?);
        let provider = format!("https://{}", self.provider);
        while at.starts_with(&provider) {
            let page = browser.open(&at, From::Elsewhere).await?;
            let location = page.location()?;
            at = if location.starts_with('/') { format!("{provider}{location}") } else { location.to_owned() };
        }
        ensure!(at.starts_with(&self.url), "{at}");
        Ok(at)
    }

    /// The whole way.
    async fn sign_in(&self, browser: &mut Browser, person: &str) -> Result<Page> {
        let back = self.come_back(browser, person).await?;
        browser.open(&back, From::Elsewhere).await
    }

    /// The error that signing in as `person` ends with.
    async fn refusal(&self, person: &str) -> Result<(u16, String)> {
        let mut browser = self.browser();
        let page = self.sign_in(&mut browser, person).await?;
        ensure!(browser.cookie(self.control_plane.address(), SESSION).is_none(), "{person} is in");
        Ok(refused(&page))
    }

    /// Whom the browser is signed in as.
    async fn name_in(&self, browser: &mut Browser) -> Result<String> {
        let page = browser.call(Method::GET, &format!("{}/api/v1/session", self.url), &[], None).await?;
        ensure!(page.status == StatusCode::OK, "{} {}", page.status, page.text);
        Ok(page.json()["user_name"].as_str().context("a name")?.to_owned())
    }

    async fn user(&self, name: &str) -> Result<Value> {
        let user = json!({ "name": name, "email": format!("{name}@example.com"), "role": "member" });
        self.control_plane.rest().post("/api/v1/users", &user).await
    }

    /// How often this is on record, and what was last.
    async fn recorded(&self, action: &str) -> Result<(usize, Value)> {
        let entries = self.control_plane.rest().get(&format!("/api/v1/audit?action={action}")).await?;
        let entries = entries.as_array().context("a list")?;
        Ok((entries.len(), entries.first().cloned().unwrap_or_default()))
    }
}

fn refused(page: &Page) -> (u16, String) {
    (page.status.as_u16(), page.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn refusal_of(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_user_signs_in_through_the_provider_and_strangers_do_not() -> Result<()> {
    let world = World::start(Settings::new()).await?;
    let ada = world.user("ada").await?;
    let mut browser = world.browser();
    let page = world.sign_in(&mut browser, "ada").await?;
    assert_eq!((page.status, page.location()?), (StatusCode::SEE_OTHER, "/servers"), "{}", page.text);
    let site = world.control_plane.address();
    assert!(browser.cookie(site, ATTEMPT).is_none(), "the attempt is over");
    assert_eq!(world.name_in(&mut browser).await?, "ada");
    let (linked, entry) = world.recorded("USER_IDENTITY_LINKED").await?;
    assert_eq!((linked, &entry["resource_id"], &entry["after"]["subject"]), (1, &ada["id"], &json!("ada")), "{entry}");
    let (_, opened) = world.recorded("SESSION_CREATED").await?;
    assert_eq!(opened["after"]["means"], "oidc", "{opened}");

    // From now on the provider's own name for her counts, not her address.
    let path = format!("/api/v1/users/{}", ada["id"].as_str().context("an id")?);
    let change = json!({ "email": "lovelace@example.com" });
    let changed = world.control_plane.rest().call(Method::PATCH, &path, Some(&change)).await?;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    let mut again = world.browser();
    world.sign_in(&mut again, "ada").await?;
    assert_eq!(world.name_in(&mut again).await?, "ada");
    assert_eq!(world.recorded("USER_IDENTITY_LINKED").await?.0, 1);

    assert_eq!(world.refusal("stranger").await?, refusal_of(403, "oidc_unknown_user"));
    let change = json!({ "email": "ada@example.com" });
    world.control_plane.rest().call(Method::PATCH, &path, Some(&change)).await?;
    assert_eq!(world.refusal("impostor").await?, refusal_of(403, "oidc_identity_taken"));
    world.user("unverified").await?;
    assert_eq!(world.refusal("unverified").await?, refusal_of(403, "oidc_email_unverified"));
    assert_eq!(world.refusal("nameless").await?, refusal_of(403, "oidc_email_unverified"));
    assert_eq!(world.refusal("refused").await?, refusal_of(401, "oidc_denied"));
    let log = world.control_plane.lines().all().join("\n");
    assert!(!log.contains("canary"), "the client's secret is in the log");

    // Who is deleted here is nobody, whatever the provider says.
    let gone = world.control_plane.rest().call(Method::DELETE, &path, None).await?;
    assert!(gone.status.is_success(), "{}", gone.text);
    assert_eq!(world.refusal("ada").await?, refusal_of(403, "oidc_unknown_user"));
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_not_for_this_attempt_gets_nobody_in() -> Result<()> {
    let world = World::start(Settings::new()).await?;
    world.user("ada").await?;
    let stale = refusal_of(401, "oidc_attempt_stale");
    let open = async |browser: &mut Browser, url: &str| anyhow::Ok(refused(&browser.open(url, From::Elsewhere).await?));

    // Another browser, none of its own attempts, and a second time.
    let mut browser = world.browser();
    let back = world.come_back(&mut browser, "ada").await?;
    let mut other = world.browser();
    assert_eq!(open(&mut other, &back).await?, stale, "a browser without the attempt");
    world.come_back(&mut other, "ada").await?;
    assert_eq!(open(&mut other, &back).await?, stale, "a browser with another attempt");
    let forced = back.replace("state=", "state=x");
    assert_eq!(open(&mut browser, &forced).await?, stale, "another state");
    let mut copied = browser.clone();
    let page = browser.open(&back, From::Elsewhere).await?;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
    assert_eq!(open(&mut copied, &back).await?, stale, "the same once more");

    // A code that was used, one of another attempt, and one that is too old.
    let code = |url: &str| url.split(['?', '&']).find_map(|pair| pair.strip_prefix("code=")).unwrap_or("?").to_owned();
    let mut browser = world.browser();
    let fresh = world.come_back(&mut browser, "ada").await?;
    let used = fresh.replace(&code(&fresh), &code(&back));
    assert_eq!(open(&mut browser, &used).await?, refusal_of(401, "oidc_code_refused"));
    let mut victim = world.browser();
    let mine = world.come_back(&mut victim, "ada").await?;
    let injected = mine.replace(&code(&mine), &code(&fresh));
    assert_eq!(open(&mut victim, &injected).await?, refusal_of(401, "oidc_code_refused"), "PKCE binds a code");
    world.user("late").await?;
    assert_eq!(world.refusal("late").await?, refusal_of(401, "oidc_code_refused"));
    let mut browser = world.browser();
    let back = world.come_back(&mut browser, "ada").await?;
    let mixed = back.replace("iss=", "iss=https%3A%2F%2Fevil.example&was=");
    assert_eq!(open(&mut browser, &mixed).await?, stale, "another provider's answer");

    for person in
        ["other-nonce", "no-nonce", "other-audience", "other-issuer", "expired", "forged", "unsigned", "shared-secret"]
    {
        world.user(person).await?;
        assert_eq!(world.refusal(person).await?, refusal_of(401, "oidc_answer_refused"), "{person}");
    }
    assert_eq!(world.recorded("SESSION_CREATED").await?.0, 1, "nobody else got in");

    // The provider signs with a new key, which it shows with its others.
    world.user("turned").await?;
    wait::until("the new key", SOON, async || {
        let mut browser = world.browser();
        let page = world.sign_in(&mut browser, "turned").await?;
        Ok((page.status == StatusCode::SEE_OTHER).then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn whoever_the_provider_knows_joins_where_that_is_set_up() -> Result<()> {
    let mut world = World::start(Settings::new().on(Database::Postgres)).await?;
    let me = world.control_plane.rest().get("/api/v1/me").await?;
    let organization = me["organization_id"].as_str().context("an id")?;
    let settings = format!(
        "oidc_join_organization = \"{organization}\"\noidc_join_role = \"project_member\"\n\
         oidc_allowed_domains = \"example.com\"\n"
    );
    std::fs::write(world.control_plane.directory().join("muster.toml"), settings)?;
    world.control_plane.terminate().await?;
    world.control_plane.start_again().await?;

    for _ in 0..2 {
        let mut browser = world.browser();
        world.sign_in(&mut browser, "grace").await?;
        assert_eq!(world.name_in(&mut browser).await?, "grace@example.com");
    }
    let users = world.control_plane.rest().get("/api/v1/users").await?;
    let grace = users.as_array().context("a list")?.iter().find(|user| user["name"] == "grace@example.com");
    let grace = grace.context("she is a user")?;
    assert_eq!((&grace["role"], &grace["has_password"]), (&json!("project_member"), &json!(false)), "{grace}");
    let (made, entry) = world.recorded("USER_CREATED").await?;
    assert_eq!(
        (made, &entry["actor_kind"], &entry["after"]["subject"]),
        (1, &json!("system"), &json!("grace")),
        "{entry}"
    );
    assert_eq!(world.refusal("outsider").await?, refusal_of(403, "oidc_domain"));
    assert_eq!(world.refusal("unverified").await?, refusal_of(403, "oidc_email_unverified"));
    Ok(())
}

/// What authenticator apps do with a secret in base32.
fn secret_of(text: &str) -> Vec<u8> {
    let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'2' + 26 } else { byte - b'A' };
    let bits: Vec<_> = text.bytes().flat_map(|byte| (0..5).rev().map(move |at| digit(byte) >> at & 1)).collect();
    bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}

#[tokio::test]
async fn the_provider_does_not_stand_for_a_second_factor() -> Result<()> {
    let world = World::start(Settings::new()).await?;
    world.user("ada").await?;
    let mut browser = world.browser();
    world.sign_in(&mut browser, "ada").await?;
    let session = browser.call(Method::GET, &format!("{}/api/v1/session", world.url), &[], None).await?.json();
    let csrf = [("x-csrf-token", session["csrf_token"].as_str().context("a token")?)];
    let totp = format!("{}/api/v1/me/totp", world.url);
    let enrolled = browser.call(Method::POST, &totp, &csrf, Some(&json!({}))).await?;
    let secret = secret_of(enrolled.json()["secret"].as_str().with_context(|| enrolled.text.clone())?);
    let now_us = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
    let first = json!({ "code": code(&secret, step_at(i64::try_from(now_us)?)) });
    let confirmed = browser.call(Method::POST, &format!("{totp}/confirm"), &csrf, Some(&first)).await?;
    let recovery = confirmed.json()["recovery_codes"][0].as_str().with_context(|| confirmed.text.clone())?.to_owned();

    let mut browser = world.browser();
    let page = world.sign_in(&mut browser, "ada").await?;
    assert_eq!(page.location()?, "/sign-in?second_factor=oidc&return_to=%2Fservers");
    let site = world.control_plane.address();
    assert!(browser.cookie(site, SESSION).is_none(), "half the way is not in");
    let complete = format!("{}/api/v1/oidc/second-factor", world.url);
    let wrong = browser.call(Method::POST, &complete, &[], Some(&json!({ "totp_code": "000000" }))).await?;
    assert_eq!(refused(&wrong), refusal_of(401, "invalid_credentials"));
    let right = json!({ "totp_code": recovery });
    let elsewhere = world.browser().call(Method::POST, &complete, &[], Some(&right)).await?;
    assert_eq!(refused(&elsewhere), refusal_of(401, "oidc_attempt_stale"), "whom the provider did not let in");
    let evil = [("origin", "https://evil.example")];
    let crossed = browser.call(Method::POST, &complete, &evil, Some(&right)).await?;
    assert_eq!(refused(&crossed), refusal_of(403, "cross_site"));
    let copied = browser.clone();
    let done = browser.call(Method::POST, &complete, &[], Some(&right)).await?;
    assert_eq!(done.status, StatusCode::CREATED, "{}", done.text);
    assert_eq!(world.name_in(&mut browser).await?, "ada");
    let again = copied.clone().call(Method::POST, &complete, &[], Some(&right)).await?;
    assert_eq!(refused(&again), refusal_of(401, "invalid_credentials"), "a code is good once");
    Ok(())
}
