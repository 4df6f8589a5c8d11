//! Frames on their way to an engine that takes, refuses, fails and goes away.

use std::sync::{
    Mutex,
    atomic::{AtomicU16, Ordering},
};

use muster_shared::metric::encode;

use super::*;
use crate::{
    metrics::{
        Declarations,
        latest_tests::series,
        remote_write::fake::{Fake, client, said},
        steps::HOUR_US,
    },
    retention::{DECLARATIONS_KEPT_US, Kept, trim},
    store::{
        FrameRow,
        suite::{Fleet, NOW_US},
        test_database::on_each,
    },
};

const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// A value that the judges of these tests know.
const POISON: i64 = 666;

fn frame(server: ServerId, seq: u64, at_us: i64, value: i64) -> FrameRow {
    let columns = Columns { ticks_us: vec![at_us], values: vec![(1, vec![Some(value)])] };
    let (encoding, payload) = encode(&columns);
    FrameRow {
        server_id: server,
        epoch: 1,
        seq,
        first_us: at_us,
        last_us: at_us,
        ticks: 1,
        encoding,
        payload: payload.into(),
        declares: vec![Arc::new(Declarations::of([(1, series("container_memory_bytes", &[("container", "a")], 0))]))],
    }
}

struct World {
    fleet: Fleet,
    clock: Clock,
    server: ServerId,
}

impl World {
    async fn new(store: Store) -> Self {
        let fleet = Fleet::new(store).await;
        fleet.store.forward_frames();
        let (server, _) = fleet.joined("web").await;
        Self { fleet, clock: Clock::standing_at(NOW_US), server }
    }

    fn forwarder(&self, engine: &Fake) -> Forwarder {
        let from = (self.fleet.store.clone(), self.clock.clone());
        Forwarder::new(from, client(engine.address), self.fleet.events.clone(), Arc::default(), PATIENCE)
    }

    async fn store(&self, frames: &[FrameRow]) {
        self.fleet.store.insert_frames(frames).await.expect("stored");
    }

    async fn waiting(&self) -> u64 {
        self.fleet.store.waiting_frames().await.expect("read").frames
    }

    async fn quarantined(&self) -> u64 {
        self.fleet.store.quarantined_frames(self.fleet.org, self.server).await.expect("read")
    }

    /// Sequences of the frames that the database has.
    async fn kept(&self) -> Vec<u64> {
        let frames = self.fleet.store.frames_between(self.fleet.org, self.server, (0, i64::MAX - 1), 1_000).await;
        frames.expect("read").iter().map(|frame| frame.seq).collect()
    }
}

fn done(frames: usize) -> Forwarded {
    Forwarded { frames, ..Forwarded::default() }
}

#[tokio::test]
async fn frames_wait_until_the_engine_has_them_and_go_once() {
    on_each(|store| async move {
        let world = World::new(store).await;
        let status = Arc::new(AtomicU16::new(503));
        let answer = Arc::clone(&status);
        let mut engine = Fake::start(move |_| answer.load(Ordering::SeqCst)).await;
        let mut forwarder = world.forwarder(&engine);
        let frames: Vec<_> =
            (0..300).map(|at| frame(world.server, at, NOW_US + at as i64 * 1_000, at as i64)).collect();
        world.store(&frames).await;
        // Away, busy, wrongly set up: everything waits.
        for trouble in [503, 429, 401, 404] {
            status.store(trouble, Ordering::SeqCst);
            assert!(forwarder.forward_due().await.expect("tried").is_away, "{trouble}");
            assert_eq!((world.waiting().await, world.quarantined().await), (300, 0), "{trouble}");
            engine.received.recv().await.expect("a request");
        }
        status.store(204, Ordering::SeqCst);
        assert_eq!(forwarder.forward_due().await.expect("sent"), done(300));
        assert_eq!(world.waiting().await, 0);
        assert_eq!(forwarder.forward_due().await.expect("sent"), done(0));
        let mut samples = 0;
        while let Ok((_, request)) = engine.received.try_recv() {
            samples += request.timeseries.iter().map(|series| series.samples.len()).sum::<usize>();
        }
        assert_eq!(samples, 300);
        assert_eq!(world.kept().await.len(), 300, "readers have them still");
    })
    .await;
}

