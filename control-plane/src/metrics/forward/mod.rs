//! Frames on their way to the engine that is the metric store. The queue is the database.
//!
//! A frame is acknowledged to its host once it is in the database, and waits there until the engine has answered that it
//! took it; sending is at least once, and what it took in the minute before it went away is sent again. One process at a time sends, by a lease of [`LEASE_US`]. Frames go by server and in order
//! of time, at most [`MAX_REQUEST_SAMPLES`] samples to a request. A frame that the engine refuses alone, that can't be read, or
//! that fails [`MAX_TRIES`] times while others are taken goes into quarantine, is counted, and holds up no other. While the engine
//! is away frames wait for as long as raw samples may be kept at all; older ones are given up and counted.

mod suspects;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use muster_shared::{
    backoff::Backoff,
    id::{OrgId, ServerId},
    metric::{self, Columns, SeriesId},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use suspects::MAX_TRIES;

use self::suspects::Suspects;
use super::{
    engine::KEPT_US,
    exchange::Client,
    remote_write::{MAX_REQUEST_SAMPLES, answer::Answer, catalogue::Catalogue, message::Gathered},
};
use crate::{
    clock::Clock,
    events::{EventKind, Events},
    store::{ForwardPosition, FrameKey, Store, StoreError, WaitingFrame},
};

/// How long a process that says nothing more keeps others from sending.
pub const LEASE_US: i64 = 60_000_000;
/// Frames read at once.
const PAGE_FRAMES: u32 = 128;
/// So many single frames that fail one after the other end a turn.
const MAX_FAILURES_IN_A_ROW: u32 = 64;
/// How long the first new frame waits for company, and how often is looked without news.
const BATCH_WINDOW: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between turns while the engine is away.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often what the engine has is deleted here.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// Frames stay longer than they are needed, since clocks of processes differ.
const MARGIN_US: i64 = 10 * 60_000_000;
/// An engine that went away may have forgotten what it took so shortly before, as VictoriaMetrics does when it is killed.
const FORGOTTEN_US: i64 = 60_000_000;
/// How often it is noted which declarations are in use.
const NOTE_EVERY_US: i64 = 3_600_000_000;
/// Epochs remembered for that; with one more, all are noted anew.
const MAX_NOTED: usize = 50_000;

/// What one turn did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwarded {
    pub frames: usize,
    pub quarantined: usize,
    /// The engine took nothing more, or failed too often.
    pub is_away: bool,
}

/// What tidying removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    pub forgotten: u64,
    pub given_up: u64,
}

/// The one task that sends.
#[derive(Debug)]
pub struct Forwarder {
    store: Store,
    client: Client,
    catalogue: Catalogue,
    events: Events,
    clock: Clock,
    news: Arc<Notify>,
    /// How long a frame may wait.
    patience: Duration,
    holder: String,
    position: Option<ForwardPosition>,
    suspects: Suspects,
    noted_us: HashMap<(ServerId, u64), i64>,
    is_failing: bool,
    has_begun: bool,
    /// Since when the engine is away, if it is.
    away_since_us: Option<i64>,
}

/// A frame as it is sent.
struct Decoded {
    org: OrgId,
    position: ForwardPosition,
    columns: Columns,
}

/// What became of some frames.
#[derive(Debug, Default)]
struct Ended {
    forwarded: Vec<FrameKey>,
    poison: Vec<(OrgId, FrameKey, &'static str)>,
    /// Where the turn ends, if it does.
    stop: Option<Stop>,
    failures_in_a_row: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Nothing answers.
    Away,
    /// It answers that it is in trouble, whatever it is sent; the next turn begins behind this.
    Failing(ForwardPosition),
}

/// What became of a request.
enum Sent {
    Taken,
    Refused(String),
    Trouble(String),
    Away(String),
    /// Nothing can be made of the frame.
    Poison(&'static str),
}

impl Forwarder {
    /// What sends the frames in `store` through `client`. `news` says that there are some; frames that waited longer than
    /// `patience` are given up.
    #[must_use]
    pub fn new(
        (store, clock): (Store, Clock),
        client: Client,
        events: Events,
        news: Arc<Notify>,
        patience: Duration,
    ) -> Self {
        let catalogue = Catalogue::new(store.clone(), clock.clone());
        Self {
            store,
            client,
            catalogue,
            events,
            clock,
            news,
            patience,
            holder: Uuid::now_v7().to_string(),
            position: None,
            suspects: Suspects::default(),
            noted_us: HashMap::new(),
            is_failing: false,
            has_begun: false,
            away_since_us: None,
        }
    }

