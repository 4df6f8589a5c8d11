//! Reading one organisation's events by number.

use muster_shared::id::OrgId;
use tokio::sync::watch;

use super::{Event, Events, Position, Subscription, ring::Next};
use crate::{events::EventKind, metrics::Summary};

/// Readers of one organisation's events at one time.
pub const MAX_READERS: usize = 256;

/// All places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_READERS} streams of this organization's events are open already")]
pub struct TooManyReaders;

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// Right after where it stopped.
    Resumed,
    /// With what happens from now on, since what it missed is no longer known.
    Lost,
}

/// What a reader finds.
#[derive(Debug)]
pub enum Read {
    Event(Position, Event),
    /// Nothing new: [`Reader::news`] waits for it.
    Nothing,
    /// Events were lost to it; it goes on with those after this position.
    Lost(Position),
}

/// A place in one organisation's events.
#[derive(Debug)]
pub struct Reader {
    events: Events,
    org: OrgId,
    seq: u64,
    newest: watch::Receiver<u64>,
    samples: Option<Subscription>,
}

impl Events {
    /// Reads the events of `org`, from `after` on where that is still known, else from now on; with `samples`, the
    /// hosts' samples too.
    ///
    /// # Errors
    /// [`TooManyReaders`].
    pub fn read(&self, org: OrgId, after: Option<Position>, samples: bool) -> Result<(Reader, Start), TooManyReaders> {
        let mut logs = self.logs();
        let log = logs.entry(org).or_default();
        if log.readers >= MAX_READERS {
            return Err(TooManyReaders);
        }
        let known = |position: Position| {
            let kept = position.epoch == self.epoch && !matches!(log.ring.after(position.seq), Next::Gone);
            kept.then_some(position.seq)
        };
        let (seq, start) = match after.map(known) {
            None => (log.ring.last(), Start::Now),
            Some(Some(seq)) => (seq, Start::Resumed),
            Some(None) => (log.ring.last(), Start::Lost),
        };
        log.readers += 1;
        log.samplers += usize::from(samples);
        let newest = log.newest.subscribe();
        let samples = samples.then(|| self.subscribe());
        Ok((Reader { events: self.clone(), org, seq, newest, samples }, start))
    }
}

impl Reader {
    /// Where it is.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.events.epoch, seq: self.seq }
    }

    /// The next numbered event, without waiting.
    pub fn read(&mut self) -> Read {
        // Seen before looking, so that what comes after the look wakes.
        self.newest.borrow_and_update();
        let (next, last) = {
            let logs = self.events.logs();
            // A reader's log is there: it made it.
            let Some(log) = logs.get(&self.org) else { return Read::Nothing };
            (log.ring.after(self.seq), log.ring.last())
        };
        match next {
            Next::Entry(event) => {
                self.seq += 1;
                Read::Event(self.position(), event)
            }
            Next::Nothing => Read::Nothing,
            Next::Gone => {
                metrics::counter!("muster_event_readers_lost_total").increment(1);
                self.seq = last;
                Read::Lost(self.position())
            }
        }
    }

    /// Waits until there may be something to [`Self::read`], or a sample came for a reader that wants them. Samples that
    /// come too fast for their reader are dropped and counted.
    pub async fn news(&mut self) -> Option<std::sync::Arc<Summary>> {
        let org = self.org;
        let samples = &mut self.samples;
        let sample = async {
            let Some(samples) = samples else { return std::future::pending().await };
            loop {
                match samples.next().await {
                    Some(Ok(Event { org_id, kind: EventKind::Sample(summary), .. })) if org_id == org => {
                        return summary;
                    }
                    Some(_) => {}
                    None => return std::future::pending().await,
                }
            }
        };
        tokio::select! {
            changed = self.newest.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
                None
            }
            summary = sample => Some(summary),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(log) = self.events.logs().get_mut(&self.org) {
            log.readers = log.readers.saturating_sub(1);
            log.samplers = log.samplers.saturating_sub(usize::from(self.samples.is_some()));
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::id::ServerId;

    use super::{super::KEPT, *};

    fn publish(events: &Events, org: OrgId, count: usize) {
        for _ in 0..count {
            events.publish(org, ServerId::generate(), EventKind::ServerChanged);
        }
    }

    fn numbers(reader: &mut Reader) -> Vec<u64> {
        std::iter::from_fn(|| match reader.read() {
            Read::Event(position, _) => Some(position.seq),
            Read::Nothing | Read::Lost(_) => None,
        })
        .collect()
    }

    #[tokio::test]
    async fn a_reader_goes_on_where_it_stopped() {
        let (events, org) = (Events::default(), OrgId::generate());
        let (mut first, start) = events.read(org, None, false).expect("a place");
        assert_eq!(start, Start::Now);
        publish(&events, org, 3);
        publish(&events, OrgId::generate(), 2);
        assert_eq!(numbers(&mut first), [1, 2, 3]);
        let stopped = first.position();
        drop(first);
        publish(&events, org, 2);
        let (mut second, start) = events.read(org, Some(stopped), false).expect("a place");
        assert_eq!((start, numbers(&mut second)), (Start::Resumed, vec![4, 5]));
        let elsewhere = Position { epoch: stopped.epoch ^ 1, ..stopped };
        let (mut third, start) = events.read(org, Some(elsewhere), false).expect("a place");
        assert_eq!((start, numbers(&mut third)), (Start::Lost, vec![]));
    }

    #[tokio::test]
    async fn a_reader_that_falls_off_the_end_is_told_once() {
        let (events, org) = (Events::default(), OrgId::generate());
        let (mut reader, _) = events.read(org, None, false).expect("a place");
        publish(&events, org, KEPT + 1);
        assert!(matches!(reader.read(), Read::Lost(Position { seq, .. }) if seq == KEPT as u64 + 1));
        assert!(matches!(reader.read(), Read::Nothing));
        let position = Position { seq: 0, ..reader.position() };
        assert_eq!(events.read(org, Some(position), false).expect("a place").1, Start::Lost);
        publish(&events, org, 1);
        assert!(reader.news().await.is_none(), "woken");
        assert_eq!(numbers(&mut reader), [KEPT as u64 + 2]);
    }

    #[tokio::test]
    async fn places_are_counted_and_given_back() {
        let (events, org) = (Events::default(), OrgId::generate());
        let readers: Vec<_> = (0..MAX_READERS).map(|at| events.read(org, None, at == 0).expect("a place")).collect();
        assert_eq!(events.read(org, None, false).err(), Some(TooManyReaders));
        assert!(events.wants_samples(org) && !events.wants_samples(OrgId::generate()));
        assert!(events.read(OrgId::generate(), None, false).is_ok());
        drop(readers);
        assert!(!events.wants_samples(org));
        assert!(events.read(org, None, false).is_ok());
    }
}
