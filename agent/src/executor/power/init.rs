//! The host's real power: its init system and its network cards.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use muster_shared::{facts::InitSystem, power::WakeArgs};
use std::os::unix::process::CommandExt as _;

use super::{ORDER_AFTER, Power, wake};
use crate::{
    os::{
        Platform,
        boot::Boot,
        power::{Order, Transition},
    },
    probe::program,
};

/// How long the init system may take to take an order or to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// This host.
#[derive(Debug, Clone, Copy, Default)]
pub struct InitPower;

#[async_trait]
impl Power for InitPower {
    fn boot(&self) -> Boot {
        Boot::read(Path::new("/"))
    }

    async fn order(&self, transition: Transition) -> Result<(), String> {
        let init = Platform::detect(Path::new("/")).init_system;
        let order = transition
            .order(init, ORDER_AFTER)
            .ok_or("no init system runs here that takes such an order; use what started this host")?;
        if order.waits { give(&order).await } else { give_later(&order).map_err(|error| error.to_string()) }
    }

    async fn is_going_down(&self) -> Option<bool> {
        if Platform::detect(Path::new("/")).init_system != InitSystem::Systemd {
            return None;
        }
        let answer = program::run("systemctl", &["is-system-running"], ANSWER_WITHIN).await.ok()?;
        match answer.stdout.trim() {
            "stopping" => Some(true),
            "" | "unknown" | "offline" => None,
            _ => Some(false),
        }
    }

    async fn wake(&self, args: &WakeArgs) -> Result<Vec<String>, String> {
        wake::send(args).await
    }
}

async fn give(order: &Order) -> Result<(), String> {
    let arguments: Vec<&str> = order.arguments.iter().map(String::as_str).collect();
    program::run_well(order.program, &arguments, ANSWER_WITHIN).await.map(drop).map_err(|error| error.to_string())
}

/// Has a process of its own wait and give the order, since this one may have been killed by then.
fn give_later(order: &Order) -> std::io::Result<()> {
    Command::new(env::current_exe()?)
        .args(["after", "--milliseconds", &ORDER_AFTER.as_millis().to_string(), "--", order.program])
        .args(&order.arguments)
        .env_clear()
        .env("PATH", program::PATH)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
}