#[tokio::test]
async fn what_the_engine_refuses_is_set_aside_and_others_go_on() {
    on_each(|store| async move {
        let world = World::new(store).await;
        let is_poison = |value: f64| (value - POISON as f64).abs() < 0.5;
        let engine = Fake::start(move |sent| {
            let samples = sent.timeseries.iter().flat_map(|series| &series.samples);
            if samples.clone().any(|sample| is_poison(sample.value)) { 400 } else { 200 }
        })
        .await;
        let mut events = world.fleet.events.subscribe();
        let mut unreadable = frame(world.server, 3, NOW_US + 3, 3);
        unreadable.payload = bytes::Bytes::from_static(b"no columns");
        let mut undeclared = frame(world.server, 4, NOW_US + 4, 4);
        (undeclared.epoch, undeclared.declares) = (9, Vec::new());
        let good = [0, 2, 5].map(|at| frame(world.server, at, NOW_US + at as i64, at as i64));
        world.store(&[&good[..], &[frame(world.server, 1, NOW_US + 1, POISON), unreadable, undeclared]].concat()).await;
        let turn = world.forwarder(&engine).forward_due().await.expect("sent");
        assert_eq!(turn, Forwarded { frames: 3, quarantined: 3, is_away: false });
        assert_eq!((world.waiting().await, world.quarantined().await), (0, 3));
        assert_eq!(world.kept().await, [0, 2, 5]);
        let event = events.next().await.expect("an event").expect("none missed");
        assert!(matches!(event.kind, EventKind::SamplesDamaged) && event.server_id == Some(world.server));
    })
    .await;
}

