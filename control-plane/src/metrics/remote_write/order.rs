//! Which frames share a request. Pure.
//!
//! Engines may take samples only in the order of time, and then refuse a whole request for one that is late. So frames
//! that are later than what was sent of their server, as a host's backlog is, go in requests of their own.

use std::collections::{BTreeMap, HashMap};

use muster_shared::id::ServerId;

use super::Queued;

/// The requests that `batch` makes: first all that is in order, then each server's that is late, oldest first. `sent_us`
/// has the newest time sent of each server, and will have what is sent now.
pub(super) fn requests(batch: Vec<Queued>, sent_us: &mut HashMap<ServerId, i64>) -> Vec<Vec<Queued>> {
    let (mut in_order, mut late) = (Vec::new(), BTreeMap::<ServerId, Vec<Queued>>::new());
    for frame in batch {
        let newest_us = sent_us.entry(frame.server).or_insert(i64::MIN);
        if frame.first_us > *newest_us {
            *newest_us = frame.last_us;
            in_order.push(frame);
        } else {
            late.entry(frame.server).or_default().push(frame);
        }
    }
    let late = late.into_values().map(|mut frames| {
        frames.sort_by_key(|frame| frame.first_us);
        frames
    });
    std::iter::once(in_order).chain(late).filter(|frames| !frames.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::queue::tests::queued, *};

    #[test]
    fn a_backlog_goes_by_itself() {
        let (web, db) = (ServerId::generate(), ServerId::generate());
        let mut sent_us = HashMap::from([(web, 50)]);
        let batch = vec![queued(web, 60, 69), queued(db, 5, 9), queued(web, 40, 49), queued(web, 30, 39)];
        let times = |frames: &Vec<Queued>| frames.iter().map(|frame| frame.first_us).collect::<Vec<_>>();
        let made: Vec<_> = requests(batch, &mut sent_us).iter().map(times).collect();
        assert_eq!(made, [vec![60, 5], vec![30, 40]]);
        assert_eq!(sent_us, HashMap::from([(web, 69), (db, 9)]));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_request_is_in_order(times in prop::collection::vec((0i64..20, 0usize..3), 0..60)) {
            let servers = [ServerId::generate(), ServerId::generate(), ServerId::generate()];
            let batch: Vec<_> = times.iter().map(|(at, of)| queued(servers[*of], at * 10, at * 10 + 9)).collect();
            let made = requests(batch.clone(), &mut HashMap::new());
            prop_assert_eq!(made.iter().map(Vec::len).sum::<usize>(), batch.len());
            for request in made {
                for server in servers {
                    let own: Vec<_> = request.iter().filter(|frame| frame.server == server).collect();
                    prop_assert!(own.windows(2).all(|pair| pair[0].first_us <= pair[1].first_us));
                }
            }
        }
    }
}
