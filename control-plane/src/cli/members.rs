//! `muster members …`

use clap::Subcommand;
use muster_shared::wire;
use serde_json::json;

use super::{ask, client::Fleet, failure::Failure, output::Output, table};
use crate::api::model::member::Member;

/// What somebody can be.
const ROLES: [&str; 5] = ["owner", "admin", "member", "project_admin", "project_member"];

/// What to do with the organisation's members.
#[derive(Debug, Subcommand)]
pub enum MembersCommand {
    /// List the members.
    #[command(visible_alias = "ls")]
    List,
    /// Make an existing user a member.
    Add {
        /// The user's name.
        name: String,
        #[arg(long, default_value = "member", value_parser = ROLES)]
        role: String,
    },
    /// Give a member another role. It counts at once.
    SetRole {
        /// The member's name or id.
        user: String,
        #[arg(value_parser = ROLES)]
        role: String,
    },
    /// Take a member out. It counts at once.
    #[command(visible_alias = "rm")]
    Remove {
        /// The member's name or id.
        user: String,
        /// Do it without asking.
        #[arg(long, short)]
        yes: bool,
    },
}

impl MembersCommand {
    /// Asks and prints.
    ///
    /// # Errors
    /// What the control plane refused.
    pub async fn run(self, fleet: &mut Fleet, output: &mut Output<'_>) -> Result<(), Failure> {
        let member = match self {
            Self::List => {
                let request = wire::ListMembersRequest { skip: 0, limit: 1000 };
                let members = fleet.list_members(request).await?.into_inner().members;
                let members: Vec<Member> = members.into_iter().map(Member::from).collect();
                return output.print(members.as_slice(), draw);
            }
            Self::Remove { user, yes } => {
                ask::unless(yes, &format!("take {user} out of the organisation"))?;
                fleet.remove_member(wire::RemoveMemberRequest { user: user.clone() }).await?;
                return output.print(&json!({ "user": user, "status": "removed" }), |_| format!("removed {user}\n"));
            }
            Self::Add { name, role } => fleet.add_member(wire::AddMemberRequest { name, role }).await?,
            Self::SetRole { user, role } => fleet.update_member(wire::UpdateMemberRequest { user, role }).await?,
        };
        output.print(&Member::from(member.into_inner()), |member| draw(std::slice::from_ref(member)))
    }
}

fn draw(members: &[Member]) -> String {
    let rows = members.iter().map(|member| {
        let since = member.since.map_or_else(|| "-".to_owned(), |time| time.to_string());
        vec![member.user_id.clone(), member.name.clone(), member.role.clone(), since]
    });
    table::draw(&["ID", "NAME", "ROLE", "SINCE"], rows.collect())
}
