//! Securing real servers: from a password to a key that was seen to work, and what a failure at each step leaves.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use muster::servers::SshAuth;
use muster_tests::{
    binaries,
    control_plane::{ControlPlane, Settings},
    entered::lets_in,
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::SOON,
    wait,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::Row as _;

const PASSWORD: &str = "correct horse";
const DROP_IN: &str = "/etc/ssh/sshd_config.d/00-muster.conf";

struct Lab {
    control_plane: ControlPlane,
    server: LabServer,
}

impl Lab {
    async fn start(release: Release) -> Result<Self> {
        let network = Network::create().await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let server = LabServer::start(&network, release, Variant::Plain).await?;
        server.set_password("root", PASSWORD).await?;
        Ok(Self { control_plane, server })
    }

    /// Saves the server under a name, entered as `user` by the password.
    async fn save(&self, name: &str, user: &str, password: &str) -> Result<String> {
        let body = json!({
            "name": name, "ipv4_address": self.server.address().to_string(), "ssh_username": user,
            "ssh_password": password
        });
        let vm = self.control_plane.rest().post("/api/v1/vms", &body).await?;
        Ok(vm["id"].as_str().context("an id")?.to_owned())
    }

    async fn secure(&self, id: &str, body: Value) -> Result<(StatusCode, Value, String)> {
        let path = format!("/api/v1/vms/{id}/secure");
        let answer = self.control_plane.rest().call(Method::POST, &path, Some(&body)).await?;
        Ok((answer.status, answer.body, answer.text))
    }

    /// Whether a fresh login works.
    async fn lets_in(&self, user: &str, auth: SshAuth) -> Result<bool> {
        lets_in(&self.server, user, auth).await
    }

    async fn lets_password_in(&self, user: &str) -> Result<bool> {
        self.lets_in(user, SshAuth::Password(SecretString::from(PASSWORD))).await
    }

    /// How the login of the server `id` is kept: method, password, key, and how often the row was changed.
    async fn kept(&self, id: &str) -> Result<(String, Option<Vec<u8>>, Option<Vec<u8>>, i64)> {
        let query = "SELECT id, ssh_auth_method, ssh_password_sealed, ssh_private_key_sealed, revision FROM servers";
        for row in self.control_plane.database().rows(query).await? {
            if row.try_get::<String, _>(0)? == id {
                return Ok((row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?));
            }
        }
        anyhow::bail!("no server {id}")
    }

    async fn keys_let_in(&self, home: &str) -> Result<String> {
        let output = self.server.exec(&["cat", &format!("{home}/.ssh/authorized_keys")]).await?;
        Ok(output.stdout.trim().to_owned())
    }

    /// Everything of sshd's settings that a run may touch, and what waits to undo it.
    async fn settings(&self) -> Result<String> {
        let files = "cat /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*; ls -l /etc/ssh /etc/ssh/sshd_config.d; \
                     ls /var/lib /usr/local/sbin /etc/systemd/system";
        // Times and sizes of folders change; what is in them must not.
        Ok(self.server.paste(files).await?.stdout.lines().filter(|line| !line.starts_with("total")).fold(
            String::new(),
            |mut text, line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let line = if line.starts_with(['-', 'd']) && words.len() == 9 { words[8] } else { line };
                text.push_str(line);
                text.push('\n');
                text
            },
        ))
    }
}

/// Files below `folder` that hold `needle`.
fn files_with(folder: &Path, needle: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, needle)?);
        } else if path.is_file() {
            let content = std::fs::read(&path)?;
            if content.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    Ok(found)
}

fn key_auth(pem: &str) -> SshAuth {
    SshAuth::Key { private_key: SecretString::from(pem), passphrase: None, sudo_password: None }
}

async fn becomes_a_key(release: Release) -> Result<()> {
    let lab = Lab::start(release).await?;
    let id = lab.save("web-1", "root", PASSWORD).await?;
    let (status, secured, text) = lab.secure(&id, json!({ "disable_password_auth": true })).await?;
    assert_eq!(status, StatusCode::OK, "{text}");
    for (field, expected) in [
        ("message", json!("Server successfully secured with SSH key authentication")),
        ("vm_id", json!(id)),
        ("previous_auth_method", json!("password")),
        ("new_auth_method", json!("ssh_key")),
        ("key_verified", json!(true)),
        ("password_cleared", json!(true)),
        ("server_password_auth_disabled", json!(true)),
        ("key_type", json!("ed25519")),
        ("warning", json!(null)),
    ] {
        assert_eq!(secured[field], expected, "{field}");
    }
    let pem = secured["private_key"].as_str().context("a private key")?;
    ensure!(pem.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"), "no key in OpenSSH's form");
    let (method, password, key, _) = lab.kept(&id).await?;
    assert_eq!((method.as_str(), password, key.is_some()), ("ssh_key", None, true), "the row as it is stored");
    // The server itself: the one line, the key lets in, the password does not, nothing waits.
    assert_eq!(lab.keys_let_in("/root").await?, secured["public_key"].as_str().context("a public key")?);
    assert!(lab.lets_in("root", key_auth(pem)).await?);
    assert!(!lab.lets_password_in("root").await?);
    let left = lab.server.paste("ls /etc/systemd/system /usr/local/sbin /var/lib /tmp").await?.stdout;
    assert!(!left.contains("muster"), "{left}");
    // The control plane's own login is the key.
    let tested = lab.control_plane.rest().post(&format!("/api/v1/vms/{id}/test-connection"), &json!({})).await?;
    assert_eq!(tested["status"], "success", "{tested}");
    the_private_key_is_told_once(&lab, pem, &text).await?;
    let (status, refused, _) = lab.secure(&id, json!({})).await?;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("already_secured")));
    Ok(())
}

