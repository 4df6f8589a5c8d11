//! Openings in a firewall that somebody else runs. Nothing is taken from its rules; files are changed as text, so that
//! they can be put back byte for byte.

use std::collections::BTreeSet;

use crate::action::{
    harden::look,
    host::{File, Host},
    plan::Refused,
    step::{Call, Step},
};

const UFW_CONF: &str = "/etc/ufw/ufw.conf";
const UFW_RULES: [(&str, &str, &str); 2] =
    [("/etc/ufw/user.rules", "ufw-user-input", "0.0.0.0/0"), ("/etc/ufw/user6.rules", "ufw6-user-input", "::/0")];
const UFW_END: &str = "### END RULES ###";
const FIREWALLD_CONF: &str = "/etc/firewalld/firewalld.conf";
const RELOAD_S: u64 = 30;

/// ufw's rules, where it is active.
#[derive(Debug, Clone)]
pub(super) struct Ufw {
    /// For IPv4, then for IPv6 where it has such.
    rules: Vec<(usize, String, File)>,
}

impl Ufw {
    pub(super) fn read(host: &dyn Host) -> Result<Option<Self>, Refused> {
        let is_on = |conf: &str| conf.lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes"));
        if !host.has_program("ufw") || !is_on(&look::text(host, UFW_CONF)) {
            return Ok(None);
        }
        let mut rules = Vec::new();
        for (index, (path, ..)) in UFW_RULES.iter().enumerate() {
            rules.extend(look::text_file(host, path)?.map(|(text, file)| (index, text, file)));
        }
        Ok(Some(Self { rules }))
    }

    pub(super) fn openings(&self, ports: &BTreeSet<u16>) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, text, file) in &self.rules {
            let (path, chain, anywhere) = UFW_RULES[*index];
            let opened = ufw_opened(text, ports, chain, anywhere);
            if opened != *text {
                steps.push(look::rewrite(path, opened, file));
            }
        }
        if !steps.is_empty() {
            let call = Call::new("ufw", &["reload"], RELOAD_S);
            steps.push(Step::Refresh { title: "reload ufw".to_owned(), call });
        }
        steps
    }
}

/// A port that some rule is about already is left as its owner has it.
fn ufw_opened(text: &str, ports: &BTreeSet<u16>, chain: &str, anywhere: &str) -> String {
    let Some(at) = text.find(UFW_END) else { return text.to_owned() };
    let is_named = |port: &u16| {
        text.lines().filter_map(|line| line.strip_prefix("### tuple ### ")).any(|tuple| {
            let words: Vec<&str> = tuple.split_whitespace().collect();
            let names = |ports: &&str| ports.split(',').any(|range| range.parse() == Ok(*port));
            matches!(words.get(1), Some(&"tcp" | &"any")) && words.get(2).is_some_and(names)
        })
    };
    let rule = |port: &u16| {
        format!(
            "### tuple ### allow tcp {port} {anywhere} any {anywhere} in\n-A {chain} -p tcp --dport {port} -j ACCEPT\n\n"
        )
    };
    let rules: String = ports.iter().filter(|port| !is_named(port)).map(rule).collect();
    format!("{}{rules}{}", &text[..at], &text[at..])
}

/// The zone of firewalld that counts, where firewalld runs.
#[derive(Debug, Clone)]
pub(super) struct Firewalld {
    path: String,
    /// The zone's own file; `None` where it still is the distribution's.
    file: Option<(String, File)>,
    text: String,
}

impl Firewalld {
    pub(super) async fn read(host: &dyn Host) -> Result<Option<Self>, Refused> {
        if !host.has_program("firewall-cmd") || !look::service(host, "firewalld").await.running {
            return Ok(None);
        }
        let zone = zone(&look::text(host, FIREWALLD_CONF));
        let path = format!("/etc/firewalld/zones/{zone}.xml");
        let file = look::text_file(host, &path)?;
        let text = match &file {
            Some((text, _)) => text.clone(),
            None => look::text(host, &format!("/usr/lib/firewalld/zones/{zone}.xml")),
        };
        if text.contains("</zone>") {
            return Ok(Some(Self { path, file, text }));
        }
        Err(Refused::new(look::UNREADABLE, format!("firewalld runs, and its zone {zone} can't be read")))
    }

