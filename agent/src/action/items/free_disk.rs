//! What Docker keeps and no container needs is gone: images and build cache. Containers, also stopped ones, and volumes
//! stay: they hold data. What was removed can't be put back, so the plan says beforehand how much it is.

use async_trait::async_trait;
use muster_shared::action::item::FreeDiskArgs;

use crate::action::{
    host::Host,
    plan::{Change, Plan, Refused},
    step::{Call, Step},
};

const QUERY_S: u64 = 60;
const PRUNE_S: u64 = 900;
const FORMAT: &str = "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}";

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct FreeDisk(pub FreeDiskArgs);

/// What Docker says it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    usage: String,
    dangling: usize,
}

#[async_trait]
impl Change for FreeDisk {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        let unusable = |why| Refused::new("docker_unusable", format!("Docker can't be asked what it keeps: {why}"));
        let usage = Call::new("docker", &["system", "df", "--format", FORMAT], QUERY_S);
        let usage = host.ask_well(&usage).await.map_err(unusable)?.stdout;
        let dangling = Call::new("docker", &["image", "ls", "--quiet", "--filter", "dangling=true"], QUERY_S);
        let dangling = host.ask_well(&dangling).await.map_err(unusable)?.stdout.lines().count();
        Ok(Evidence { usage, dangling })
    }

    fn plan(&self, found: &Evidence) -> Result<Plan, Refused> {
        let rows: Vec<Row> = found.usage.lines().filter_map(Row::parse).collect();
        let unused = |kind: &str| rows.iter().any(|row| row.kind == kind && row.total > row.active);
        let mut steps = Vec::new();
        let prune = |title: &str, arguments: &[&str]| {
            let call = Call::new("docker", arguments, PRUNE_S);
            Step::Run { title: title.to_owned(), call, inverse: None }
        };
        if self.0.all_images && unused("Images") {
            steps.push(prune("remove every image that no container uses", &["image", "prune", "--all", "--force"]));
        } else if found.dangling > 0 {
            let title = format!("remove {} images without a name", found.dangling);
            steps.push(prune(&title, &["image", "prune", "--force"]));
        }
        if unused("Build Cache") {
            steps.push(prune("remove the build cache", &["builder", "prune", "--all", "--force"]));
        }
        let seen: Vec<String> = rows.iter().map(Row::words).collect();
        Ok(Plan::of(steps, format!("{}; {} images without a name", seen.join("; "), found.dangling)))
    }
}

/// A line of `docker system df`.
struct Row<'a> {
    kind: &'a str,
    total: u64,
    active: u64,
    size: &'a str,
    reclaimable: &'a str,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split('|');
        let (kind, total, active) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { kind, total, active, size: fields.next()?, reclaimable: fields.next()? })
    }

    fn words(&self) -> String {
        let unused = self.total.saturating_sub(self.active);
        format!("{}: {unused} of {} unused, {} of {} reclaimable", self.kind, self.total, self.reclaimable, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: &str =
        "Images|5|2|1.5GB|900MB (60%)\nContainers|2|1|10MB|1MB (10%)\nLocal Volumes|3|1|2GB|1GB (50%)\n";

    fn titles(all_images: bool, usage: &str, dangling: usize) -> Vec<String> {
        let found = Evidence { usage: usage.into(), dangling };
        let plan = FreeDisk(FreeDiskArgs { all_images }).plan(&found).expect("a plan");
        plan.steps.iter().map(Step::title).collect()
    }

    #[test]
    fn images_and_cache_go_and_what_holds_data_stays() {
        let cache = format!("{USAGE}Build Cache|4|0|300MB|300MB\n");
        assert_eq!(titles(false, &cache, 2), ["remove 2 images without a name", "remove the build cache"]);
        assert_eq!(titles(true, USAGE, 2), ["remove every image that no container uses"]);
        assert_eq!(titles(true, "Images|2|2|1GB|0B\n", 0), [""; 0]);
        assert_eq!(titles(false, USAGE, 0), [""; 0]);
        let plan =
            FreeDisk(FreeDiskArgs { all_images: true }).plan(&Evidence { usage: cache, dangling: 1 }).expect("a plan");
        assert!(plan.steps.iter().all(|step| !step.is_reversible()));
        assert!(
            plan.evidence.starts_with("Images: 3 of 5 unused, 900MB (60%) of 1.5GB reclaimable"),
            "{}",
            plan.evidence
        );
    }
}
