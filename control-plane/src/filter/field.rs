//! Everything a filter can ask for, in one table: its name, what it is, where it is read from and what it says. The
//! guide is made of it, and a test holds the guide to it.

use std::borrow::Cow;

use muster_shared::{
    facts::{Facts, InitSystem, ListeningPort, PackageManager, SupportTier},
    preflight::Qualification,
};

use super::{
    candidate::{Candidate, Column},
    kind::{Kind, Value},
};
use crate::{
    health::{Certificate, SampleSeen, Signals, decide},
    servers::{AgentStatus, ConnectionOutcome, Resources, ServerStatus},
};

/// Most ports of a host that are remembered for filters; of a host with more, they are not known.
const MAX_PORTS: usize = 256;

/// Something that can be asked of a server.
pub struct Field {
    /// As it is written in a filter.
    pub name: &'static str,
    pub kind: Kind,
    /// What it says, for people.
    pub about: &'static str,
    /// What has to be read for it.
    pub(super) columns: &'static [Column],
    /// Its value, where it is known.
    pub(super) read: for<'a> fn(&Candidate<'a>, i64) -> Option<Value<'a>>,
    /// The text to remember of the facts, where it comes from them.
    pub(super) fact: Option<fn(&Facts) -> Option<String>>,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The field called `name`.
pub(super) fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

macro_rules! fields {
    ($($name:literal: $kind:ident, $about:literal, $source:tt;)*) => {
        /// Every field, as the guide lists them.
        pub static FIELDS: &[Field] = &[$(fields!(@one $name, $kind, $about, $source)),*];
    };
    (@one $name:literal, $kind:ident, $about:literal, [$column:ident]) => {
        Field {
            name: $name,
            kind: Kind::$kind,
            about: $about,
            columns: &[Column::$column],
            read: |candidate, _| parse(Kind::$kind, candidate.text(Column::$column)?),
            fact: None,
        }
    };
    (@one $name:literal, $kind:ident, $about:literal, [$($column:ident)+ => $read:expr]) => {
        Field {
            name: $name,
            kind: Kind::$kind,
            about: $about,
            columns: &[$(Column::$column),+],
            read: $read,
            fact: None,
        }
    };
    (@one $name:literal, $kind:ident, $about:literal, {$fact:expr}) => {
        Field {
            name: $name,
            kind: Kind::$kind,
            about: $about,
            columns: &[Column::Facts],
            read: |candidate, _| parse(Kind::$kind, candidate.fact($name)?),
            fact: Some($fact),
        }
    };
}

