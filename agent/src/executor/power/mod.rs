//! Commands of the family `power`: ending the boot, and waking a neighbour.
//!
//! A command that ends the boot can't report its own end. It is ordered once, to take effect [`ORDER_AFTER`] later and
//! whatever becomes of this process; the executor of the next boot finds it started and compares boots ([`judge`]).

mod init;
mod wake;

use std::time::Duration;

use async_trait::async_trait;
use muster_shared::{
    command::CommandBody,
    power::{POWERING_OFF, RebootReport, WakeArgs},
    wire::{self, CommandOutcome, finished::Result as Answer, progress},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

pub use self::init::InitPower;
use super::machine::{Begun, crashed, finished};
use crate::os::{boot::Boot, power::Transition};

/// From the order until it takes effect: long enough for what was journalled to be reported.
pub const ORDER_AFTER: Duration = Duration::from_secs(3);
/// How long the boot may go on after the order. A host that takes longer has most likely not taken it.
pub const BOOT_ENDS_WITHIN: Duration = Duration::from_secs(300);
/// How long a new process in the same boot waits for an order that may have been given to take effect.
const GRACE: Duration = Duration::from_secs(8);
/// How often it looks whether the host is still on its way down.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What only the host itself can do. The real one is [`InitPower`].
#[async_trait]
pub trait Power: Send + Sync + 'static {
    /// The boot that goes on now.
    fn boot(&self) -> Boot;

    /// Has the init system end the boot [`ORDER_AFTER`] from now, whatever becomes of this process.
    ///
    /// # Errors
    /// The host's words for why it will not.
    async fn order(&self, transition: Transition) -> Result<(), String>;

    /// Whether the init system is on its way down; `None` where it can't be asked.
    async fn is_going_down(&self) -> Option<bool>;

    /// Sends the waking packet; answers the broadcast addresses it went to.
    ///
    /// # Errors
    /// Why none could be sent.
    async fn wake(&self, args: &WakeArgs) -> Result<Vec<String>, String>;
}

/// Reboots; comes back only when that failed.
pub async fn reboot(power: &dyn Power, progress: &mpsc::Sender<wire::Progress>) -> wire::Finished {
    if let Err(why) = power.order(Transition::Reboot).await {
        return finished(CommandOutcome::Failed, "order_refused", &format!("the host was not rebooted: {why}"));
    }
    tell(progress, "rebooting");
    sleep(BOOT_ENDS_WITHIN).await;
    still_up(Transition::Reboot, power.is_going_down().await)
}

/// Powers off. The result is reported while the order waits.
pub async fn stop(power: &dyn Power) -> wire::Finished {
    match power.order(Transition::PowerOff).await {
        Ok(()) => finished(CommandOutcome::Succeeded, POWERING_OFF, "the host has taken the order and powers off"),
        Err(why) => finished(CommandOutcome::Failed, "order_refused", &format!("the host was not stopped: {why}")),
    }
}

/// Wakes a neighbour.
pub async fn wake(power: &dyn Power, args: &WakeArgs) -> wire::Finished {
    match power.wake(args).await {
        Ok(to) => {
            let detail = format!("the packet for {} was sent on {} to {}", args.mac, args.interface, to.join(", "));
            finished(CommandOutcome::Succeeded, "sent", &detail)
        }
        Err(why) => finished(CommandOutcome::Failed, "not_sent", &format!("no packet was sent: {why}")),
    }
}

/// Finds out how a command ended that an earlier process had started. Only reads.
pub async fn settle(power: &dyn Power, body: &CommandBody, begun: &Begun, now_us: i64) -> wire::Finished {
    let transition = match body {
        CommandBody::Reboot => Transition::Reboot,
        CommandBody::Stop => Transition::PowerOff,
        _ => return crashed(),
    };
    if let Some(ended) = judge(transition, begun, &power.boot(), now_us) {
        return ended;
    }
    let since = Instant::now();
    sleep(GRACE).await;
    loop {
        let going_down = power.is_going_down().await;
        if going_down != Some(true) || since.elapsed() >= BOOT_ENDS_WITHIN {
            return still_up(transition, going_down);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// How a command that ends the boot ended, judged by the boot that goes on now; `None` while it is the same one.
#[must_use]
pub fn judge(transition: Transition, begun: &Begun, boot: &Boot, now_us: i64) -> Option<wire::Finished> {
    if begun.boot.is_empty() || boot.id.is_empty() {
        return Some(crashed());
    }
    if begun.boot == boot.id {
        return None;
    }
    if transition == Transition::PowerOff {
        let detail = "the host was powered off, and has booted again since";
        return Some(finished(CommandOutcome::Succeeded, "", detail));
    }
    let report = RebootReport::new(
        &begun.boot,
        &boot.id,
        boot.began_at_us.unwrap_or(now_us),
        now_us.saturating_sub(begun.at_us),
    );
    let detail = format!("the host is back: it booted at {}", report.boot_time);
    let Ok(json) = serde_json::to_string(&report) else { return Some(crashed()) };
    Some(wire::Finished { result: Some(Answer::RebootJson(json)), ..finished(CommandOutcome::Succeeded, "", &detail) })
}

/// The boot that should have ended goes on.
fn still_up(transition: Transition, going_down: Option<bool>) -> wire::Finished {
    let done = match transition {
        Transition::Reboot => "rebooted",
        Transition::PowerOff => "powered off",
    };
    match going_down {
        Some(false) => {
            let detail = format!("the host was not {done}: it is still up in the same boot and not on its way down");
            finished(CommandOutcome::Failed, "still_up", &detail)
        }
        Some(true) => {
            let detail = format!("the host is on its way down and has not been {done} yet; look at its console");
            finished(CommandOutcome::Indeterminate, "still_going_down", &detail)
        }
        None => {
            let detail = format!("the host is still up in the same boot and can't tell whether it will be {done}");
            finished(CommandOutcome::Indeterminate, "still_up", &detail)
        }
    }
}

pub(super) fn tell(progress: &mpsc::Sender<wire::Progress>, line: &str) {
    // A full queue costs a line, not the command.
    let _ = progress.try_send(wire::Progress { kind: Some(progress::Kind::Line(line.to_owned())) });
}

#[cfg(test)]
pub(crate) use tests::FakePower;

#[cfg(test)]
mod tests;
