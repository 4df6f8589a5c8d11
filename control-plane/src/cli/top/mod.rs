//! `muster top`: the fleet, live in the terminal.
//!
//! One task asks the control plane and sends what it learns; the other draws and takes keys. Figures are asked for each
//! second, at most [`state::MAX_ASKED`] servers at a time, those on the screen first. While the control plane does not
//! answer, the last values stay and are called old.

mod draw;
mod state;
#[cfg(test)]
mod tests;

use std::{io, time::Duration};

use clap::Args;
use crossterm::event::{Event, EventStream};
use futures_util::{StreamExt as _, future::join_all};
use muster_shared::wire;
use ratatui::DefaultTerminal;
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tonic::Code;

use self::state::{MAX_ASKED, News, Top, Wanted};
use super::{client::Fleet, failure::Failure};
use crate::api::model::{server::Vm, server_metrics::ServerMetrics, structure, summary::Summary};

/// How often figures are asked for.
const FIGURES_EVERY: Duration = Duration::from_secs(1);
/// Every how many rounds of figures the list of servers is asked for anew.
const LIST_EVERY_ROUNDS: u64 = 5;
/// Servers in a page, and pages at most.
const PAGE: u32 = 1000;
const MAX_PAGES: u32 = 10;
/// Questions at the same time.
const AT_ONCE: usize = 16;
/// What waits to be drawn; asking pauses when it is full.
const NEWS: usize = 256;

/// Which servers.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Only servers for which this CEL expression is true, such as 'health_status != "healthy"'
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
}

impl TopArgs {
    /// Shows the fleet until somebody presses q.
    ///
    /// # Errors
    /// When there is no terminal, or the control plane refuses the first question.
    pub async fn run(self, url: &str, fleet: &mut Fleet) -> Result<(), Failure> {
        let filter = self.filter.unwrap_or_default();
        // Asked before the screen is taken, so that a refusal is told like any other.
        let servers = list(fleet, &filter).await?;
        let mut terminal = ratatui::try_init().map_err(no_terminal)?;
        let ended = show(&mut terminal, url, fleet.clone(), filter, servers).await;
        ratatui::restore();
        ended.map_err(no_terminal)
    }
}

fn no_terminal(error: io::Error) -> Failure {
    Failure::usage(
        format!("the terminal can't be used: {error}"),
        "run it in a terminal; `muster servers list -o json` is for programs",
    )
}

async fn show(
    terminal: &mut DefaultTerminal,
    url: &str,
    fleet: Fleet,
    filter: String,
    servers: Vec<Vm>,
) -> io::Result<()> {
    let mut top = Top::default();
    top.take(News::Servers(servers));
    let mut page = draw::page(terminal.get_frame().area());
    let (wants, wanted) = watch::channel(top.wanted(page));
    let (tell, mut news) = mpsc::channel(NEWS);
    let asking = tokio::spawn(ask(fleet, filter, wanted, tell));
    let mut keys = EventStream::new();
    loop {
        terminal.draw(|frame| {
            page = draw::page(frame.area());
            draw::draw(&top, url, frame);
        })?;
        tokio::select! {
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) if key.is_press() => {
                    if !top.press(key, page) {
                        break;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => break,
            },
            Some(first) = news.recv() => {
                top.take(first);
                // Whatever came with it is drawn at once.
                while let Ok(more) = news.try_recv() {
                    top.take(more);
                }
            }
        }
        wants.send_if_modified(|wanted| {
            let next = top.wanted(page);
            let changed = *wanted != next;
            *wanted = next;
            changed
        });
    }
    asking.abort();
    Ok(())
}

/// Asks and tells until nobody listens.
async fn ask(mut fleet: Fleet, filter: String, mut wanted: watch::Receiver<Wanted>, tell: mpsc::Sender<News>) {
    let mut tick = tokio::time::interval(FIGURES_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0;
    for round in 1_u64.. {
        tokio::select! {
            _ = tick.tick() => {}
            // A server was chosen: its containers are asked for at once.
            changed = wanted.changed() => if changed.is_err() { return },
        }
        let now = wanted.borrow_and_update().clone();
        let mut answers = Vec::new();
        if round % LIST_EVERY_ROUNDS == 0 {
            answers.push(
                list(&mut fleet, &filter).await.map_or_else(|failure| News::Trouble(failure.message), News::Servers),
            );
        }
        if let Some(server) = now.containers_of.clone() {
            answers.extend(containers(&mut fleet, server).await);
        }
        for ids in in_turn(&now.servers, &mut turn).chunks(AT_ONCE) {
            answers.extend(join_all(ids.iter().map(|id| figures(fleet.clone(), id.clone()))).await);
        }
        for answer in answers {
            if tell.send(answer).await.is_err() {
                return;
            }
        }
    }
}

/// At most [`MAX_ASKED`]: half of them the most urgent, half the others in turn.
fn in_turn(servers: &[String], turn: &mut usize) -> Vec<String> {
    if servers.len() <= MAX_ASKED {
        return servers.to_vec();
    }
    let (urgent, others) = servers.split_at(MAX_ASKED / 2);
    let start = *turn % others.len();
    *turn = start + MAX_ASKED / 2;
    let others = others.iter().cycle().skip(start).take((MAX_ASKED / 2).min(others.len()));
    urgent.iter().chain(others).cloned().collect()
}

async fn list(fleet: &mut Fleet, filter: &str) -> Result<Vec<Vm>, Failure> {
    let mut servers = Vec::new();
    for page in 0..MAX_PAGES {
        let request = wire::ListServersRequest {
            status: String::new(),
            skip: page * PAGE,
            limit: PAGE,
            filter: filter.to_owned(),
        };
        let answer = fleet.list_servers(request).await?.into_inner().servers;
        let is_last = answer.len() < PAGE as usize;
        servers.extend(answer.into_iter().map(Vm::from));
        if is_last {
            break;
        }
    }
    Ok(servers)
}

async fn figures(mut fleet: Fleet, id: String) -> News {
    match fleet.get_summary(wire::GetSummaryRequest { server: id.clone() }).await {
        Ok(summary) => News::Figures(id, Some(Summary::from(summary.into_inner()))),
        Err(status) if is_trouble(status.code()) => News::Trouble(status.message().to_owned()),
        // A server that never reported, or is gone, has no figures.
        Err(_) => News::Figures(id, None),
    }
}

async fn containers(fleet: &mut Fleet, server: String) -> Option<News> {
    match fleet.get_server_metrics(wire::GetServerMetricsRequest { server }).await {
        Ok(answer) => {
            let document = structure::to_json(answer.into_inner().metrics.unwrap_or_default());
            serde_json::from_value::<ServerMetrics>(document).ok().map(|metrics| News::Containers(Box::new(metrics)))
        }
        Err(status) if is_trouble(status.code()) => Some(News::Trouble(status.message().to_owned())),
        Err(_) => None,
    }
}

/// Whether nobody answered, as against an answer that there is nothing.
fn is_trouble(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::Unknown | Code::Internal | Code::DeadlineExceeded | Code::Unauthenticated)
}
