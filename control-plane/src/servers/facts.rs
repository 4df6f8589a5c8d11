//! A facts document on its way to the store.

use muster_shared::{
    facts::{Docker, Facts, MAX_FACTS_BYTES},
    hardening::ItemStanding,
    id::{OrgId, ServerId},
};

use super::Detected;
use crate::{
    error::Error,
    events::{EventKind, Events},
    filter::facts_lines,
    power::neighbours::{Place, places},
};

/// A facts document that can be read, and what of it has columns of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct FactsRow {
    pub org: OrgId,
    pub server: ServerId,
    pub json: Vec<u8>,
    pub detected: Detected,
    /// What filters ask for beyond columns, a line each.
    pub filter_lines: String,
    pub places: Vec<Place>,
    /// Whose containers say how environments run.
    pub docker: Docker,
    /// How the host stands towards the hardening profile.
    pub hardening: Vec<ItemStanding>,
    pub collected_at_us: i64,
    pub now_us: i64,
}

/// What became of a facts document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactsKept {
    /// A younger one is there.
    Older,
    Kept,
    /// Kept, and some item of the hardening profile stands otherwise than before.
    HardeningMoved,
}

impl FactsKept {
    /// Tells what it means for `server`.
    pub fn publish(self, events: &Events, org: OrgId, server: ServerId) {
        if self != Self::Older {
            events.publish(org, server, EventKind::ServerChanged);
        }
        if self == Self::HardeningMoved {
            events.publish(org, server, EventKind::HardeningChanged);
        }
    }
}

impl FactsRow {
    /// Reads a document of at most [`MAX_FACTS_BYTES`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid).
    pub fn read(org: OrgId, server: ServerId, json: &[u8], collected_at_us: i64, now_us: i64) -> Result<Self, Error> {
        if json.len() > MAX_FACTS_BYTES {
            return Err(Error::invalid("facts_too_large", format!("facts are at most {MAX_FACTS_BYTES} bytes")));
        }
        let facts: Facts = serde_json::from_slice(json)
            .map_err(|source| Error::invalid("facts_malformed", "the facts can't be read").because(source))?;
        // A host whose clock runs ahead must not keep its later documents out.
        let collected_at_us = collected_at_us.min(now_us);
        let (detected, filter_lines, places) = (Detected::from(&facts), facts_lines(&facts), places(&facts));
        let (json, docker, hardening) = (json.to_vec(), facts.docker, facts.hardening);
        Ok(Self { org, server, json, detected, filter_lines, places, docker, hardening, collected_at_us, now_us })
    }
}
