//! The script that joins a host, and the line that fetches it. Pure.
//!
//! What goes into either is of a type that can't hold a character with a meaning to a shell: an [`Origin`], hexadecimal
//! digits, a token's own alphabet.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use muster_shared::policy::Family;
use ring::digest::{SHA256, digest};

/// The script, with `@NAMES@` for what is filled in.
const TEMPLATE: &str = include_str!("../../packaging/install.sh");

/// `https://host[:port]` and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// A text that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a host and port that a host could be sent to")]
pub struct InvalidOrigin;

impl Origin {
    /// The HTTPS origin at `authority`: a name, an IPv4 address or a bracketed IPv6 address, and a port or none.
    ///
    /// # Errors
    /// [`InvalidOrigin`].
    pub fn https(authority: &str) -> Result<Self, InvalidOrigin> {
        let (host, port) = split(authority)?;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Self(format!("https://{host}{port}")))
    }

    /// The HTTPS origin at the host of `authority` and `port`.
    ///
    /// # Errors
    /// [`InvalidOrigin`].
    pub fn https_at(authority: &str, port: u16) -> Result<Self, InvalidOrigin> {
        Ok(Self(format!("https://{}:{port}", split(authority)?.0)))
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        Self::https(text.strip_prefix("https://").ok_or(InvalidOrigin)?)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host and port of an authority, both checked character by character.
fn split(authority: &str) -> Result<(String, Option<u16>), InvalidOrigin> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(InvalidOrigin)?;
            let address: Ipv6Addr = address.parse().map_err(|_| InvalidOrigin)?;
            (format!("[{address}]"), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            (authority[..end].to_ascii_lowercase(), &authority[end..])
        }
    };
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !host.starts_with('[') && (host.len() > 253 || !host.split('.').all(label_fits)) {
        return Err(InvalidOrigin);
    }
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port > 0).ok_or(InvalidOrigin)?)
        }
        None if port.is_empty() => None,
        _ => return Err(InvalidOrigin),
    };
    Ok((host, port))
}

/// What a script is filled with.
#[derive(Debug, Clone)]
pub struct Filling<'a> {
    /// Where the script finds the agent.
    pub origin: &'a Origin,
    /// Where the agent finds the control plane.
    pub agent_origin: &'a Origin,
    /// SHA-256 of the CA certificate, in hex.
    pub ca_sha256: &'a str,
    /// SHA-256 of the agent for each architecture, in hex; `None` where there is none.
    pub x86_64_sha256: Option<&'a str>,
    pub aarch64_sha256: Option<&'a str>,
}

/// A script that is ready to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallScript {
    pub text: String,
    /// In hex.
    pub sha256: String,
}

impl InstallScript {
    /// The script with everything in its place.
    #[must_use]
    pub fn fill(filling: &Filling<'_>) -> Self {
        let text = TEMPLATE
            .replace("@URL@", &filling.origin.0)
            .replace("@AGENT_URL@", &filling.agent_origin.0)
            .replace("@CA_SHA256@", filling.ca_sha256)
            .replace("@SHA256_X86_64@", filling.x86_64_sha256.unwrap_or_default())
            .replace("@SHA256_AARCH64@", filling.aarch64_sha256.unwrap_or_default());
        let sha256 = hex::encode(digest(&SHA256, text.as_bytes()));
        Self { text, sha256 }
    }
}

/// The lines to paste into a root shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinLines {
    pub curl: String,
    pub wget: String,
}

