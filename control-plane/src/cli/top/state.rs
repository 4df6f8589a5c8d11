//! What `muster top` shows and how keys change it. Pure: no terminal, no clock, no network.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::api::model::{
    container_metrics::ContainerMetrics, server::Vm, server_metrics::ServerMetrics, summary::Summary,
};

/// Longest text to look for, in characters; further ones are not taken.
const MAX_SEARCH_CHARS: usize = 64;
/// Most servers whose figures are asked for each second; beyond that, those on the screen go first and the others in turn.
pub(super) const MAX_ASKED: usize = 200;

/// What the rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Health,
    Cpu,
    Memory,
    Disk,
    Network,
    Load,
}

impl Sort {
    /// In the order of the columns.
    pub(super) const ALL: [Self; 7] =
        [Self::Name, Self::Health, Self::Cpu, Self::Memory, Self::Disk, Self::Network, Self::Load];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Health => "health",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Load => "load",
        }
    }

    fn next(self, step: isize) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        let to = at.saturating_add_signed(step).min(Self::ALL.len() - 1);
        Self::ALL[to]
    }
}

/// What is on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum View {
    Fleet,
    /// One server's containers.
    Containers {
        server: String,
        name: String,
    },
    Help,
}

/// What arrived.
#[derive(Debug)]
pub(super) enum News {
    Servers(Vec<Vm>),
    /// A server's figures, or none where it has none that are fresh.
    Figures(String, Option<Summary>),
    Containers(Box<ServerMetrics>),
    /// The control plane did not answer; why.
    Trouble(String),
}

/// What should be asked for next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Ids, the most urgent first.
    pub(super) servers: Vec<String>,
    pub(super) containers_of: Option<String>,
}

/// Everything shown.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) view: View,
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    pub(super) search: String,
    /// Keys go into the search.
    pub(super) searching: bool,
    /// Of the shown rows.
    pub(super) selected: usize,
    pub(super) servers: Vec<Vm>,
    pub(super) figures: BTreeMap<String, Summary>,
    pub(super) containers: Option<Box<ServerMetrics>>,
    /// Why what is shown may be old.
    pub(super) trouble: Option<String>,
    /// The list arrived at least once.
    pub(super) loaded: bool,
}

impl Default for Top {
    fn default() -> Self {
        Self {
            view: View::Fleet,
            sort: Sort::Cpu,
            reversed: false,
            search: String::new(),
            searching: false,
            selected: 0,
            servers: Vec::new(),
            figures: BTreeMap::new(),
            containers: None,
            trouble: None,
            loaded: false,
        }
    }
}

impl Top {
    /// Takes in what arrived.
    pub(super) fn take(&mut self, news: News) {
        let selected = self.selected_server().map(|vm| vm.id.clone());
        match news {
            News::Trouble(why) => {
                self.trouble = Some(why);
                return;
            }
            News::Servers(servers) => {
                self.figures.retain(|id, _| servers.iter().any(|vm| vm.id == *id));
                self.servers = servers;
                self.loaded = true;
            }
            News::Figures(id, Some(summary)) => _ = self.figures.insert(id, summary),
            News::Figures(id, None) => _ = self.figures.remove(&id),
            News::Containers(metrics) => {
                if matches!(&self.view, View::Containers { server, .. } if *server == metrics.server_id) {
                    self.containers = Some(metrics);
                }
            }
        }
        self.trouble = None;
        if let (View::Fleet, Some(id)) = (&self.view, selected) {
            // The cursor stays on its server when the order changes, unless it stands at the top to see who leads.
            let place = self.rows().iter().position(|vm| vm.id == id);
            self.selected = if self.selected == 0 { 0 } else { place.unwrap_or(self.selected) };
        }
        self.stay_inside();
    }

