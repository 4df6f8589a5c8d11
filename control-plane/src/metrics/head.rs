//! The newest readings of one server, and the summary they give. Pure.
//!
//! Of everything a host reports, only the series a summary needs are kept here, each with its two newest values, and
//! what the series are is shared with every server that declared the same: a server costs a few hundred bytes. Frames
//! go through two steps, since nothing may be told before it is stored: [`Head::accept`] judges a frame and picks its
//! readings, [`Head::advance`] makes them the newest.

use std::sync::Arc;

use bytes::Bytes;
use muster_shared::{
    id::ServerId,
    metric::{self, CodecError, Newest, rate_per_second},
    wire,
};

use super::{
    Declarations, Summary,
    role::{self, Role},
    shape::{Redeclared, Shape},
};

/// Most series remembered as declared in one epoch. Agents never use a number again, so one that starts containers
/// all day gets here some day; its stream is then ended once, and the new one declares only what is alive.
pub const MAX_DECLARED: usize = 4 * metric::MAX_SERIES_PER_HOST;

/// After how long without a frame nothing is taken for stored any more; declarations are kept longer than this.
const AWAY_US: i64 = 3_600 * 1_000_000;

/// A frame that nothing can be made of. It is acknowledged, so that it is not sent again, and never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Poison {
    #[error("the payload can't be decoded")]
    Payload(#[from] CodecError),
    #[error("the times or the number of ticks don't match the payload")]
    Times,
    #[error("the encoding is unknown")]
    Encoding,
    #[error("a series is declared a second time as something else")]
    Redeclared,
}

impl Poison {
    /// The word it is counted under.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Payload(_) => "payload",
            Self::Times => "times",
            Self::Encoding => "encoding",
            Self::Redeclared => "redeclared",
        }
    }
}

/// A frame that may be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedFrame {
    pub epoch: u64,
    pub seq: u64,
    pub first_us: i64,
    pub last_us: i64,
    pub ticks: u32,
    pub encoding: wire::FrameEncoding,
    pub payload: Bytes,
    /// What was declared in this epoch and is not known to be stored yet: to be stored with the frame.
    pub declares: Vec<Arc<Declarations>>,
    readings: Readings,
}

/// The two newest readings of a frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Readings {
    before: Option<Reading>,
    newest: Option<Reading>,
}

/// Values of the tracked series at one tick, in the order they are tracked.
#[derive(Debug, Clone, PartialEq)]
struct Reading {
    at_us: i64,
    values: Vec<Option<i64>>,
}

/// What is remembered of one server's newest samples.
#[derive(Debug, Default)]
pub struct Head {
    epoch: u64,
    shape: Arc<Shape>,
    /// Declared in frames that are still on their way. Whichever frame is stored next brings them along: the one that
    /// declared them may get lost with its session.
    unstored: Vec<Arc<Declarations>>,
    readings: Readings,
    arrived_at_us: Option<i64>,
}

impl Head {
    /// Judges `frame`, which `declares` these series, and remembers them.
    ///
    /// # Errors
    /// [`Poison`].
    pub fn accept(
        &mut self,
        frame: wire::Frame,
        declares: Option<&Arc<Declarations>>,
    ) -> Result<AcceptedFrame, Poison> {
        if frame.epoch != self.epoch {
            *self = Self { epoch: frame.epoch, ..Self::default() };
        }
        let encoding = frame.encoding();
        if encoding == wire::FrameEncoding::Unspecified {
            return Err(Poison::Encoding);
        }
        let shape = self.shape_with(declares).map_err(|Redeclared| Poison::Redeclared)?;
        let wanted: Vec<_> = shape.tracked.iter().map(|(id, _, _)| *id).collect();
        let newest = metric::newest(encoding, &frame.payload, &wanted)?;
        let ends = (newest.ticks_us.first().copied(), newest.ticks_us.last().copied());
        let count = usize::try_from(frame.ticks).unwrap_or(usize::MAX);
        if ends != (Some(frame.first_us), Some(frame.last_us)) || count != newest.ticks_us.len() {
            return Err(Poison::Times);
        }
        if let Some(declares) = declares.filter(|_| !Arc::ptr_eq(&shape, &self.shape)) {
            self.shape = shape;
            self.unstored.push(Arc::clone(declares));
        }
        Ok(AcceptedFrame {
            epoch: frame.epoch,
            seq: frame.seq,
            first_us: frame.first_us,
            last_us: frame.last_us,
            ticks: frame.ticks,
            encoding,
            payload: frame.payload,
            declares: self.unstored.clone(),
            readings: Readings::of(&newest),
        })
    }

