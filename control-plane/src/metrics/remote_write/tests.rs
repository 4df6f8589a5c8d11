//! Samples on their way to an engine that takes, refuses and goes away.

use std::sync::Arc;

use bytes::Bytes;
use muster_shared::metric::{Columns, encode};
use tokio_util::sync::CancellationToken;

use super::{
    fake::{Fake, client, said},
    *,
};
use crate::{
    metrics::{Declarations, latest_tests::series},
    store::{
        FrameRow,
        suite::{Fleet, NOW_US},
        test_database::on_each,
    },
};

const QUICKLY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));

/// A server, and a frame of it that is stored and waits.
async fn stored(fleet: &Fleet, name: &str, at_us: i64, value: i64) -> Queued {
    let (server, _) = fleet.joined(name).await;
    let columns = Columns { ticks_us: vec![at_us], values: vec![(1, vec![Some(value)])] };
    let (encoding, payload) = encode(&columns);
    let payload = Bytes::from(payload);
    let row = FrameRow {
        server_id: server,
        epoch: 1,
        seq: 1,
        first_us: at_us,
        last_us: at_us,
        ticks: 1,
        encoding,
        payload: payload.clone(),
        declares: vec![Arc::new(Declarations::of([(1, series("host_load_1m", &[], -2))]))],
    };
    fleet.store.insert_frames(&[row]).await.expect("stored");
    Queued { org: fleet.org, server, epoch: 1, first_us: at_us, last_us: at_us, encoding, payload }
}

fn both() -> Vec<(String, f64)> {
    vec![("db".to_owned(), 0.5), ("web".to_owned(), 0.25)]
}

#[tokio::test]
async fn an_engine_in_trouble_is_asked_again_until_it_has_everything() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let mut engine = Fake::answering(vec![503, 429]).await;
        let (queue, stop) = (Queue::default(), CancellationToken::new());
        queue.offer(stored(&fleet, "web", NOW_US, 25).await);
        queue.offer(stored(&fleet, "db", NOW_US, 50).await);
        let sender = RemoteWrite::new(queue.clone(), client(engine.address), fleet.store.clone(), Clock::system());
        let running = tokio::spawn(sender.run(stop.clone()));
        for status in [503, 429, 200] {
            let (answered, request) = engine.received.recv().await.expect("a request");
            assert_eq!((answered.as_u16(), said(&request)), (status, both()));
            let labels: Vec<_> = request.timeseries[0].labels.iter().map(|label| label.name.as_str()).collect();
            assert_eq!(labels, ["__name__", "organization_id", "server", "server_id"]);
        }
        stop.cancel();
        running.await.expect("no panic");
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_costs_no_other_server_and_is_not_sent_again() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let mut engine = Fake::answering(vec![400, 400, 200, 200]).await;
        let (queue, stop) = (Queue::default(), CancellationToken::new());
        queue.offer(stored(&fleet, "web", NOW_US, 25).await);
        queue.offer(stored(&fleet, "db", NOW_US, 50).await);
        let sender = RemoteWrite::new(queue.clone(), client(engine.address), fleet.store.clone(), Clock::system());
        let running = tokio::spawn(sender.run(stop.clone()));
        let mut requests = Vec::new();
        for _ in 0..3 {
            requests.push(said(&engine.received.recv().await.expect("a request").1));
        }
        assert_eq!(requests[0], both());
        assert_eq!([&requests[1][..], &requests[2][..]].concat().len(), 2);
        queue.offer(stored(&fleet, "later", NOW_US, 75).await);
        let (_, request) = engine.received.recv().await.expect("a request");
        assert_eq!(said(&request), [("later".to_owned(), 0.75)]);
        stop.cancel();
        running.await.expect("no panic");
    })
    .await;
}

#[tokio::test]
async fn stopping_waits_for_no_engine_that_is_away() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        // A port that nobody listens on.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let (queue, stop) = (Queue::default(), CancellationToken::new());
        queue.offer(stored(&fleet, "web", NOW_US, 25).await);
        let sender = RemoteWrite::new(queue.clone(), client(address), fleet.store.clone(), Clock::system());
        let running = tokio::spawn(sender.run(stop.clone()));
        queue.offer(stored(&fleet, "db", NOW_US, 50).await);
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(30), running).await.expect("it stops").expect("no panic");
        assert_eq!(queue.close(), 0, "nothing is held any more");
    })
    .await;
}

#[tokio::test]
async fn a_request_that_the_engine_fails_for_holds_up_no_other() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let (poison, good) = (stored(&fleet, "web", NOW_US, 25).await, stored(&fleet, "db", NOW_US, 50).await);
        let mut engine =
            Fake::start(|sent| if said(sent).iter().any(|(server, _)| server == "web") { 500 } else { 200 }).await;
        let (queue, stop) = (Queue::default(), CancellationToken::new());
        queue.offer(poison);
        let mut sender = RemoteWrite::new(queue.clone(), client(engine.address), fleet.store.clone(), Clock::system());
        sender.retry = QUICKLY;
        let running = tokio::spawn(sender.run(stop.clone()));
        for _ in 0..MAX_TRIES {
            assert_eq!(engine.received.recv().await.expect("a request").0, 500);
        }
        queue.offer(good.clone());
        for expected in [200, 500] {
            assert_eq!(engine.received.recv().await.expect("a request").0, expected);
        }
        queue.offer(Queued { first_us: NOW_US + 1, ..good });
        assert_eq!(engine.received.recv().await.expect("a request").0, 200, "it is not tried again");
        stop.cancel();
        running.await.expect("no panic");
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_fails_for_everything_costs_nothing() {
    on_each(|store| async move {
        let fleet = Fleet::new(store).await;
        let mut queued = Vec::new();
        for at in 0..=MAX_SUSPECTS as i64 {
            queued.push(stored(&fleet, &format!("web-{at}"), NOW_US + at, at).await);
        }
        let is_well = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let well = Arc::clone(&is_well);
        let mut engine =
            Fake::start(move |_| if well.load(std::sync::atomic::Ordering::SeqCst) { 200 } else { 500 }).await;
        let (queue, stop) = (Queue::default(), CancellationToken::new());
        let mut sender = RemoteWrite::new(queue.clone(), client(engine.address), fleet.store.clone(), Clock::system());
        sender.retry = QUICKLY;
        let running = tokio::spawn(sender.run(stop.clone()));
        let mut failures = 0;
        for frame in queued {
            queue.offer(frame);
            for _ in 0..MAX_TRIES {
                assert_eq!(engine.received.recv().await.expect("a request").0, 500);
                failures += 1;
            }
        }
        assert_eq!(failures, MAX_TRIES * (MAX_SUSPECTS as u32 + 1));
        is_well.store(true, std::sync::atomic::Ordering::SeqCst);
        let mut taken = Vec::new();
        while taken.len() <= MAX_SUSPECTS {
            let (status, sent) = engine.received.recv().await.expect("a request");
            taken.extend(said(&sent).into_iter().filter(|_| status == 200).map(|(server, _)| server));
        }
        taken.sort();
        assert_eq!(taken, ["web-0", "web-1", "web-2", "web-3", "web-4"]);
        stop.cancel();
        running.await.expect("no panic");
    })
    .await;
}
