//! A block's list of series, read once for all blocks that have the same. Pure.

use std::{collections::HashMap, sync::Arc};

use muster_shared::metric::Series;

use super::{Damaged, part::Part};

/// Lists held; a server's blocks share one as long as nothing comes and goes.
const HELD: usize = 32;

/// The lists that were read for one question.
#[derive(Debug, Default)]
pub struct Directories {
    read: HashMap<Vec<u8>, Arc<[Series]>>,
}

impl Directories {
    pub(super) fn read(&mut self, part: &Part<'_>) -> Result<Arc<[Series]>, Damaged> {
        if let Some(known) = self.read.get(&*part.compressed) {
            return Ok(Arc::clone(known));
        }
        let list: Vec<Series> = serde_json::from_slice(&part.decompress()?).map_err(|_| Damaged::Content)?;
        let list: Arc<[Series]> = list.into();
        if self.read.len() >= HELD {
            self.read.clear();
        }
        self.read.insert(part.compressed.to_vec(), Arc::clone(&list));
        Ok(list)
    }
}

/// The list's bytes before they are compressed.
pub(super) fn encode<'a>(series: impl Iterator<Item = &'a Series>) -> Vec<u8> {
    let list: Vec<&Series> = series.collect();
    // Series are texts and numbers, which JSON can always hold.
    serde_json::to_vec(&list).unwrap_or_default()
}
