//! What hosts declare of their series, read once for every host that declares the same. Pure but for the list of what
//! was read lately.
//!
//! Hosts of one shape declare the same series under the same numbers, and every host declares all of them again in each
//! session. So a list of declarations is a value of its own: known by its hash, held in memory once, stored once.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use muster_shared::{
    metric::{MAX_PAYLOAD_BYTES, Series, SeriesId},
    wire,
};
use ring::digest::{SHA256, digest};

use super::shape::Shape;

/// Lists remembered for the next host that declares the same.
const REMEMBERED: usize = 64;
/// Longest list remembered; longer ones are of hosts with hundreds of containers, and like no other's.
const REMEMBERED_SERIES: usize = 4096;
/// Largest stored list, decompressed, in bytes: more than a message of declarations can hold.
const MAX_STORED_BYTES: usize = 16 * MAX_PAYLOAD_BYTES;
/// The label that every series of a container has.
const CONTAINER_LABEL: &str = "container";
/// zstd's own default.
const COMPRESSION_LEVEL: i32 = 3;

/// A list of declared series.
#[derive(Debug, PartialEq)]
pub struct Declarations {
    /// Of the stored form, uncompressed: what the list is called in the database.
    pub sha256: [u8; 32],
    /// The stored form: see [`Declarations::series`].
    pub stored: Bytes,
    /// Declarations that were not acceptable; their columns mean nothing to anybody.
    pub refused: usize,
    /// Whether all of it is of containers, which never come back under their numbers.
    pub is_passing: bool,
    pub(super) shape: Arc<Shape>,
}

/// A stored list that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored declarations can't be read")]
pub struct UnreadableDeclarations;

impl Declarations {
    /// The list of these series; of two with one number, the first counts.
    #[must_use]
    pub fn of(series: impl IntoIterator<Item = (SeriesId, Series)>) -> Self {
        let mut by_id = BTreeMap::new();
        for (id, series) in series {
            by_id.entry(id).or_insert(series);
        }
        let list: Vec<(SeriesId, Series)> = by_id.into_iter().collect();
        // Series are texts and numbers, which JSON can always hold, and memory is all that compressing needs.
        let plain = serde_json::to_vec(&list).unwrap_or_default();
        let stored = zstd::bulk::compress(&plain, COMPRESSION_LEVEL).unwrap_or_default();
        let is_passing = !list.is_empty() && list.iter().all(|(_, series)| series.labels.contains_key(CONTAINER_LABEL));
        let shape = Arc::new(Shape::of(&list));
        Self { sha256: sha256(&plain), stored: stored.into(), refused: 0, is_passing, shape }
    }

    fn read(declarations: Vec<wire::SeriesDeclaration>) -> Self {
        let count = declarations.len();
        let good: Vec<_> = declarations
            .into_iter()
            .filter_map(|declaration| Some((declaration.id, Series::try_from(declaration).ok()?)))
            .collect();
        let refused = count - good.len();
        Self { refused, ..Self::of(good) }
    }

    /// The series of a stored list, by number.
    ///
    /// # Errors
    /// [`UnreadableDeclarations`].
    pub fn series(stored: &[u8]) -> Result<Vec<(SeriesId, Series)>, UnreadableDeclarations> {
        let size = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten();
        let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= MAX_STORED_BYTES);
        let plain = zstd::bulk::decompress(stored, size.ok_or(UnreadableDeclarations)?);
        serde_json::from_slice(&plain.map_err(|_| UnreadableDeclarations)?).map_err(|_| UnreadableDeclarations)
    }
}

/// The lists read lately, newest first.
#[derive(Debug, Default)]
pub(super) struct Lately {
    lists: Mutex<VecDeque<([u8; 32], Arc<Declarations>)>>,
}

impl Lately {
    /// The list that these declarations are; `None` of none.
    pub(super) fn read(&self, declarations: Vec<wire::SeriesDeclaration>) -> Option<Arc<Declarations>> {
        if declarations.is_empty() {
            return None;
        }
        if declarations.len() > REMEMBERED_SERIES {
            return Some(Arc::new(Declarations::read(declarations)));
        }
        let key = sha256(&said(&declarations));
        Some(self.find(&key).unwrap_or_else(|| self.remember(key, Declarations::read(declarations))))
    }