fields! {
    "name": Text, "The server's name", [Name];
    "status": Text, "`pending`, `running`, `stopped` or `error`", [Status];
    "health_status": Text, "`healthy`, `degraded`, `unhealthy`, `unknown`, `auth_failed` or `unreachable`",
        [Status CreatedAt AgentStatus LastSeenAt ConnectionOutcome ConnectionAt FactsCollectedAt DockerStatus
            DockerVersion DataDiskBytes DataDiskAvailableBytes SampleArrivedAt SampleLookedAt SampleDiskPercentMilli
            CertificateNotBefore CertificateNotAfter
            => |candidate, now_us| word(decide(&signals(candidate), now_us).status.as_str())];
    "qualification_status": Text, "`qualified`, `needs_setup`, `unqualified`, `stale` or `expired`",
        [PreflightVerdict PreflightAt => |candidate, now_us| word(qualification(candidate, now_us)?.as_str())];
    "hardening_score": Number, "How many of a hundred parts of the hardening profile hold", [HardeningScore];
    "provider": Text, "The provider, as its owner calls it", [Provider];
    "region": Text, "The region, as its owner calls it", [Region];
    "ipv4_address": Text, "The IPv4 address on record", [Ipv4Address];
    "ipv6_address": Text, "The IPv6 address on record", [Ipv6Address];
    "fqdn": Text, "The DNS name on record", [Fqdn];
    "hostname": Text, "The host name on record, or what the host calls itself",
        [Hostname DetectedHostname => |candidate, _| {
            candidate.text(Column::Hostname).or(candidate.text(Column::DetectedHostname)).and_then(word)
        }];
    "ssh_username": Text, "The user to log in as", [SshUsername];
    "ssh_auth_method": Text, "`password` or `ssh_key`", [SshAuthMethod];
    "cpu_cores": Number, "Cores, as its owner says, or as found",
        [DeclaredCpuCoresMilli DetectedCpuCores => |candidate, _| resources(candidate).cpu_cores.map(Value::Number)];
    "memory_gb": Number, "Memory in gigabytes (10⁹ bytes), as its owner says, or as found",
        [DeclaredMemoryGbMilli DetectedMemoryBytes => |candidate, _| resources(candidate).memory_gb.map(Value::Number)];
    "disk_gb": Number, "Disk in gigabytes, as its owner says, or as found",
        [DeclaredDiskGbMilli DataDiskBytes => |candidate, _| resources(candidate).disk_gb.map(Value::Number)];
    "max_projects": Number, "How many environments it may hold", [MaxProjects];
    "allowed_families": Texts, "The command families its own policy accepts: `observe`, `fix`, …", [AllowedFamilies];
    "created_at": Time, "When the record was made", [CreatedAt];
    "updated_at": Time, "When the record last changed", [UpdatedAt];
    "last_seen": Time, "The agent's last sign of life", [LastSeenAt];
    "facts_collected_at": Time, "When the facts were collected", [FactsCollectedAt];
    "last_preflight_check": Time, "When it was last checked for readiness", [PreflightAt];
    "agent.status": Text, "`none`, `pending`, `online`, `offline`, `quarantined`, `revoked` or `retired`", [AgentStatus];
    "agent.version": Version, "The agent's version", [AgentVersion];
    "agent_status": Text, "The same as `agent.status`, by the API's name", [AgentStatus];
    "agent_version": Version, "The same as `agent.version`, by the API's name", [AgentVersion];
    "os.id": Text, "`debian`, `ubuntu`, `rocky`, …", { |facts| text(&facts.os.id) };
    "os.name": Text, "`Debian GNU/Linux`, …", [OsType];
    "os.version": Version, "`12`, `22.04`, …", [OsVersion];
    "os.codename": Text, "`bookworm`, …", { |facts| text(&facts.os.codename) };
    "os.arch": Text, "`x86_64`, `aarch64`, …", [OsArch];
    "os.support_tier": Text, "`full`, `partial`, `experimental` or `unsupported`", { |facts| Some(tier(facts).into()) };
    "os_type": Text, "The same as `os.name`, by the API's name", [OsType];
    "os_version": Version, "The same as `os.version`, by the API's name", [OsVersion];
    "os_arch": Text, "The same as `os.arch`, by the API's name", [OsArch];
    "kernel": Version, "The kernel's version", { |facts| text(&facts.kernel) };
    "package_manager": Text, "`apt`, `dnf`, `yum`, `apk` or `pacman`", { |facts| Some(packages(facts)?.into()) };
    "init_system": Text, "`systemd`, `openrc`, `sysvinit` or `none`", { |facts| Some(init(facts)?.into()) };
    "virtualization": Text, "`kvm`, `docker`, … or `none`", { |facts| text(&facts.virtualization) };
    "cpu.model": Text, "The processor's name", { |facts| text(&facts.cpu.model) };
    "cpu.cores": Number, "Logical processors found", [DetectedCpuCores];
    "memory.total_gb": Number, "Memory found, in gigabytes", [DetectedMemoryBytes => |candidate, _| {
        gigabytes(candidate, Column::DetectedMemoryBytes)
    }];
    "memory.swap_gb": Number, "Swap space, in gigabytes", { |facts| number(facts.memory.swap_total_bytes as f64 / 1e9) };
    "disk.total_gb": Number, "Size of the disk deployments would use, in gigabytes", [DataDiskBytes => |candidate, _| {
        gigabytes(candidate, Column::DataDiskBytes)
    }];
    "disk.free_gb": Number, "What is free on it, in gigabytes", [DataDiskAvailableBytes => |candidate, _| {
        gigabytes(candidate, Column::DataDiskAvailableBytes)
    }];
    "disk.used_percent": Number, "How full it is, 0 to 100", [DataDiskBytes DataDiskAvailableBytes => |candidate, _| {
        used_percent(candidate)
    }];
    "disk.fs_type": Text, "Its file system: `ext4`, `xfs`, …", { |facts| text(&facts.data_disk.as_ref()?.fs_type) };
    "docker.status": Text, "`running`, `stopped`, `not_installed`, `permission_denied`, `hung` or `unknown`",
        [DockerStatus];
    "docker.version": Version, "The engine's version", [DockerVersion];
    "docker_status": Text, "The same as `docker.status`, by the API's name", [DockerStatus];
    "docker_version": Version, "The same as `docker.version`, by the API's name", [DockerVersion];
    "docker.storage_driver": Text, "`overlay2`, …", { |facts| text(facts.docker.storage_driver.as_ref()?) };
    "docker.cgroup_version": Text, "As the engine says: `1` or `2`",
        { |facts| text(facts.docker.cgroup_version.as_ref()?) };
    "docker.live_restore": Truth, "Whether containers outlive the engine's restart",
        { |facts| Some(facts.docker.live_restore?.to_string()) };
    "docker.containers": Number, "Containers, running or not",
        { |facts| engine(facts).and(number(facts.docker.containers.len() as f64)) };
    "docker.images": Number, "Images", { |facts| engine(facts).and(number(f64::from(facts.docker.images))) };
    "reboot_pending": Truth, "Whether the system wishes to be rebooted",
        { |facts| Some(facts.reboot_pending.is_some().to_string()) };
    "security_updates": Number, "Security updates waiting", { |facts| number(f64::from(facts.security_updates_pending?)) };
    "clock.synchronized": Truth, "Whether the clock is kept right", { |facts| Some(facts.clock.synchronized?.to_string()) };
    "clock.service": Text, "`chrony`, `systemd-timesyncd`, …", { |facts| text(facts.clock.service.as_ref()?) };
    "clock.timezone": Text, "`Europe/Berlin`, …", { |facts| text(facts.clock.timezone.as_ref()?) };
    "firewall.kind": Text, "`ufw`, `firewalld`, `nftables`, `iptables` or `none`",
        { |facts| Some(facts.firewall.kind.clone().unwrap_or_else(|| "none".into())) };
    "firewall.active": Truth, "Whether it filters", { |facts| Some(facts.firewall.active?.to_string()) };
    "sshd.version": Version, "The SSH server's version", { |facts| text(sshd_version(facts)?) };
    "sshd.password_authentication": Text, "Its effective setting: `yes` or `no`",
        { |facts| setting(facts, "passwordauthentication") };
    "sshd.permit_root_login": Text, "Its effective setting: `yes`, `no`, `prohibit-password`, …",
        { |facts| setting(facts, "permitrootlogin") };
    "ports.tcp": Numbers, "TCP ports that programs listen on", { |facts| ports(&facts.listening, "tcp") };
    "ports.udp": Numbers, "UDP ports that programs listen on", { |facts| ports(&facts.listening, "udp") };
    "cgroup_version": Number, "1 or 2; 0 where none is mounted", { |facts| number(f64::from(facts.cgroup_version)) };
    "netdata.running": Truth, "Whether a Netdata runs", { |facts| Some(facts.netdata.as_ref()?.running.to_string()) };
    "booted_at": Time, "When the host booted", { |facts| Some(facts.booted_at_us?.to_string()) };
}

