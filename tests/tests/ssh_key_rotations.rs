//! Key pairs replaced on real servers: the new key proven before the old one goes, a server that refuses the new one, and
//! the control plane killed in the middle.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    entered::{by_private_key, lets_in},
    lab::{LabServer, Network, Release, Variant},
    patience::SOON,
    wait,
};
use serde_json::{Value, json};

/// Long enough for the turns of two servers on a busy machine.
const ROTATED_WITHIN: Duration = Duration::from_secs(180);
/// Keys are read here, and not in their owner's folder.
const ELSEWHERE: &str = "/etc/ssh/sshd_config.d/01-elsewhere.conf";

struct Lab {
    control_plane: ControlPlane,
    servers: [LabServer; 2],
    organization: String,
}

/// A key pair, as its making answered it.
struct Pair {
    id: String,
    public_key: String,
    private_key: String,
}

impl Pair {
    fn of(answer: &Value, id: &str) -> Result<Self> {
        let text = |name: &str| answer[name].as_str().map(ToOwned::to_owned).with_context(|| name.to_owned());
        Ok(Self { id: text(id)?, public_key: text("public_key")?, private_key: text("private_key")? })
    }
}

impl Lab {
    /// Two servers that are entered with one key pair.
    async fn start() -> Result<(Self, Pair)> {
        let network = Network::create().await?;
        let control_plane = Settings::new().reached_from(&network).start().await?;
        let server = || LabServer::start(&network, Release::Bookworm, Variant::Plain);
        let (first, second) = tokio::try_join!(server(), server())?;
        let me = control_plane.rest().get("/api/v1/me").await?;
        let organization = me["organization_id"].as_str().context("an id")?.to_owned();
        let lab = Self { control_plane, servers: [first, second], organization };
        let made = lab.control_plane.rest().post(&lab.keys(""), &json!({ "name": "web" })).await?;
        let pair = Pair::of(&made, "id")?;
        for (number, server) in lab.servers.iter().enumerate() {
            server.authorize_key("root", &pair.public_key).await?;
            let body = json!({
                "name": format!("web-{number}"), "ipv4_address": server.address().to_string(), "ssh_username": "root",
                "ssh_key_pair_id": pair.id
            });
            lab.control_plane.rest().post("/api/v1/vms", &body).await?;
        }
        Ok((lab, pair))
    }

    fn keys(&self, rest: &str) -> String {
        format!("/api/v1/organizations/{}/ssh-keys{rest}", self.organization)
    }

    async fn rotate(&self, pair: &str) -> Result<(StatusCode, Value)> {
        let path = self.keys(&format!("/{pair}/rotate"));
        let answer = self.control_plane.rest().call(Method::POST, &path, Some(&json!({}))).await?;
        Ok((answer.status, answer.body))
    }

    async fn rotation(&self, pair: &str) -> Result<Value> {
        self.control_plane.rest().get(&self.keys(&format!("/{pair}/rotation"))).await
    }

    /// The rotation, once it has ended.
    async fn ended(&self, pair: &str) -> Result<Value> {
        wait::until("the rotation's end", ROTATED_WITHIN, || async {
            let rotation = self.rotation(pair).await?;
            Ok((rotation["state"] != "running").then_some(rotation))
        })
        .await
    }

    async fn lets_in(&self, server: usize, pair: &Pair) -> Result<bool> {
        lets_in(&self.servers[server], "root", by_private_key(&pair.private_key)).await
    }

    async fn keys_on(&self, server: usize) -> Result<String> {
        Ok(self.servers[server].exec(&["cat", "/root/.ssh/authorized_keys"]).await?.stdout)
    }

    /// The control plane's own login works.
    async fn is_entered(&self, server: usize) -> Result<bool> {
        let path = format!("/api/v1/vms/web-{server}/test-connection");
        Ok(self.control_plane.rest().post(&path, &json!({})).await?["status"] == "success")
    }

    async fn recorded(&self, action: &str) -> Result<usize> {
        let audit = self.control_plane.rest().get(&format!("/api/v1/audit?limit=1000&action={action}")).await?;
        audit.as_array().map(Vec::len).context("a list")
    }

    /// The private key is in no log, no record, and nowhere in the control plane's files in the clear.
    async fn tells_nothing_of(&self, pair: &Pair) -> Result<()> {
        let secret = pair.private_key.lines().nth(2).context("the key's third line")?;
        ensure!(!self.control_plane.lines().all().iter().any(|line| line.contains(secret)), "it is in the log");
        ensure!(!holds(self.control_plane.directory(), secret.as_bytes())?, "it is in a file");
        let audit = self.control_plane.rest().get("/api/v1/audit?limit=1000").await?.to_string();
        ensure!(!audit.contains(secret), "it is on record");
        for server in &self.servers {
            ensure!(!server.journal(None).await?.contains(secret), "it is in {}'s journal", server.name());
        }
        Ok(())
    }
}

fn holds(folder: &Path, needle: &[u8]) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            holds(&path, needle)?
        } else {
            path.is_file() && std::fs::read(&path)?.windows(needle.len()).any(|window| window == needle)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn server_of<'a>(rotation: &'a Value, name: &str) -> Result<&'a Value> {
    let servers = rotation["servers"].as_array().context("servers")?;
    servers.iter().find(|server| server["server_name"] == name).context("the server")
}