    fn find(&self, key: &[u8; 32]) -> Option<Arc<Declarations>> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let at = lists.iter().position(|(known, _)| known == key)?;
        lists.swap(0, at);
        lists.front().map(|(_, list)| Arc::clone(list))
    }

    fn remember(&self, key: [u8; 32], read: Declarations) -> Arc<Declarations> {
        let read = Arc::new(read);
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, list)) = lists.iter().find(|(known, _)| *known == key) {
            return Arc::clone(list);
        }
        lists.truncate(REMEMBERED - 1);
        lists.push_front((key, Arc::clone(&read)));
        read
    }
}

/// What was declared, byte for byte the same for the same declarations in the same order.
fn said(declarations: &[wire::SeriesDeclaration]) -> Vec<u8> {
    let mut said = Vec::with_capacity(declarations.len() * 96);
    let text = |said: &mut Vec<u8>, text: &str| {
        said.extend_from_slice(&(text.len() as u64).to_le_bytes());
        said.extend_from_slice(text.as_bytes());
    };
    for declaration in declarations {
        let numbers = [declaration.id, declaration.scale.cast_unsigned(), declaration.kind.cast_unsigned()];
        numbers.iter().for_each(|number| said.extend_from_slice(&number.to_le_bytes()));
        text(&mut said, &declaration.name);
        said.extend_from_slice(&(declaration.labels.len() as u64).to_le_bytes());
        let mut labels: Vec<_> = declaration.labels.iter().collect();
        labels.sort_unstable();
        for (name, value) in labels {
            text(&mut said, name);
            text(&mut said, value);
        }
    }
    said
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sha256
}

#[cfg(test)]
mod tests {
    use muster_shared::metric::SeriesKind;
    use proptest::prelude::*;

    use super::*;

    fn series(name: &str, label: &str) -> Series {
        let labels = BTreeMap::from([("device".to_owned(), label.to_owned()), ("z".to_owned(), "1".to_owned())]);
        Series { name: name.to_owned(), labels, scale: -3, kind: SeriesKind::Counter }
    }

    fn declared(labels: &[&str]) -> Vec<wire::SeriesDeclaration> {
        (7..).zip(labels).map(|(id, label)| series("host_bytes_total", label).declare(id)).collect()
    }

    #[test]
    fn hosts_that_declare_the_same_share_one_list() {
        let lately = Lately::default();
        let first = lately.read(declared(&["eth0", "eth1"])).expect("a list");
        let second = lately.read(declared(&["eth0", "eth1"])).expect("a list");
        assert!(Arc::ptr_eq(&first, &second));
        let other = lately.read(declared(&["eth0", "eth2"])).expect("a list");
        assert_ne!(first.sha256, other.sha256);
        assert!(Arc::ptr_eq(&first, &lately.read(declared(&["eth0", "eth1"])).expect("a list")));
        assert!(lately.read(Vec::new()).is_none());
    }

    #[test]
    fn only_so_many_lists_are_remembered() {
        let lately = Lately::default();
        let first = lately.read(declared(&["first"])).expect("a list");
        for number in 0..REMEMBERED {
            lately.read(declared(&[&number.to_string()]));
        }
        assert_eq!(lately.lists.lock().expect("whole").len(), REMEMBERED);
        let again = lately.read(declared(&["first"])).expect("a list");
        assert!(!Arc::ptr_eq(&first, &again));
        assert_eq!(first, again);
    }

    #[test]
    fn what_is_not_acceptable_is_left_out_and_counted() {
        let mut list = declared(&["eth0", "eth1"]);
        list[0].name = "a{b}".into();
        let read = Declarations::read(list);
        assert_eq!(read.refused, 1);
        assert_eq!(Declarations::series(&read.stored), Ok(vec![(8, series("host_bytes_total", "eth1"))]));
    }

    proptest! {
        #[test]
        fn a_list_is_stored_and_read_back(labels in prop::collection::vec("[^\\p{Cc}]{0,20}", 0..30)) {
            let list: Vec<_> = (0..).zip(&labels).map(|(id, label)| (id, series("up", label))).collect();
            prop_assert_eq!(Declarations::series(&Declarations::of(list.clone()).stored), Ok(list));
        }

        #[test]
        fn stored_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Declarations::series(&bytes);
        }
    }
}
