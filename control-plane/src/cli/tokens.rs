//! `muster tokens …`

use clap::Subcommand;
use muster_shared::wire;
use serde_json::json;

use super::{
    ask,
    client::Fleet,
    failure::Failure,
    output::Output,
    table::{self, ago},
};
use crate::{
    api::model::api_token::{ApiToken, ApiTokenCreated},
    clock::Clock,
};

/// What to do with API tokens.
#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// Make a token for yourself. It is shown once.
    Create {
        /// What you call it.
        name: String,
        /// How long it is good, in days; 90 unless given.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3660))]
        days: Option<u64>,
        /// The permissions it is good for, such as org.servers.list,org.servers.view; all of yours unless given.
        #[arg(long, value_delimiter = ',')]
        scopes: Vec<String>,
    },
    /// List your tokens, without their secrets.
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

impl TokensCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        match self {
            Self::Create { name, days, scopes } => {
                let ttl_seconds = days.unwrap_or_default() * 86_400;
                let request = wire::CreateApiTokenRequest { name, ttl_seconds, scopes };
                let token = ApiTokenCreated::from(fleet.create_api_token(request).await?.into_inner());
                output.print(&token, |token| {
                    let until = token.expires_at.map(|time| format!(" until {time}")).unwrap_or_default();
                    format!("Keep it now, it is not shown again. It is good{until}.\n\n{}\n", token.token)
                })
            }
            Self::List => {
                let tokens = fleet.list_api_tokens(wire::ListApiTokensRequest {}).await?.into_inner().tokens;
                let tokens: Vec<ApiToken> = tokens.into_iter().map(ApiToken::from).collect();
                output.print(tokens.as_slice(), draw)
            }
            Self::Revoke { id, yes } => {
                ask::unless(yes, &format!("make the API token {id} useless"))?;
                fleet.revoke_api_token(wire::RevokeApiTokenRequest { id: id.clone() }).await?;
                output.print(&json!({ "id": id, "status": "revoked" }), |_| format!("revoked {id}\n"))
            }
        }
    }
}

fn draw(tokens: &[ApiToken]) -> String {
    let now_us = Clock::system().now_us();
    let rows = tokens.iter().map(|token| {
        vec![
            token.id.clone(),
            token.name.clone(),
            token.scopes.as_ref().map_or_else(|| "all".to_owned(), |scopes| scopes.join(",")),
            token.expires_at.map_or_else(|| "-".to_owned(), |time| time.to_string()),
            ago(token.last_used_at, now_us),
        ]
    });
    table::draw(&["ID", "NAME", "SCOPES", "EXPIRES", "LAST USED"], rows.collect())
}