/// In the answer, and nowhere else in the clear: not in the database, a log, the audit record or an event.
async fn the_private_key_is_told_once(lab: &Lab, pem: &str, answer: &str) -> Result<()> {
    let secret = pem.lines().nth(2).context("the key's third line")?;
    assert_eq!(answer.matches(secret).count(), 1);
    assert_eq!(files_with(lab.control_plane.directory(), secret)?, Vec::<String>::new());
    assert!(!lab.control_plane.lines().all().iter().any(|line| line.contains(secret)), "the key is in the log");
    for word in [PASSWORD, secret] {
        let audit = lab.control_plane.rest().get("/api/v1/audit?limit=1000").await?.to_string();
        assert!(!audit.contains(word));
    }
    let journal = lab.server.journal(None).await?;
    assert!(!journal.contains(secret), "the key is in the server's journal");
    let audit = lab.control_plane.rest().get("/api/v1/audit?action=SERVER_SECURED").await?;
    assert_eq!(audit[0]["after"]["ssh_auth_method"], "ssh_key", "{audit}");
    assert_eq!(audit[0]["after"]["ssh_password"], json!(null), "{audit}");
    Ok(())
}

#[tokio::test]
async fn a_password_becomes_a_key_on_bullseye() -> Result<()> {
    becomes_a_key(Release::Bullseye).await
}

#[tokio::test]
async fn a_password_becomes_a_key_on_bookworm() -> Result<()> {
    becomes_a_key(Release::Bookworm).await
}

#[tokio::test]
async fn a_password_becomes_a_key_on_trixie() -> Result<()> {
    becomes_a_key(Release::Trixie).await
}

#[tokio::test]
async fn sudo_s_password_is_forgotten_only_where_root_can_do_without() -> Result<()> {
    let lab = Lab::start(Release::Bookworm).await?;
    lab.server.add_user("asked", PASSWORD, Sudo::WithPassword).await?;
    lab.server.add_user("trusted", PASSWORD, Sudo::WithoutPassword).await?;
    let trusted = lab.save("trusted", "trusted", PASSWORD).await?;
    let stream = lab.control_plane.rest().stream(&format!("/api/v1/vms/{trusted}/secure"), None).await?;
    let events = stream.all(SOON).await?;
    let steps: Vec<_> = events.iter().filter_map(|event| event.data["step"].as_str()).collect();
    let expected =
        ["connecting", "generating_key", "deploying_key", "verifying_key", "checking_root", "updating_record"];
    assert_eq!(steps, expected, "{events:?}");
    let last = events.last().context("events")?;
    assert_eq!((last.name.as_str(), &last.data["password_cleared"]), ("complete", &json!(true)));
    assert_eq!(last.data["server_password_auth_disabled"], false);
    assert!(lab.lets_password_in("trusted").await?, "the server's own setting stays unless asked for");

    let asked = lab.save("asked", "asked", PASSWORD).await?;
    let before = lab.kept(&asked).await?;
    let (status, refused, _) = lab.secure(&asked, json!({})).await?;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("sudo_needs_password")), "{refused}");
    assert_eq!((&before.0, &before.1), (&lab.kept(&asked).await?.0, &lab.kept(&asked).await?.1));
    assert_eq!(lab.keys_let_in("/home/asked").await?, "", "the line is taken away again");
    let (status, secured, text) = lab.secure(&asked, json!({ "keep_sudo_password": true })).await?;
    assert_eq!((status, &secured["password_cleared"]), (StatusCode::OK, &json!(false)), "{text}");
    let tested = lab.control_plane.rest().post(&format!("/api/v1/vms/{asked}/test-connection"), &json!({})).await?;
    assert_eq!((&tested["status"], &tested["detected"]["sudo_available"]), (&json!("success"), &json!(true)));
    Ok(())
}

/// Something that breaks one step, and what mends it again.
struct Break {
    step: &'static str,
    code: &'static str,
    with: &'static str,
    mend: &'static str,
    body: Value,
}

