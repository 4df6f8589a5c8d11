//! One static file: it runs on the oldest supported C library and where there is none at all.

use anyhow::Result;
use muster_shared::facts::Facts;
use muster_tests::{
    binaries,
    lab::{BareSystem, LabServer, Network, Release, Variant},
};

/// What hosts are asked to hold; the release recipe keeps below it.
const LARGEST_BYTES: u64 = 6 << 20;

#[test]
fn the_agent_stays_small() -> Result<()> {
    let bytes = std::fs::metadata(binaries::muster_agent())?.len();
    assert!(bytes <= LARGEST_BYTES, "{bytes} bytes; built by packaging/build it is smaller");
    Ok(())
}

#[tokio::test]
async fn the_agent_runs_where_there_is_no_c_library_at_all() -> Result<()> {
    let bare = BareSystem::prepare().await?;
    assert_eq!(bare.c_libraries().await?, "");
    let output = bare.run(&binaries::muster_agent(), &["probe", "facts", "--json"]).await?;
    assert!(output.status.success(), "{}{}", output.stdout, output.stderr);
    let facts: Facts = serde_json::from_str(&output.stdout)?;
    assert!(facts.memory.total_bytes > 0 && !facts.kernel.is_empty());
    assert!(facts.cpu.cores > 0);
    Ok(())
}

#[tokio::test]
async fn the_agent_runs_on_bullseye_and_tells_its_facts() -> Result<()> {
    let network = Network::create().await?;
    let agent = binaries::muster_agent();
    let mount = format!("{}:/usr/local/bin/muster-agent:ro", agent.display());
    let server = LabServer::start_with(&network, Release::Bullseye, Variant::Plain, &["--volume", &mount]).await?;
    assert!(server.run(&["ldd", "--version"]).await?.contains("2.31"));
    let facts: Facts = serde_json::from_str(&server.run(&["muster-agent", "probe", "facts", "--json"]).await?)?;
    assert_eq!(facts.hostname, server.name());
    assert_eq!((facts.os.id.as_str(), facts.os.version.as_str()), ("debian", "11"));
    assert!(facts.sshd.is_some() && facts.init_system.is_some());
    assert!(facts.listening.iter().any(|port| port.port == 22), "{:?}", facts.listening);
    Ok(())
}
