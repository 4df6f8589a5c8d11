//! Whether something filters what reaches this host. Rules that only forward to containers don't count.

use muster_shared::facts::Firewall;

use crate::probe::{
    ProbeOptions,
    host::Host,
    program::{self, ProgramError},
};

/// Why the firewall's state is unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum FirewallError {
    #[error("only root may read the packet filter's rules")]
    NotRoot,
    #[error("this is not the running host")]
    Recorded,
    #[error(transparent)]
    Program(#[from] ProgramError),
}

pub(super) async fn read(host: &Host, options: &ProbeOptions) -> Result<Firewall, FirewallError> {
    if host.has_program("ufw") && host.read("/etc/ufw/ufw.conf").is_ok_and(|config| is_ufw_enabled(&config)) {
        return Ok(active("ufw"));
    }
    if host.has_program("firewalld")
        && host.exists("/run/dbus/system_bus_socket")
        && is_firewalld_running(host, options).await
    {
        return Ok(active("firewalld"));
    }
    if !host.is_live() {
        return Err(FirewallError::Recorded);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(FirewallError::NotRoot);
    }
    if host.has_program("nft") {
        let rules = program::run_well("nft", &["list", "ruleset"], options.program_timeout).await?;
        if filters_input_nft(&rules.stdout) {
            return Ok(active("nftables"));
        }
    }
    if host.has_program("iptables") {
        let rules = program::run_well("iptables", &["-S", "INPUT"], options.program_timeout).await?;
        if filters_input_iptables(&rules.stdout) {
            return Ok(active("iptables"));
        }
    }
    Ok(Firewall { kind: None, active: Some(false) })
}

fn active(kind: &str) -> Firewall {
    Firewall { kind: Some(kind.to_owned()), active: Some(true) }
}

fn is_ufw_enabled(config: &str) -> bool {
    config.lines().any(|line| line.trim().to_lowercase() == "enabled=yes")
}

async fn is_firewalld_running(host: &Host, options: &ProbeOptions) -> bool {
    let state = program::run_well("firewall-cmd", &["--state"], options.program_timeout);
    host.is_live() && state.await.is_ok()
}

/// Whether a chain hooked to input has a dropping policy or a dropping rule of its own or one jump away; the answer
/// errs towards yes only for rulesets that drop somewhere in a table that hooks input.
fn filters_input_nft(rules: &str) -> bool {
    rules.split("\ntable ").any(|table| {
        let hooks_input = table.contains("hook input");
        let drops = |line: &str| {
            let words = || line.split_whitespace().map(|word| word.trim_end_matches(';'));
            words().any(|word| matches!(word, "drop" | "reject"))
        };
        // Docker and libvirt drop forwarded packets only, in chains hooked to forward.
        let in_forward = |chain: &str| chain.contains("hook forward") || chain.trim_start().starts_with("DOCKER");
        hooks_input
            && table.split("\tchain ").skip(1).filter(|chain| !in_forward(chain)).any(|chain| chain.lines().any(drops))
    })
}

fn filters_input_iptables(rules: &str) -> bool {
    rules.lines().any(|rule| {
        let is_strict_policy = rule.starts_with("-P INPUT") && !rule.ends_with("ACCEPT");
        is_strict_policy || (rule.starts_with("-A INPUT") && (rule.contains("-j DROP") || rule.contains("-j REJECT")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ufw_is_on_only_where_its_file_says_so() {
        assert!(is_ufw_enabled("# ufw\nENABLED=yes\nLOGLEVEL=low\n"));
        assert!(!is_ufw_enabled("ENABLED=no\n"));
    }

    #[test]
    fn dockers_own_chains_filter_nothing_that_is_for_the_host() {
        let docker = "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n\tchain DOCKER-ISOLATION-STAGE-2 {\n\t\toifname \"docker0\" counter drop\n\t}\n}\n";
        assert!(!filters_input_nft(docker));
        let strict = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\ttcp dport 22 accept\n\t}\n}\n";
        assert!(filters_input_nft(strict));
        assert!(!filters_input_nft(""));
    }

    #[test]
    fn iptables_policies_and_rules() {
        assert!(filters_input_iptables("-P INPUT DROP\n"));
        assert!(filters_input_iptables(
            "-P INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 23 -j REJECT --reject-with icmp-port-unreachable\n"
        ));
        assert!(!filters_input_iptables("-P INPUT ACCEPT\n-A INPUT -i lo -j ACCEPT\n"));
    }
}
