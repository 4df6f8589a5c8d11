//! `muster keyring …`

use clap::Subcommand;
use muster_shared::wire;

use super::{ask, client::Fleet, failure::Failure, output::Output, table};
use crate::api::model::keyring::Keyring;

/// What to do with the keys that seal stored secrets.
#[derive(Debug, Subcommand)]
pub enum KeyringCommand {
    /// Show the keys, and how many values need each.
    Show,
    /// Add a key that seals from now on. What older keys sealed is sealed anew while everything runs.
    Rotate,
    /// Remove a key that nothing needs any more. Backups from before the rotation still need it.
    Retire {
        /// The key's id.
        key: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
}

impl KeyringCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let keyring = match self {
            Self::Show => fleet.get_keyring(wire::GetKeyringRequest {}).await?,
            Self::Rotate => fleet.rotate_keyring(wire::RotateKeyringRequest {}).await?,
            Self::Retire { key, yes } => {
                ask::unless(yes, &format!("remove the key {key}, which backups sealed with it still need"))?;
                fleet.retire_keyring_key(wire::RetireKeyringKeyRequest { key_id: key }).await?
            }
        };
        output.print(&Keyring::from(keyring.into_inner()), draw)
    }
}

fn draw(keyring: &Keyring) -> String {
    let rows = keyring.keys.iter().map(|key| {
        vec![
            key.id.clone(),
            if key.seals { "yes" } else { "no" }.to_owned(),
            key.sealed_values.to_string(),
            key.made_at.map_or_else(|| "-".to_owned(), |time| time.to_string()),
        ]
    });
    let table = table::draw(&["KEY", "SEALS", "VALUES", "MADE"], rows.collect());
    match keyring.remaining {
        0 => table,
        remaining => format!("{table}\n{remaining} values are yet to be sealed with {}\n", keyring.sealing_key_id),
    }
}
