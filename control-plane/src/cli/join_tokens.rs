//! `muster join-tokens …`

use clap::Subcommand;
use muster_shared::{policy::Family, wire};
use serde_json::json;

use super::{
    ask,
    client::Fleet,
    failure::Failure,
    output::Output,
    table::{self, or_dash},
};
use crate::api::model::join_token::{JoinToken, JoinTokenCreated};

/// What to do with join tokens.
#[derive(Debug, Subcommand)]
pub enum JoinTokensCommand {
    /// Make a token and the line to paste into a server's root shell.
    Create {
        /// How long it may be used, in seconds: 60 to 604800.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(60..=604_800))]
        ttl: Option<u32>,
        /// The name the server gets; its hostname otherwise.
        #[arg(long)]
        server_name: Option<String>,
        /// A server created beforehand that the host becomes.
        #[arg(long, conflicts_with = "server_name")]
        server: Option<String>,
        /// What the host's policy will accept, such as observe,fix; observe unless given.
        #[arg(long, value_delimiter = ',')]
        allow: Vec<Family>,
    },
    /// List tokens, without their secrets.
    #[command(visible_alias = "ls")]
    List,
    /// Make a token useless.
    Revoke {
        /// The token's id.
        id: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
}

impl JoinTokensCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Create { ttl, server_name, server, allow } => {
                let request = wire::CreateJoinTokenRequest {
                    ttl_seconds: ttl.unwrap_or_default(),
                    server_name: server_name.unwrap_or_default(),
                    allow: allow.iter().map(Family::to_string).collect(),
                    server: server.unwrap_or_default(),
                };
                let token = JoinTokenCreated::from(fleet.create_join_token(request).await?.into_inner());
                output.print(&token, draw_created)
            }
            Self::List => {
                let tokens = fleet.list_join_tokens(wire::ListJoinTokensRequest {}).await?.into_inner().join_tokens;
                let tokens: Vec<JoinToken> = tokens.into_iter().map(JoinToken::from).collect();
                output.print(tokens.as_slice(), draw)
            }
            Self::Revoke { id, yes } => {
                ask::unless(yes, &format!("make the join token {id} useless"))?;
                fleet.revoke_join_token(wire::RevokeJoinTokenRequest { id: id.clone() }).await?;
                output.print(&json!({ "id": id, "status": "revoked" }), |_| format!("revoked {id}\n"))
            }
        }
    }
}

fn draw_created(token: &JoinTokenCreated) -> String {
    let expires = token.expires_at.map(|time| time.to_string()).unwrap_or_default();
    format!(
        "Paste one of these into a root shell of the server, before {expires}; it works once.\n\nWith curl:\n{}\n\nWith wget:\n{}\n",
        token.command, token.command_wget
    )
}

fn draw(tokens: &[JoinToken]) -> String {
    let time =
        |time: Option<crate::api::model::time::Time>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let rows = tokens.iter().map(|token| {
        vec![
            token.id.clone(),
            token.status.clone(),
            or_dash(token.server_name.as_deref()),
            time(token.expires_at),
            time(token.used_at),
            or_dash(token.server_id.as_deref()),
        ]
    });
    table::draw(&["ID", "STATUS", "SERVER NAME", "EXPIRES", "USED", "SERVER"], rows.collect())
}