#[tokio::test]
async fn a_frame_that_the_engine_fails_for_goes_only_while_others_are_taken() {
    on_each(|store| async move {
        let world = World::new(store).await;
        let (db, _) = world.fleet.joined("db").await;
        let fails_all = Arc::new(Mutex::new(true));
        let fails = Arc::clone(&fails_all);
        let engine = Fake::start(move |sent| {
            let is_poison = said(sent).iter().any(|(server, _)| server == "web");
            if is_poison || *fails.lock().expect("whole") { 500 } else { 200 }
        })
        .await;
        let mut forwarder = world.forwarder(&engine);
        world.store(&[frame(world.server, 0, NOW_US, 1)]).await;
        for turn in 0..20 {
            world.store(&[frame(db, turn, NOW_US + turn as i64, 2)]).await;
            assert_eq!(forwarder.forward_due().await.expect("tried"), done(0), "an engine in trouble");
        }
        *fails_all.lock().expect("whole") = false;
        assert_eq!(forwarder.forward_due().await.expect("sent"), done(20));
        let mut turns = 0;
        while world.quarantined().await == 0 {
            assert_eq!(world.waiting().await, 1);
            turns += 1;
            world.store(&[frame(db, 100 + turns, NOW_US, 3)]).await;
            forwarder.forward_due().await.expect("sent");
            assert!(turns <= u64::from(MAX_TRIES) + 1, "{turns}");
        }
        assert_eq!(world.waiting().await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_an_engine_took_just_before_it_went_away_is_sent_again() {
    on_each(|store| async move {
        let world = World::new(store).await;
        let status = Arc::new(AtomicU16::new(200));
        let answer = Arc::clone(&status);
        let engine = Fake::start(move |_| answer.load(Ordering::SeqCst)).await;
        let mut forwarder = world.forwarder(&engine);
        let times = [NOW_US - FORGOTTEN_US - 1, NOW_US - FORGOTTEN_US, NOW_US - 1];
        let frames: Vec<_> = (0..).zip(times).map(|(seq, at_us)| frame(world.server, seq, at_us, 1)).collect();
        world.store(&frames).await;
        assert_eq!(forwarder.forward_due().await.expect("sent"), done(3));
        status.store(503, Ordering::SeqCst);
        world.store(&[frame(world.server, 3, NOW_US, 1)]).await;
        assert!(forwarder.forward_due().await.expect("tried").is_away);
        world.clock.advance(HOUR_US);
        status.store(200, Ordering::SeqCst);
        let (back, again) = (forwarder.forward_due().await, forwarder.forward_due().await);
        assert_eq!((back.expect("sent"), again.expect("sent")), (done(1), done(2)));
        assert_eq!(world.waiting().await, 0);
    })
    .await;
}

#[tokio::test]
async fn one_process_sends_at_a_time() {
    on_each(|store| async move {
        let world = World::new(store).await;
        let engine = Fake::answering(Vec::new()).await;
        let (mut one, mut other) = (world.forwarder(&engine), world.forwarder(&engine));
        world.store(&[frame(world.server, 0, NOW_US, 1)]).await;
        assert_eq!(one.forward_due().await.expect("sent"), done(1));
        world.store(&[frame(world.server, 1, NOW_US, 1)]).await;
        assert_eq!(other.forward_due().await.expect("nothing"), done(0), "the lease is the first one's");
        world.clock.advance(LEASE_US + 1);
        assert_eq!(other.forward_due().await.expect("sent"), done(1));
        world.store(&[frame(world.server, 2, NOW_US, 1)]).await;
        assert_eq!(one.forward_due().await.expect("nothing"), done(0));
        let stop = CancellationToken::new();
        stop.cancel();
        other.run(stop).await;
        let turn = one.forward_due().await.expect("sent");
        assert_eq!(
            turn,
            done(2),
            "who stops leaves it to others at once, and who began sent again what was sent just before"
        );
    })
    .await;
}

#[tokio::test]
async fn the_database_keeps_an_hour_and_what_waits_but_not_for_ever() {
    on_each(|store| async move {
        let world = World::new(store).await;
        let engine = Fake::answering(Vec::new()).await;
        let mut forwarder = world.forwarder(&engine);
        let frames: Vec<_> = (0..6).map(|at| frame(world.server, at, NOW_US + at as i64, 1)).collect();
        world.store(&frames).await;
        forwarder.forward_due().await.expect("sent");
        assert_eq!(forwarder.tidy().await.expect("tidied"), Tidied::default());
        world.store(&[frame(world.server, 6, NOW_US - 1_000, 1)]).await;
        world.clock.advance(KEPT_US + MARGIN_US + 1_000);
        assert_eq!(forwarder.tidy().await.expect("tidied"), Tidied { forgotten: 4, given_up: 0 });
        assert_eq!(world.kept().await, [6, 4, 5], "what waits, and what it said last");
        world.clock.advance(i64::try_from(PATIENCE.as_micros()).expect("fits"));
        assert_eq!(forwarder.tidy().await.expect("tidied"), Tidied { forgotten: 0, given_up: 1 });
        trim(&world.fleet.store, Kept::default(), world.clock.now_us()).await.expect("trimmed");
        assert!(world.kept().await.is_empty(), "a host that is long gone");
    })
    .await;
}

#[tokio::test]
async fn frames_of_before_wait_as_well() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("web").await;
        fleet.store.insert_frames(&[frame(server, 0, NOW_US, 1)]).await.expect("stored");
        let world = World { fleet, clock: Clock::standing_at(NOW_US), server };
        assert_eq!(world.waiting().await, 0);
        let engine = Fake::answering(Vec::new()).await;
        let mut forwarder = world.forwarder(&engine);
        forwarder.tidy().await.expect("tidied");
        assert_eq!(forwarder.forward_due().await.expect("sent"), done(1));
    })
    .await;
}

#[tokio::test]
async fn declarations_of_containers_that_run_for_days_stay() {
    on_each(|store| async move {
        let world = World::new(store).await;
        let engine = Fake::answering(Vec::new()).await;
        let mut forwarder = world.forwarder(&engine);
        for hour in 0..60 {
            let now_us = world.clock.now_us();
            let mut row = frame(world.server, hour, now_us, 1);
            if hour > 0 {
                row.declares = Vec::new();
            }
            world.store(&[row]).await;
            assert_eq!(forwarder.forward_due().await.expect("sent"), done(1), "hour {hour}");
            forwarder.tidy().await.expect("tidied");
            trim(&world.fleet.store, Kept::default(), now_us).await.expect("trimmed");
            world.clock.advance(HOUR_US + 1);
        }
        world.clock.advance(DECLARATIONS_KEPT_US + i64::try_from(PATIENCE.as_micros()).expect("fits"));
        trim(&world.fleet.store, Kept::default(), world.clock.now_us()).await.expect("trimmed");
        let left = world.fleet.store.series_of(world.fleet.org, world.server, 1).await.expect("read");
        assert!(left.is_empty(), "and go when it has stopped");
    })
    .await;
}