impl JoinLines {
    /// The lines that fetch the script of `install_sha256` from `origin`, check it and run it with `token`.
    ///
    /// Each works in bash, dash and busybox's sh, leaves no file behind, and ends with the script's exit code. The
    /// certificate is not judged, because the script's SHA-256 is.
    #[must_use]
    pub fn new(origin: &Origin, token: &str, install_sha256: &str, allow: &[Family]) -> Self {
        // The host's policy is written from the line, which its owner reads and pastes, never from a message. A line
        // that asks for no more than the default says nothing, so that a policy already there stays as it is.
        let more = allow.iter().any(|family| *family != Family::Observe);
        let allow: String = allow.iter().filter(|_| more).map(|family| format!(" --allow {family}")).collect();
        let line = |fetch: &str| {
            format!(
                "( umask 077; f=$(mktemp) || exit 1; \
                 if {fetch} && echo '{install_sha256}  '\"$f\" | sha256sum -c >/dev/null 2>&1; \
                 then MUSTER_JOIN_TOKEN='{token}' sh \"$f\"{allow}; \
                 else echo 'muster: the install script could not be fetched, or is not the one this line was made for; nothing was run' >&2; false; fi; \
                 r=$?; rm -f \"$f\"; exit $r )"
            )
        };
        Self {
            curl: line(&format!("curl -fsSLk -o \"$f\" '{origin}/install.sh'")),
            wget: line(&format!("wget -q --no-check-certificate -O \"$f\" '{origin}/install.sh'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn origins_are_names_or_addresses_and_a_port() {
        let read = |text: &str| Origin::https(text).map(|origin| origin.to_string()).ok();
        assert_eq!(read("Fleet.Example.com:8443").as_deref(), Some("https://fleet.example.com:8443"));
        assert_eq!(read("203.0.113.10").as_deref(), Some("https://203.0.113.10"));
        assert_eq!(read("[2001:DB8::1]:8443").as_deref(), Some("https://[2001:db8::1]:8443"));
        for hostile in [
            "",
            ":8443",
            "host:",
            "host:0",
            "host:65536",
            "host:8a",
            "a b",
            "$(id)",
            "a;b",
            "a'b",
            "a\"b",
            "a/b",
            "a@b",
            "[::1",
            "[::1]x",
            "[::1%eth0]",
            "-a",
            "a..b",
            "a\nb",
            "host:1:2",
        ] {
            assert_eq!(read(hostile), None, "{hostile:?}");
        }
        assert_eq!(
            Origin::https_at("host:8080", 8443).map(|origin| origin.to_string()).as_deref(),
            Ok("https://host:8443")
        );
    }

    proptest! {
        #[test]
        fn no_origin_holds_what_a_shell_would_read(text in ".*") {
            if let Ok(origin) = Origin::https(&text) {
                let harmless = |c: char| c.is_ascii_alphanumeric() || ".-:/[]".contains(c);
                prop_assert!(origin.to_string().chars().all(harmless));
            }
        }
    }

    fn filled() -> InstallScript {
        let origin = Origin::https("fleet.example.com:8443").expect("an origin");
        InstallScript::fill(&Filling {
            origin: &origin,
            agent_origin: &origin,
            ca_sha256: &"ca".repeat(32),
            x86_64_sha256: Some(&"86".repeat(32)),
            aarch64_sha256: None,
        })
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let script = filled();
        assert!(script.text.contains("https://fleet.example.com:8443") && script.text.contains(&"86".repeat(32)));
        for name in ["@URL@", "@AGENT_URL@", "@CA_SHA256@", "@SHA256_X86_64@", "@SHA256_AARCH64@"] {
            assert!(!script.text.contains(name), "{name}");
        }
    }

    #[test]
    fn a_line_that_asks_for_the_default_leaves_the_host_s_policy_alone() {
        let origin = Origin::https("fleet.example.com").expect("an origin");
        let line = JoinLines::new(&origin, "mjt_secret", &"0".repeat(64), &[Family::Observe]).curl;
        assert!(!line.contains("--allow"), "{line}");
    }

    mod in_a_shell {
        use std::{
            fs,
            path::Path,
            process::{Command, Output},
        };

        use super::*;

        /// Runs `line` with a `curl` and a `wget` of our own that hand out `script`.
        fn run(shell: &[&str], line: &str, script: &str, folder: &Path) -> Output {
            use std::os::unix::fs::PermissionsExt as _;
            fs::write(folder.join("served"), script).expect("written");
            for (name, option) in [("curl", "-o"), ("wget", "-O")] {
                let stub = format!(
                    "#!/bin/sh\nwhile [ \"$1\" != {option} ]; do shift; done\ncp '{}' \"$2\"\n",
                    folder.join("served").display()
                );
                let path = folder.join(name);
                fs::write(&path, stub).expect("written");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
            }
            fs::create_dir_all(folder.join("tmp")).expect("made");
            // Functions, because busybox takes its own wget before any in the path.
            let folder_text = folder.display();
            let line =
                format!("curl() {{ '{folder_text}/curl' \"$@\"; }}; wget() {{ '{folder_text}/wget' \"$@\"; }}; {line}");
            let (program, arguments) = shell.split_first().expect("a shell");
            Command::new(program)
                .args(arguments)
                .arg("-c")
                .arg(line)
                .env("TMPDIR", folder.join("tmp"))
                .output()
                .expect("the shell runs")
        }

        fn shells() -> Vec<Vec<&'static str>> {
            let known = [vec!["bash"], vec!["dash"], vec!["busybox", "sh"]];
            let found = |shell: &Vec<&str>| Command::new(shell[0]).arg("--help").output().is_ok();
            known.into_iter().filter(found).collect()
        }

        #[test]
        fn a_line_runs_its_own_script_and_no_other() {
            let script = "printf '%s' \"$MUSTER_JOIN_TOKEN $*\"; exit 7\n";
            let sha256 = hex::encode(digest(&SHA256, script.as_bytes()));
            let origin = Origin::https("fleet.example.com").expect("an origin");
            let lines = JoinLines::new(&origin, "mjt_secret", &sha256, &[Family::Observe, Family::Fix]);
            assert!(!shells().is_empty());
            for shell in shells() {
                for line in [&lines.curl, &lines.wget] {
                    let folder = tempfile::tempdir().expect("a folder");
                    let output = run(&shell, line, script, folder.path());
                    assert_eq!(
                        String::from_utf8_lossy(&output.stdout),
                        "mjt_secret --allow observe --allow fix",
                        "{shell:?}"
                    );
                    assert_eq!(output.status.code(), Some(7), "{shell:?}");
                    let output = run(&shell, line, "echo altered\n", folder.path());
                    assert_eq!(output.status.code(), Some(1), "{shell:?}");
                    assert!(output.stdout.is_empty(), "{shell:?}");
                    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was run"), "{shell:?}");
                    assert_eq!(fs::read_dir(folder.path().join("tmp")).expect("a folder").count(), 0, "{shell:?}");
                }
            }
        }
    }
}
