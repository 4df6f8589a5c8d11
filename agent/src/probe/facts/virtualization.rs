//! What the host runs on, in `systemd-detect-virt`'s words.

use crate::{
    os::{mounts, text},
    probe::host::Host,
};

/// A word a maker writes into the firmware's tables, and what it means. The first that matches counts.
const FIRMWARE: [(&str, &str); 14] = [
    ("kvm", "kvm"),
    ("amazon ec2", "amazon"),
    ("google", "google"),
    ("openstack", "kvm"),
    ("droplet", "kvm"),
    ("hetzner", "kvm"),
    ("vmware", "vmware"),
    ("virtualbox", "oracle"),
    ("innotek", "oracle"),
    ("microsoft corporation virtual machine", "microsoft"),
    ("xen", "xen"),
    ("parallels", "parallels"),
    ("qemu", "qemu"),
    ("bochs", "bochs"),
];

/// A container's kind, else a virtual machine's, else `none`.
pub(super) fn detect(host: &Host) -> String {
    container(host).or_else(|| machine(host)).unwrap_or_else(|| "none".to_owned())
}

fn container(host: &Host) -> Option<String> {
    // systemd writes the first, container engines the others.
    if let Some(kind) = host.read_word("/run/systemd/container") {
        return Some(kind);
    }
    // The mark alone also stands in virtual machines made from an image; the engine's own mount does not.
    let has_engine_mounts = || mounts::read(host.root()).iter().any(|mount| mount.path == "/etc/hostname");
    if host.exists("/.dockerenv") && has_engine_mounts() {
        return Some("docker".to_owned());
    }
    if host.exists("/run/.containerenv") {
        return Some("podman".to_owned());
    }
    let environment = host.read("/proc/1/environ").ok()?;
    let kind = environment.split('\0').find_map(|variable| variable.strip_prefix("container="))?;
    Some(if kind.is_empty() { "container-other".to_owned() } else { text::clean(kind) })
}

fn machine(host: &Host) -> Option<String> {
    let tables = ["sys_vendor", "product_name", "bios_vendor", "board_vendor"]
        .map(|table| host.read_word(&format!("/sys/class/dmi/id/{table}")).unwrap_or_default());
    let kind = by_firmware(&tables.join(" "));
    let by_kernel = || host.read_word("/sys/hypervisor/type");
    // The processor itself tells that a hypervisor is there, though not which.
    let by_processor = || {
        let info = host.read("/proc/cpuinfo").ok()?;
        let flags = info.lines().find(|line| line.starts_with("flags"))?;
        flags.split_whitespace().any(|flag| flag == "hypervisor").then(|| "vm-other".to_owned())
    };
    kind.map(str::to_owned).or_else(by_kernel).or_else(by_processor)
}

fn by_firmware(tables: &str) -> Option<&'static str> {
    let tables = tables.to_lowercase();
    FIRMWARE.iter().find(|(sign, _)| tables.contains(sign)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_are_known_by_their_firmware() {
        assert_eq!(by_firmware("QEMU Standard PC (Q35 + ICH9, 2009) SeaBIOS"), Some("qemu"));
        assert_eq!(by_firmware("Microsoft Corporation Virtual Machine American Megatrends"), Some("microsoft"));
        assert_eq!(by_firmware("Microsoft Corporation Surface Laptop"), None);
        assert_eq!(by_firmware("innotek GmbH VirtualBox"), Some("oracle"));
        assert_eq!(by_firmware("Dell Inc. PowerEdge R640"), None);
    }

    #[test]
    fn a_container_says_so() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join("proc/1")).expect("proc");
        let host = Host::new(root.path());
        assert_eq!(detect(&host), "none");
        std::fs::write(root.path().join("proc/1/environ"), "PATH=/bin\0container=lxc\0").expect("environment");
        assert_eq!(detect(&host), "lxc");
        std::fs::write(root.path().join(".dockerenv"), "").expect("mark");
        assert_eq!(detect(&host), "lxc");
        std::fs::write(root.path().join("proc/mounts"), "/dev/vda /etc/hostname ext4 rw 0 0\n").expect("mounts");
        assert_eq!(detect(&host), "docker");
    }
}
