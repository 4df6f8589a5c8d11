//! `muster users …`

use std::path::PathBuf;

use clap::Subcommand;
use muster_shared::wire;
use serde_json::json;

use super::{
    ask,
    client::Fleet,
    failure::Failure,
    output::Output,
    table::{self, or_dash},
};
use crate::api::model::user::User;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// List the organisation's users.
    #[command(visible_alias = "ls")]
    List,
    /// Make a user who is a member of the organisation.
    Create {
        /// What they sign in with.
        name: String,
        #[arg(long)]
        email: Option<String>,
        /// A file with a password, to be replaced at the first sign-in.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[arg(long, default_value = "member")]
        role: String,
    },
    /// Take away the second factor of a user who lost it. Their sessions end.
    ResetTotp {
        /// Their name or id.
        user: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
    /// Delete a user: take them out of the organisation, and off the control plane where they are in no other.
    #[command(visible_alias = "rm")]
    Delete {
        /// Their name or id.
        user: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
}

impl UsersCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::List => {
                let users = fleet.list_users(wire::ListUsersRequest { skip: 0, limit: 1000 }).await?.into_inner().users;
                let users: Vec<User> = users.into_iter().map(User::from).collect();
                output.print(users.as_slice(), draw)
            }
            Self::Create { name, email, password_file, role } => {
                let password = password_file.map(read).transpose()?.unwrap_or_default();
                let request = wire::CreateUserRequest { name, email: email.unwrap_or_default(), password, role };
                let user = User::from(fleet.create_user(request).await?.into_inner());
                output.print(&user, |user| draw(std::slice::from_ref(user)))
            }
            Self::ResetTotp { user, yes } => {
                ask::unless(yes, &format!("take away the second factor of {user} and end their sessions"))?;
                let user = User::from(fleet.reset_user_totp(wire::ResetUserTotpRequest { user }).await?.into_inner());
                output.print(&user, |user| draw(std::slice::from_ref(user)))
            }
            Self::Delete { user, yes } => {
                ask::unless(yes, &format!("delete the user {user}"))?;
                fleet.delete_user(wire::DeleteUserRequest { user: user.clone() }).await?;
                output.print(&json!({ "user": user, "status": "deleted" }), |_| format!("deleted {user}\n"))
            }
        }
    }
}

fn read(path: PathBuf) -> Result<String, Failure> {
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::usage(format!("the password file {} can't be read: {error}", path.display()), "check --password-file")
    })?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn draw(users: &[User]) -> String {
    let rows = users.iter().map(|user| {
        let second = if user.totp_enabled { "on" } else { "off" };
        vec![user.id.clone(), user.name.clone(), or_dash(user.email.as_deref()), user.role.clone(), second.to_owned()]
    });
    table::draw(&["ID", "NAME", "E-MAIL", "ROLE", "SECOND FACTOR"], rows.collect())
}
