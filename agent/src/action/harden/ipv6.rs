//! No IPv6, where none is used: switched off in the kernel now and with each boot.
//!
//! Where a global address or a way out shows that IPv6 is in use, the item is not applicable: switching it off would cut
//! somebody off, and static addresses do not come back when it is switched on again.

use async_trait::async_trait;

use super::{NOT_APPLICABLE, look};
use crate::action::{
    host::Host,
    plan::{Change, Plan, Refused},
    step::{Call, Step},
};

const FILE: &str = "/etc/sysctl.d/99-muster-ipv6.conf";
const TEXT: &str = "# Written by Muster: no IPv6, which this host does not use.\n\
    net.ipv6.conf.all.disable_ipv6 = 1\nnet.ipv6.conf.default.disable_ipv6 = 1\n";
const SETTINGS: [&str; 2] = ["all", "default"];

/// No IPv6.
#[derive(Debug, Clone, Copy)]
pub struct Ipv6Off;

/// What the kernel does, and what the next boot will.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// `disable_ipv6` of all interfaces and of new ones; `None` where the kernel has no IPv6.
    off: Option<[bool; 2]>,
    /// The interface with a global address or a way out.
    used: Option<String>,
    /// A file read at boot says it.
    is_kept: bool,
}

#[async_trait]
impl Change for Ipv6Off {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let setting = |name: &str| look::text(host, &format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"));
        let off = SETTINGS.map(setting);
        let off = (!off[0].is_empty()).then(|| off.map(|value| value.trim() == "1"));
        let kept = host.list("/etc/sysctl.d").into_iter().filter(|name| name.ends_with(".conf"));
        let kept = kept.map(|name| format!("/etc/sysctl.d/{name}")).chain(["/etc/sysctl.conf".to_owned()]);
        let is_kept = kept.into_iter().any(|path| says_off(&look::text(host, &path)));
        let used = used(&look::text(host, "/proc/net/if_inet6"), &look::text(host, "/proc/net/ipv6_route"));
        Ok(Evidence { off, used, is_kept })
    }

    fn plan(&self, evidence: &Evidence) -> Result<Plan, Refused> {
        let Some(off) = evidence.off else {
            return Err(Refused::new(NOT_APPLICABLE, "this kernel has no IPv6"));
        };
        let is_off = off == [true; 2];
        if let Some(interface) = evidence.used.as_ref().filter(|_| !is_off) {
            let detail = format!("IPv6 is in use on {interface}; remove its addresses and routes first");
            return Err(Refused::new(NOT_APPLICABLE, detail));
        }
        let mut steps = Vec::new();
        if !evidence.is_kept {
            steps.push(look::write(FILE, TEXT, 0o644));
        }
        let first_effect = steps.len();
        if !is_off {
            let set = |value| SETTINGS.map(|name| format!("net.ipv6.conf.{name}.disable_ipv6={value}"));
            let call = |value: u8| {
                let [all, default] = set(value);
                Call::new("sysctl", &["-q", "-w", &all, &default], look::QUERY_S)
            };
            let title = "switch IPv6 off".to_owned();
            steps.push(Step::Run { title, call: call(1), inverse: Some(call(0)) });
        }
        let evidence = if is_off { "IPv6 is off" } else { "IPv6 is on and not in use" };
        Ok(Plan::of(steps, evidence).confirmed_from(first_effect))
    }
}

fn says_off(text: &str) -> bool {
    let says = |name: &str| {
        text.lines().any(|line| {
            let (key, value) = line.split_once('=').unwrap_or(("", ""));
            key.trim().trim_start_matches('-').replace('/', ".") == format!("net.ipv6.conf.{name}.disable_ipv6")
                && value.trim() == "1"
        })
    };
    says("all")
}

/// The interface that has a global address or the default route; containers' own bridges use IPv6 among themselves.
fn used(addresses: &str, routes: &str) -> Option<String> {
    let is_ours = |name: &str| name == "lo" || name == "docker0" || name.starts_with("veth") || name.starts_with("br-");
    let global = addresses.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Address, index, prefix, scope, flags, name; scope 0 is global.
        let [address, _, _, "00", _, name] = words[..] else { return None };
        (!address.starts_with("fe80") && !is_ours(name)).then(|| name.to_owned())
    });
    global.or_else(|| {
        routes.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [target, "00", _, _, hop, .., name] = words[..] else { return None };
            let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
            (is_zero(target) && !is_zero(hop) && !is_ours(name)).then(|| name.to_owned())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK_LOCAL: &str = "00000000000000000000000000000001 01 80 10 80       lo\n\
        fe80000000000000004200fffe000002 02 40 20 80     eth0\n";
    const GLOBAL: &str = "20010db8000000000000000000000001 02 40 00 80     eth0\n";

    fn titles(evidence: &Evidence) -> Vec<String> {
        Ipv6Off.plan(evidence).expect("a plan").steps.iter().map(Step::title).collect()
    }

    #[test]
    fn off_now_and_after_each_boot() {
        let on = Evidence { off: Some([false, false]), used: None, is_kept: false };
        assert_eq!(titles(&on), [format!("write {FILE}"), "switch IPv6 off".to_owned()]);
        assert_eq!(Ipv6Off.plan(&on).expect("a plan").arm_before, Some(1), "it could cut somebody off");
        let off = Evidence { off: Some([true, true]), used: None, is_kept: true };
        assert_eq!(titles(&off), [""; 0]);
        assert_eq!(titles(&Evidence { is_kept: false, ..off.clone() }), [format!("write {FILE}")]);
        assert_eq!(titles(&Evidence { off: Some([true, false]), ..off }), ["switch IPv6 off"]);
        assert!(says_off(TEXT) && !says_off("# net.ipv6.conf.all.disable_ipv6 = 1\n"));
    }

    #[test]
    fn what_is_in_use_stays() {
        let used = Evidence { off: Some([false, false]), used: Some("eth0".into()), is_kept: false };
        assert_eq!(Ipv6Off.plan(&used).expect_err("in use").code, NOT_APPLICABLE);
        assert_eq!(Ipv6Off.plan(&Evidence::default()).expect_err("no IPv6").code, NOT_APPLICABLE);
    }

    #[test]
    fn use_is_a_global_address_or_a_way_out() {
        assert_eq!(used(LINK_LOCAL, ""), None);
        assert_eq!(used(&format!("{LINK_LOCAL}{GLOBAL}"), ""), Some("eth0".into()));
        let zero = "0".repeat(32);
        let route = |hop: &str, name: &str| {
            format!("{zero} 00 {zero} 00 {hop} 00000400 00000001 00000000 00000003     {name}\n")
        };
        assert_eq!(used("", &route("fe800000000000000000000000000001", "eth0")), Some("eth0".into()));
        assert_eq!(used("", &route(&zero, "lo")), None);
    }
}
