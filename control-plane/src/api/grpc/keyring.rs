//! The key ring.

use muster_shared::wire;

use super::call::Call;
use crate::{api::model::keyring::Keyring, error::Error};

pub(super) async fn get(call: Call<wire::GetKeyringRequest>) -> Result<wire::Keyring, Error> {
    Ok(Keyring::of(&call.app.rotation.standing(call.caller.org_id).await?).into())
}

pub(super) async fn rotate(call: Call<wire::RotateKeyringRequest>) -> Result<wire::Keyring, Error> {
    Ok(Keyring::of(&call.app.rotation.rotate(&call.act()).await?).into())
}

pub(super) async fn retire(call: Call<wire::RetireKeyringKeyRequest>) -> Result<wire::Keyring, Error> {
    Ok(Keyring::of(&call.app.rotation.retire(&call.act(), &call.request.key_id).await?).into())
}
