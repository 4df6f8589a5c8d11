//! What is damaged costs itself and nothing else.

use super::{
    sealed_world::{GAUGE, START_US, World},
    *,
};
use crate::{
    events::{EventKind, Subscription},
    metrics::{
        Asked, Budget, MetricStore, SeriesQuery, query,
        seal::{GRACE_US, Sealed, seal_due},
        steps::{HOUR_US, Steps},
    },
    retention::{DECLARATIONS_KEPT_US, Kept, trim},
    store::{BlockRow, FrameRow, Resolution, Sealing, test_database::on_each},
};

impl World {
    pub(super) async fn blocks(&self, resolution: Resolution) -> Vec<BlockRow> {
        let all = (i64::MIN, i64::MAX);
        self.fleet.store.blocks((self.fleet.org, self.server), resolution, all).await.expect("read")
    }

    async fn run(&self, sql: &'static str) -> u64 {
        sqlx::query(sql).execute(self.fleet.store.write()).await.expect("done").rows_affected()
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        use sqlx::Row as _;
        sqlx::query(sql).fetch_one(self.fleet.store.read()).await.expect("read").get(0)
    }

    /// The gauge's means by step over `hours` from the start.
    pub(super) async fn means(&self, step_us: i64, hours: i64) -> Vec<f64> {
        let steps = Steps::new(START_US, START_US + hours * HOUR_US - 1, Some(step_us)).expect("good");
        let selection = crate::metrics::Selection::new([GAUGE.to_owned()], []).expect("a metric");
        let asked = SeriesQuery { selection, steps, group: None, top: None };
        let whom = [Asked { server: self.server, labels: [].into() }];
        let found =
            query(&MetricStore::Embedded(self.history.clone()), self.fleet.org, &whom, &asked).await.expect("answered");
        found.into_iter().next().map(|series| series.avg).unwrap_or_default()
    }

    /// How many stripes of hours are stored by themselves.
    pub(super) async fn hour_stripes(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM metric_block_stripes").await
    }

    /// How many of the gauge's samples the hours know of.
    pub(super) async fn hour_samples(&self) -> i64 {
        let steps = Steps::new(START_US, START_US + 2 * HOUR_US - 1, Some(HOUR_US)).expect("good");
        let selection = crate::metrics::Selection::new([GAUGE.to_owned()], []).expect("a metric");
        let whose = (self.fleet.org, self.server);
        let found = self.history.buckets(whose, &selection, steps, &mut Budget::of(1_000_000)).await.expect("read");
        found.values().flatten().map(|bucket| bucket.weight).sum()
    }

    /// Fails unless `events` has one word of damage and nothing else.
    pub(super) async fn told_of_damage_once(&self, events: &mut Subscription) {
        let told = events.next().await.expect("open").expect("kept up");
        assert!(matches!(told.kind, EventKind::SamplesDamaged) && told.server_id == Some(self.server));
        self.fleet.events.publish(self.fleet.org, self.server, EventKind::ServerChanged);
        let next = events.next().await.expect("open").expect("kept up");
        assert!(matches!(next.kind, EventKind::ServerChanged), "told of once");
    }

