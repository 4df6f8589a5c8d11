//! A server's row as the audit record shows it: everything but secrets, of which it says only whether there are any.

use serde_json::{Value, json};

use super::ServerRow;

impl ServerRow {
    /// The row without its secrets.
    #[must_use]
    pub(crate) fn shown(&self) -> Value {
        let (addresses, ssh) = (&self.addresses, self.ssh.as_ref());
        let kept = |sealed: &Option<Vec<u8>>| sealed.as_ref().map(|_| "kept");
        json!({
            "name": self.name.as_str(),
            "provider": self.provider.as_str(),
            "region": self.region.as_str(),
            "ipv4_address": addresses.ipv4,
            "ipv6_address": addresses.ipv6,
            "fqdn": addresses.fqdn.as_ref().map(ToString::to_string),
            "hostname": addresses.hostname.as_ref().map(ToString::to_string),
            "connection_host_type": addresses.choice.as_str(),
            "ssh_port": ssh.map(|ssh| ssh.port),
            "ssh_username": ssh.map(|ssh| ssh.username.as_str()),
            "ssh_auth_method": ssh.map(|ssh| ssh.auth_method.as_str()),
            "ssh_sudo_mode": ssh.map(|ssh| ssh.sudo_mode.as_str()),
            "ssh_host_key_fingerprint": self.host_key.as_ref().map(ToString::to_string),
            "ssh_password": kept(&self.auth.password),
            "ssh_private_key": kept(&self.auth.private_key),
            "ssh_key_passphrase": kept(&self.auth.key_passphrase),
            "ssh_key_pair_id": self.auth.key_pair.map(|id| id.to_string()),
            "cpu_cores": self.declared.cpu_cores,
            "memory_gb": self.declared.memory_gb,
            "disk_gb": self.declared.disk_gb,
            "max_projects": self.max_projects,
        })
    }

    /// The row without its secrets, those that differ from `before` marked as replaced.
    #[must_use]
    pub(super) fn shown_beside(&self, before: &Self) -> Value {
        let mut shown = self.shown();
        let secrets = [
            ("ssh_password", &before.auth.password, &self.auth.password),
            ("ssh_private_key", &before.auth.private_key, &self.auth.private_key),
            ("ssh_key_passphrase", &before.auth.key_passphrase, &self.auth.key_passphrase),
        ];
        for (name, was, is) in secrets {
            if was.is_some() && is.is_some() && was != is {
                shown[name] = "replaced".into();
            }
        }
        shown
    }
}
