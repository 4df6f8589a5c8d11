//! What is known of a host: one document, collected by the agent, stored and served as it is.
//!
//! The document only grows: a field may be added with a default, none is removed or changes its meaning, so agents
//! and control planes of different versions understand each other. Whatever could not be read is `None` or empty,
//! and its reason is in [`Facts::unread`]. Sizes are bytes, times are microseconds since the Unix epoch, UTC.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hardening::ItemStanding;

/// Largest facts document accepted, in bytes of JSON.
pub const MAX_FACTS_BYTES: usize = 1 << 20;

/// Everything known of a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Facts {
    pub hostname: String,
    pub os: Os,
    pub kernel: String,
    /// `x86_64`, `aarch64`, … as the kernel says.
    pub arch: String,
    pub package_manager: Option<PackageManager>,
    pub init_system: Option<InitSystem>,
    /// `kvm`, `xen`, `vmware`, `docker`, `lxc`, … or `none`.
    pub virtualization: String,
    pub cpu: Cpu,
    pub memory: Memory,
    /// The file system deployments would use: Docker's data directory, `/var/lib`, or the root.
    pub data_disk: Option<Mount>,
    pub mounts: Vec<Mount>,
    pub disks: Vec<Disk>,
    pub addresses: Vec<Address>,
    /// Those that face a network: neither loopback nor the host's ends of containers' networks.
    pub interfaces: Vec<Interface>,
    pub boot_id: String,
    pub booted_at_us: Option<i64>,
    /// The system's wish to be rebooted, and who wishes it.
    pub reboot_pending: Option<RebootPending>,
    /// Security updates waiting; `None` where the package manager can't tell without asking the network.
    pub security_updates_pending: Option<u32>,
    pub clock: Clock,
    pub sshd: Option<Sshd>,
    pub firewall: Firewall,
    pub listening: Vec<ListeningPort>,
    pub docker: Docker,
    /// 1 or 2; 0 where no cgroup hierarchy is mounted.
    pub cgroup_version: u8,
    pub inotify: Option<Inotify>,
    pub netdata: Option<Netdata>,
    /// How the host stands towards each item of the hardening profile; empty where nobody looked.
    #[serde(deserialize_with = "crate::hardening::known")]
    pub hardening: Vec<ItemStanding>,
    /// The identity that collected this document.
    pub collected_as: Identity,
    pub agent_version: String,
    /// What could not be read: field → why.
    pub unread: BTreeMap<String, String>,
}

/// `/etc/os-release`, and where it stands in the table of supported systems.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Os {
    /// `debian`, `ubuntu`, `rocky`, …
    pub id: String,
    /// `Debian GNU/Linux`, …
    pub name: String,
    /// `12`, `22.04`, …
    pub version: String,
    /// `bookworm`, …; empty where there is none.
    pub codename: String,
    pub pretty_name: String,
    pub support_tier: SupportTier,
}

/// How well a system is supported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SupportTier {
    /// Tier 1.
    Full,
    /// Tier 2.
    Partial,
    /// Tier 3.
    Experimental,
    #[default]
    Unsupported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PackageManager {
    Apt,
    Dnf,
    Yum,
    Apk,
    Pacman,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum InitSystem {
    Systemd,
    Openrc,
    Sysvinit,
    /// PID 1 is something else: a container's own program, `tini`, …
    None,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Cpu {
    pub model: String,
    /// Logical processors online.
    pub cores: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Memory {
    pub total_bytes: u64,
    pub swap_total_bytes: u64,
}

/// A mounted file system backed by storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Mount {
    pub path: String,
    pub device: String,
    pub fs_type: String,
    pub total_bytes: u64,
    /// Free for an unprivileged user.
    pub available_bytes: u64,
    pub read_only: bool,
}

/// A whole block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Disk {
    pub name: String,
    pub size_bytes: u64,
    pub rotational: bool,
    pub model: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Address {
    pub interface: String,
    /// Without a prefix length.
    pub ip: String,
    pub mac: String,
}

/// An interface that faces a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Interface {
    pub name: String,
    /// Six bytes in lower-case hex, between colons.
    pub mac: String,
    pub addresses: Vec<InterfaceAddress>,
}

/// An address and the network it stands in.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct InterfaceAddress {
    pub ip: String,
    /// Bits of the address that name the network.
    pub prefix: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct RebootPending {
    /// Packages or files that ask for it.
    pub because_of: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Clock {
    /// Whether the kernel says that its clock is disciplined (adjtimex without STA_UNSYNC).
    pub synchronized: Option<bool>,
    /// `systemd-timesyncd`, `chrony`, `ntpd`, … where one runs.
    pub service: Option<String>,
    pub timezone: Option<String>,
}

/// sshd's effective settings (`sshd -T`): lower-case keyword → values, one an occurrence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Sshd {
    pub version: String,
    pub ports: Vec<u16>,
    pub settings: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Firewall {
    /// `ufw`, `firewalld`, `nftables`, `iptables`, or `None` where nothing filters.
    pub kind: Option<String>,
    pub active: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ListeningPort {
    /// `tcp` or `udp`.
    pub protocol: String,
    pub address: String,
    pub port: u16,
    pub pid: Option<u32>,
    pub process: Option<String>,
    /// The systemd unit (or OpenRC/SysVinit service) that owns the process.
    pub unit: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Docker {
    pub status: DockerStatus,
    pub version: Option<String>,
    pub api_version: Option<String>,
    pub storage_driver: Option<String>,
    pub cgroup_driver: Option<String>,
    /// As the engine says: `1` or `2`.
    pub cgroup_version: Option<String>,
    pub live_restore: Option<bool>,
    pub data_directory: Option<String>,
    pub address_pools: Vec<AddressPool>,
    pub networks: u32,
    pub containers: Vec<Container>,
    pub images: u32,
    pub images_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DockerStatus {
    #[default]
    Unknown,
    NotInstalled,
    Stopped,
    Running,
    /// The socket is there but the collecting user may not use it.
    PermissionDenied,
    /// The socket accepts but the engine doesn't answer in time.
    Hung,
}

impl DockerStatus {
    /// The status word as the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotInstalled => "not_installed",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::PermissionDenied => "permission_denied",
            Self::Hung => "hung",
        }
    }
}

/// A range that networks are cut from (`default-address-pools`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct AddressPool {
    pub base: String,
    pub size: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Container {
    /// The full 64-digit id.
    pub id: String,
    pub name: String,
    pub image: String,
    /// `running`, `exited`, `paused`, …
    pub state: String,
    /// `healthy`, `unhealthy`, `starting`; empty without a health check.
    pub health: String,
    pub restarts: Option<u32>,
    pub created_at_us: Option<i64>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Inotify {
    pub max_user_watches: u64,
    pub max_user_instances: u64,
    /// Instances in use by the user who has most; `None` without root.
    pub instances_in_use: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Netdata {
    pub running: bool,
    pub streaming_enabled: bool,
    pub machine_guid: Option<String>,
}

/// Who collected, and what it may become.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Identity {
    pub username: String,
    pub is_root: bool,
    /// Whether `sudo -n true` worked, or sudo is there and a password was asked; `None` where it wasn't tried.
    pub sudo: Option<Sudo>,
    pub groups: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sudo {
    Passwordless,
    PasswordRequired,
    NotInstalled,
    NotAllowed,
}
