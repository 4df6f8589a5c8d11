//! The conditions under which sshd's effective configuration is asked for: one for a stranger, and one for each `Match`
//! line, chosen so that it applies. Only which questions are asked is read from files; the answers are sshd's. Pure.

use std::{fmt, net::IpAddr};

use muster_shared::action::Cidr;

use super::text::directives;

/// Conditions asked for, at most; each costs a run of sshd.
const MAX_CONDITIONS: usize = 16;
/// A name and an address that nobody has.
const STRANGER: &str = "muster-check";
const FAR_AWAY: &str = "192.0.2.10";

/// A connection that is made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    user: String,
    host: String,
    address: String,
    local_address: String,
    local_port: String,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            user: STRANGER.into(),
            host: "muster-check.invalid".into(),
            address: FAR_AWAY.into(),
            local_address: "192.0.2.1".into(),
            local_port: "22".into(),
        }
    }
}

impl Condition {
    /// As `sshd -C` takes it.
    pub(super) fn specification(&self) -> String {
        format!(
            "user={},host={},addr={},laddr={},lport={}",
            self.user, self.host, self.address, self.local_address, self.local_port
        )
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {} from {}", self.user, self.address)
    }
}

/// Conditions for every `Match` line in `files`; none where there is no such line. `groups` is `/etc/group`.
pub(super) fn conditions(files: &[String], groups: &str) -> Vec<Condition> {
    let lines = files.iter().flat_map(|text| directives(text)).filter(|(keyword, _)| keyword == "match");
    let mut found: Vec<Condition> = Vec::new();
    for (_, criteria) in lines {
        for condition in [fitting(criteria, groups), root(), Condition::default()] {
            if found.len() < MAX_CONDITIONS && !found.contains(&condition) {
                found.push(condition);
            }
        }
    }
    found
}

fn root() -> Condition {
    Condition { user: "root".into(), ..Condition::default() }
}

fn fitting(criteria: &str, groups: &str) -> Condition {
    let mut condition = Condition::default();
    let mut words = criteria.split_whitespace();
    while let (Some(criterion), Some(patterns)) = (words.next(), words.next()) {
        let wanted = patterns.trim_matches('"').split(',').find(|pattern| !pattern.starts_with('!'));
        let Some(wanted) = wanted.filter(|pattern| is_harmless(pattern)) else { continue };
        // A star stands for anything, also for a letter.
        let plain = wanted.replace(['*', '?'], "x");
        match criterion.to_lowercase().as_str() {
            "user" => condition.user = plain,
            "group" => condition.user = member(&plain, groups).unwrap_or(condition.user),
            "host" => condition.host = plain,
            "address" => condition.address = within(wanted).unwrap_or(condition.address),
            "localaddress" => condition.local_address = within(wanted).unwrap_or(condition.local_address),
            "localport" if wanted.bytes().all(|byte| byte.is_ascii_digit()) => condition.local_port = plain,
            _ => {}
        }
    }
    condition
}

/// Nothing that would end a value in sshd's own list of them.
fn is_harmless(pattern: &str) -> bool {
    !pattern.is_empty()
        && pattern.len() <= 64
        && pattern.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=' && byte != b',')
}

fn within(pattern: &str) -> Option<String> {
    let network = |network: Cidr| network.network().to_string();
    let star = || pattern.replace('*', "7").parse::<IpAddr>().ok().map(|address| address.to_string());
    pattern.parse::<Cidr>().ok().map(network).or_else(star)
}

fn member(group: &str, groups: &str) -> Option<String> {
    let members = groups.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.first() == Some(&group)).then(|| fields.get(3).copied().unwrap_or_default().to_owned())
    })?;
    members.split(',').next().filter(|member| is_harmless(member)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Vec<String> {
        let groups = "root:x:0:\nsftp:x:1001:backup,upload\n";
        conditions(&[text.to_owned()], groups).iter().map(Condition::specification).collect()
    }

    #[test]
    fn each_match_line_is_asked_for_so_that_it_applies() {
        assert_eq!(asked("PasswordAuthentication no\n"), [""; 0]);
        let text = "Match User deploy,admin\nX yes\nMatch Group sftp Address 10.0.0.0/8,!10.0.0.1\n  X no\n";
        let found = asked(text);
        let rest = "host=muster-check.invalid";
        assert!(found.contains(&format!("user=deploy,{rest},addr=192.0.2.10,laddr=192.0.2.1,lport=22")), "{found:?}");
        assert!(found.contains(&format!("user=backup,{rest},addr=10.0.0.0,laddr=192.0.2.1,lport=22")), "{found:?}");
        assert!(found.contains(&format!("user=root,{rest},addr=192.0.2.10,laddr=192.0.2.1,lport=22")), "{found:?}");
        assert!(
            asked("match address 192.168.*.* localport 2222")[0]
                .contains("addr=192.168.7.7,laddr=192.0.2.1,lport=2222")
        );
    }

    #[test]
    fn nothing_in_a_file_becomes_a_further_value() {
        let found = asked("Match User a=b,x\nMatch User \"x,addr=10.0.0.1\"\nMatch all\n");
        assert!(found.iter().all(|specification| specification.matches('=').count() == 5), "{found:?}");
        let many: String = (0..100).map(|number| format!("Match User u{number}\n")).collect();
        assert_eq!(asked(&many).len(), MAX_CONDITIONS);
    }
}