/// A remembered or stored text as the value it stands for.
fn parse(kind: Kind, text: &str) -> Option<Value<'_>> {
    let items = || text.split(',').filter(|item| !item.is_empty());
    Some(match kind {
        Kind::Text => Value::Text(Cow::Borrowed(text)),
        Kind::Version => Value::Version(Cow::Borrowed(text)),
        Kind::Number => Value::Number(text.parse().ok()?),
        Kind::Truth => Value::Truth(text.parse().ok()?),
        Kind::Time => Value::Time(text.parse().ok()?),
        Kind::Duration => Value::Duration(text.parse().ok()?),
        Kind::Texts => Value::List(items().map(|item| Value::Text(Cow::Borrowed(item))).collect()),
        Kind::Numbers => Value::List(items().filter_map(|item| item.parse().ok().map(Value::Number)).collect()),
    })
}

fn word(word: &str) -> Option<Value<'_>> {
    Some(Value::Text(Cow::Borrowed(word)))
}

fn unsigned(candidate: &Candidate<'_>, column: Column) -> Option<u64> {
    candidate.integer(column).and_then(|value| u64::try_from(value).ok())
}

fn gigabytes<'a>(candidate: &Candidate<'a>, column: Column) -> Option<Value<'a>> {
    unsigned(candidate, column).map(|bytes| Value::Number(bytes as f64 / 1e9))
}

fn used_percent<'a>(candidate: &Candidate<'a>) -> Option<Value<'a>> {
    let total = unsigned(candidate, Column::DataDiskBytes).filter(|total| *total > 0)?;
    let used = total.saturating_sub(unsigned(candidate, Column::DataDiskAvailableBytes)?);
    Some(Value::Number(used as f64 * 100.0 / total as f64))
}

