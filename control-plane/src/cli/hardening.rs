//! `muster harden`

use clap::Args;
use muster_shared::wire;

use super::{ask, client::Fleet, failure::Failure, output::Output, progress, table};
use crate::api::model::hardening::{HardeningItem, ServerHardening};

/// Which server, which items, and what to do with them.
#[derive(Debug, Args)]
pub struct HardenArgs {
    /// Its name or id.
    server: String,
    /// Items of the profile: unattended_upgrades, fail2ban, docker_daemon, auditd, ipv6_off, firewall, sshd. Without any
    /// the score is shown.
    items: Vec<String>,
    /// The whole profile.
    #[arg(long, conflicts_with = "items")]
    all: bool,
    /// Show what would be done, and change nothing.
    #[arg(long, conflicts_with = "undo")]
    plan: bool,
    /// Take back what was last applied.
    #[arg(long)]
    undo: bool,
    /// A TCP port that the firewall leaves open beside SSH's; may be given several times. 80 and 443 unless given.
    #[arg(long, value_name = "PORT")]
    open_port: Vec<u16>,
    /// A network from which SSH can be reached, such as 203.0.113.0/24; may be given several times. Everywhere unless given.
    #[arg(long, value_name = "NETWORK")]
    ssh_from: Vec<String>,
    /// Do it without asking.
    #[arg(long, short)]
    yes: bool,
}

impl HardenArgs {
    /// Asks the person, then the control plane, and prints.
    ///
    /// # Errors
    /// What the control plane refused, and an item that failed; without an answer of the person nothing is done.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        if self.items.is_empty() && !self.all {
            if self.plan || self.undo || !self.open_port.is_empty() || !self.ssh_from.is_empty() {
                return Err(Failure::usage("no item is named", "name items, or all of them with --all"));
            }
            let request = wire::GetHardeningRequest { server: self.server };
            let hardening = ServerHardening::from(fleet.get_hardening(request).await?.into_inner());
            return output.print(&hardening, draw);
        }
        let mode = match (self.plan, self.undo) {
            (true, _) => "plan",
            (_, true) => "undo",
            _ => "apply",
        };
        if mode != "plan" && !self.yes {
            let what = if self.all { "the whole profile".to_owned() } else { self.items.join(", ") };
            ask::whether(&format!("{mode} {what} on {}", self.server))?;
        }
        let again = format!("`muster harden {}` shows how every item stands", self.server);
        let named = self.items.len() as u64;
        let request = wire::HardenRequest {
            server: self.server,
            items: self.items,
            mode: mode.to_owned(),
            open_ports: self.open_port.into_iter().map(u32::from).collect(),
            ssh_from: self.ssh_from,
        };
        let events = fleet.harden(request).await?.into_inner();
        let complete = if named > 0 {
            progress::follow_all(events, output, named).await?
        } else {
            progress::follow(events, output).await?
        };
        match complete.get("failed").and_then(serde_json::Value::as_f64) {
            Some(0.0) => Ok(()),
            _ => Err(Failure::ended_badly("not every item is as asked for; the lines above say why", again)),
        }
    }
}

fn draw(hardening: &ServerHardening) -> String {
    let time =
        |time: Option<crate::api::model::time::Time>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let row = |item: &HardeningItem| {
        vec![
            item.item.clone(),
            item.standing.replace('_', " "),
            time(item.since),
            time(item.held_until),
            item.detail.clone(),
        ]
    };
    let rows: Vec<_> = hardening.items.iter().map(row).collect();
    if rows.is_empty() {
        return "the host has not told yet how it stands: is its agent connected?\n".to_owned();
    }
    let score =
        hardening.score.map_or_else(|| "nothing applies here".to_owned(), |score| format!("score {score} of 100"));
    format!("{score}\n{}", table::draw(&["ITEM", "STANDING", "SINCE", "HELD UNTIL", "SEEN"], rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::time::Time;

    #[test]
    fn a_score_says_what_holds_and_since_when() {
        let item = HardeningItem {
            item: "sshd".into(),
            standing: "deviates".into(),
            detail: "passwordauthentication yes".into(),
            since: Some(Time(1_736_936_880_000_000)),
            held_until: None,
            seen_at: None,
        };
        let hardening = ServerHardening { server_id: "s1".into(), score: Some(50), items: vec![item] };
        let drawn = draw(&hardening);
        assert!(drawn.contains("score 50 of 100") && drawn.contains("2025-01-15T10:28:00Z"), "{drawn}");
        let unknown = ServerHardening { server_id: "s1".into(), score: None, items: Vec::new() };
        assert!(draw(&unknown).contains("has not told yet"));
    }
}
