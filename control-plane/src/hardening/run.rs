//! One run: item after item, each proven and confirmed where it must be.

use muster_shared::{
    action::{ChangeArgs, ItemName, Mode},
    command::CommandState,
    hardening::default_item,
    id::ServerId,
};
use serde_json::json;

use super::{Hardenings, Result, Wish, wanted, wanted::is_guarded};
use crate::{
    access::Act,
    error::{Error, ErrorKind},
    facts::why,
    progress::ProgressSender,
    proof::{Confirmation, Made, Proven},
};

/// How the items of a run ended.
#[derive(Debug, Default)]
struct Tally {
    done: u32,
    already: u32,
    failed: u32,
}

impl Hardenings {
    pub(super) async fn run(&self, act: &Act, server: ServerId, wish: &Wish, progress: &ProgressSender) -> Result<()> {
        let proven = self.prove_before(act, server, wish, progress).await?;
        let mut tally = Tally::default();
        for item in &wish.items {
            progress.status(item.as_str(), &format!("{} {item}...", word(wish.mode)));
            let args = match wish.mode {
                // An undo takes back what was done, whatever was asked for then.
                Mode::Undo => {
                    default_item(*item).ok_or_else(|| Error::internal("an item of the profile has a default"))?
                }
                Mode::Plan | Mode::Apply => wanted(*item, &wish.options, proven.as_ref()).map_err(Error::internal)?,
            };
            let args = ChangeArgs { item: args, mode: wish.mode };
            let line = |line: &str| progress.send("line", json!({ "item": item, "line": line }));
            let made = self.proof.carry_out(act, server, args, line).await?;
            tally.count(&made, wish.mode);
            progress.send("item", told(*item, wish.mode, &made));
            // A host whose change was not confirmed takes it back first, and takes no other meanwhile.
            if matches!(made.confirmation, Confirmation::Withheld(_)) {
                break;
            }
        }
        if wish.mode != Mode::Plan {
            progress.status("looking", "Having the host look at itself...");
            self.proof.look_again(act, server).await?;
        }
        let Tally { done, already, failed } = tally;
        let score = self.get(act.org_id, server).await?.score();
        let status = if failed == 0 { "done" } else { "failed" };
        progress.send(
            "complete",
            json!({ "status": status, "mode": wish.mode, "done": done, "already": already, "failed": failed, "score": score,
                "message": format!("{done} {}, {already} held already, {failed} failed", word_done(wish.mode)) }),
        );
        Ok(())
    }

    /// A change that could not be confirmed afterwards is not begun: who could not get in before could not after.
    async fn prove_before(
        &self,
        act: &Act,
        server: ServerId,
        wish: &Wish,
        progress: &ProgressSender,
    ) -> Result<Option<Proven>> {
        if wish.mode == Mode::Undo || !wish.items.iter().any(|item| is_guarded(*item)) {
            return Ok(None);
        }
        progress.status("proving", "Proving the way in before anything changes...");
        match self.proof.way_in(act.org_id, server).await {
            Ok(proven) => Ok(Some(proven)),
            // A plan changes nothing; it shows what could be done without a proven key.
            Err(_) if wish.mode == Mode::Plan => Ok(None),
            Err(why) => {
                let detail = format!(
                    "the server can't be entered from here now, so a change of its SSH or firewall could not be confirmed \
                     and would be taken back: {why}. Record an address and a login that work, or leave out {}",
                    guarded(&wish.items)
                );
                Err(Error::new(ErrorKind::Precondition, "no_way_in", detail))
            }
        }
    }
}

fn guarded(items: &[ItemName]) -> String {
    let guarded = items.iter().filter(|item| is_guarded(**item)).map(ToString::to_string);
    guarded.collect::<Vec<_>>().join(", ")
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "Planning",
        Mode::Apply => "Applying",
        Mode::Undo => "Undoing",
    }
}

fn word_done(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "to be changed",
        Mode::Apply => "applied",
        Mode::Undo => "undone",
    }
}

impl Tally {
    fn count(&mut self, made: &Made, mode: Mode) {
        let already = made.report.as_ref().is_some_and(|report| report.already);
        match made.command.code.as_str() {
            _ if made.is_well() && already => self.already += 1,
            _ if made.is_well() => self.done += 1,
            // What makes no sense on this host, and what was never done and so can't be undone, is no failure.
            "not_applicable" => self.already += 1,
            "nothing_to_undo" if mode == Mode::Undo => self.already += 1,
            _ => self.failed += 1,
        }
    }
}

/// An item's event.
fn told(item: ItemName, mode: Mode, made: &Made) -> serde_json::Value {
    let command = &made.command;
    let outcome = match &made.confirmation {
        Confirmation::Withheld(_) => "reverting",
        _ if made.report.as_ref().is_some_and(|report| report.already) => "already",
        _ if command.code == "not_applicable" => "not_applicable",
        _ if command.state == CommandState::Succeeded => match mode {
            Mode::Plan => "planned",
            Mode::Apply => "applied",
            Mode::Undo => "undone",
        },
        _ if command.code == "nothing_to_undo" => "nothing_to_undo",
        _ => "failed",
    };
    let (proof, detail) = match &made.confirmation {
        Confirmation::NotNeeded => (None, why_of(made)),
        Confirmation::Given(Proven::Login { username, method }) => {
            let method = method.as_str();
            (
                Some(json!({ "kind": "login", "username": username, "method": method })),
                "applied, proven and kept".into(),
            )
        }
        Confirmation::Given(Proven::Handshake) => {
            (Some(json!({ "kind": "handshake" })), "applied, proven and kept".into())
        }
        Confirmation::Withheld(why) => (None, format!("not confirmed, so the host takes it back: {why}")),
    };
    json!({
        "item": item, "outcome": outcome, "command_id": command.id.to_string(), "state": command.state,
        "code": command.code, "detail": detail, "report": made.report, "proof": proof,
    })
}

fn why_of(made: &Made) -> String {
    let command = &made.command;
    if command.state == CommandState::Succeeded { command.detail.clone() } else { why(command.state, &command.detail) }
}
