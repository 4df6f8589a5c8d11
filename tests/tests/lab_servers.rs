//! The lab itself: its servers are what they say they are.

use anyhow::Result;
use muster_tests::lab::{BareSystem, LabServer, Network, Release, Sudo, Variant};

#[tokio::test]
async fn every_release_boots_with_systemd_sshd_and_users() -> Result<()> {
    let network = Network::create().await?;
    let mut fingerprints = Vec::new();
    for release in Release::ALL {
        let server = LabServer::start(&network, release, Variant::Plain).await?;
        let os = server.run(&["cat", "/etc/os-release"]).await?;
        assert!(os.contains(&format!("VERSION_ID=\"{}\"", release.version())), "{os}");
        assert_eq!(server.run(&["systemctl", "is-active", "ssh"]).await?, "active");
        server.set_password("root", "correct horse").await?;
        server.add_user("deploy", "battery staple", Sudo::WithPassword).await?;
        server.authorize_key("deploy", "ssh-ed25519 AAAA test").await?;
        assert!(server.run(&["id", "-nG", "deploy"]).await?.contains("sudo"));
        assert!(tokio::net::TcpStream::connect((server.address(), 22)).await.is_ok());
        fingerprints.push(server.host_key_fingerprint().await?);
    }
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 3, "each server has keys of its own");
    Ok(())
}

#[tokio::test]
async fn a_server_keeps_its_disk_over_a_new_boot() -> Result<()> {
    let network = Network::create().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Plain).await?;
    server.write_file("/etc/kept", "0600", b"yes").await?;
    server.stop().await?;
    let server = server.boot_again().await?;
    assert_eq!(server.run(&["cat", "/etc/kept"]).await?, "yes");
    Ok(())
}

#[tokio::test]
async fn nested_docker_starts() -> Result<()> {
    let network = Network::create().await?;
    let server = LabServer::start(&network, Release::Bookworm, Variant::Docker).await?;
    assert_eq!(server.run(&["systemctl", "is-active", "docker"]).await?, "active");
    assert!(!server.run(&["docker", "info", "--format", "{{.ServerVersion}}"]).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_bare_system_has_no_c_library() -> Result<()> {
    let bare = BareSystem::prepare().await?;
    assert_eq!(bare.c_libraries().await?, "");
    Ok(())
}
