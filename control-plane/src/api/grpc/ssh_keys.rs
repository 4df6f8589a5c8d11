//! SSH key pairs.

use futures_util::{StreamExt as _, stream};
use muster_shared::wire;

use super::{
    call::{Answers, Call},
    runs::told,
    servers::page,
};
use crate::{
    api::{
        model::{
            ssh_key::{SshKeyPair, SshKeyPairCreate, SshKeyPairPatch},
            ssh_key_rotation::{RotateRequest, SshKeyRotation},
            structure,
        },
        rest::{ssh_key_rotations, ssh_keys::pair_id},
    },
    error::Error,
};

type Result<T> = std::result::Result<T, Error>;

pub(super) async fn create(mut call: Call<wire::CreateSshKeyPairRequest>) -> Result<wire::CreateSshKeyPairResponse> {
    let create = SshKeyPairCreate::from(std::mem::take(&mut call.request));
    let act = call.act();
    let (pair, private_key) = call.app.ssh_keys.create(&act, create.into_new()?).await?;
    Ok(wire::CreateSshKeyPairResponse {
        key_pair: Some(SshKeyPair::of(&pair, act.at_us).into()),
        private_key: private_key.map(|key| key.as_str().to_owned()).unwrap_or_default(),
    })
}

pub(super) async fn list(call: Call<wire::ListSshKeyPairsRequest>) -> Result<wire::ListSshKeyPairsResponse> {
    let (skip, limit) = page(call.request.skip, call.request.limit)?;
    let pairs = call.app.ssh_keys.list(call.caller.org_id, skip, limit).await?;
    let now_us = call.app.clock.now_us();
    let key_pairs = pairs.iter().map(|pair| SshKeyPair::of(pair, now_us).into()).collect();
    Ok(wire::ListSshKeyPairsResponse { key_pairs })
}

pub(super) async fn get(call: Call<wire::GetSshKeyPairRequest>) -> Result<wire::SshKeyPair> {
    let pair = call.app.ssh_keys.get(call.caller.org_id, pair_id(&call.request.id)?).await?;
    Ok(SshKeyPair::of(&pair, call.app.clock.now_us()).into())
}

pub(super) async fn update(mut call: Call<wire::UpdateSshKeyPairRequest>) -> Result<wire::SshKeyPair> {
    let request = std::mem::take(&mut call.request);
    let act = call.act();
    let patch = SshKeyPairPatch { name: request.name, description: request.description };
    let pair = call.app.ssh_keys.update(&act, pair_id(&request.id)?, patch.into_patch()?).await?;
    Ok(SshKeyPair::of(&pair, act.at_us).into())
}

pub(super) async fn delete(call: Call<wire::DeleteSshKeyPairRequest>) -> Result<wire::DeleteSshKeyPairResponse> {
    call.app.ssh_keys.delete(&call.act(), pair_id(&call.request.id)?).await?;
    Ok(wire::DeleteSshKeyPairResponse {})
}

pub(super) async fn rotate(mut call: Call<wire::RotateSshKeyPairRequest>) -> Result<Answers<wire::ProgressEvent>> {
    let request = std::mem::take(&mut call.request);
    let (id, wanted) = (pair_id(&request.id)?, RotateRequest::from(request));
    let (begun, events) = ssh_key_rotations::rotate(&call.app, &call.caller, &call.act(), id, wanted).await?;
    let first = wire::ProgressEvent {
        event: "rotation".to_owned(),
        data: serde_json::to_value(begun).ok().map(structure::to_struct),
    };
    Ok(Box::pin(stream::iter([Ok(first)]).chain(told(events))))
}

pub(super) async fn rotation(call: Call<wire::GetSshKeyRotationRequest>) -> Result<wire::SshKeyRotation> {
    let page = page(call.request.skip, call.request.limit)?;
    let rotation = call.app.ssh_key_rotations.get(call.caller.org_id, pair_id(&call.request.id)?).await?;
    let servers = call.app.ssh_key_rotations.servers(&rotation, page.0, page.1).await?;
    Ok(SshKeyRotation::of(&rotation, &servers).into())
}

pub(super) async fn watch_rotation(
    call: Call<wire::WatchSshKeyRotationRequest>,
) -> Result<Answers<wire::ProgressEvent>> {
    let rotation = call.app.ssh_key_rotations.get(call.caller.org_id, pair_id(&call.request.id)?).await?;
    Ok(told(call.app.ssh_key_rotations.watch(&rotation)))
}
