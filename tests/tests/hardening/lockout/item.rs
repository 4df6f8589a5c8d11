//! What is changed, how it is asked for, and what of it can be broken.

use serde_json::{Value, json};

use super::Fault;

/// May become root without a password, whatever happens.
pub(super) const KEEPER: &str = "keeper";
pub(super) const SET_UP: &str = "apt-get -q update && apt-get -q -y --no-install-recommends install nftables sudo";
/// Nobody's network: a firewall that keeps SSH to it locks everybody out.
const NOWHERE: &str = "192.0.2.0/24";

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Firewall,
    Sshd,
    Sudo,
    /// The key pair that the server is entered with is replaced.
    Key,
}

impl Item {
    pub(super) const ALL: [Self; 4] = [Self::Firewall, Self::Sshd, Self::Sudo, Self::Key];

    /// What `fault` can hit: sshd's settings and sudo's rules don't close the way in by themselves.
    pub(super) fn hit_by(fault: Fault) -> &'static [Self] {
        match fault {
            Fault::Closing => &[Self::Firewall, Self::Key],
            _ => &Self::ALL,
        }
    }

    /// About how long it takes: moments within it are worth a fault.
    pub(super) fn takes_ms(self) -> u64 {
        match self {
            Self::Firewall | Self::Sshd => 9000,
            Self::Sudo => 5000,
            Self::Key => 3000,
        }
    }

    /// The route below the server's, and what to send there; a rotation is asked for elsewhere.
    pub(super) fn asked(self, fault: Fault) -> Option<(&'static str, Value)> {
        let nobody_gets_in = match fault {
            Fault::Closing | Fault::KillExecutor | Fault::KillOwners | Fault::Restart => json!([NOWHERE]),
            Fault::BrokenStep | Fault::CutNetwork => json!([]),
        };
        match self {
            Self::Firewall => {
                Some(("hardening", json!({ "items": ["firewall"], "mode": "apply", "ssh_from": nobody_gets_in })))
            }
            Self::Sshd => Some(("hardening", json!({ "items": ["sshd"], "mode": "apply" }))),
            Self::Sudo => Some(("preflight/fix", json!({ "actions": ["configure_sudo"], "username": "deploy" }))),
            Self::Key => None,
        }
    }

    /// What is there once it is applied.
    pub(super) fn mark(self) -> Option<&'static str> {
        match self {
            Self::Firewall => Some("/etc/muster-agent/firewall.nft"),
            Self::Sshd => Some("/etc/ssh/sshd_config.d/00-00-muster.conf"),
            Self::Sudo => Some("/etc/sudoers.d/muster-$(id -u deploy)"),
            Self::Key => None,
        }
    }

    /// A line that breaks the step that counts, and one that mends it.
    pub(super) fn broken(self) -> (String, String) {
        let drop_in = |unit: &str, lines: &str| {
            let folder = format!("/etc/systemd/system/{unit}.d");
            let breaks = format!(
                "mkdir -p {folder} && printf '[Service]\\n{lines}\\n' > {folder}/broken.conf && systemctl daemon-reload"
            );
            (breaks, format!("rm -rf {folder}; systemctl daemon-reload; systemctl reset-failed"))
        };
        match self {
            Self::Firewall => drop_in("muster-firewall.service", "ExecStartPre=/bin/false"),
            Self::Sshd => drop_in("ssh.service", "ExecReload=\\nExecReload=/bin/false"),
            Self::Sudo => (
                "cd /usr/sbin && mv visudo visudo.kept && ln -s /bin/false visudo".to_owned(),
                "cd /usr/sbin && mv visudo.kept visudo".to_owned(),
            ),
            Self::Key => (
                "mount --bind /root/.ssh /root/.ssh && mount -o remount,ro,bind /root/.ssh".to_owned(),
                "umount /root/.ssh".to_owned(),
            ),
        }
    }

    /// Has the host refuse what is about to be put in place, and no longer.
    pub(super) fn closed(self) -> Option<(&'static str, &'static str)> {
        (self == Self::Key).then_some((
            "mkdir -p /etc/ssh/only && cp /root/.ssh/authorized_keys /etc/ssh/only/root && \
             echo 'AuthorizedKeysFile /etc/ssh/only/%u' > /etc/ssh/sshd_config.d/01-elsewhere.conf && \
             systemctl reload ssh",
            "rm -rf /etc/ssh/sshd_config.d/01-elsewhere.conf /etc/ssh/only; systemctl reload ssh",
        ))
    }

    /// Kills what makes the change on the host, and with `owners` what takes it back.
    pub(super) fn killed(self, owners: bool) -> &'static str {
        match (self, owners) {
            (Self::Key, _) => "pkill -KILL -f '^sshd: root' || true",
            (_, false) => "systemctl kill --signal=KILL muster-agent-executor",
            (_, true) => {
                "systemctl kill --signal=KILL muster-agent-executor; systemctl kill --signal=KILL \
                 muster-agent-revert; kill -9 $(ps -C muster-agent -o pid=)"
            }
        }
    }
}
