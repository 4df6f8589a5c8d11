//! Hardening: seven items, each decided by what the host does in effect, and the look at whether they still hold.
//!
//! An item holds when its plan, made anew, is empty. So what is shown, what is applied, what is verified afterwards and
//! what is found to have drifted later are decided by the same code. An item that makes no sense on a host says so with
//! [`NOT_APPLICABLE`] and counts neither way.

mod auditd;
mod docker_daemon;
mod fail2ban;
mod firewall;
mod ipv6;
mod look;
mod sshd;
mod upgrades;

use muster_shared::{
    action::{Item, ItemName},
    hardening::{ItemStanding, MAX_DETAIL_BYTES, PROFILE, Standing, default_item},
};

pub use self::{
    auditd::Auditd, docker_daemon::DockerDaemon, fail2ban::Fail2ban, firewall::Firewall, ipv6::Ipv6Off, sshd::Sshd,
    upgrades::UnattendedUpgrades,
};
use super::{
    host::Host,
    plan::{AnyChange, Plan, Refused},
    step::Step,
};
use crate::os::text;

/// The word with which an item says that it makes no sense here.
pub const NOT_APPLICABLE: &str = "not_applicable";
/// Steps named where an item does not hold; the rest is counted.
const STEPS_NAMED: usize = 6;

/// The change that `item` stands for; `None` where it is none of hardening's.
#[must_use]
pub fn change(item: &Item) -> Option<Box<dyn AnyChange>> {
    Some(match item {
        Item::Sshd(args) => Box::new(Sshd(args.clone())),
        Item::UnattendedUpgrades => Box::new(UnattendedUpgrades),
        Item::Fail2ban(args) => Box::new(Fail2ban(args.clone())),
        Item::Firewall(args) => Box::new(Firewall(args.clone())),
        Item::DockerDaemon(args) => Box::new(DockerDaemon(args.clone())),
        Item::Auditd => Box::new(Auditd),
        Item::Ipv6Off => Box::new(Ipv6Off),
        _ => return None,
    })
}

/// How the whole profile stands on `host`. `in_force` gives the arguments that an item was last applied with; without
/// any, those of the profile count. Reads only.
pub async fn assess(host: &dyn Host, in_force: impl Fn(ItemName) -> Option<Item>) -> Vec<ItemStanding> {
    let mut standings = Vec::with_capacity(PROFILE.len());
    for name in PROFILE {
        // Of sshd a part may have been applied, as long as nobody had a key; what counts is the whole.
        let applied = if name == ItemName::Sshd { None } else { in_force(name) };
        let Some(item) = applied.or_else(|| default_item(name)) else { continue };
        let Some(change) = change(&item) else { continue };
        standings.push(standing(name, change.planned(host).await));
    }
    standings
}

fn standing(item: ItemName, planned: Result<Plan, Refused>) -> ItemStanding {
    let (standing, detail) = match planned {
        Ok(plan) if plan.steps.is_empty() => (Standing::Holds, plan.evidence),
        Ok(plan) => (Standing::Deviates, missing(&plan)),
        Err(refused) if refused.code == NOT_APPLICABLE => (Standing::NotApplicable, refused.detail),
        Err(refused) if refused.code == look::UNREADABLE => (Standing::Unknown, refused.detail),
        Err(refused) => (Standing::Deviates, refused.detail),
    };
    ItemStanding { item, standing, detail: text::clean_to(&detail, MAX_DETAIL_BYTES) }
}

fn missing(plan: &Plan) -> String {
    let titles: Vec<String> = plan.steps.iter().take(STEPS_NAMED).map(Step::title).collect();
    let rest = plan.steps.len().saturating_sub(STEPS_NAMED);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}; to be done: {}{more}", plan.evidence, titles.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_plan_is_what_holding_means() {
        let of = |planned| standing(ItemName::Auditd, planned).standing;
        assert_eq!(of(Ok(Plan::nothing("all well"))), Standing::Holds);
        let check = Step::MakeDirectory { path: "/x".into(), mode: 0o755, owner: super::super::Owner::ROOT };
        assert_eq!(of(Ok(Plan::of(vec![check], ""))), Standing::Deviates);
        assert_eq!(of(Err(Refused::new(NOT_APPLICABLE, "a container"))), Standing::NotApplicable);
        assert_eq!(of(Err(Refused::new(look::UNREADABLE, "no answer"))), Standing::Unknown);
        assert_eq!(of(Err(Refused::new("no_key_login", "no key"))), Standing::Deviates);
    }

    #[test]
    fn every_item_of_the_profile_is_one_of_ours() {
        for name in PROFILE {
            let item = default_item(name).expect("the profile says what it wants");
            assert!(item.name() == name && change(&item).is_some(), "{name}");
        }
    }
}