    pub(super) fn openings(&self, ports: &BTreeSet<u16>) -> Vec<Step> {
        let opened = firewalld_opened(&self.text, ports);
        if opened == self.text {
            return Vec::new();
        }
        let write = match &self.file {
            Some((_, file)) => look::rewrite(&self.path, opened, file),
            None => look::write(&self.path, opened, 0o644),
        };
        let call = Call::new("firewall-cmd", &["--reload"], RELOAD_S);
        vec![write, Step::Refresh { title: "reload firewalld".to_owned(), call }]
    }
}

fn zone(conf: &str) -> String {
    let named = conf.lines().find_map(|line| line.trim().strip_prefix("DefaultZone="));
    let is_plain = |zone: &&str| {
        !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    named.map(str::trim).filter(is_plain).unwrap_or("public").to_owned()
}

fn firewalld_opened(text: &str, ports: &BTreeSet<u16>) -> String {
    let Some(at) = text.rfind("</zone>") else { return text.to_owned() };
    let service = |port: u16| match port {
        22 => Some("ssh"),
        80 => Some("http"),
        443 => Some("https"),
        _ => None,
    };
    let is_open = |port: &u16| {
        let by_service = service(*port).is_some_and(|name| text.contains(&format!("<service name=\"{name}\"")));
        let by_port = text.split("<port ").skip(1).any(|rest| {
            let element = rest.split("/>").next().unwrap_or_default();
            element.contains(&format!("port=\"{port}\"")) && element.contains("protocol=\"tcp\"")
        });
        by_service || by_port
    };
    let rule = |port: &u16| format!("  <port port=\"{port}\" protocol=\"tcp\"/>\n");
    let rules: String = ports.iter().filter(|port| !is_open(port)).map(rule).collect();
    format!("{}{rules}{}", &text[..at], &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: [u16; 3] = [22, 80, 443];
    const USER_RULES: &str = "*filter\n:ufw-user-input - [0:0]\n### RULES ###\n\n\
        ### tuple ### limit tcp 22 0.0.0.0/0 any 203.0.113.0/24 in\n-A ufw-user-input -p tcp --dport 22 -j ACCEPT\n\n\
        ### END RULES ###\nCOMMIT\n";
    const ZONE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone>\n  <short>Public</short>\n  \
        <service name=\"ssh\"/>\n  <port port=\"443\" protocol=\"tcp\"/>\n  <port port=\"80\" protocol=\"udp\"/>\n</zone>\n";

    #[test]
    fn ufw_is_told_of_ports_that_nobody_has_decided_about() {
        let opened = ufw_opened(USER_RULES, &BTreeSet::from(PORTS), "ufw-user-input", "0.0.0.0/0");
        let added = "### tuple ### allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw-user-input -p tcp --dport 80 -j ACCEPT\n\n\
            ### tuple ### allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in\n-A ufw-user-input -p tcp --dport 443 -j ACCEPT\n\n\
            ### END RULES ###";
        assert!(opened.contains(added), "{opened}");
        assert_eq!(opened.matches("### tuple ### ").count(), 3, "whom SSH is kept to stays decided");
        let again = ufw_opened(&opened, &BTreeSet::from(PORTS), "ufw-user-input", "0.0.0.0/0");
        assert_eq!(again, opened, "a second time changes nothing");
    }

    #[test]
    fn firewalld_is_told_of_what_its_zone_lacks() {
        let opened = firewalld_opened(ZONE, &BTreeSet::from(PORTS));
        assert!(opened.contains("  <port port=\"80\" protocol=\"tcp\"/>\n</zone>"), "{opened}");
        assert_eq!(opened.len() - ZONE.len(), "  <port port=\"80\" protocol=\"tcp\"/>\n".len());
        assert_eq!(firewalld_opened(&opened, &BTreeSet::from(PORTS)), opened);
        assert_eq!(zone("# x\nDefaultZone=dmz\n"), "dmz");
        assert_eq!((zone(""), zone("DefaultZone=../x")), ("public".to_owned(), "public".to_owned()));
    }
}
