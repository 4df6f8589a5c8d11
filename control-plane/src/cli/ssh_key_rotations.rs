//! `muster ssh-keys rotate` and `muster ssh-keys rotation`

use std::path::PathBuf;

use clap::Args;
use muster_shared::wire;
use serde_json::Value;
use tonic::Streaming;

use super::{
    ask,
    client::Fleet,
    failure::Failure,
    output::Output,
    progress::{self, Event},
    secure::NewKeyFile,
    table,
};
use crate::api::model::{ssh_key_rotation::SshKeyRotation, structure};

/// Servers asked for in a page.
const PAGE: u32 = 1000;

/// Which key pair, and what shall take its place.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The key pair's id.
    pub id: String,
    /// The new key's kind; unless given, that of the old one.
    #[arg(long, value_parser = ["ed25519", "rsa"])]
    pub key_type: Option<String>,
    /// Write the new private key to this new file, readable by you alone, instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub key_out: Option<PathBuf>,
    /// Start it and don't wait for its end.
    #[arg(long)]
    pub detach: bool,
    /// Do it without asking.
    #[arg(long, short)]
    pub yes: bool,
}

/// Whose rotation.
#[derive(Debug, Args)]
pub struct RotationArgs {
    /// The id of the key pair that is replaced, or of the new one.
    pub id: String,
    /// Follow it to its end.
    #[arg(long)]
    pub follow: bool,
}

impl RotateArgs {
    /// Starts a rotation, shows or keeps the new private key, and follows it.
    ///
    /// # Errors
    /// Also when servers were left behind.
    pub(super) async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        ask::unless(self.yes, &format!("replace the key pair {} on every server that is entered with it", self.id))?;
        // Before anything is asked for: a key that can't be written would be lost.
        let file = self.key_out.as_deref().map(NewKeyFile::create).transpose()?;
        let request = wire::RotateSshKeyPairRequest { id: self.id, key_type: self.key_type.unwrap_or_default() };
        let mut events = fleet.rotate_ssh_key_pair(request).await?.into_inner();
        let first = events.message().await?.and_then(|event| event.data).map(structure::to_json);
        let mut begun = first.ok_or_else(|| {
            Failure::ended_badly("the rotation did not begin", "`muster ssh-keys list` shows the key pairs")
        })?;
        let servers = begun["waiting"].as_f64().unwrap_or_default() as u64;
        // A rotation that was taken up shows no key, and the file goes again.
        let kept = file
            .filter(|_| begun["private_key"].is_string())
            .map(|file| file.keep(begun["private_key"].as_str().unwrap_or_default()));
        if let (Some(Ok(())), Some(path)) = (&kept, &self.key_out) {
            begun["private_key"] = Value::Null;
            begun["private_key_file"] = path.display().to_string().into();
        }
        // Where it could not be written, the key is not lost: it is printed.
        output.item(&Event { event: "rotation".to_owned(), data: begun }, draw_begun)?;
        kept.transpose()?;
        if self.detach { Ok(()) } else { follow(events, output, servers).await }
    }
}

impl RotationArgs {
    /// Shows a rotation, or follows it.
    ///
    /// # Errors
    /// What the control plane refused; following it, also when servers were left behind.
    pub(super) async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        if self.follow {
            let request = wire::WatchSshKeyRotationRequest { id: self.id };
            let page = wire::GetSshKeyRotationRequest { id: request.id.clone(), skip: 0, limit: 1 };
            let begun = SshKeyRotation::from(fleet.get_ssh_key_rotation(page).await?.into_inner());
            let servers = begun.waiting + begun.rotated + begun.failed + begun.lingering + begun.skipped;
            let events = fleet.watch_ssh_key_rotation(request).await?.into_inner();
            return follow(events, output, servers).await;
        }
        let mut whole = None::<SshKeyRotation>;
        loop {
            let skip = whole.as_ref().map_or(0, |rotation| rotation.servers.len());
            let request = wire::GetSshKeyRotationRequest {
                id: self.id.clone(),
                skip: u32::try_from(skip).unwrap_or(u32::MAX),
                limit: PAGE,
            };
            let page = SshKeyRotation::from(fleet.get_ssh_key_rotation(request).await?.into_inner());
            let is_last = page.servers.len() < PAGE as usize;
            let rotation = match whole {
                None => page,
                Some(mut rotation) => {
                    rotation.servers.extend(page.servers);
                    rotation
                }
            };
            if is_last {
                return output.print(&rotation, draw);
            }
            whole = Some(rotation);
        }
    }
}

async fn follow(events: Streaming<wire::ProgressEvent>, output: &mut Output<'_>, servers: u64) -> Result<(), Failure> {
    let complete = progress::follow_all(events, output, servers).await?;
    match complete["status"].as_str() {
        Some("done") => Ok(()),
        _ => Err(Failure {
            exit_code: 1,
            message: complete["message"].as_str().unwrap_or("the rotation left servers behind").to_owned(),
            next_step: "see why with muster ssh-keys rotation, then rotate the old key pair again".to_owned(),
        }),
    }
}

fn draw_begun(event: &Event) -> String {
    let text = |name: &str| table::printable(event.data[name].as_str().unwrap_or_default());
    let about = table::pairs(&[
        ("rotating", text("name")),
        ("old key pair", text("old_key_pair_id")),
        ("new key pair", text("new_key_pair_id")),
        ("public key", text("public_key")),
        ("fingerprint", text("fingerprint")),
        ("servers", event.data["waiting"].as_u64().unwrap_or_default().to_string()),
    ]);
    match (event.data["private_key_file"].as_str(), event.data["private_key"].as_str()) {
        (Some(path), _) => format!("{about}\nThe new private key is in {}\n", table::printable(path)),
        (None, Some(key)) => format!("{about}\nThe new private key, shown this once:\n\n{key}"),
        (None, None) => about,
    }
}

fn draw(rotation: &SshKeyRotation) -> String {
    let about = table::pairs(&[
        ("name", rotation.name.clone()),
        ("state", rotation.state.clone()),
        ("old key pair", rotation.old_key_pair_id.clone() + if rotation.old_key_pair_kept { "" } else { " (gone)" }),
        ("new key pair", rotation.new_key_pair_id.clone()),
        ("waiting", rotation.waiting.to_string()),
        ("rotated", rotation.rotated.to_string()),
        ("failed", rotation.failed.to_string()),
        ("lingering", rotation.lingering.to_string()),
        ("skipped", rotation.skipped.to_string()),
    ]);
    let rows = rotation.servers.iter().map(|server| {
        let said = server.step.clone().or_else(|| server.detail.clone()).unwrap_or_default();
        vec![server.server_name.clone(), server.state.clone(), said]
    });
    format!("{about}\n{}", table::draw(&["SERVER", "STATE", "DETAIL"], rows.collect()))
}
