//! Drawing what `muster top` knows. Whatever a host said of itself loses its control characters first.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Row, Table, TableState},
};

use super::state::{Sort, Top, View, severity};
use crate::{
    api::model::{container_metrics::ContainerMetrics, server::Vm, summary::Summary},
    cli::table::printable,
};

/// Lines that are no rows: title, note, header, keys.
const FRAME_LINES: u16 = 4;
/// Cells of a bar.
const BAR_CELLS: usize = 6;

const KEYS: &str = "↑↓ move  ⏎ containers  / search  c m d n h < > sort  r reverse  ? help  q quit";
const HELP: &str = "\
  ↑ ↓ j k          move; PgUp PgDn g G jump
  Enter →          the server's containers; Esc ← goes back
  /                search in names, addresses and health; Esc clears
  c m d n h        sort by cpu, memory, disk, name, health
  < >              sort by the column to the left or right
  r                reverse the order
  q                quit";

/// How many rows fit into `area`.
pub(super) fn page(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(FRAME_LINES))
}

/// Draws everything.
pub(super) fn draw(top: &Top, url: &str, frame: &mut Frame<'_>) {
    let [title, note, body, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(headline(top, url)), title);
    frame.render_widget(Paragraph::new(remark(top)), note);
    frame.render_widget(Paragraph::new(KEYS).style(Style::new().add_modifier(Modifier::DIM)), keys);
    match &top.view {
        View::Fleet => fleet(top, frame, body),
        View::Containers { .. } => containers(top, frame, body),
        View::Help => frame.render_widget(Paragraph::new(HELP), body),
    }
}

fn headline(top: &Top, url: &str) -> Line<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let place = match &top.view {
        View::Containers { name, .. } => format!("{} · containers", printable(name)),
        View::Fleet | View::Help => format!("{} servers{}", top.servers.len(), sick(top)),
    };
    let order = if top.reversed { "reversed" } else { "" };
    Line::from(vec![
        Span::styled("muster top", bold),
        Span::raw(format!("  {url}  {place}  by {} {order}", top.sort.word())),
    ])
}

/// How many servers stand how badly.
fn sick(top: &Top) -> String {
    ["unhealthy", "unreachable", "auth_failed", "degraded", "unknown"]
        .into_iter()
        .filter_map(|word| {
            let count = top.servers.iter().filter(|vm| vm.health_status == word).count();
            (count > 0).then(|| format!(" · {count} {word}"))
        })
        .collect()
}

fn remark(top: &Top) -> Line<'static> {
    if let Some(why) = &top.trouble {
        let style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
        return Line::styled(format!("old values, trying again: {}", printable(why)), style);
    }
    if top.searching || !top.search.is_empty() {
        let cursor = if top.searching { "▏" } else { "" };
        return Line::raw(format!("/{}{cursor}", printable(&top.search)));
    }
    match (&top.view, top.loaded) {
        (View::Fleet, false) => Line::raw("asking for the servers …"),
        (View::Fleet, true) if top.servers.is_empty() => {
            Line::raw("no servers yet: `muster join-tokens create` prints the line that adds one")
        }
        (View::Containers { .. }, _) if top.containers.is_none() => Line::raw("asking for the containers …"),
        (View::Containers { .. }, _) if top.container_rows().is_empty() => Line::raw("no containers"),
        _ => Line::raw(""),
    }
}

fn fleet(top: &Top, frame: &mut Frame<'_>, area: Rect) {
    let rows = top.rows().into_iter().map(|vm| server_row(vm, top.figures.get(&vm.id)));
    let widths = [
        Constraint::Min(16),
        Constraint::Length(12),
        Constraint::Length(13),
        Constraint::Length(13),
        Constraint::Length(13),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Length(9),
    ];
    let names = ["NAME", "HEALTH", "CPU", "MEMORY", "DISK", "IN", "OUT", "LOAD", "CONT", "AGENT"];
    let sorted = Sort::ALL.iter().position(|sort| *sort == top.sort).unwrap_or(0);
    // Both directions of the network are one order.
    let column = if top.sort == Sort::Load { sorted + 1 } else { sorted };
    draw_table(top, Table::new(rows, widths).header(header(&names, column)), frame, area);
}

