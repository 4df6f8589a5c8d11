//! `muster audit …`

use std::{io::BufRead as _, path::PathBuf};

use clap::Subcommand;
use muster_shared::wire::{self, audit_chain_item::Item};
use serde::Serialize;

use super::{
    client::Fleet,
    failure::Failure,
    output::Output,
    table::{self, or_dash},
};
use crate::{
    api::model::audit::{AuditEnd, AuditEntry, Link, of_wire},
    audit::{Entry, Head, HeadVerifier, Verifier},
};

/// What to do with the audit record.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List what was done, newest first.
    #[command(visible_alias = "ls")]
    List {
        /// Such as server.
        #[arg(long)]
        resource_type: Option<String>,
        #[arg(long)]
        resource_id: Option<String>,
        /// Such as SERVER_CREATED.
        #[arg(long)]
        action: Option<String>,
        /// The user or server that did it.
        #[arg(long)]
        actor_id: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Print the whole chain as JSON lines, ending with its signed end.
    Export,
    /// Walk the whole chain here and name what does not fit. Exits with 1 unless it is sound.
    Verify {
        /// An exported chain to walk instead of asking the control plane; - reads standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// The public key, in hexadecimal digits, that must have signed the end; a key noted down before shows a chain
        /// that somebody made anew.
        #[arg(long, value_name = "HEX")]
        public_key: Option<String>,
    },
}

/// What the walk found.
#[derive(Debug, Serialize)]
struct Finding {
    entries: u64,
    sound: bool,
    faults: Vec<String>,
    end: Option<AuditEnd>,
}

impl AuditCommand {
    /// Whether it needs no control plane.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Verify { file: Some(_), .. })
    }

    /// Walks a file.
    ///
    /// # Errors
    /// What can't be read, or does not fit.
    pub fn run_local(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let Self::Verify { file: Some(file), public_key } = self else { return Ok(()) };
        let unreadable = |error: std::io::Error| Failure::usage(format!("{}: {error}", file.display()), "");
        let source: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(std::fs::File::open(&file).map_err(unreadable)?)
        };
        let mut walk = Walk::default();
        for (number, line) in std::io::BufReader::new(source).lines().enumerate() {
            let line = line.map_err(unreadable)?;
            let malformed = |why: String| Failure::usage(format!("line {} is no audit line: {why}", number + 1), "");
            match serde_json::from_str(&line).map_err(|error| malformed(error.to_string()))? {
                Link::Entry(entry) => walk.entry(&entry),
                Link::End(end) => walk.end = Some(end),
            }
        }
        conclude(walk, public_key.as_deref(), output)
    }

    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused, or what does not fit.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::List { resource_type, resource_id, action, actor_id, limit } => {
                let request = wire::ListAuditRequest {
                    resource_type: resource_type.unwrap_or_default(),
                    resource_id: resource_id.unwrap_or_default(),
                    action: action.unwrap_or_default(),
                    actor_id: actor_id.unwrap_or_default(),
                    limit,
                    ..wire::ListAuditRequest::default()
                };
                let entries = fleet.list_audit(request).await?.into_inner().entries;
                let entries = entries.into_iter().filter_map(|entry| of_wire(entry).ok());
                let entries: Vec<AuditEntry> = entries.map(|entry| AuditEntry::of(&entry)).collect();
                output.print(entries.as_slice(), draw)
            }
            Self::Export => {
                let mut chain = fleet.export_audit(wire::ExportAuditRequest {}).await?.into_inner();
                while let Some(item) = chain.message().await? {
                    let link = match item.item {
                        Some(Item::Entry(entry)) => Link::Entry(Box::new(of_wire(entry).map_err(damaged)?)),
                        Some(Item::End(end)) => Link::End(end.into()),
                        None => continue,
                    };
                    output.always_json(&link)?;
                }
                Ok(())
            }
            Self::Verify { public_key, .. } => {
                let mut chain = fleet.export_audit(wire::ExportAuditRequest {}).await?.into_inner();
                let mut walk = Walk::default();
                while let Some(item) = chain.message().await? {
                    match item.item {
                        Some(Item::Entry(entry)) => walk.entry(&of_wire(entry).map_err(damaged)?),
                        Some(Item::End(end)) => walk.end = Some(end.into()),
                        None => {}
                    }
                }
                conclude(walk, public_key.as_deref(), output)
            }
        }
    }
}

#[derive(Debug, Default)]
struct Walk {
    verifier: Option<Verifier>,
    end: Option<AuditEnd>,
}

impl Walk {
    fn entry(&mut self, entry: &Entry) {
        self.verifier.get_or_insert_with(|| Verifier::new(entry.org_id)).entry(entry);
    }
}

fn damaged(seq: u64) -> Failure {
    Failure::ended_badly(format!("entry {seq} has a damaged id or hash"))
}

