use std::collections::BTreeMap;

use muster_shared::metric::SeriesKind;

use super::*;
use crate::sample::Tick;

fn series(name: &str) -> Series {
    Series { name: name.into(), labels: BTreeMap::new(), scale: 0, kind: SeriesKind::Gauge }
}

fn limits() -> Limits {
    Limits { durable: false, ..Limits::default() }
}

struct Host {
    cutter: Cutter,
    second: i64,
}

fn declared() -> Vec<(u32, Series)> {
    vec![(1, series("a")), (2, series("b"))]
}

impl Host {
    fn new() -> Self {
        let mut cutter = Cutter::default();
        cutter.set_live(true);
        Self { cutter, second: 0 }
    }

    fn cut(&mut self, spool: &mut Spool) -> Cut {
        self.second += 1;
        let tick = Tick { at_us: self.second, values: vec![(1, self.second), (2, 0)], declared: declared() };
        spool.learn(&tick.declared);
        self.cutter.push(tick);
        spool.cut(&mut self.cutter).expect("a tick waits")
    }
}

fn ack(keys: &[FrameKey]) -> wire::FrameAck {
    let ranges = keys.iter().map(|key| wire::SeqRange { first: key.seq, last: key.seq }).collect();
    wire::FrameAck { epoch: keys[0].epoch, ranges }
}

#[test]
fn frames_survive_reopening_and_numbers_are_never_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::open(folder.path(), limits(), 7).expect("opened");
    let mut host = Host::new();
    let keys: Vec<FrameKey> = (0..3).map(|_| host.cut(&mut spool).key).collect();
    spool.acknowledge(&ack(&keys[1..2]));
    drop(spool);
    let mut spool = Spool::open(folder.path(), limits(), 8).expect("opened again");
    assert_eq!(spool.pending(), vec![keys[0], keys[2]], "an acknowledged frame stays gone");
    let mut declared = Declared::default();
    let frame = spool.read(keys[2], &mut declared).expect("there");
    assert_eq!((frame.last_us, frame.declarations.len()), (3, 2), "declared though declared earlier in the file");
    assert!(spool.read(keys[0], &mut declared).expect("there").declarations.is_empty());
    let next = host.cut(&mut spool).key;
    assert_eq!(next.epoch, 7);
    assert!(next.seq > keys[2].seq);
    assert!(spool.read(next, &mut declared).expect("there").declarations.is_empty(), "ids survive, too");
}

#[test]
fn a_number_sent_but_lost_from_disk_is_not_reused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::open(folder.path(), limits(), 7).expect("opened");
    let mut host = Host::new();
    let kept = host.cut(&mut spool).key;
    let (path, length) = {
        let (_, segment) = spool.segments.last_key_value().expect("a segment");
        (segment.path.clone(), segment.bytes)
    };
    let lost = host.cut(&mut spool).key;
    drop(spool);
    let file = fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.set_len(length + 5).expect("torn");
    let mut spool = Spool::open(folder.path(), limits(), 8).expect("opened again");
    assert_eq!(spool.counters().torn_tails, 1);
    assert_eq!(spool.pending(), vec![kept]);
    assert!(host.cut(&mut spool).key.seq > lost.seq);
}

#[test]
fn a_damaged_frame_is_skipped_and_a_damaged_header_starts_a_new_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::open(folder.path(), limits(), 7).expect("opened");
    let mut host = Host::new();
    let first = host.cut(&mut spool).key;
    let (path, after_first) = {
        let (_, segment) = spool.segments.last_key_value().expect("a segment");
        (segment.path.clone(), segment.bytes as usize)
    };
    let second = host.cut(&mut spool).key;
    let mut bytes = fs::read(&path).expect("read");
    bytes[after_first - 1] ^= 1;
    fs::write(&path, &bytes).expect("written");
    assert!(spool.read(first, &mut Declared::default()).is_none(), "found while running");
    drop(spool);
    let spool = Spool::open(folder.path(), limits(), 8).expect("opened again");
    assert_eq!((spool.pending(), spool.counters().damaged_records), (vec![second], 1));
    drop(spool);
    bytes[14] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let mut spool = Spool::open(folder.path(), limits(), 9).expect("opened once more");
    assert_eq!(spool.counters().damaged_segments, 1);
    assert_eq!(host.cut(&mut spool).key, FrameKey { epoch: 9, seq: 1 });
}

#[test]
fn the_oldest_frames_give_way_at_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { max_ticks: 1000, ..limits() };
    let mut spool = Spool::open(folder.path(), limits, 7).expect("opened");
    let mut host = Host::new();
    let mut held = std::collections::BTreeSet::new();
    for _ in 0..3000 {
        let cut = host.cut(&mut spool);
        held.insert(cut.key);
        for key in cut.dropped {
            assert_eq!(held.pop_first(), Some(key), "oldest first");
        }
        assert!(spool.ticks <= 1000);
    }
    assert_eq!(spool.pending(), held.into_iter().collect::<Vec<_>>());
    assert!(spool.counters().dropped_frames >= 2000);
    let on_disk: u64 =
        segment_files(folder.path()).expect("listed").iter().map(|path| fs::metadata(path).expect("there").len()).sum();
    assert_eq!(on_disk, spool.bytes());
}

#[test]
fn acknowledged_segments_leave_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::open(folder.path(), limits(), 7).expect("opened");
    let mut host = Host::new();
    let keys: Vec<FrameKey> = (0..800).map(|_| host.cut(&mut spool).key).collect();
    assert!(segment_files(folder.path()).expect("listed").len() > 2);
    spool.acknowledge(&wire::FrameAck {
        epoch: 7,
        ranges: vec![wire::SeqRange { first: 9, last: 3 }, wire::SeqRange { first: 0, last: u64::MAX }],
    });
    assert_eq!((spool.pending().len(), spool.ticks), (0, 0));
    assert_eq!(segment_files(folder.path()).expect("listed").len(), 1);
    assert!(spool.read(keys[0], &mut Declared::default()).is_none());
}

#[test]
fn what_the_disk_refuses_waits_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::open(folder.path(), limits(), 7).expect("opened");
    let mut host = Host::new();
    // A read-only handle refuses every write, as a full disk does.
    let path = spool.segments.last_key_value().expect("a segment").1.path.clone();
    spool.active = File::open(path).expect("opened");
    let keys: Vec<FrameKey> = (0..MAX_UNSTORED + 2).map(|_| host.cut(&mut spool).key).collect();
    assert_eq!(spool.pending(), keys[2..]);
    assert_eq!(spool.counters().dropped_frames, 2);
    let frame = spool.read(keys[5], &mut Declared::default()).expect("in memory");
    assert_eq!(frame.declarations.len(), 2);
    spool.acknowledge(&ack(&keys[5..6]));
    assert!(spool.read(keys[5], &mut Declared::default()).is_none());
}
