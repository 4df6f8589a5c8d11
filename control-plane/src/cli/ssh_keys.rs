//! `muster ssh-keys …`

use std::path::PathBuf;

use clap::Subcommand;
use muster_shared::wire;
use serde_json::json;

use super::{
    ask,
    client::Fleet,
    connection::secret,
    failure::Failure,
    output::Output,
    page::Page,
    ssh_key_rotations::{RotateArgs, RotationArgs},
    table,
};
use crate::api::model::ssh_key::{SshKeyPair, SshKeyPairCreated};

/// What to do with key pairs.
#[derive(Debug, Subcommand)]
pub enum SshKeysCommand {
    /// List the organisation's key pairs.
    #[command(visible_alias = "ls")]
    List(Page),
    /// Show one key pair, without its private part.
    Show {
        /// Its id.
        id: String,
    },
    /// Make a key pair and print its private part, once; or take one in.
    Create {
        /// A name unique in the organisation.
        name: String,
        #[arg(long, default_value = "")]
        description: String,
        #[arg(long, value_parser = ["ed25519", "rsa"])]
        key_type: Option<String>,
        /// Take in the private key in this file instead of making one; - is standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "key_type")]
        private_key_file: Option<PathBuf>,
        /// A file with that key's passphrase.
        #[arg(long, value_name = "FILE", requires = "private_key_file")]
        passphrase_file: Option<PathBuf>,
    },
    /// Change the name or description; the key stays.
    Update {
        /// Its id.
        id: String,
        #[arg(long)]
        name: Option<String>,
        #[arg(long, required_unless_present = "name")]
        description: Option<String>,
    },
    /// Delete a key pair that no server is entered with.
    Delete {
        /// Its id.
        id: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
    /// Replace a key pair on every server that is entered with it, and follow that. Where servers were left behind, the same
    /// again goes on with them. Exits with 1 when some were.
    Rotate(RotateArgs),
    /// Show how the rotation of a key pair stands, or follow it.
    Rotation(RotationArgs),
}

impl SshKeysCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let pair = match self {
            Self::List(Page { skip, limit }) => {
                let request = wire::ListSshKeyPairsRequest { skip, limit };
                let pairs = fleet.list_ssh_key_pairs(request).await?.into_inner().key_pairs;
                let pairs: Vec<SshKeyPair> = pairs.into_iter().map(SshKeyPair::from).collect();
                return output.print(pairs.as_slice(), draw);
            }
            Self::Create { name, description, key_type, private_key_file, passphrase_file } => {
                let request = wire::CreateSshKeyPairRequest {
                    name,
                    description,
                    key_type: key_type.unwrap_or_default(),
                    private_key: secret(private_key_file)?.unwrap_or_default(),
                    passphrase: secret(passphrase_file)?.unwrap_or_default(),
                };
                let made = fleet.create_ssh_key_pair(request).await?.into_inner();
                return output.print(&SshKeyPairCreated::from(made), draw_created);
            }
            Self::Delete { id, yes } => {
                ask::unless(yes, &format!("delete the key pair {id}"))?;
                fleet.delete_ssh_key_pair(wire::DeleteSshKeyPairRequest { id: id.clone() }).await?;
                let deleted = json!({ "id": id, "status": "deleted" });
                return output.print(&deleted, |_| format!("deleted {id}\n"));
            }
            Self::Rotate(args) => return args.run(fleet, output).await,
            Self::Rotation(args) => return args.run(fleet, output).await,
            Self::Show { id } => fleet.get_ssh_key_pair(wire::GetSshKeyPairRequest { id }).await?,
            Self::Update { id, name, description } => {
                fleet.update_ssh_key_pair(wire::UpdateSshKeyPairRequest { id, name, description }).await?
            }
        };
        output.print(&SshKeyPair::from(pair.into_inner()), draw_one)
    }
}

fn draw(pairs: &[SshKeyPair]) -> String {
    let rows = pairs.iter().map(|pair| {
        let due = if pair.rotation_due { " (rotation due)" } else { "" };
        vec![
            pair.id.clone(),
            pair.name.clone(),
            pair.key_type.clone(),
            pair.fingerprint.clone(),
            format!("{} d{due}", pair.age_days),
            pair.used_by.to_string(),
        ]
    });
    table::draw(&["ID", "NAME", "TYPE", "FINGERPRINT", "AGE", "SERVERS"], rows.collect())
}

fn draw_one(pair: &SshKeyPair) -> String {
    table::pairs(&[
        ("id", pair.id.clone()),
        ("name", pair.name.clone()),
        ("description", pair.description.clone()),
        ("type", pair.key_type.clone()),
        ("public key", pair.public_key.clone()),
        ("fingerprint", pair.fingerprint.clone()),
        ("age", format!("{} days", pair.age_days)),
        ("rotation due", if pair.rotation_due { "yes" } else { "no" }.to_owned()),
        ("servers", pair.used_by.to_string()),
        ("created", pair.created_at.map(|time| time.to_string()).unwrap_or_default()),
    ])
}

fn draw_created(pair: &SshKeyPairCreated) -> String {
    let about = table::pairs(&[
        ("id", pair.id.clone()),
        ("name", pair.name.clone()),
        ("public key", pair.public_key.clone()),
        ("fingerprint", pair.fingerprint.clone()),
    ]);
    match &pair.private_key {
        Some(private_key) => format!("{about}\nThe private key, shown this once:\n\n{private_key}"),
        None => about,
    }
}