fn conclude(walk: Walk, public_key: Option<&str>, output: &mut Output<'_>) -> Result<(), Failure> {
    let finding = find(walk, public_key);
    output.print(&finding, draw_finding)?;
    if finding.sound { Ok(()) } else { Err(Failure::ended_badly("the audit record is not sound")) }
}

/// What the walk adds up to. Nothing at all is no sound chain: every organisation's begins with its own making.
fn find(walk: Walk, public_key: Option<&str>) -> Finding {
    let mut faults = Vec::new();
    if let (Some(expected), Some(end)) = (public_key, &walk.end)
        && !expected.eq_ignore_ascii_case(&end.public_key)
    {
        faults.push(format!("the end was signed with the key {}, not with the one expected", end.public_key));
    }
    let end = walk.end.as_ref().and_then(signed_end);
    if walk.end.is_some() && end.is_none() {
        faults.push("the end has a damaged id, hash, signature or key".to_owned());
    }
    let of_end = || end.as_ref().map(|(head, ..)| Verifier::new(head.org_id));
    let entries = match walk.verifier.or_else(of_end) {
        Some(verifier) => {
            let signed = end.as_ref().map(|(head, signature, _)| (*head, signature.as_slice()));
            let key = end.as_ref().map(|(_, _, key)| key.clone()).unwrap_or_default();
            let (entries, found) = verifier.finish(signed, &HeadVerifier::new(key));
            faults.extend(found.iter().map(ToString::to_string));
            entries
        }
        None => {
            faults.push("there is neither an entry nor a signed end".to_owned());
            0
        }
    };
    Finding { entries, sound: faults.is_empty(), faults, end: walk.end }
}

/// The end, the signature under it and the key it says it was signed with.
fn signed_end(end: &AuditEnd) -> Option<(Head, Vec<u8>, Vec<u8>)> {
    let bytes = |text: &str| hex::decode(text).ok();
    let head =
        Head { org_id: end.organization_id.parse().ok()?, seq: end.seq, hash: bytes(&end.hash)?.try_into().ok()? };
    Some((head, bytes(&end.signature)?, bytes(&end.public_key)?))
}

fn draw_finding(finding: &Finding) -> String {
    let mut text = format!("{} entries", finding.entries);
    if let Some(end) = &finding.end {
        text.push_str(&format!(", ending with {} of {}, signed with {}", end.hash, end.seq, end.public_key));
    }
    text.push('\n');
    for fault in &finding.faults {
        text.push_str(&format!("FAULT  {fault}\n"));
    }
    text.push_str(if finding.sound { "sound\n" } else { "NOT SOUND\n" });
    text
}

fn draw(entries: &[AuditEntry]) -> String {
    let rows = entries.iter().map(|entry| {
        vec![
            entry.seq.to_string(),
            entry.at.to_string(),
            or_dash(entry.actor_name.as_deref().or(Some(&entry.actor_kind))),
            or_dash(entry.source_address.as_deref()),
            entry.action.clone(),
            or_dash(entry.resource_name.as_deref().or(Some(&entry.resource_id))),
        ]
    });
    table::draw(&["SEQ", "AT", "WHO", "FROM", "ACTION", "RESOURCE"], rows.collect())
}

#[cfg(test)]
mod tests {
    use muster_shared::id::OrgId;

    use super::*;
    use crate::{
        access::Act,
        audit::{Action, AuditSigner, GENESIS, Record},
    };

    fn exported() -> (Entry, AuditEnd) {
        let act = Act::of_system(OrgId::generate(), 1);
        let entry = Entry::following(&Record::new(&act, Action::OrganizationCreated, "1", "Acme"), 1, GENESIS);
        let signer = AuditSigner::from_pkcs8(&AuditSigner::generate_pkcs8().expect("randomness")).expect("a key");
        let head = entry.head();
        let end = AuditEnd {
            organization_id: head.org_id.to_string(),
            seq: head.seq,
            hash: hex::encode(head.hash),
            signature: hex::encode(signer.sign(&head)),
            public_key: hex::encode(signer.verifier().public_key()),
        };
        (entry, end)
    }

    fn walked(entry: Option<Entry>, end: Option<AuditEnd>) -> Walk {
        let mut walk = Walk { end, ..Walk::default() };
        if let Some(entry) = entry {
            walk.entry(&entry);
        }
        walk
    }

    #[test]
    fn only_a_whole_chain_with_its_end_is_sound() {
        let (entry, end) = exported();
        assert!(find(walked(Some(entry.clone()), Some(end.clone())), Some(&end.public_key)).sound);
        for (entry, end, key) in [
            (None, None, None),
            (None, Some(end.clone()), None),
            (Some(entry.clone()), None, None),
            (Some(entry.clone()), Some(AuditEnd { signature: "zz".into(), ..end.clone() }), None),
            (Some(entry.clone()), Some(exported().1), None),
            (Some(entry), Some(end), Some("00")),
        ] {
            let finding = find(walked(entry, end), key);
            assert!(!finding.sound && !finding.faults.is_empty(), "{finding:?}");
        }
    }
}
