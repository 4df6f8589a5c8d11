//! Which code stands behind which item.

use async_trait::async_trait;
use muster_shared::action::{Item, ItemName};

use super::{
    harden,
    host::Host,
    items::{AddToDockerGroup, ConfigureSudo, FreeDisk, FreePorts, InstallDocker, StartDocker},
    plan::{AnyChange, Change, Plan, Refused},
};

/// The change that an item stands for.
#[must_use]
pub fn change_of(item: &Item) -> Box<dyn AnyChange> {
    match item {
        Item::InstallDocker => Box::new(InstallDocker),
        Item::StartDocker => Box::new(StartDocker),
        Item::AddToDockerGroup(args) => Box::new(AddToDockerGroup(args.clone())),
        Item::ConfigureSudo(args) => Box::new(ConfigureSudo(args.clone())),
        Item::FreeDisk(args) => Box::new(FreeDisk(*args)),
        Item::FreePorts(args) => Box::new(FreePorts(args.clone())),
        item => harden::change(item).unwrap_or_else(|| Box::new(NotHere(item.name()))),
    }
}

/// An item that this version of the agent knows and can't do.
struct NotHere(ItemName);

#[async_trait]
impl Change for NotHere {
    type Evidence = ();

    async fn gather(&self, _: &dyn Host) -> Result<(), Refused> {
        Ok(())
    }

    fn plan(&self, _: &()) -> Result<Plan, Refused> {
        let detail = format!("this version of the agent can't do {}; upgrade the agent", self.0);
        Err(Refused::new("not_supported", detail))
    }
}
