//! What is old goes, and nothing else.

use std::{collections::BTreeMap, sync::Arc};

use muster_shared::{
    metric::{Series, SeriesKind},
    wire::FrameEncoding,
};

use super::*;
use crate::{
    metrics::Declarations,
    retention::{CERTIFICATES_KEPT_US, FRAMES_KEPT, Removed, trim},
    store::{FrameRow, test_database::on_each},
};

#[tokio::test]
async fn frames_go_after_a_week_and_their_series_with_the_last_of_them() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (server, _) = fleet.joined("debian").await;
        let series = Series { name: "up".into(), labels: BTreeMap::new(), scale: 0, kind: SeriesKind::Gauge };
        let frame = |epoch, last_us| FrameRow {
            server_id: server,
            epoch,
            seq: 1,
            first_us: last_us - 1,
            last_us,
            ticks: 2,
            encoding: FrameEncoding::Columns,
            payload: b"x".to_vec().into(),
            declares: vec![Arc::new(Declarations::of([(1, series.clone())]))],
        };
        let week_ago = NOW_US - FRAMES_KEPT.as_micros() as i64;
        let frames = [frame(1, week_ago - 1), frame(2, week_ago), frame(3, NOW_US)];
        assert_eq!(fleet.store.insert_frames(&frames).await.expect("stored"), 3);
        let removed = trim(&fleet.store, FRAMES_KEPT, NOW_US).await.expect("trimmed");
        assert_eq!(removed, Removed { frames: 1, series: 1, ..Removed::default() });
        assert_eq!(trim(&fleet.store, FRAMES_KEPT, NOW_US).await.expect("nothing to do"), Removed::default());
        assert_eq!(fleet.store.frames_between(fleet.org, server, (0, NOW_US), 9).await.expect("read").len(), 2);
        assert_eq!(fleet.store.series_of(fleet.org, server, 2).await.expect("read").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_known_as_long_as_its_host_may_renew_it() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (_, serial) = fleet.joined("debian").await;
        let expiry = fleet.store.certificate(&serial).await.expect("read").expect("there").not_after_us;
        let trimmed = async |now_us| trim(&fleet.store, FRAMES_KEPT, now_us).await.expect("trimmed").certificates;
        assert_eq!(trimmed(expiry + CERTIFICATES_KEPT_US).await, 0);
        assert_eq!(trimmed(expiry + CERTIFICATES_KEPT_US + 1).await, 1);
        assert_eq!(fleet.store.certificate(&serial).await.expect("read"), None);
    })
    .await;
}
