//! Readiness checks on real servers: each condition made for real, and found.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use muster_tests::{
    control_plane::{ControlPlane, Settings},
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::SOON,
    rest::Event,
    wait,
};
use serde_json::{Value, json};

/// Loop devices inside a server: block major 7, and the misc device that hands them out.
const LOOP_DEVICES: [&str; 4] = ["--device-cgroup-rule", "b 7:* rwm", "--device-cgroup-rule", "c 10:237 rwm"];

struct Joined {
    control_plane: ControlPlane,
    server: LabServer,
    id: String,
}

async fn joined(variant: Variant) -> Result<Joined> {
    let network = Network::create().await?;
    let server = LabServer::start(&network, Release::Bookworm, variant).await?;
    join(server).await
}

async fn join(server: LabServer) -> Result<Joined> {
    let control_plane = Settings::new().reached_from(server.network()).start().await?;
    let id = control_plane.join(&server).await?["id"].as_str().context("an id")?.to_owned();
    Ok(Joined { control_plane, server, id })
}

impl Joined {
    async fn preflight(&self) -> Result<Run> {
        let events = self.control_plane.rest().stream(&format!("/api/v1/vms/{}/preflight", self.id), None).await?;
        Ok(Run(events.all(SOON).await?))
    }
}

/// The events of one run.
#[derive(Debug)]
struct Run(Vec<Event>);

impl Run {
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |event| event.name == name).map(|event| &event.data)
    }

    fn check(&self, name: &str) -> &Value {
        self.named("check").find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name} in {self:?}"))
    }

    fn complete(&self) -> &Value {
        self.named("complete").next().unwrap_or_else(|| panic!("no end in {self:?}"))
    }

    /// Statuses of the checks about Docker: installed, running, permissions.
    fn docker(&self) -> [&str; 3] {
        ["docker_installed", "docker_running", "docker_permissions"]
            .map(|name| self.check(name)["status"].as_str().unwrap_or_default())
    }
}

#[tokio::test]
async fn a_server_without_docker_needs_setup_and_the_stream_says_so() -> Result<()> {
    let joined = joined(Variant::Plain).await?;
    let run = joined.preflight().await?;
    assert!(run.named("status").next().is_some_and(|status| status["step"].is_string()), "{run:?}");
    let os = run.named("os_info").next().context("os_info")?;
    assert_eq!((&os["version"], &os["arch"]), (&json!("12"), &json!("x86_64")), "{os}");
    let installed = run.check("docker_installed");
    assert_eq!((&installed["passed"], &installed["fixable"]), (&json!(false), &json!(true)), "{installed}");
    assert_eq!(run.check("os_compatibility")["status"], "passed");
    assert_eq!(run.check("root_access")["status"], "passed");
    assert_eq!(run.check("ports_available")["status"], "passed");
    assert_ne!(run.complete()["status"], "qualified");
    let failed = run.named("check").filter(|check| check["status"] == "failed").count();
    assert_eq!(run.complete()["failed"], json!(failed));
    let shown = joined.control_plane.rest().get(&format!("/api/v1/vms/{}", joined.id)).await?;
    assert_eq!(shown["qualification_status"], run.complete()["status"]);
    assert!(shown["last_preflight_check"].is_string());
    Ok(())
}

#[tokio::test]
async fn docker_running_then_stopped_is_told_apart() -> Result<()> {
    let joined = joined(Variant::Docker).await?;
    // A busy engine that takes longer to answer than a preflight waits is told as that.
    wait::until("Docker to be found running", SOON, || async {
        let run = joined.preflight().await?;
        ensure!(run.docker() == ["passed", "passed", "passed"], "{run:?}");
        Ok(Some(()))
    })
    .await?;
    joined.server.run(&["systemctl", "stop", "docker.socket", "docker.service"]).await?;
    let run = joined.preflight().await?;
    assert_eq!(run.docker()[..2], ["passed", "failed"]);
    assert_eq!(run.check("docker_running")["fixable"], json!(true));
    Ok(())
}

#[tokio::test]
async fn a_user_outside_the_docker_group_is_found() -> Result<()> {
    let joined = joined(Variant::Docker).await?;
    joined.server.add_user("deploy", "battery staple", Sudo::No).await?;
    let path = format!("/api/v1/vms/{}", joined.id);
    let login = json!({
        "ssh_username": "deploy", "ssh_password": "battery staple",
        "ipv4_address": joined.server.address().to_string(),
    });
    let patched = joined.control_plane.rest().call(Method::PATCH, &path, Some(&login)).await?;
    assert!(patched.status.is_success(), "{}", patched.text);
    let check = joined.preflight().await?.check("docker_permissions").clone();
    assert_eq!((&check["status"], &check["fixable"]), (&json!("failed"), &json!(true)), "{check}");
    assert!(check["evidence"].as_str().is_some_and(|evidence| evidence.contains("deploy")), "{check}");
    joined.server.run(&["usermod", "--append", "--groups", "docker", "deploy"]).await?;
    assert_eq!(joined.preflight().await?.check("docker_permissions")["status"], "passed");
    Ok(())
}

#[tokio::test]
async fn port_80_taken_by_a_unit_names_process_and_unit() -> Result<()> {
    let joined = joined(Variant::Plain).await?;
    joined.server.run(&["systemd-run", "--unit=web-shop", "/usr/sbin/sshd", "-D", "-p", "80"]).await?;
    wait::until("port 80 to be taken", SOON, || async {
        Ok(joined.server.run(&["ss", "-ltn"]).await?.contains(":80 ").then_some(()))
    })
    .await?;
    let check = joined.preflight().await?.check("ports_available").clone();
    assert_eq!(check["status"], "failed", "{check}");
    let evidence = check["evidence"].as_str().context("evidence")?;
    assert!(evidence.contains("port 80") && evidence.contains("sshd"), "{check}");
    assert!(evidence.contains("web-shop.service"), "{check}");
    Ok(())
}

#[tokio::test]
async fn a_nearly_full_disk_is_found() -> Result<()> {
    let network = Network::create().await?;
    let server = LabServer::start_with(&network, Release::Bookworm, Variant::Docker, &LOOP_DEVICES).await?;
    server.run(&["systemctl", "stop", "docker.socket", "docker.service"]).await?;
    server.run(&["mknod", "/dev/loop-control", "c", "10", "237"]).await?;
    for minor in 0..16 {
        server.run(&["mknod", &format!("/dev/loop{minor}"), "b", "7", &minor.to_string()]).await?;
    }
    server.run(&["truncate", "--size", "128M", "/disk.img"]).await?;
    server.run(&["mkfs.ext4", "-q", "/disk.img"]).await?;
    // Before the agent starts: in a container, later mounts don't reach the units' own mount namespaces.
    server.run(&["mount", "-o", "loop", "/disk.img", "/var/lib/docker"]).await?;
    let joined = join(server).await?;
    let check = joined.preflight().await?.check("disk_space").clone();
    assert_eq!((&check["status"], &check["passed"]), (&json!("failed"), &json!(false)), "{check}");
    // The loop device is let go with its last mount.
    joined.server.run(&["systemctl", "stop", "muster-agent-link", "muster-agent-executor"]).await?;
    joined.server.run(&["umount", "/var/lib/docker"]).await?;
    Ok(())
}
