//! `muster audit …`

use std::{io::BufRead as _, path::PathBuf};

use clap::Subcommand;
use muster_shared::{
    tls::CaPin,
    wire::{self, audit_chain_item::Item},
};
use rustls_pki_types::CertificateDer;
use serde::Serialize;

use super::{
    client::Fleet,
    failure::Failure,
    output::{Format, Output},
    table::{self, or_dash},
    waiting::during,
};
use crate::{
    api::model::audit::{AuditEnd, AuditEntry, Authority, Link, of_wire},
    audit::{Entry, Head, HeadVerifier, Verifier},
};

const EXPORTED: &str = "name a file that `muster audit export` wrote";
const UNSOUND: &str = "keep an export and compare it with one of before: somebody changed the database";

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
        /// Only what is on record of this server and of its commands: its name or id.
        #[arg(long)]
        server: Option<String>,
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
        /// SHA-256 of the authority's certificate that receipts must go back to, as join lines carry it.
        #[arg(long, value_name = "HEX")]
        authority: Option<CaPin>,
    },
}

/// What the walk found.
#[derive(Debug, Serialize)]
struct Finding {
    entries: u64,
    /// Entries of commands that their host's receipt proves.
    receipts: u64,
    /// SHA-256 of the certificates of those who vouch for the keys under receipts.
    authorities: Vec<String>,
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
        let Self::Verify { file: Some(file), public_key, authority } = self else { return Ok(()) };
        let unreadable = |error: std::io::Error| Failure::usage(format!("{}: {error}", file.display()), EXPORTED);
        let source: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            Box::new(std::fs::File::open(&file).map_err(unreadable)?)
        };
        let mut walk = Walk::default();
        for (number, line) in std::io::BufReader::new(source).lines().enumerate() {
            let line = line.map_err(unreadable)?;
            let malformed =
                |why: String| Failure::usage(format!("line {} is no audit line: {why}", number + 1), EXPORTED);
            match serde_json::from_str(&line).map_err(|error| malformed(error.to_string()))? {
                Link::Authority(authority) => walk.authority(authority.certificate),
                Link::Entry(entry) => walk.entry(&entry),
                Link::End(end) => walk.end = Some(end),
            }
        }
        conclude(walk, &Expected { public_key, authority }, output)
    }

    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused, or what does not fit.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::List { resource_type, resource_id, action, actor_id, server, limit } => {
                let request = wire::ListAuditRequest {
                    resource_type: resource_type.unwrap_or_default(),
                    resource_id: resource_id.unwrap_or_default(),
                    action: action.unwrap_or_default(),
                    actor_id: actor_id.unwrap_or_default(),
                    server: server.unwrap_or_default(),
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
                        Some(Item::AuthorityCertificateDer(certificate)) => Link::Authority(Authority { certificate }),
                        Some(Item::Entry(entry)) => Link::Entry(Box::new(of_wire(entry).map_err(damaged)?)),
                        Some(Item::End(end)) => Link::End(end.into()),
                        None => continue,
                    };
                    output.always_json(&link)?;
                }
                Ok(())
            }
            Self::Verify { public_key, authority, .. } => {
                let walk = match output.format() {
                    Format::Table => during("walking the chain", walked(fleet)).await?,
                    _ => walked(fleet).await?,
                };
                conclude(walk, &Expected { public_key, authority }, output)
            }
        }
    }
}

/// The whole chain as the control plane has it, entry by entry.
async fn walked(fleet: &mut Fleet) -> Result<Walk, Failure> {
    let mut chain = fleet.export_audit(wire::ExportAuditRequest {}).await?.into_inner();
    let mut walk = Walk::default();
    while let Some(item) = chain.message().await? {
        match item.item {
            Some(Item::AuthorityCertificateDer(certificate)) => walk.authority(certificate),
            Some(Item::Entry(entry)) => walk.entry(&of_wire(entry).map_err(damaged)?),
            Some(Item::End(end)) => walk.end = Some(end.into()),
            None => {}
        }
    }
    Ok(walk)
}