    /// Sends until `stop`. What is not sent by then waits in the database.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut tidy_at = Instant::now();
        loop {
            if Instant::now() >= tidy_at {
                tidy_at = Instant::now() + TIDY_EVERY;
                if let Some(Err(error)) = stop.run_until_cancelled(self.tidy()).await {
                    tracing::warn!(error = %crate::app::chain(&error), "forwarded frames could not be removed");
                }
            }
            let turn = stop.run_until_cancelled(self.forward_due()).await;
            let wait = match turn {
                None => break,
                Some(Ok(forwarded)) if !forwarded.is_away => {
                    backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
                    None
                }
                Some(Ok(_)) => Some(backoff.failed(1.0)),
                Some(Err(error)) => {
                    tracing::warn!(error = %crate::app::chain(&error), "frames could not be forwarded");
                    Some(backoff.failed(1.0))
                }
            };
            let news = Arc::clone(&self.news);
            let rest = async {
                match wait {
                    Some(wait) => sleep(wait).await,
                    None => {
                        sleep(BATCH_WINDOW).await;
                        // Nothing being new is the usual end.
                        let _ = timeout(LOOK_EVERY, news.notified()).await;
                    }
                }
            };
            if stop.run_until_cancelled(rest).await.is_none() {
                break;
            }
        }
        if let Err(error) = self.store.release_forwarding(&self.holder).await {
            tracing::warn!(error = %crate::app::chain(&error), "others wait before they forward frames");
        }
    }

    /// Lets what came while no engine was set wait as well, deletes what the engine has and the database needs no more, and
    /// gives up what waited too long. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tidy(&mut self) -> Result<Tidied, StoreError> {
        let now_us = self.clock.now_us();
        self.store.let_every_frame_wait().await?;
        let forgotten = self.store.forget_forwarded_frames(now_us - KEPT_US - MARGIN_US).await?;
        let patience_us = i64::try_from(self.patience.as_micros()).unwrap_or(i64::MAX);
        let given_up = self.store.give_up_waiting_frames(now_us.saturating_sub(patience_us)).await?;
        if given_up > 0 {
            metrics::counter!("muster_metric_store_frames_given_up_total").increment(given_up);
            tracing::warn!(
                frames = given_up,
                "frames waited for the metric store's engine too long: they are given up"
            );
        }
        let waiting = self.store.waiting_frames().await?;
        let age_us = waiting.first_us.map_or(0, |first_us| now_us.saturating_sub(first_us).max(0));
        metrics::gauge!("muster_metric_store_waiting_frames").set(waiting.frames as f64);
        metrics::gauge!("muster_metric_store_waiting_seconds").set(age_us as f64 / 1e6);
        Ok(Tidied { forgotten, given_up })
    }