fn resources(candidate: &Candidate<'_>) -> Resources {
    let declared = |column| candidate.integer(column).map(|milli| milli as f64 / 1e3);
    let declared = Resources {
        cpu_cores: declared(Column::DeclaredCpuCoresMilli),
        memory_gb: declared(Column::DeclaredMemoryGbMilli),
        disk_gb: declared(Column::DeclaredDiskGbMilli),
    };
    let found = |column| unsigned(candidate, column);
    declared.or_found(found(Column::DetectedCpuCores), found(Column::DetectedMemoryBytes), found(Column::DataDiskBytes))
}

fn signals(candidate: &Candidate<'_>) -> Signals {
    let outcome = candidate.text(Column::ConnectionOutcome).and_then(ConnectionOutcome::parse);
    let sample = candidate.integer(Column::SampleArrivedAt).zip(candidate.integer(Column::SampleLookedAt));
    let certificate =
        candidate.integer(Column::CertificateNotBefore).zip(candidate.integer(Column::CertificateNotAfter));
    Signals {
        status: candidate.text(Column::Status).and_then(ServerStatus::parse),
        created_at_us: candidate.integer(Column::CreatedAt).unwrap_or_default(),
        sample: sample.map(|(arrived_at_us, looked_at_us)| SampleSeen {
            arrived_at_us,
            looked_at_us,
            disk_usage_percent: candidate.integer(Column::SampleDiskPercentMilli).map(|milli| milli as f64 / 1e3),
        }),
        certificate: certificate.map(|(not_before_us, not_after_us)| Certificate { not_before_us, not_after_us }),
        facts_at_us: candidate.integer(Column::FactsCollectedAt),
        // Decides the words only, not the status.
        is_probed: false,
        agent: candidate.text(Column::AgentStatus).and_then(AgentStatus::parse),
        last_seen_at_us: candidate.integer(Column::LastSeenAt),
        connection: outcome.zip(candidate.integer(Column::ConnectionAt)),
        docker_status: candidate.text(Column::DockerStatus).map(str::to_owned),
        docker_version: candidate.text(Column::DockerVersion).map(str::to_owned),
        disk_bytes: unsigned(candidate, Column::DataDiskBytes),
        disk_available_bytes: unsigned(candidate, Column::DataDiskAvailableBytes),
    }
}

fn qualification(candidate: &Candidate<'_>, now_us: i64) -> Option<Qualification> {
    let verdict = Qualification::parse(candidate.text(Column::PreflightVerdict)?)?;
    Some(verdict.aged(candidate.integer(Column::PreflightAt)?, now_us))
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn number(number: f64) -> Option<String> {
    Some(number.to_string())
}

/// What an engine says is known only where it answers.
fn engine(facts: &Facts) -> Option<()> {
    facts.docker.version.as_ref().map(|_| ())
}

fn tier(facts: &Facts) -> &'static str {
    match facts.os.support_tier {
        SupportTier::Full => "full",
        SupportTier::Partial => "partial",
        SupportTier::Experimental => "experimental",
        SupportTier::Unsupported => "unsupported",
    }
}

fn packages(facts: &Facts) -> Option<&'static str> {
    Some(match facts.package_manager? {
        PackageManager::Apt => "apt",
        PackageManager::Dnf => "dnf",
        PackageManager::Yum => "yum",
        PackageManager::Apk => "apk",
        PackageManager::Pacman => "pacman",
    })
}

fn init(facts: &Facts) -> Option<&'static str> {
    Some(match facts.init_system? {
        InitSystem::Systemd => "systemd",
        InitSystem::Openrc => "openrc",
        InitSystem::Sysvinit => "sysvinit",
        InitSystem::None => "none",
    })
}

/// The version in `OpenSSH_9.2p1 …`.
fn sshd_version(facts: &Facts) -> Option<&str> {
    let version = facts.sshd.as_ref()?.version.trim_start_matches(|c: char| !c.is_ascii_digit());
    version.split([' ', ',']).next()
}

fn setting(facts: &Facts, keyword: &str) -> Option<String> {
    facts.sshd.as_ref()?.settings.get(keyword)?.first().cloned()
}

fn ports(listening: &[ListeningPort], protocol: &str) -> Option<String> {
    let mut ports: Vec<_> = listening.iter().filter(|port| port.protocol == protocol).map(|port| port.port).collect();
    ports.sort_unstable();
    ports.dedup();
    let text = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    // A host always listens somewhere, so no ports at all are ports that could not be read; a comma is an empty list.
    match ports.len() {
        0 if listening.is_empty() => None,
        0 => Some(",".to_owned()),
        1..=MAX_PORTS => Some(text),
        _ => None,
    }
}