#[derive(Debug, Default)]
struct Walk {
    /// Told before the entries.
    authorities: Vec<CertificateDer<'static>>,
    verifier: Option<Verifier>,
    end: Option<AuditEnd>,
}

/// What was noted down before, and must be so.
#[derive(Debug, Default)]
struct Expected {
    public_key: Option<String>,
    authority: Option<CaPin>,
}

impl Walk {
    fn authority(&mut self, certificate: Vec<u8>) {
        self.authorities.push(certificate.into());
    }

    fn entry(&mut self, entry: &Entry) {
        let authorities = &self.authorities;
        let new = || Verifier::new(entry.org_id).believing(authorities.clone());
        self.verifier.get_or_insert_with(new).entry(entry);
    }
}

fn damaged(seq: u64) -> Failure {
    Failure::ended_badly(format!("entry {seq} has a damaged id or hash"), UNSOUND)
}

fn conclude(walk: Walk, expected: &Expected, output: &mut Output<'_>) -> Result<(), Failure> {
    let finding = find(walk, expected);
    output.print(&finding, draw_finding)?;
    if finding.sound { Ok(()) } else { Err(Failure::ended_badly("the audit record is not sound", UNSOUND)) }
}

/// What the walk adds up to. Nothing at all is no sound chain: every organisation's begins with its own making.
fn find(walk: Walk, expected: &Expected) -> Finding {
    let mut faults = Vec::new();
    let authorities: Vec<String> = walk.authorities.iter().map(|authority| CaPin::of(authority).to_string()).collect();
    if let Some(expected) = expected.authority.map(|pin| pin.to_string())
        && authorities != [expected.as_str()]
    {
        faults.push(format!("receipts go back to the authority {}, not to the one expected", authorities.join(", ")));
    }
    if let (Some(expected), Some(end)) = (&expected.public_key, &walk.end)
        && !expected.eq_ignore_ascii_case(&end.public_key)
    {
        faults.push(format!("the end was signed with the key {}, not with the one expected", end.public_key));
    }
    let end = walk.end.as_ref().and_then(signed_end);
    if walk.end.is_some() && end.is_none() {
        faults.push("the end has a damaged id, hash, signature or key".to_owned());
    }
    let of_end = || end.as_ref().map(|(head, ..)| Verifier::new(head.org_id));
    let (entries, receipts) = match walk.verifier.or_else(of_end) {
        Some(verifier) => {
            let signed = end.as_ref().map(|(head, signature, _)| (*head, signature.as_slice()));
            let key = end.as_ref().map(|(_, _, key)| key.clone()).unwrap_or_default();
            let found = verifier.finish(signed, &HeadVerifier::new(key));
            faults.extend(found.faults.iter().map(ToString::to_string));
            (found.entries, found.receipts)
        }
        None => {
            faults.push("there is neither an entry nor a signed end".to_owned());
            (0, 0)
        }
    };
    Finding { entries, receipts, authorities, sound: faults.is_empty(), faults, end: walk.end }
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
    if finding.receipts > 0 {
        text.push_str(&format!(
            "{} receipts of hosts, vouched for by {}\n",
            finding.receipts,
            finding.authorities.join(", ")
        ));
    }
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
        let expected = |key: Option<&str>| Expected { public_key: key.map(str::to_owned), authority: None };
        assert!(find(walked(Some(entry.clone()), Some(end.clone())), &expected(Some(&end.public_key))).sound);
        for (entry, end, key) in [
            (None, None, None),
            (None, Some(end.clone()), None),
            (Some(entry.clone()), None, None),
            (Some(entry.clone()), Some(AuditEnd { signature: "zz".into(), ..end.clone() }), None),
            (Some(entry.clone()), Some(exported().1), None),
            (Some(entry), Some(end), Some("00")),
        ] {
            let finding = find(walked(entry, end), &expected(key));
            assert!(!finding.sound && !finding.faults.is_empty(), "{finding:?}");
        }
    }
}
