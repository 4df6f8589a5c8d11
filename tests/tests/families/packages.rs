//! Package managers.

use anyhow::{Result, ensure};
use muster_agent::os::packages::{
    Outcome, PackageName, install, is_installed, list, listed, outcome, query, refresh, remove,
};
use muster_shared::facts::PackageManager;
use muster_tests::lab::Variant;
use serde_json::json;

use super::joined::{Joined, failed, outcomes, pairs};

const ALL: [&str; 4] = ["configure_sudo", "install_docker", "start_docker", "add_to_docker_group"];

struct Words<'a> {
    joined: &'a Joined,
    manager: PackageManager,
}

impl Words<'_> {
    fn names(names: &[&str]) -> Result<Vec<PackageName>> {
        names.iter().map(|name| Ok(name.parse()?)).collect()
    }

    async fn installed(&self) -> Result<Vec<String>> {
        let said = self.joined.say(&list(self.manager)).await?;
        ensure!(said.status.success(), "{} {}", said.stdout, said.stderr);
        Ok(listed(self.manager, &said.stdout))
    }

    async fn has(&self, name: &str) -> Result<bool> {
        let said = self.joined.say(&query(self.manager, &name.parse()?)).await?;
        Ok(is_installed(self.manager, said.status.code(), &said.stdout))
    }

    async fn ends(&self, invocation: &muster_agent::os::Invocation) -> Result<Outcome> {
        let said = self.joined.say(invocation).await?;
        let words = format!("{}{}", said.stdout, said.stderr);
        println!("{}: {:?} {}", invocation.line(), said.status.code(), words.trim());
        Ok(outcome(self.manager, said.status.code(), &words))
    }
}

/// From bare to ready and back through the executor.
async fn becomes_ready(joined: &Joined, manager: PackageManager, packages: &[&str]) -> Result<()> {
    let words = Words { joined, manager };
    let before = words.installed().await?;
    let found = failed(&joined.preflight().await?);
    assert_eq!(found, ["root_access", "docker_installed", "docker_running", "docker_permissions"], "bare");
    let made = joined.fix(json!({ "all": true })).await?;
    let done = outcomes(&made)?;
    let actions: Vec<&str> = done.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ALL, "{done:?}");
    assert!(failed(&made).is_empty(), "{:?}", failed(&made));
    for name in packages {
        assert!(words.has(name).await?, "{name}");
    }
    assert_eq!(joined.server.run(&["systemctl", "is-enabled", "docker.service"]).await?, "enabled");
    assert_eq!(outcomes(&joined.fix(json!({ "actions": ALL })).await?)?, pairs(&ALL, "already"));
    let undone = joined.fix(json!({ "actions": ALL, "undo": true })).await?;
    let mut reversed = ALL;
    reversed.reverse();
    assert_eq!(outcomes(&undone)?, pairs(&reversed, "undone"));
    assert_eq!(words.installed().await?, before, "no package more and none less");
    Ok(())
}

/// How each request ends, and what its end is taken for.
async fn takes_every_word(joined: &Joined, manager: PackageManager, packages: &[&str]) -> Result<()> {
    let words = Words { joined, manager };
    let names = Words::names(packages)?;
    assert_eq!(words.ends(&refresh(manager)).await?, Outcome::Done);
    let missing = Words::names(&["no-such-package"])?;
    assert_eq!(words.ends(&install(manager, &missing)).await?, Outcome::NoSuchPackage);
    for _ in 0..2 {
        assert_eq!(words.ends(&install(manager, &names)).await?, Outcome::Done);
    }
    assert!(words.has(packages[0]).await? && !words.has("no-such-package").await?);
    if manager == PackageManager::Pacman {
        joined.server.run(&["touch", "/var/lib/pacman/db.lck"]).await?;
        assert_eq!(words.ends(&remove(manager, &names)).await?, Outcome::Locked);
        joined.server.run(&["rm", "/var/lib/pacman/db.lck"]).await?;
    }
    assert_eq!(words.ends(&remove(manager, &names)).await?, Outcome::Done);
    assert!(!words.has(packages[0]).await?);
    joined.server.run(&["mv", "/srv/repository", "/srv/away"]).await?;
    joined.server.run(&["rm", "-rf", "/var/cache/dnf"]).await?;
    assert_eq!(words.ends(&refresh(manager)).await?, Outcome::Unreachable);
    Ok(())
}

#[tokio::test]
async fn a_bare_server_of_the_dnf_family_becomes_ready_and_bare_again() -> Result<()> {
    let joined = Joined::of(Variant::Dnf).await?;
    let packages = ["docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"];
    let facts = joined.facts().await?;
    assert_eq!(facts["package_manager"], "dnf", "{facts}");
    becomes_ready(&joined, PackageManager::Dnf, &packages).await?;
    takes_every_word(&joined, PackageManager::Dnf, &packages).await
}

#[tokio::test]
async fn a_bare_server_of_the_pacman_family_becomes_ready_and_bare_again() -> Result<()> {
    let joined = Joined::of(Variant::Pacman).await?;
    let facts = joined.facts().await?;
    assert_eq!(facts["package_manager"], "pacman", "{facts}");
    becomes_ready(&joined, PackageManager::Pacman, &["docker", "containerd"]).await?;
    takes_every_word(&joined, PackageManager::Pacman, &["docker", "containerd"]).await
}