#[tokio::test]
async fn a_server_that_refuses_the_new_key_keeps_the_old_one() -> Result<()> {
    let (lab, old) = Lab::start().await?;
    // What an owner restricted stays restricted.
    let restricted = format!("from=\"0.0.0.0/0\" {}", old.public_key.trim());
    lab.servers[0].write_file("/root/.ssh/authorized_keys", "0600", format!("{restricted}\n").as_bytes()).await?;
    let refusing = &lab.servers[1];
    refusing.write_file("/etc/ssh/only/root", "0644", old.public_key.as_bytes()).await?;
    refusing.write_file(ELSEWHERE, "0644", b"AuthorizedKeysFile /etc/ssh/only/%u\n").await?;
    refusing.run(&["systemctl", "restart", "ssh"]).await?;
    let before = lab.keys_on(1).await?;

    let (status, begun) = lab.rotate(&old.id).await?;
    assert_eq!(
        (status, &begun["name"], &begun["waiting"]),
        (StatusCode::ACCEPTED, &json!("web"), &json!(2)),
        "{begun}"
    );
    let new = Pair::of(&begun, "new_key_pair_id")?;
    let rotation = lab.ended(&old.id).await?;
    assert_eq!((&rotation["state"], &rotation["old_key_pair_kept"]), (&json!("partial"), &json!(true)), "{rotation}");
    assert_eq!((&rotation["rotated"], &rotation["failed"]), (&json!(1), &json!(1)), "{rotation}");
    let failed = server_of(&rotation, "web-1")?;
    assert_eq!((&failed["state"], &failed["code"]), (&json!("failed"), &json!("ssh_auth_failed")), "{failed}");
    ensure!(failed["detail"].as_str().is_some_and(|detail| detail.contains("was not let in with a key")), "{failed}");
    // The one has the new key alone, the other the old one alone.
    assert_eq!(lab.keys_on(0).await?.trim(), format!("from=\"0.0.0.0/0\" {}", new.public_key.trim()));
    assert_eq!((lab.lets_in(0, &new).await?, lab.lets_in(0, &old).await?), (true, false));
    assert_eq!((lab.lets_in(1, &new).await?, lab.lets_in(1, &old).await?), (false, true));
    assert_eq!(lab.keys_on(1).await?, before, "the new key's line is taken back");
    ensure!(lab.is_entered(0).await? && lab.is_entered(1).await?, "the login on record works on both");
    for (action, times) in [
        ("SERVER_KEY_ROTATED", 1),
        ("SERVER_OLD_KEY_REMOVED", 1),
        ("SERVER_KEY_ROTATION_FAILED", 1),
        ("SSH_KEY_PAIR_ROTATION_ENDED", 1),
    ] {
        assert_eq!(lab.recorded(action).await?, times, "{action}");
    }

    // The old key is moved to where it belongs, and the rotation is taken up.
    refusing.run(&["rm", ELSEWHERE]).await?;
    refusing.run(&["systemctl", "restart", "ssh"]).await?;
    let stream = lab.control_plane.rest().stream(&lab.keys(&format!("/{}/rotate", old.id)), Some(&json!({}))).await?;
    let events = stream.all(ROTATED_WITHIN).await?;
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((names.first(), names.last()), (Some(&"rotation"), Some(&"complete")), "{events:?}");
    assert_eq!(events[0].data["private_key"], json!(null), "shown once");
    let last = &events.last().context("events")?.data;
    assert_eq!((&last["status"], &last["rotated"]), (&json!("done"), &json!(2)), "{last}");
    assert_eq!((lab.lets_in(1, &new).await?, lab.lets_in(1, &old).await?), (true, false));
    let pairs = lab.control_plane.rest().get(&lab.keys("")).await?;
    assert_eq!(pairs.as_array().map(Vec::len), Some(1), "the old pair is gone: {pairs}");
    assert_eq!(
        (&pairs[0]["id"], &pairs[0]["used_by"], &pairs[0]["has_rotation"]),
        (&json!(new.id), &json!(2), &json!(true))
    );
    lab.tells_nothing_of(&new).await
}

#[tokio::test]
async fn a_rotation_goes_on_whenever_the_control_plane_is_killed() -> Result<()> {
    let (mut lab, mut pair) = Lab::start().await?;
    let mut killed_at = Vec::new();
    for step in ["connecting", "deploying_key", "verifying_key", "removing_old_key"] {
        let (status, begun) = lab.rotate(&pair.id).await?;
        assert_eq!(status, StatusCode::ACCEPTED, "{begun}");
        let new = Pair::of(&begun, "new_key_pair_id")?;
        let path = lab.keys(&format!("/{}/rotation", pair.id));
        let seen = wait::until("a turn to be under way", SOON, || async {
            let rotation = lab.control_plane.rest().get(&path).await?;
            let servers = rotation["servers"].as_array().context("servers")?;
            let is_there = servers.iter().any(|server| server["step"] == step) || rotation["state"] != "running";
            Ok(is_there.then(|| servers.iter().map(|server| server["step"].to_string()).collect::<Vec<_>>()))
        })
        .await?;
        lab.control_plane.kill().await?;
        killed_at.push(format!("{seen:?}"));
        // Whatever it was killed at, the keys on record still let in: one of the two does on each.
        for server in 0..2 {
            ensure!(lab.lets_in(server, &pair).await? || lab.lets_in(server, &new).await?, "web-{server} is shut");
        }
        lab.control_plane.start_again().await?;
        let rotation = lab.ended(&pair.id).await?;
        assert_eq!((&rotation["state"], &rotation["rotated"]), (&json!("done"), &json!(2)), "{step}: {rotation}");
        for server in 0..2 {
            assert_eq!((lab.lets_in(server, &new).await?, lab.lets_in(server, &pair).await?), (true, false), "{step}");
            assert_eq!(lab.keys_on(server).await?.trim(), new.public_key.trim(), "{step}");
            ensure!(lab.is_entered(server).await?, "{step}");
        }
        lab.tells_nothing_of(&new).await?;
        pair = new;
    }
    println!("killed while the servers' turns stood at: {}", killed_at.join(", "));
    Ok(())
}
