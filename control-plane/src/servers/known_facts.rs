//! What hosts' facts say to filters, kept in memory by what names them: of a large fleet a list then reads the names
//! alone, and the lines only of hosts that changed since. A name belongs to one text for ever, so nothing kept can be
//! out of date.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use muster_shared::id::{OrgId, ServerId};

use crate::store::{FactsCell, FilterFacts, Store, StoreError};

/// Most bytes of lines that are kept; what would go beyond makes all be forgotten, and read again where it is asked for.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The lines that are known. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownFacts {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<String, Arc<str>>,
    bytes: usize,
}

impl KnownFacts {
    /// The lines of each server, given what a scan answered of its facts, in the same order; empty where none are known.
    ///
    /// # Errors
    /// [`StoreError`] when lines have to be read and can't be.
    pub(super) async fn lines(
        &self,
        store: &Store,
        org: OrgId,
        asked: &[(ServerId, FactsCell<'_>)],
    ) -> Result<Vec<Arc<str>>, StoreError> {
        let mut lines = self.kept(asked);
        let unknown = asked.iter().zip(&lines).filter(|(_, lines)| lines.is_none());
        let unknown: Vec<ServerId> = unknown.map(|((server, _), _)| *server).collect();
        if !unknown.is_empty() {
            let read = self.keep(store.filter_facts(org, &unknown).await?);
            for ((server, _), lines) in asked.iter().zip(&mut lines).filter(|(_, lines)| lines.is_none()) {
                *lines = read.get(server).cloned();
            }
        }
        // A server that went meanwhile has no facts.
        Ok(lines.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn kept(&self, asked: &[(ServerId, FactsCell<'_>)]) -> Vec<Option<Arc<str>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = |cell: &FactsCell<'_>| match cell {
            FactsCell::Lines(lines) => Some(Arc::from(*lines)),
            FactsCell::Id(id) => kept.by_id.get(*id).cloned(),
        };
        asked.iter().map(|(_, cell)| lines(cell)).collect()
    }

    fn keep(&self, read: Vec<FilterFacts>) -> HashMap<ServerId, Arc<str>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = |facts: FilterFacts| (facts.server, kept.add(facts.id, &facts.lines));
        read.into_iter().map(keep).collect()
    }
}

impl Kept {
    /// Adds a text, unless it is there, and answers it.
    fn add(&mut self, id: String, lines: &str) -> Arc<str> {
        if let Some(known) = self.by_id.get(&id) {
            return Arc::clone(known);
        }
        let bytes = id.len() + lines.len();
        if self.bytes + bytes > MAX_KEPT_BYTES {
            *self = Self::default();
        }
        let lines: Arc<str> = lines.into();
        self.by_id.insert(id, Arc::clone(&lines));
        self.bytes += bytes;
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut kept = Kept::default();
        let lines = "x".repeat(1 << 20);
        for number in 0..200 {
            assert_eq!(*kept.add(number.to_string(), &lines), *lines);
            assert!(kept.bytes <= MAX_KEPT_BYTES && kept.by_id.len() <= 64, "{}", kept.bytes);
        }
        assert!(kept.by_id.contains_key("199") && !kept.by_id.contains_key("0"));
        let bytes = kept.bytes;
        kept.add("199".to_owned(), &lines);
        assert_eq!(kept.bytes, bytes, "what is there is not counted again");
    }
}
