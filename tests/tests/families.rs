//! The other families: dnf and pacman take every word the agent has for them and make a bare server ready; under OpenRC
//! and SysVinit the agent installs itself, commands services, reboots the host, and takes back a change that closed the
//! way in, whatever is killed.

#![allow(clippy::print_stdout, reason = "the times are what the run shows")]

#[path = "families/init.rs"]
mod init;
#[path = "fixes/joined.rs"]
mod joined;
#[path = "families/packages.rs"]
mod packages;

use anyhow::Result;
use http::Method;
use muster_agent::os::Invocation;
use muster_tests::{
    lab::{Output, Release, Variant},
    patience::SOON,
    wait,
};
use serde_json::Value;

use self::joined::Joined;

/// What the owner of the host allows.
const FAMILIES: [&str; 3] = ["observe", "fix", "power"];

impl Joined {
    async fn of(variant: Variant) -> Result<Self> {
        Self::new(Release::Bookworm, variant, &FAMILIES).await
    }

    async fn facts(&self) -> Result<Value> {
        let path = format!("/api/v1/vms/{}/facts", self.id);
        wait::until("facts", SOON, || async {
            let answer = self.control_plane.rest().call(Method::GET, &path, None).await?;
            Ok(answer.status.is_success().then(|| answer.body["facts"].clone()))
        })
        .await
    }

    /// Runs a program with the words and the environment the agent would.
    async fn say(&self, invocation: &Invocation) -> Result<Output> {
        let path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";
        let mut arguments = vec!["env", "-i", path, "LC_ALL=C", invocation.program];
        arguments.extend(invocation.arguments.iter().map(String::as_str));
        self.server.exec(&arguments).await
    }
}
