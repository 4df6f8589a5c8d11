//! Facts: one file a topic. Each topic reads what it can and notes what it could not, and why.

mod addresses;
mod clock;
mod disks;
mod firewall;
mod hardware;
mod identity;
mod netdata;
mod processes;
mod reboot;
mod sockets;
mod sshd;
mod system;
mod updates;
mod virtualization;

use std::{collections::BTreeMap, fmt::Display};

use muster_shared::facts::{Facts, Inotify, ListeningPort};

use super::{ProbeOptions, docker, host::Host};
use crate::os::{Platform, cgroup, interfaces};

pub(super) use self::processes::Processes;
pub use self::updates::{UpdatesStamp, count_updates};

/// What could not be read: field → why.
#[derive(Debug, Default)]
pub(super) struct Unread(BTreeMap<String, String>);

impl Unread {
    fn note(&mut self, field: &str, why: impl Display) {
        self.0.insert(field.to_owned(), why.to_string());
    }

    /// The value, or `None` with its reason noted.
    fn or_note<T, E: Display>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|why| self.note(field, why)).ok()
    }
}

/// Everything known of the host, as this process' user may know it. Takes milliseconds where
/// [`ProbeOptions::known_updates`] is given; counting security updates takes seconds.
pub async fn collect_facts(options: &ProbeOptions) -> Facts {
    let updates = async {
        match options.known_updates.clone() {
            Some(known) => known,
            None => count_updates(options).await,
        }
    };
    let (mut facts, updates) = tokio::join!(collect_without_updates(options), updates);
    match updates {
        Ok(count) => facts.security_updates_pending = Some(count),
        Err(why) => _ = facts.unread.insert("security_updates_pending".to_owned(), why),
    }
    facts
}

/// Who listens on which port, and nothing else.
pub async fn listening(options: &ProbeOptions) -> Vec<ListeningPort> {
    let host = Host::new(&options.root);
    let read = tokio::task::spawn_blocking(move || sockets::listening(&host, &Processes::read(&host)));
    let mut listening = read.await.unwrap_or_default();
    sockets::name_activated(&mut listening, options).await;
    listening
}

/// [`collect_facts`] without the one fact that takes seconds.
pub(super) async fn collect_without_updates(options: &ProbeOptions) -> Facts {
    let host = Host::new(&options.root);
    let platform = Platform::detect(host.root());
    let files = tokio::task::spawn_blocking({
        let host = host.clone();
        move || read_files(&host, platform)
    });
    let (docker, identity, sshd, firewall, synchronized) = tokio::join!(
        docker::read(options),
        identity::read(&host, options),
        sshd::read(&host, options),
        firewall::read(&host, options),
        clock::is_synchronized(&host, options),
    );
    let (mut facts, mut unread) = files.await.unwrap_or_default();
    facts.sshd = unread.or_note("sshd", sshd);
    facts.firewall = unread.or_note("firewall", firewall).unwrap_or_default();
    facts.clock.synchronized = unread.or_note("clock.synchronized", synchronized);
    facts.data_disk = disks::data_disk(&facts.mounts, docker.data_directory.as_deref());
    facts.docker = docker;
    sockets::name_activated(&mut facts.listening, options).await;
    facts.collected_as = identity;
    facts.unread = unread.0;
    facts
}

/// What files alone tell. Blocks for as long as they take: milliseconds, local file systems only.
fn read_files(host: &Host, platform: Platform) -> (Facts, Unread) {
    let mut unread = Unread::default();
    let processes = Processes::read(host);
    if !processes.sees_all {
        let why = "only root can see the files of other users' processes";
        unread.note("listening.pid", why);
        unread.note("inotify.instances_in_use", why);
    }
    let facts = Facts {
        hostname: system::hostname(host),
        os: unread.or_note("os", system::os(host)).unwrap_or_default(),
        kernel: system::kernel(host),
        arch: system::arch(),
        package_manager: platform.package_manager,
        init_system: Some(platform.init_system),
        virtualization: virtualization::detect(host),
        cpu: hardware::cpu(host),
        memory: hardware::memory(host),
        mounts: disks::mounts(host),
        disks: disks::disks(host),
        addresses: addresses::read(host),
        interfaces: if host.is_live() { interfaces::read() } else { Vec::new() },
        boot_id: system::boot_id(host),
        booted_at_us: system::booted_at_us(host),
        reboot_pending: reboot::pending(host),
        clock: clock::read(host, &processes),
        listening: sockets::listening(host, &processes),
        cgroup_version: cgroup::detect(host.root()).map_or(0, |hierarchy| hierarchy.version()),
        inotify: inotify(host, &processes),
        netdata: netdata::read(host, &processes),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Facts::default()
    };
    (facts, unread)
}

fn inotify(host: &Host, processes: &Processes) -> Option<Inotify> {
    Some(Inotify {
        max_user_watches: host.read_number("/proc/sys/fs/inotify/max_user_watches")?,
        max_user_instances: host.read_number("/proc/sys/fs/inotify/max_user_instances")?,
        instances_in_use: processes.sees_all.then(|| processes.most_inotify_instances()),
    })
}
