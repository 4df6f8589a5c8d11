//! The audit record.

use futures_util::TryStreamExt as _;
use muster_shared::wire::{self, audit_chain_item::Item};

use super::{
    call::{Answers, Call},
    servers::page,
    status::to_status,
};
use crate::{
    api::{
        model::{
            audit::{AuditEnd, AuditVerified, Link, known_words},
            time::Time,
        },
        rest::audit::about,
    },
    error::Error,
    store::AuditFilter,
};

type Result<T> = std::result::Result<T, Error>;

pub(super) async fn list(call: Call<wire::ListAuditRequest>) -> Result<wire::ListAuditResponse> {
    let request = &call.request;
    let (skip, limit) = page(request.skip, request.limit)?;
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let filter = AuditFilter {
        resource_type: given(&request.resource_type),
        resource_id: given(&request.resource_id),
        action: given(&request.action),
        actor_id: given(&request.actor_id),
        server: about(&call.app, call.caller.org_id, given(&request.server).as_deref()).await?,
        from_us: request.from.map(|time| Time::from(time).0),
        to_us: request.to.map(|time| Time::from(time).0),
        skip,
        limit,
    };
    known_words(&filter)?;
    let entries = call.app.audit.list(call.caller.org_id, &filter).await?;
    Ok(wire::ListAuditResponse { entries: entries.into_iter().map(Into::into).collect() })
}

pub(super) async fn export(call: Call<wire::ExportAuditRequest>) -> Result<Answers<wire::AuditChainItem>> {
    let links = call.app.audit.export(call.caller.org_id);
    let verifier = call.app.audit.verifier().clone();
    Ok(Box::pin(
        links
            .map_ok(move |link| {
                let item = match Link::of(link, &verifier) {
                    Link::Authority(authority) => Item::AuthorityCertificateDer(authority.certificate),
                    Link::Entry(entry) => Item::Entry((*entry).into()),
                    Link::End(end) => Item::End(end.into()),
                };
                wire::AuditChainItem { item: Some(item) }
            })
            .map_err(|error| to_status(&error)),
    ))
}

pub(super) async fn verify(call: Call<wire::VerifyAuditRequest>) -> Result<wire::VerifyAuditResponse> {
    let verified = call.app.audit.verify(call.caller.org_id).await?;
    let shown = AuditVerified::of(&verified, call.app.audit.verifier());
    Ok(wire::VerifyAuditResponse {
        entries: shown.entries,
        sound: shown.sound,
        faults: shown.faults,
        end: shown.end.map(AuditEnd::into),
        receipts: shown.receipts,
    })
}