fn breaks() -> [Break; 5] {
    let of = |step, code, with, mend, disable: bool| Break {
        step,
        code,
        with,
        mend,
        body: json!({ "disable_password_auth": disable }),
    };
    [
        of(
            "deploying_key",
            "agent_failed",
            "mkdir -p /root/.ssh/authorized_keys",
            "rmdir /root/.ssh/authorized_keys",
            false,
        ),
        of(
            "verifying_key",
            "ssh_auth_failed",
            "echo AuthorizedKeysFile none > /etc/ssh/sshd_config.d/01-x.conf; systemctl reload ssh; sleep 1",
            "rm /etc/ssh/sshd_config.d/01-x.conf; systemctl reload ssh; sleep 1",
            false,
        ),
        of(
            "disabling_passwords",
            "agent_failed",
            "printf 'Match User root\\nPasswordAuthentication yes\\n' >> /etc/ssh/sshd_config",
            "sed -i '/^Match User root$/,$d' /etc/ssh/sshd_config",
            true,
        ),
        of(
            "disabling_passwords",
            "agent_failed",
            "echo Nonsense yes > /etc/ssh/sshd_config.d/99-x.conf",
            "rm /etc/ssh/sshd_config.d/99-x.conf",
            true,
        ),
        of(
            "verifying_refusal",
            "password_still_accepted",
            // sshd -T asks about a client on the host itself; the one from outside is matched.
            "printf 'Match Address *,!127.0.0.1\\nPasswordAuthentication yes\\n' >> /etc/ssh/sshd_config",
            "sed -i '/^Match Address/,$d' /etc/ssh/sshd_config",
            true,
        ),
    ]
}

#[tokio::test]
async fn a_failure_at_any_step_changes_nothing() -> Result<()> {
    let lab = Lab::start(Release::Bookworm).await?;
    let wrong = lab.save("wrong", "root", "wrong").await?;
    let (status, refused, _) = lab.secure(&wrong, json!({})).await?;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("ssh_auth_failed")), "{refused}");
    let id = lab.save("web-1", "root", PASSWORD).await?;
    lab.control_plane.rest().post(&format!("/api/v1/vms/{id}/test-connection"), &json!({})).await?;
    lab.server.paste("mkdir -p -m 700 /root/.ssh; echo '# mine' > /root/.ssh/authorized_keys").await?;
    let before = lab.kept(&id).await?;
    for Break { step, code, with, mend, body } in breaks() {
        if step == "deploying_key" {
            lab.server.paste("mv /root/.ssh/authorized_keys /root/.ssh/aside").await?;
        }
        lab.server.paste(with).await?;
        let settings = lab.settings().await?;
        let stream = lab.control_plane.rest().stream(&format!("/api/v1/vms/{id}/secure"), Some(&body)).await?;
        let events = stream.all(SOON).await?;
        let last = events.last().context("events")?;
        let told = (last.name.as_str(), last.data["step"].as_str(), last.data["code"].as_str());
        assert_eq!(told, ("error", Some(step), Some(code)), "{with}: {events:#?}");
        assert_eq!(lab.settings().await?, settings, "{with}");
        lab.server.paste(mend).await?;
        if step == "deploying_key" {
            lab.server.paste("mv /root/.ssh/aside /root/.ssh/authorized_keys").await?;
        }
        assert_eq!(lab.keys_let_in("/root").await?, "# mine", "{with}");
        assert_eq!(lab.kept(&id).await?, before, "{with}");
        assert!(lab.lets_password_in("root").await?, "{with}");
    }
    let failed = lab.control_plane.rest().get("/api/v1/audit?action=SERVER_SECURE_FAILED").await?;
    assert_eq!(failed.as_array().map(Vec::len), Some(6), "{failed}");
    let (status, _, text) = lab.secure(&id, json!({})).await?;
    assert_eq!(status, StatusCode::OK, "{text}");
    Ok(())
}

/// Nobody keeps the change: the host puts it back by itself, also after a restart in the middle.
#[tokio::test]
async fn passwords_that_nobody_kept_off_come_back() -> Result<()> {
    let lab = Lab::start(Release::Bookworm).await?;
    lab.server.write_file("/root/muster-agent", "0700", &std::fs::read(binaries::muster_agent())?).await?;
    let settings = lab.settings().await?;
    let off = ["/root/muster-agent", "login", "passwords-off", "--user", "root", "--within"];
    lab.server.run(&[&off[..], &["6"]].concat()).await?;
    assert!(!lab.lets_password_in("root").await?);
    wait::until("the password to be let in", Duration::from_secs(30), || async {
        Ok(lab.lets_password_in("root").await.unwrap_or_default().then_some(()))
    })
    .await?;
    wait::until("everything to be put back", SOON, || async { Ok((lab.settings().await? == settings).then_some(())) })
        .await?;
    // Its owner is killed with the host; whoever comes in first after the boot finds it put back.
    lab.server.run(&[&off[..], &["600"]].concat()).await?;
    assert!(!lab.lets_password_in("root").await?);
    lab.server.stop().await?;
    let Lab { server, control_plane } = lab;
    let lab = Lab { server: server.boot_again().await?, control_plane };
    assert!(lab.lets_password_in("root").await?);
    assert_eq!(lab.settings().await?, settings);
    assert!(!lab.server.exec(&["test", "-e", DROP_IN]).await?.status.success());
    Ok(())
}
