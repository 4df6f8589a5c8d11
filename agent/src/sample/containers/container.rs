//! One container: what the inventory says of it, its cgroup while it has one, and its series.

use std::path::{Path, PathBuf};

use muster_shared::facts;

use super::{
    catalogue::{LABELS, METRICS, Readings, VALUES, Value},
    network::Network,
    populated::is_populated,
    v1, v2,
};
use crate::{
    os::cgroup::Hierarchy,
    sample::{
        metric::Metric,
        reader::Reader,
        registry::{Registry, Slot},
    },
};

/// How often limits are read again, what an idle container's last reading left out is, and the network of a container
/// without a process is looked for.
const REFRESH_US: i64 = 10_000_000;
/// Digits of a container's id in the `container` label.
const SHORT_ID_DIGITS: usize = 12;

/// What the inventory tells, as numbers.
pub(super) const STATES: [Metric; 3] = [
    Metric::gauge(
        "container_state",
        0,
        LABELS,
        "0 unknown, 1 created, 2 running, 3 paused, 4 restarting, 5 removing, 6 exited, 7 dead.",
    ),
    Metric::gauge("container_health", 0, LABELS, "1 starting, 2 healthy, 3 unhealthy; absent without a health check."),
    Metric::counter("container_restarts_total", 0, LABELS, "Restarts by the engine."),
];

#[derive(Debug)]
pub(super) struct Container {
    id: String,
    name: String,
    /// `None` where the inventory doesn't list it.
    states: Option<[Option<i64>; STATES.len()]>,
    cgroup: Option<Cgroup>,
    slots: [Slot; VALUES],
    state_slots: [Slot; STATES.len()],
}

#[derive(Debug)]
struct Cgroup {
    /// Relative to the hierarchy's mount.
    path: PathBuf,
    files: Files,
    network: Network,
    limits: Readings,
    last: Readings,
    refreshed_at_us: Option<i64>,
}

#[derive(Debug)]
enum Files {
    V1(v1::Files),
    V2(v2::Files),
}

impl Container {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            name: String::new(),
            states: None,
            cgroup: None,
            slots: [Slot::default(); VALUES],
            state_slots: Default::default(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn is_listed(&self) -> bool {
        self.states.is_some()
    }

    pub(super) fn has_cgroup(&self) -> bool {
        self.cgroup.is_some()
    }

    pub(super) fn is_gone(&self) -> bool {
        !self.is_listed() && !self.has_cgroup()
    }

    /// Takes over what the inventory says. Another name makes other series.
    pub(super) fn list(&mut self, entry: &facts::Container, registry: &mut Registry) {
        let name = entry.name.trim_start_matches('/');
        if self.name != name {
            self.retire(registry);
            self.name = name.to_owned();
        }
        self.states = Some([Some(state(&entry.state)), health(&entry.health), entry.restarts.map(i64::from)]);
    }

    pub(super) fn unlist(&mut self) {
        self.states = None;
    }

    /// The container's cgroup is at `path`. Room for series it was refused may have come free.
    pub(super) fn attach(&mut self, hierarchy: &Hierarchy, path: PathBuf, registry: &mut Registry) {
        registry.reconsider(&mut self.slots);
        registry.reconsider(&mut self.state_slots);
        if self.cgroup.is_some() {
            return;
        }
        let files = match hierarchy {
            Hierarchy::V1(controllers) => Files::V1(v1::Files::new(controllers, &path)),
            Hierarchy::V2 { root } => Files::V2(v2::Files::new(&root.join(&path))),
        };
        self.cgroup = Some(Cgroup {
            path,
            files,
            network: Network::Unknown,
            limits: Readings::default(),
            last: Readings::default(),
            refreshed_at_us: None,
        });
    }

    /// The container's cgroup is gone; its series stay its own in case it comes back.
    pub(super) fn detach(&mut self, reader: &mut Reader) {
        if let Some(mut cgroup) = self.cgroup.take() {
            cgroup.close(reader);
        }
    }

    /// Gives up the container's series.
    pub(super) fn retire(&mut self, registry: &mut Registry) {
        registry.retire(&mut self.slots);
        registry.retire(&mut self.state_slots);
    }

    pub(super) fn sample(
        &mut self,
        now_us: i64,
        root: &Path,
        hierarchy: &Hierarchy,
        reader: &mut Reader,
        registry: &mut Registry,
    ) {
        let labels = [&self.id[..SHORT_ID_DIGITS.min(self.id.len())], &self.name];
        let states = self.states.iter().flatten();
        for ((metric, slot), state) in STATES.iter().zip(&mut self.state_slots).zip(states) {
            if let Some(state) = state {
                registry.put(slot, metric, &labels, *state);
            }
        }
        let Some(cgroup) = &mut self.cgroup else { return };
        let Some(readings) = cgroup.read(now_us, root, hierarchy, reader) else {
            self.detach(reader);
            return;
        };
        for ((metric, slot), value) in METRICS.iter().zip(&mut self.slots).zip(readings.iter()) {
            if let Some(value) = value {
                registry.put(slot, metric, &labels, value);
            }
        }
    }
}

impl Cgroup {
    /// What can be read now; `None` where the cgroup is gone or no process is left in it.
    fn read(&mut self, now_us: i64, root: &Path, hierarchy: &Hierarchy, reader: &mut Reader) -> Option<Readings> {
        let is_due = self.refreshed_at_us.is_none_or(|at| !(0..REFRESH_US).contains(&now_us.saturating_sub(at)));
        if is_due {
            self.refreshed_at_us = Some(now_us);
            self.last = Readings::default();
            self.limits = Readings::default();
            match hierarchy {
                Hierarchy::V1(controllers) => v1::read_limits(controllers, &self.path, &mut self.limits),
                Hierarchy::V2 { root } => v2::read_limits(&root.join(&self.path), &mut self.limits),
            }
        }
        let mut readings = self.limits;
        let is_there = match &mut self.files {
            Files::V1(files) => files.read(reader, &self.last, &mut readings),
            Files::V2(files) => files.read(reader, &self.last, &mut readings),
        };
        let is_empty = match readings.get(Value::Tasks) {
            Some(tasks) => tasks == 0,
            None => is_due && is_there && !is_populated(hierarchy, &self.path),
        };
        if !is_there || is_empty {
            return None;
        }
        if is_due && let Some(directory) = hierarchy.directory() {
            self.network.look_for(root, &directory.join(&self.path));
        }
        self.network.read(reader, &mut readings);
        self.last = readings;
        Some(readings)
    }

    fn close(&mut self, reader: &mut Reader) {
        match &mut self.files {
            Files::V1(files) => files.close(reader),
            Files::V2(files) => files.close(reader),
        }
        self.network.close(reader);
    }
}

fn state(word: &str) -> i64 {
    const WORDS: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
    WORDS.iter().position(|known| *known == word).map_or(0, |at| at as i64 + 1)
}

fn health(word: &str) -> Option<i64> {
    const WORDS: [&str; 3] = ["starting", "healthy", "unhealthy"];
    WORDS.iter().position(|known| *known == word).map(|at| at as i64 + 1)
}
