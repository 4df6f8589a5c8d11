//! Which facts are worth sending: those that changed in earnest, and all of them once an hour. Pure.

use std::time::Duration;

use muster_shared::{
    facts::{Facts, MAX_FACTS_BYTES, Mount},
    wire,
};
use ring::digest::{SHA256, digest};

/// How long unchanged facts are good for.
const RESEND_EVERY: Duration = Duration::from_secs(3600);
/// Free space is rounded to this part of a file system, so that ordinary writing is no news.
const SPACE_STEPS: u64 = 50;

/// Remembers what was last worth sending.
#[derive(Debug, Default)]
pub struct FactsWatch {
    last: Option<(Vec<u8>, Duration)>,
}

impl FactsWatch {
    /// The report to send for facts read now, or `None` when they are no news (or no facts).
    pub fn judge(&mut self, json: String, collected_at_us: i64, now: Duration) -> Option<wire::FactsReport> {
        if json.len() > MAX_FACTS_BYTES {
            tracing::warn!(bytes = json.len(), limit = MAX_FACTS_BYTES, "the facts are too large to send");
            return None;
        }
        let essence = essence(serde_json::from_str(&json).ok()?)?;
        if self.last.as_ref().is_some_and(|(last, at)| *last == essence && now < *at + RESEND_EVERY) {
            return None;
        }
        self.last = Some((essence, now));
        let sha256 = digest(&SHA256, json.as_bytes()).as_ref().to_vec();
        Some(wire::FactsReport { json: json.into_bytes(), sha256, collected_at_us })
    }
}

/// A hash of what matters: measurements that never stand still are left to the metrics.
fn essence(mut facts: Facts) -> Option<Vec<u8>> {
    for mount in facts.mounts.iter_mut().chain(&mut facts.data_disk) {
        round(mount);
    }
    if let Some(inotify) = &mut facts.inotify {
        inotify.instances_in_use = None;
    }
    for container in &mut facts.docker.containers {
        container.restarts = None;
    }
    Some(digest(&SHA256, &serde_json::to_vec(&facts).ok()?).as_ref().to_vec())
}

fn round(mount: &mut Mount) {
    let step = (mount.total_bytes / SPACE_STEPS).max(1);
    mount.available_bytes -= mount.available_bytes % step;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(change: impl FnOnce(&mut Facts)) -> String {
        let mut facts = Facts { hostname: "web".into(), ..Facts::default() };
        facts.mounts.push(Mount { total_bytes: 5000, available_bytes: 1050, ..Mount::default() });
        change(&mut facts);
        serde_json::to_string(&facts).expect("facts are JSON")
    }

    #[test]
    fn only_news_is_sent_and_everything_once_an_hour() {
        let mut watch = FactsWatch::default();
        let mut at =
            |change: fn(&mut Facts), seconds| watch.judge(json(change), 0, Duration::from_secs(seconds)).is_some();
        assert!(at(|_| {}, 0));
        assert!(!at(|_| {}, 60));
        assert!(!at(|facts| facts.mounts[0].available_bytes = 1049, 60), "a byte written is no news");
        assert!(at(|facts| facts.mounts[0].available_bytes = 900, 60));
        assert!(at(|facts| facts.hostname = "db".into(), 60));
        assert!(!at(|facts| facts.hostname = "db".into(), 3659));
        assert!(at(|facts| facts.hostname = "db".into(), 3660));
    }

    #[test]
    fn what_is_no_document_is_not_sent() {
        assert!(FactsWatch::default().judge("{".into(), 0, Duration::ZERO).is_none());
    }
}