    async fn damage(&self, resolution: Resolution, window_us: i64) -> Vec<u8> {
        let block = self.blocks(resolution).await.into_iter().find(|block| block.key.window_us == window_us);
        let mut payload = block.expect("a block").payload;
        let middle = payload.len() / 2;
        payload[middle] ^= 0x10;
        sqlx::query("UPDATE metric_blocks SET payload = $1 WHERE resolution = $2 AND window_us = $3")
            .bind(&payload[..])
            .bind(resolution.seconds())
            .bind(window_us)
            .execute(self.fleet.store.write())
            .await
            .expect("damaged");
        payload
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_can_t_be_read_goes_into_quarantine_and_the_rest_is_sealed() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let mut frames = world.frames(1, 0..7_200);
        let poison = FrameRow { seq: 100_000, payload: b"\x01\x02poison".to_vec().into(), ..frames[40].clone() };
        let undeclared = FrameRow { seq: 100_001, epoch: 77, declares: Vec::new(), ..frames[41].clone() };
        frames.extend([poison, undeclared]);
        world.store_frames(&frames).await;
        world.run("UPDATE metric_frames SET encoding = 99 WHERE seq = 100001").await;
        world.check(2).await;
        assert_eq!(world.seal_after(2).await, Sealed { frames: 720, quarantined: 2, failed: 0 });
        world.check(2).await;
        assert_eq!(world.fleet.store.quarantined_frames(world.fleet.org, world.server).await.expect("read"), 2);
        assert_eq!(world.count("SELECT COUNT(*) FROM metric_frames WHERE in_block = 0").await, 0);
        trim(&world.fleet.store, Kept::default(), START_US + 30 * 24 * HOUR_US).await.expect("trimmed");
        assert_eq!(world.fleet.store.quarantined_frames(world.fleet.org, world.server).await.expect("read"), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_in_no_block_are_never_too_old() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = world.frames(1, 0..3_600);
        world.store_frames(&frames).await;
        trim(&world.fleet.store, Kept::default(), START_US + 3_000 * 24 * HOUR_US).await.expect("trimmed");
        world.check(1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_passed_over_told_of_once_and_never_replaced() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let mut frames = world.frames(1, 0..7_200);
        let late = frames.split_off(715);
        world.store_frames(&frames).await;
        world.seal_after(2).await;
        let minutes = world.means(60 * SECOND_US, 2).await;
        let mut events = world.fleet.events.subscribe();
        let damaged = world.damage(Resolution::Second, START_US + HOUR_US).await;
        for _ in 0..2 {
            let seconds = world.means(SECOND_US, 2).await;
            assert!(seconds[..3_600].iter().filter(|value| !value.is_nan()).count() > 3_000, "the other hour is there");
            assert!(seconds[3_600..].iter().all(|value| value.is_nan()));
        }
        assert_eq!(world.means(60 * SECOND_US, 2).await, minutes, "minutes don't need it");
        world.store_frames(&late).await;
        world.seal_after(2).await;
        let blocks = world.blocks(Resolution::Second).await;
        assert!(blocks.iter().any(|block| block.payload == damaged), "what can't be read stays as it is");
        assert_eq!(world.means(SECOND_US, 2).await[7_150..].iter().filter(|value| !value.is_nan()).count(), 45);
        let after = world.means(60 * SECOND_US, 2).await;
        assert_eq!(after[..119], minutes[..119], "late samples are added to the minutes that are there");
        assert!(!after[119].is_nan());
        world.told_of_damage_once(&mut events).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_stripe_of_an_hour_is_not_read_for_other_series_and_never_replaced() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let mut frames = world.frames(1, 0..3_600);
        let late = frames.split_off(355);
        world.store_frames(&frames).await;
        world.seal_after(1).await;
        let told = async |world: &World| world.means(SECOND_US, 1).await.iter().filter(|mean| !mean.is_nan()).count();
        let (stripes, gauges) = (world.hour_stripes().await, told(&world).await);
        assert!(stripes > 1, "{stripes}");
        let mut events = world.fleet.events.subscribe();
        // Noise comes first by name, and the gauge last.
        let changed = world.run("UPDATE metric_block_stripes SET checksum = checksum + 1 WHERE stripe = 0").await;
        assert_eq!(changed, 1);
        assert_eq!(told(&world).await, gauges, "their stripe is another");
        world.store_frames(&late).await;
        world.seal_after(1).await;
        assert_eq!(world.blocks(Resolution::Second).await.len(), 2, "what is late lies beside it");
        assert_eq!(
            world.run("UPDATE metric_block_stripes SET checksum = checksum - 1 WHERE stripe = 0 AND part = 0").await,
            1
        );
        assert_eq!(told(&world).await, gauges + 45, "nothing of it was lost");
        world.told_of_damage_once(&mut events).await;
        assert_eq!(world.run("DELETE FROM metric_block_stripes WHERE part = 0").await, stripes.unsigned_abs());
        assert_eq!(told(&world).await, 45, "without its stripes an hour can't be read");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_roll_ups_give_way_to_samples() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = world.frames(1, 0..7_200);
        world.store_frames(&frames).await;
        world.seal_after(2).await;
        world.damage(Resolution::Minute, START_US).await;
        let day_us = START_US / (24 * HOUR_US) * 24 * HOUR_US;
        world.damage(Resolution::Hour, day_us).await;
        world.check(2).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_that_can_t_be_read_cost_no_block_and_no_frame() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = world.frames(1, 0..3_600);
        world.store_frames(&frames).await;
        world.seal_after(1).await;
        let before = world.blocks(Resolution::Second).await;
        let known = world.known.clone();
        let late = world.frames(1, 3_600..3_700);
        world.store_frames(&late).await;
        world.run("UPDATE declaration_lists SET declarations = sha256").await;
        assert_eq!(world.seal_after(2).await, Sealed { frames: 0, quarantined: 10, failed: 0 });
        assert_eq!(world.blocks(Resolution::Second).await, before);
        world.known = known;
        world.check(1).await;
        assert_eq!(world.count("SELECT COUNT(*) FROM metric_quarantine WHERE reason = 'declarations'").await, 10);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_seal_a_server_at_once_find_out() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let frames = world.frames(1, 0..3_600);
        world.store_frames(&frames).await;
        let revision = world.fleet.store.sealing_revision(world.server).await.expect("read");
        world.seal_after(1).await;
        let stale = Sealing { revision, frames: vec![(1, 1)], ..Sealing::default() };
        assert!(!world.fleet.store.seal(world.server, &stale, NOW_US).await.expect("asked"));
        let (one, other) = (world.history.clone(), world.history.clone());
        let more = world.frames(1, 3_600..10_800);
        world.store_frames(&more).await;
        world.clock.advance(2 * HOUR_US + GRACE_US);
        let (one, other) = tokio::join!(
            tokio::spawn(async move { seal_due(&one).await }),
            tokio::spawn(async move { seal_due(&other).await })
        );
        let sealed = [one, other].map(|sealed| sealed.expect("no panic").expect("sealed"));
        world.seal_after(3).await;
        assert!(sealed.iter().all(|sealed| sealed.failed == 0), "{sealed:?}");
        world.check(3).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_go_when_nothing_uses_them_any_more() {
    on_each(|store| async move {
        let mut world = World::new(store).await;
        let lists = async |world: &World| {
            (
                world.count("SELECT COUNT(*) FROM metric_declarations").await,
                world.count("SELECT COUNT(*) FROM declaration_lists").await,
            )
        };
        let frames = world.frames(1, 0..3_600);
        world.store_frames(&frames).await;
        let trimmed = async |world: &World, at_us: i64| {
            trim(&world.fleet.store, Kept::default(), at_us).await.expect("trimmed").declarations
        };
        let start = START_US + HOUR_US;
        assert_eq!(trimmed(&world, start).await, 0);
        assert_eq!(trimmed(&world, start + DECLARATIONS_KEPT_US + HOUR_US).await, 0, "its frames are not sealed yet");
        world.seal_after(1).await;
        assert_eq!(lists(&world).await, (2, 2));
        // The host goes on under the same epoch without the container, then with a new spool.
        let sealed_at = world.clock.now_us();
        assert_eq!(trimmed(&world, sealed_at + DECLARATIONS_KEPT_US - 1).await, 0);
        assert_eq!(trimmed(&world, sealed_at + DECLARATIONS_KEPT_US + 1).await, 1, "the container's");
        assert_eq!(lists(&world).await, (1, 1));
        let anew = world.frames(2, 3_600..3_700);
        world.store_frames(&anew).await;
        world.seal_after(2).await;
        world.run("UPDATE servers SET agent_status = 'online'").await;
        assert_eq!(trimmed(&world, world.clock.now_us() + DECLARATIONS_KEPT_US - 1).await, 1, "the old spool's");
        assert_eq!(lists(&world).await, (2, 2));
    })
    .await;
}
