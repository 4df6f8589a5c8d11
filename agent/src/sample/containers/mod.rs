//! Containers: their cgroups give the numbers, the engine's inventory gives the names and states.
//!
//! An inventory says which cgroups are this host's containers, so once there is one only those in it are sampled, and
//! a cgroup it doesn't list asks for a newer inventory ([`Containers::wants_inventory`]). Without any (no engine that
//! may be asked) every container's cgroup is sampled, unnamed, after a short wait.
//!
//! A cgroup in which no process is left is no running container: an engine that was killed with its containers leaves
//! theirs behind.

mod catalogue;
mod container;
mod discover;
mod network;
mod populated;
mod v1;
mod v2;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use muster_shared::{facts, metric::names};

use self::{
    container::Container,
    discover::{Discovery, Found},
    populated::is_populated,
};
use super::{
    metric::Metric,
    reader::Reader,
    registry::{Registry, Slot},
};
use crate::os::cgroup::{self, Hierarchy};

/// How long the first inventory is waited for before containers are sampled without names.
const INVENTORY_GRACE_US: i64 = 5_000_000;
/// How often a host without a cgroup hierarchy is looked at again.
const DETECT_US: i64 = 60_000_000;

const RUNNING: Metric =
    Metric::gauge(names::HOST_CONTAINERS_RUNNING, 0, &[], "Containers with a cgroup and a process in it.");

pub(super) fn metrics() -> impl Iterator<Item = &'static Metric> {
    [&RUNNING].into_iter().chain(&catalogue::METRICS).chain(&container::STATES)
}

#[derive(Debug)]
pub(super) struct Containers {
    root: PathBuf,
    tree: Tree,
    /// In the order they were found, so that those which find no room are the youngest. An entry stays while its
    /// cgroup or its place in the inventory does, so that a restarted container keeps its series.
    known: Vec<Container>,
    inventory: Inventory,
    /// A known container's cgroup was found gone or empty at the last tick.
    is_stale: bool,
    /// Containers whose cgroups were empty when last looked at. One that is new there is looked at again with the next
    /// tick: an engine makes a cgroup before it puts a process into it.
    empty: HashSet<String>,
    running: Slot,
}

#[derive(Debug)]
enum Tree {
    /// No hierarchy was there when last looked.
    Absent {
        look_at_us: i64,
    },
    Present(Box<Present>),
}

#[derive(Debug)]
struct Present {
    hierarchy: Hierarchy,
    discovery: Discovery,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inventory {
    Awaited {
        since_us: Option<i64>,
    },
    Current,
    /// A cgroup has appeared that it doesn't list.
    Outdated,
}

impl Containers {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            tree: Tree::Absent { look_at_us: i64::MIN },
            known: Vec::new(),
            inventory: Inventory::Awaited { since_us: None },
            is_stale: false,
            empty: HashSet::new(),
            running: Slot::default(),
        }
    }

    /// Whether there is a container that no inventory told of. Without any there is nothing to ask for.
    pub(super) fn wants_inventory(&self) -> bool {
        match self.inventory {
            Inventory::Awaited { .. } => !self.known.is_empty(),
            Inventory::Outdated => true,
            Inventory::Current => false,
        }
    }

    /// Takes over names and states, and from now on samples listed containers only.
    pub(super) fn set_inventory(&mut self, listed: &[facts::Container], reader: &mut Reader, registry: &mut Registry) {
        self.inventory = Inventory::Current;
        for container in &mut self.known {
            container.unlist();
        }
        let mut places = places(&self.known);
        for entry in listed {
            let at = *places.entry(entry.id.clone()).or_insert(self.known.len());
            if at == self.known.len() {
                self.known.push(Container::new(entry.id.clone()));
            }
            self.known[at].list(entry, registry);
        }
        self.forget_gone(reader, registry);
    }

    pub(super) fn sample(&mut self, now_us: i64, reader: &mut Reader, registry: &mut Registry) {
        let mut is_young = false;
        if let Some(found) = self.tree.follow(&self.root, now_us, self.is_stale) {
            is_young = self.take_over(found, reader, registry);
        }
        let Tree::Present(tree) = &self.tree else { return };
        let hierarchy = &tree.hierarchy;
        let takes_unlisted = match &mut self.inventory {
            Inventory::Awaited { since_us } => {
                now_us.saturating_sub(*since_us.get_or_insert(now_us)) >= INVENTORY_GRACE_US
            }
            Inventory::Current | Inventory::Outdated => false,
        };
        self.is_stale = is_young;
        let mut running = 0;
        for container in self.known.iter_mut().filter(|container| container.is_listed() || takes_unlisted) {
            let had_cgroup = container.has_cgroup();
            container.sample(now_us, &self.root, hierarchy, reader, registry);
            self.is_stale |= had_cgroup && !container.has_cgroup();
            running += i64::from(container.has_cgroup());
        }
        registry.put(&mut self.running, &RUNNING, &[], running);
    }

    /// Answers whether a cgroup without a process is there that wasn't before.
    fn take_over(&mut self, found: Vec<Found>, reader: &mut Reader, registry: &mut Registry) -> bool {
        let Tree::Present(tree) = &self.tree else { return false };
        let mut empty = HashSet::new();
        let hierarchy = &tree.hierarchy;
        let mut places = places(&self.known);
        let mut is_there = vec![false; self.known.len()];
        for Found { id, path } in found {
            // One that has its cgroup notices by itself when the last process goes.
            let is_attached = places.get(&id).is_some_and(|at| self.known[*at].has_cgroup());
            if !is_attached && !is_populated(hierarchy, &path) {
                empty.insert(id);
                continue;
            }
            let at = *places.entry(id.clone()).or_insert(self.known.len());
            if at == self.known.len() {
                self.known.push(Container::new(id));
                is_there.push(true);
                if self.inventory == Inventory::Current {
                    self.inventory = Inventory::Outdated;
                }
            }
            is_there[at] = true;
            self.known[at].attach(hierarchy, path, registry);
        }
        for (container, is_there) in self.known.iter_mut().zip(is_there) {
            if !is_there {
                container.detach(reader);
            }
        }
        self.forget_gone(reader, registry);
        let is_young = !empty.is_subset(&self.empty);
        self.empty = empty;
        is_young
    }

    fn forget_gone(&mut self, reader: &mut Reader, registry: &mut Registry) {
        self.known.retain_mut(|container| {
            if container.is_gone() {
                container.detach(reader);
                container.retire(registry);
            }
            !container.is_gone()
        });
    }
}

fn places(known: &[Container]) -> HashMap<String, usize> {
    known.iter().enumerate().map(|(at, container)| (container.id().to_owned(), at)).collect()
}

impl Tree {
    /// Every container with a cgroup, or `None` where nothing changed.
    fn follow(&mut self, root: &Path, now_us: i64, is_stale: bool) -> Option<Vec<Found>> {
        if let Self::Absent { look_at_us } = self
            && (now_us >= *look_at_us || *look_at_us - now_us > DETECT_US)
        {
            let detected = cgroup::detect(root);
            *self = match detected.and_then(|hierarchy| Some((Discovery::new(hierarchy.directory()?), hierarchy))) {
                Some((discovery, hierarchy)) => Self::Present(Box::new(Present { hierarchy, discovery })),
                None => Self::Absent { look_at_us: now_us.saturating_add(DETECT_US) },
            };
        }
        match self {
            Self::Absent { .. } => None,
            Self::Present(tree) => tree.discovery.scan(now_us, is_stale),
        }
    }
}
