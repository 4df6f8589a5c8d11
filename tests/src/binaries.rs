//! Which binaries the suites run.
//!
//! `MUSTER_BIN` and `MUSTER_AGENT_BIN` name them (`tests/run` sets both); otherwise those that `cargo build` left
//! beside this test's own executable.

use std::path::PathBuf;

/// The control plane's binary.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn muster() -> PathBuf {
    find("MUSTER_BIN", "muster")
}

/// The agent's binary; for the lab it must be the static one.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn muster_agent() -> PathBuf {
    find("MUSTER_AGENT_BIN", "muster-agent")
}

fn find(variable: &str, name: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        let test = std::env::current_exe().expect("a test knows its own path");
        let profile = test.ancestors().nth(2).expect("tests lie in <profile>/deps");
        profile.join(name)
    });
    assert!(
        path.is_file(),
        "no {name} at {}: run `cargo build -p muster -p muster-agent` first, set {variable}, or use tests/run",
        path.display()
    );
    path
}