    /// A new session begins: a host that was away for [`AWAY_US`] starts over, since what it declared may have been
    /// removed with its last frame.
    pub fn resume(&mut self, now_us: i64) {
        if self.arrived_at_us.is_some_and(|arrived| now_us.saturating_sub(arrived) > AWAY_US) {
            *self = Self::default();
        }
    }

    /// Whether this epoch has declared more than a server may.
    #[must_use]
    pub fn is_overfull(&self) -> bool {
        self.shape.len() > MAX_DECLARED
    }

    /// Makes a stored frame's readings the newest, unless they are older than what is here. Answers whether it did.
    pub fn advance(&mut self, frame: &AcceptedFrame, arrived_at_us: i64) -> bool {
        if frame.epoch != self.epoch {
            return false;
        }
        self.unstored.retain(|waiting| !frame.declares.iter().any(|stored| Arc::ptr_eq(waiting, stored)));
        let Some(newest) = &frame.readings.newest else { return false };
        if self.readings.newest.as_ref().is_some_and(|known| known.at_us >= newest.at_us) {
            return false;
        }
        self.readings.before = frame.readings.before.clone().or_else(|| self.readings.newest.take());
        self.readings.newest = Some(newest.clone());
        self.arrived_at_us = Some(arrived_at_us);
        true
    }

    /// When the newest readings arrived, by the control plane's clock.
    #[must_use]
    pub fn arrived_at_us(&self) -> Option<i64> {
        self.arrived_at_us
    }

    /// What the newest readings say; `None` before there are two.
    #[must_use]
    pub fn summary(&self, server_id: ServerId) -> Option<Summary> {
        let (Some(before), Some(newest)) = (&self.readings.before, &self.readings.newest) else { return None };
        let values = |want: fn(&Role) -> bool| {
            self.shape.tracked.iter().enumerate().filter(move |(_, (_, role, _))| want(role)).map(
                |(at, (_, role, scale))| {
                    let of = |reading: &Reading| reading.values.get(at).copied().flatten();
                    (role, *scale, of(before), of(newest))
                },
            )
        };
        let rate = |want: fn(&Role) -> bool| -> f64 {
            values(want)
                .filter_map(|(_, scale, old, new)| {
                    Some(scaled(rate_per_second((before.at_us, old?), (newest.at_us, new?))?, scale))
                })
                .sum()
        };
        let gauge = |want: fn(&Role) -> bool| {
            values(want).find_map(|(_, scale, _, new)| Some(scaled(new? as f64, scale))).unwrap_or(0.0)
        };
        let all_cpu = rate(|role| matches!(role, Role::CpuBusy | Role::CpuIdle));
        let memory_total = gauge(|role| *role == Role::MemoryTotal);
        let memory_used = memory_total - gauge(|role| *role == Role::MemoryAvailable);
        let mounts = values(|role| matches!(role, Role::FilesystemSize(_) | Role::FilesystemAvailable(_)))
            .filter_map(|(role, scale, _, new)| Some((role, scaled(new? as f64, scale))));
        Some(Summary {
            server_id,
            at_us: newest.at_us,
            cpu_usage_percent: percent(rate(|role| *role == Role::CpuBusy), all_cpu),
            memory_usage_percent: percent(memory_used, memory_total),
            disk_usage_percent: role::disk_usage_percent(mounts),
            network_rx_bytes_per_second: rate(|role| *role == Role::NetworkReceive),
            network_tx_bytes_per_second: rate(|role| *role == Role::NetworkTransmit),
            container_count: gauge(|role| *role == Role::Containers) as u32,
            load_1m: gauge(|role| *role == Role::Load),
            uptime_seconds: gauge(|role| *role == Role::Uptime),
        })
    }

    /// The shape with what a frame declares: the same one where that is nothing new.
    fn shape_with(&self, declares: Option<&Arc<Declarations>>) -> Result<Arc<Shape>, Redeclared> {
        let Some(declares) = declares.filter(|declares| !Arc::ptr_eq(&self.shape, &declares.shape)) else {
            return Ok(Arc::clone(&self.shape));
        };
        if self.shape.covers(&declares.shape)? {
            return Ok(Arc::clone(&self.shape));
        }
        if self.shape.len() == 0 {
            return Ok(Arc::clone(&declares.shape));
        }
        let mut grown = Shape::clone(&self.shape);
        grown.absorb(&declares.shape);
        Ok(Arc::new(grown))
    }
}

