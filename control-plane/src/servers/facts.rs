//! A facts document on its way to the store.

use muster_shared::{
    facts::{Docker, Facts, MAX_FACTS_BYTES},
    id::{OrgId, ServerId},
};

use super::Detected;
use crate::{
    error::Error,
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
    pub collected_at_us: i64,
    pub now_us: i64,
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
        let (json, docker) = (json.to_vec(), facts.docker);
        Ok(Self { org, server, json, detected, filter_lines, places, docker, collected_at_us, now_us })
    }
}