    /// One turn: sends everything that waits, unless somebody else does. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forward_due(&mut self) -> Result<Forwarded, StoreError> {
        let mut turn = Forwarded::default();
        loop {
            if !self.is_mine().await? {
                return Ok(turn);
            }
            let page = self.store.frames_to_forward(self.position, PAGE_FRAMES).await?;
            let Some(last) = page.last().map(|frame| frame.position) else {
                self.position = None;
                return Ok(turn);
            };
            let ended = self.forward(page).await?;
            turn.frames += ended.forwarded.len();
            turn.quarantined += ended.poison.len();
            self.position = match ended.stop {
                None => Some(last),
                Some(Stop::Away) => None,
                Some(Stop::Failing(at)) => Some(at),
            };
            turn.is_away = ended.stop.is_some();
            self.conclude(ended).await?;
            if turn.is_away {
                return Ok(turn);
            }
        }
    }

    /// Claims the lease. Who begins can't know whether the engine was away just before.
    async fn is_mine(&mut self) -> Result<bool, StoreError> {
        let now_us = self.clock.now_us();
        let lease = self.store.claim_forwarding(&self.holder, now_us, now_us.saturating_add(LEASE_US)).await?;
        let Some(lease) = lease else { return Ok(false) };
        let unknown_us = (!std::mem::replace(&mut self.has_begun, true)).then(|| now_us - LEASE_US);
        let known = [self.away_since_us, lease.away_since_us, unknown_us];
        self.away_since_us = known.into_iter().flatten().min();
        Ok(true)
    }

    /// Commits what became of a page, then tells.
    async fn conclude(&mut self, ended: Ended) -> Result<(), StoreError> {
        let poison: Vec<_> = ended.poison.iter().map(|(_, key, reason)| (*key, *reason)).collect();
        if ended.forwarded.is_empty() && poison.is_empty() {
            return Ok(());
        }
        self.store.end_waiting(&ended.forwarded, &poison, self.clock.now_us()).await?;
        metrics::counter!("muster_metric_store_frames_forwarded_total").increment(ended.forwarded.len() as u64);
        for (org, key, reason) in ended.poison {
            metrics::counter!("muster_metric_store_frames_quarantined_total", "reason" => reason).increment(1);
            tracing::warn!(server = %key.server, epoch = key.epoch, seq = key.seq, reason, "a frame is not forwarded: it is in quarantine");
            self.events.publish(org, key.server, EventKind::SamplesDamaged);
        }
        Ok(())
    }

    async fn forward(&mut self, page: Vec<WaitingFrame>) -> Result<Ended, StoreError> {
        let (mut ended, mut together, mut samples) = (Ended::default(), Vec::new(), 0);
        for WaitingFrame { org, position, frame } in page {
            let columns = frame.and_then(|frame| metric::decode(frame.encoding, &frame.payload).map_err(|_| "payload"));
            match columns {
                Err(reason) => ended.poison.push((org, position.key, reason)),
                Ok(columns) => {
                    let more = columns.ticks_us.len() * columns.values.len();
                    if samples + more > MAX_REQUEST_SAMPLES && !together.is_empty() {
                        self.send_together(std::mem::take(&mut together), &mut ended).await?;
                        samples = 0;
                    }
                    samples += more;
                    together.push(Decoded { org, position, columns });
                }
            }
            if ended.stop.is_some() {
                return Ok(ended);
            }
        }
        self.send_together(together, &mut ended).await?;
        Ok(ended)
    }

    /// Sends frames in one request; where it is not taken, each by itself.
    async fn send_together(&mut self, frames: Vec<Decoded>, ended: &mut Ended) -> Result<(), StoreError> {
        if frames.len() > 1 {
            match self.send(&frames).await? {
                Sent::Taken => {
                    self.note_taken(&frames, ended).await?;
                    return Ok(());
                }
                Sent::Away(error) => {
                    self.note_away(&error, ended).await?;
                    return Ok(());
                }
                Sent::Refused(_) | Sent::Trouble(_) | Sent::Poison(_) => {}
            }
        }
        for frame in &frames {
            self.send_alone(frame, ended).await?;
            if ended.stop.is_some() {
                break;
            }
        }
        Ok(())
    }

    async fn send_alone(&mut self, frame: &Decoded, ended: &mut Ended) -> Result<(), StoreError> {
        let key = frame.position.key;
        match self.send(std::slice::from_ref(frame)).await? {
            Sent::Taken => self.note_taken(std::slice::from_ref(frame), ended).await?,
            Sent::Poison(reason) => ended.poison.push((frame.org, key, reason)),
            Sent::Refused(words) => {
                tracing::warn!(server = %key.server, words, "the metric store's engine refused samples");
                ended.poison.push((frame.org, key, "refused"));
            }
            Sent::Trouble(words) if self.suspects.is_poison(key) => {
                tracing::warn!(server = %key.server, words, "the metric store's engine takes others and fails for these samples");
                ended.poison.push((frame.org, key, "failed"));
            }
            Sent::Trouble(error) => {
                ended.failures_in_a_row += 1;
                if ended.failures_in_a_row >= MAX_FAILURES_IN_A_ROW {
                    self.note_trouble(&error);
                    ended.stop = Some(Stop::Failing(frame.position));
                }
            }
            Sent::Away(error) => self.note_away(&error, ended).await?,
        }
        Ok(())
    }

    async fn note_taken(&mut self, frames: &[Decoded], ended: &mut Ended) -> Result<(), StoreError> {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("the metric store's engine takes samples again");
        }
        if let Some(since_us) = self.away_since_us.take() {
            self.store.let_frames_wait_again(&self.holder, since_us - FORGOTTEN_US).await?;
        }
        ended.failures_in_a_row = 0;
        self.suspects.note_taken();
        for frame in frames {
            self.suspects.forget(frame.position.key);
            ended.forwarded.push(frame.position.key);
            self.note_in_use(frame).await?;
        }
        Ok(())
    }

    async fn note_away(&mut self, error: &str, ended: &mut Ended) -> Result<(), StoreError> {
        self.note_trouble(error);
        ended.stop = Some(Stop::Away);
        let since_us = *self.away_since_us.get_or_insert(self.clock.now_us());
        self.store.note_engine_away(&self.holder, since_us).await?;
        Ok(())
    }

    fn note_trouble(&mut self, error: &str) {
        metrics::counter!("muster_metric_store_retries_total").increment(1);
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(error, "the metric store's engine takes no samples: they wait in the database");
        }
    }

    /// Sends frames as one request, or as few where there is too much in them.
    async fn send(&mut self, frames: &[Decoded]) -> Result<Sent, StoreError> {
        let mut gathered = Gathered::exact();
        for Decoded { org, position, columns } in frames {
            let (server, epoch) = (position.key.server, position.key.epoch);
            let ids = columns.values.iter().map(|(id, _)| *id);
            match self.catalogue.know((*org, server), epoch, ids.clone()).await {
                Ok(Some(known)) => {
                    if ids.clone().count() > 0 && !ids.clone().any(|id| known.series(id).is_some()) {
                        return Ok(Sent::Poison("undeclared"));
                    }
                    gathered.add((server, epoch), columns, known);
                }
                // It was deleted a moment ago, and its frames with it.
                Ok(None) => {}
                Err(StoreError::Unreadable { .. }) => return Ok(Sent::Poison("declarations")),
                Err(error) => return Err(error),
            }
        }
        for part in gathered.parts(MAX_REQUEST_SAMPLES) {
            let answered = match self.client.send(part.encode()).await {
                Ok(answered) => answered,
                Err(error) => return Ok(Sent::Away(crate::app::chain(&error))),
            };
            let words = || format!("{}: {}", answered.status, answered.words);
            match Answer::of_metric_store(answered.status) {
                Answer::Taken => {
                    metrics::counter!("muster_metric_store_samples_sent_total").increment(part.samples() as u64);
                }
                Answer::Refused => return Ok(Sent::Refused(words())),
                Answer::Trouble => return Ok(Sent::Trouble(words())),
                Answer::Later => return Ok(Sent::Away(words())),
            }
        }
        Ok(Sent::Taken)
    }

    /// Declarations are forgotten when nothing used them for a day: says now and then which are in use.
    async fn note_in_use(&mut self, frame: &Decoded) -> Result<(), StoreError> {
        let (of_epoch, now_us) = ((frame.position.key.server, frame.position.key.epoch), self.clock.now_us());
        if self.noted_us.get(&of_epoch).is_some_and(|noted_us| now_us - noted_us < NOTE_EVERY_US) {
            return Ok(());
        }
        let ids: BTreeSet<SeriesId> = frame.columns.values.iter().map(|(id, _)| *id).collect();
        let lists = self.store.lists_of(frame.org, of_epoch.0, of_epoch.1).await?.into_iter();
        let in_use = lists.filter(|list| list.series.iter().any(|(id, _)| ids.contains(id))).map(|list| list.sha256);
        self.store.note_lists_in_use(of_epoch, &in_use.collect::<Vec<_>>(), now_us).await?;
        if self.noted_us.len() >= MAX_NOTED {
            self.noted_us.clear();
        }
        self.noted_us.insert(of_epoch, now_us);
        Ok(())
    }
}