impl Readings {
    fn of(newest: &Newest) -> Self {
        let reading = |place: usize, at_us: i64| Reading {
            at_us,
            values: newest.values.iter().map(|values| values[place]).collect(),
        };
        let mut backwards = newest.ticks_us.iter().rev();
        let last = backwards.next().map(|at_us| reading(1, *at_us));
        Self { before: backwards.next().map(|at_us| reading(0, *at_us)), newest: last }
    }
}

/// Divides by whole powers of ten, which is exact where multiplying by their inverse is not.
fn scaled(value: f64, scale: i32) -> f64 {
    if scale < 0 { value / 10f64.powi(-scale) } else { value * 10f64.powi(scale) }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (100.0 * part / whole).clamp(0.0, 100.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use metric::{Columns, Series, SeriesId, SeriesKind, names};

    use super::*;

    const T0_US: i64 = 1_800_000_000_000_000;

    fn series(name: &str, label: Option<(&str, &str)>, kind: SeriesKind, scale: i32) -> Series {
        let labels =
            label.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>();
        Series { name: name.to_owned(), labels, scale, kind }
    }

    fn host() -> Vec<(SeriesId, Series)> {
        let counter = SeriesKind::Counter;
        let gauge = SeriesKind::Gauge;
        let mount = Some(("mountpoint", "/"));
        [
            series(names::HOST_CPU_SECONDS_TOTAL, Some(("mode", "user")), counter, -6),
            series(names::HOST_CPU_SECONDS_TOTAL, Some(("mode", "idle")), counter, -6),
            series(names::HOST_MEMORY_TOTAL_BYTES, None, gauge, 0),
            series(names::HOST_MEMORY_AVAILABLE_BYTES, None, gauge, 0),
            series(names::HOST_FILESYSTEM_SIZE_BYTES, mount, gauge, 0),
            series(names::HOST_FILESYSTEM_AVAILABLE_BYTES, mount, gauge, 0),
            series(names::HOST_NETWORK_RECEIVE_BYTES_TOTAL, Some(("device", "eth0")), counter, 0),
            series(names::HOST_LOAD_1M, None, gauge, -2),
            series("host_something_else", None, gauge, 0),
        ]
        .into_iter()
        .zip(1..)
        .map(|(series, id)| (id, series))
        .collect()
    }

    /// The head takes `frame`, which declares `series`.
    fn accept(head: &mut Head, frame: wire::Frame, series: Vec<(SeriesId, Series)>) -> Result<AcceptedFrame, Poison> {
        let declares = (!series.is_empty()).then(|| Arc::new(Declarations::of(series)));
        head.accept(frame, declares.as_ref())
    }

    fn frame(seq: u64, ticks: &[(i64, [i64; 9])]) -> wire::Frame {
        let columns = Columns {
            ticks_us: ticks.iter().map(|(second, _)| T0_US + second * 1_000_000).collect(),
            values: (0..9usize)
                .map(|at| (at as SeriesId + 1, ticks.iter().map(|(_, values)| Some(values[at])).collect()))
                .collect(),
        };
        let (encoding, payload) = metric::encode(&columns);
        wire::Frame {
            epoch: 7,
            seq,
            declarations: Vec::new(),
            encoding: encoding.into(),
            payload: payload.into(),
            first_us: columns.ticks_us[0],
            last_us: *columns.ticks_us.last().expect("a tick"),
            ticks: ticks.len() as u32,
            backfill: false,
        }
    }

    const FIRST: [i64; 9] = [0, 0, 1000, 400, 200, 50, 1000, 150, 1];
    const SECOND: [i64; 9] = [250_000, 750_000, 1000, 300, 200, 100, 3000, 250, 1];

    #[test]
    fn two_readings_make_a_summary_and_backfill_changes_nothing() {
        let (mut head, server) = (Head::default(), ServerId::generate());
        let first = accept(&mut head, frame(1, &[(0, FIRST)]), host()).expect("good");
        assert_eq!(first.declares, [Arc::new(Declarations::of(host()))]);
        assert!(head.advance(&first, T0_US));
        assert_eq!(head.summary(server), None, "one reading has no rates");
        let second = accept(&mut head, frame(2, &[(1, SECOND)]), Vec::new()).expect("good");
        assert!(head.advance(&second, T0_US));
        let summary = head.summary(server).expect("two readings");
        assert_eq!(summary.at_us, T0_US + 1_000_000);
        assert_eq!(summary.cpu_usage_percent, 25.0);
        assert_eq!(summary.memory_usage_percent, 70.0);
        assert_eq!(summary.disk_usage_percent, 50.0);
        assert_eq!(summary.network_rx_bytes_per_second, 2000.0);
        assert_eq!(summary.load_1m, 2.5);
        let late = accept(&mut head, frame(0, &[(-9, FIRST), (-8, SECOND)]), Vec::new()).expect("good");
        assert!(!head.advance(&late, T0_US));
        assert_eq!(head.summary(server), Some(summary));
    }

    #[test]
    fn one_frame_of_many_ticks_is_enough() {
        let mut head = Head::default();
        let frame = accept(&mut head, frame(1, &[(0, FIRST), (9, FIRST), (10, SECOND)]), host()).expect("good");
        head.advance(&frame, T0_US);
        let summary = head.summary(ServerId::generate()).expect("two readings");
        assert_eq!(summary.network_rx_bytes_per_second, 2000.0, "the rate is of the last second");
    }

    #[test]
    fn poison_is_named_and_leaves_the_head_as_it_was() {
        let mut head = Head::default();
        let good = accept(&mut head, frame(1, &[(0, FIRST), (1, SECOND)]), host()).expect("good");
        head.advance(&good, T0_US);
        let server = ServerId::generate();
        let before = head.summary(server);
        let mut spoil = |change: fn(&mut wire::Frame)| {
            let mut frame = frame(2, &[(2, FIRST)]);
            change(&mut frame);
            accept(&mut head, frame, Vec::new()).expect_err("poison").word()
        };
        assert_eq!(spoil(|frame| frame.payload = Bytes::from_static(b"\xff\xff")), "payload");
        assert_eq!(spoil(|frame| frame.last_us += 1), "times");
        assert_eq!(spoil(|frame| frame.ticks = 9), "times");
        assert_eq!(spoil(|frame| frame.encoding = 99), "encoding");
        let other = vec![(1, series("host_other", None, SeriesKind::Gauge, 0))];
        let redeclared = accept(&mut head, frame(3, &[(3, FIRST)]), other).expect_err("poison");
        assert_eq!(redeclared.word(), "redeclared");
        assert_eq!(head.summary(server), before);
    }

    #[test]
    fn what_was_declared_travels_with_every_frame_until_one_is_stored() {
        let mut head = Head::default();
        let lost = accept(&mut head, frame(1, &[(0, FIRST)]), host()).expect("good");
        let more = vec![(12, series("host_more", None, SeriesKind::Gauge, 0))];
        let next = accept(&mut head, frame(2, &[(1, SECOND)]), more).expect("good");
        assert_eq!((lost.declares.len(), next.declares.len()), (1, 2));
        let again = accept(&mut head, frame(1, &[(0, FIRST)]), host()).expect("good");
        assert_eq!(again.declares.len(), 2, "declaring the same again adds nothing");
        head.advance(&next, T0_US);
        assert!(accept(&mut head, frame(3, &[(2, FIRST)]), host()).expect("good").declares.is_empty());
    }

    #[test]
    fn a_host_that_was_away_for_long_declares_anew() {
        let mut head = Head::default();
        let good = accept(&mut head, frame(1, &[(0, FIRST), (1, SECOND)]), host()).expect("good");
        head.advance(&good, T0_US);
        head.resume(T0_US + AWAY_US);
        assert!(accept(&mut head, frame(2, &[(2, FIRST)]), host()).expect("good").declares.is_empty());
        head.resume(T0_US + AWAY_US + 1);
        assert_eq!(accept(&mut head, frame(2, &[(2, FIRST)]), host()).expect("good").declares.len(), 1);
    }

    #[test]
    fn a_new_epoch_starts_over() {
        let mut head = Head::default();
        let old = accept(&mut head, frame(1, &[(0, FIRST), (1, SECOND)]), host()).expect("good");
        let mut fresh = frame(1, &[(5, FIRST)]);
        fresh.epoch = 8;
        assert_eq!(accept(&mut head, fresh, host()).expect("good").declares.len(), 1);
        assert!(!head.advance(&old, T0_US), "readings of an old epoch say nothing about the new one");
    }
}