    /// Takes in a key; `page` is how many rows fit. False ends the program.
    pub(super) fn press(&mut self, key: KeyEvent, page: usize) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return false;
        }
        if self.searching {
            self.press_in_search(key.code);
            return true;
        }
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Esc if self.view != View::Fleet => self.show(View::Fleet),
            KeyCode::Esc => self.search.clear(),
            KeyCode::Char('?') => self.show(if self.view == View::Help { View::Fleet } else { View::Help }),
            KeyCode::Char('/') if self.view == View::Fleet => self.searching = true,
            KeyCode::Enter | KeyCode::Right if self.view == View::Fleet => self.drill(),
            KeyCode::Left | KeyCode::Backspace if self.view != View::Fleet => self.show(View::Fleet),
            KeyCode::Char('<') => self.sort = self.sort.next(-1),
            KeyCode::Char('>') => self.sort = self.sort.next(1),
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char('n') => self.sort = Sort::Name,
            KeyCode::Char('c') => self.sort = Sort::Cpu,
            KeyCode::Char('m') => self.sort = Sort::Memory,
            KeyCode::Char('d') => self.sort = Sort::Disk,
            KeyCode::Char('h') => self.sort = Sort::Health,
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::PageDown => self.selected += page.max(1),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(page.max(1)),
            KeyCode::Home | KeyCode::Char('g') => self.selected = 0,
            KeyCode::End | KeyCode::Char('G') => self.selected = usize::MAX,
            _ => {}
        }
        self.stay_inside();
        true
    }

    fn press_in_search(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.searching = false,
            KeyCode::Esc => {
                self.searching = false;
                self.search.clear();
            }
            KeyCode::Backspace => _ = self.search.pop(),
            KeyCode::Char(character) if self.search.chars().count() < MAX_SEARCH_CHARS => self.search.push(character),
            _ => {}
        }
        self.stay_inside();
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.containers = None;
        self.selected = 0;
    }

    fn drill(&mut self) {
        if let Some(vm) = self.selected_server() {
            self.show(View::Containers { server: vm.id.clone(), name: vm.name.clone() });
        }
    }

    fn selected_server(&self) -> Option<&Vm> {
        (self.view == View::Fleet).then(|| self.rows().get(self.selected).copied()).flatten()
    }

    fn stay_inside(&mut self) {
        let rows = match self.view {
            View::Fleet => self.rows().len(),
            View::Containers { .. } => self.container_rows().len(),
            View::Help => 0,
        };
        self.selected = self.selected.min(rows.saturating_sub(1));
    }

    /// The servers to show, in order: what is searched for, the busiest or sickest first, servers without figures last.
    pub(super) fn rows(&self) -> Vec<&Vm> {
        let sought = self.search.to_lowercase();
        let fits = |vm: &&Vm| {
            sought.is_empty()
                || vm.name.to_lowercase().contains(&sought)
                || vm.health_status.contains(&sought)
                || vm.connection_host.as_ref().is_some_and(|host| host.contains(&sought))
        };
        let mut rows: Vec<&Vm> = self.servers.iter().filter(fits).collect();
        rows.sort_by(|a, b| self.compare(a, b).then_with(|| a.name.cmp(&b.name)));
        rows
    }

    fn compare(&self, a: &Vm, b: &Vm) -> Ordering {
        let figure = |vm: &Vm| {
            let summary = self.figures.get(&vm.id)?;
            Some(match self.sort {
                Sort::Cpu => summary.cpu_usage_percent,
                Sort::Memory => summary.memory_usage_percent,
                Sort::Disk => summary.disk_usage_percent,
                Sort::Network => summary.network_rx_bytes_per_second + summary.network_tx_bytes_per_second,
                Sort::Load | Sort::Name | Sort::Health => summary.load_1m,
            })
        };
        let order = match self.sort {
            Sort::Name => a.name.cmp(&b.name),
            Sort::Health => Reverse(severity(&a.health_status)).cmp(&Reverse(severity(&b.health_status))),
            _ => match (figure(a), figure(b)) {
                (Some(a), Some(b)) => b.total_cmp(&a),
                // Who has no figures stays last, whichever way round.
                (a, b) => return b.is_some().cmp(&a.is_some()),
            },
        };
        if self.reversed { order.reverse() } else { order }
    }

    /// The containers to show, in order.
    pub(super) fn container_rows(&self) -> Vec<&ContainerMetrics> {
        let Some(metrics) = &self.containers else { return Vec::new() };
        let mut rows: Vec<&ContainerMetrics> = metrics.containers.iter().collect();
        let memory = |row: &ContainerMetrics| row.metrics.memory.usage_bytes;
        let network = |row: &ContainerMetrics| row.metrics.network.rx_bytes + row.metrics.network.tx_bytes;
        rows.sort_by(|a, b| {
            let order = match self.sort {
                Sort::Name | Sort::Health => a.container_name.cmp(&b.container_name),
                Sort::Memory | Sort::Disk => memory(b).cmp(&memory(a)),
                Sort::Network => network(b).cmp(&network(a)),
                Sort::Cpu | Sort::Load => b.metrics.cpu.usage_percent.total_cmp(&a.metrics.cpu.usage_percent),
            };
            if self.reversed { order.reverse() } else { order }.then_with(|| a.container_name.cmp(&b.container_name))
        });
        rows
    }

    /// What to ask for: the rows on the screen first, then all others.
    pub(super) fn wanted(&self, page: usize) -> Wanted {
        match &self.view {
            View::Containers { server, .. } => {
                Wanted { servers: vec![server.clone()], containers_of: Some(server.clone()) }
            }
            View::Fleet | View::Help => {
                let rows = self.rows();
                let first = first_row(self.selected, page, rows.len());
                let seen = rows.iter().skip(first).take(page);
                let unseen = rows.iter().take(first).chain(rows.iter().skip(first + page));
                let servers = seen.chain(unseen).map(|vm| vm.id.clone()).collect();
                Wanted { servers, containers_of: None }
            }
        }
    }
}

/// The first row on the screen, with `selected` on it.
pub(super) fn first_row(selected: usize, page: usize, rows: usize) -> usize {
    (selected + 1).saturating_sub(page).min(rows)
}

/// How much a health word asks for attention.
pub(super) fn severity(health: &str) -> u8 {
    match health {
        "healthy" => 0,
        "degraded" => 2,
        "unhealthy" => 4,
        "unreachable" | "auth_failed" => 3,
        _ => 1,
    }
}