fn containers(top: &Top, frame: &mut Frame<'_>, area: Rect) {
    let rows = top.container_rows().into_iter().map(container_row);
    let widths = [
        Constraint::Min(20),
        Constraint::Length(10),
        Constraint::Length(13),
        Constraint::Length(22),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(24),
    ];
    let names = ["CONTAINER", "STATUS", "CPU", "MEMORY", "IN", "OUT", "TASKS", "IMAGE"];
    let column = match top.sort {
        Sort::Name | Sort::Health => 0,
        Sort::Cpu | Sort::Load => 2,
        Sort::Memory | Sort::Disk => 3,
        Sort::Network => 4,
    };
    draw_table(top, Table::new(rows, widths).header(header(&names, column)), frame, area);
}

fn header(names: &[&str], sorted: usize) -> Row<'static> {
    let cells = names.iter().enumerate().map(|(column, name)| {
        let style = if column == sorted { Modifier::BOLD | Modifier::UNDERLINED } else { Modifier::DIM };
        Span::styled((*name).to_owned(), Style::new().add_modifier(style))
    });
    Row::new(cells.collect::<Vec<_>>())
}

fn draw_table(top: &Top, table: Table<'_>, frame: &mut Frame<'_>, area: Rect) {
    let chosen = Style::new().add_modifier(Modifier::REVERSED);
    let mut state = TableState::new().with_selected(Some(top.selected));
    frame.render_stateful_widget(table.column_spacing(1).row_highlight_style(chosen), area, &mut state);
}

fn server_row(vm: &Vm, figures: Option<&Summary>) -> Row<'static> {
    let health = Style::new().fg(match severity(&vm.health_status) {
        0 => Color::Green,
        1 => Color::Gray,
        2 => Color::Yellow,
        _ => Color::Red,
    });
    let percent = |value: fn(&Summary) -> f64| figures.map_or_else(none, |figures| bar(value(figures)));
    let text = |value: fn(&Summary) -> String| figures.map_or_else(|| "-".to_owned(), value);
    Row::new(vec![
        Span::raw(printable(&vm.name)),
        Span::styled(vm.health_status.clone(), health),
        percent(|figures| figures.cpu_usage_percent),
        percent(|figures| figures.memory_usage_percent),
        percent(|figures| figures.disk_usage_percent),
        Span::raw(text(|figures| rate(figures.network_rx_bytes_per_second))),
        Span::raw(text(|figures| rate(figures.network_tx_bytes_per_second))),
        Span::raw(text(|figures| format!("{:.2}", figures.load_1m))),
        Span::raw(text(|figures| figures.container_count.to_string())),
        Span::raw(printable(&vm.agent_status)),
    ])
}

fn container_row(container: &ContainerMetrics) -> Row<'static> {
    let memory = &container.metrics.memory;
    let used = format!("{} / {}", bytes(memory.usage_bytes), bytes(memory.limit_bytes));
    let network = &container.metrics.network;
    Row::new(vec![
        Span::raw(printable(&container.container_name)),
        Span::raw(printable(&container.status)),
        bar(container.metrics.cpu.usage_percent),
        Span::raw(used),
        Span::raw(rate(network.rx_bytes as f64)),
        Span::raw(rate(network.tx_bytes as f64)),
        Span::raw(container.metrics.tasks.to_string()),
        Span::raw(printable(container.image.as_deref().unwrap_or("-"))),
    ])
}

fn none() -> Span<'static> {
    Span::raw("-")
}

/// `▇▇▇···  52.3`, coloured from where it deserves a look.
fn bar(percent: f64) -> Span<'static> {
    let filled = ((percent / 100.0 * BAR_CELLS as f64).round().max(0.0) as usize).min(BAR_CELLS);
    let text = format!("{}{} {percent:5.1}", "▇".repeat(filled), "·".repeat(BAR_CELLS - filled));
    let style = match percent {
        95.0.. => Style::new().fg(Color::Red),
        80.0.. => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    };
    Span::styled(text, style)
}

fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", decimal(bytes_per_second, &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB")]))
}

fn bytes(bytes: u64) -> String {
    decimal(bytes as f64, &[(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB")])
}

fn decimal(value: f64, units: &[(f64, &str)]) -> String {
    match units.iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", value / size),
        None => format!("{value:.0} B"),
    }
}
