//! `docs/metrics.md` is written from the sampler's tables. Where this test fails, write it anew by running the test
//! with `MUSTER_WRITE_DOCS=1`.

use std::{collections::BTreeSet, fmt::Write, fs};

use muster_agent::sample::{Metric, metrics};
use muster_shared::metric::{MAX_NAME_BYTES, SeriesKind};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

const INTRODUCTION: &str = "\
# Metrics

Every agent samples these each second. Values are integers: the value times ten to the power of *scale* is in the unit
the name ends with. Counters travel as the kernel counts them; readers make rates of them. A series that can't be read
on a host is not there.

File systems are asked every ten seconds, and limits of containers too; in between the last answer stands. Network
devices that only repeat what another counts (loopback, bridges, bonds, VLANs, the host's ends of containers' pairs)
and partitions of disks are left out. A container's series are labelled with the first twelve digits of its id and,
where the engine may be asked, its name.
";

fn table(title: &str, metrics: &[&Metric]) -> String {
    let mut table = format!("\n## {title}\n\n| name | labels | kind | scale | |\n| --- | --- | --- | --- | --- |\n");
    for metric in metrics {
        let kind = match metric.kind {
            SeriesKind::Gauge => "gauge",
            SeriesKind::Counter => "counter",
        };
        let Metric { name, labels, scale, help, .. } = metric;
        writeln!(table, "| `{name}` | {} | {kind} | {scale} | {help} |", labels.join(", ")).expect("written");
    }
    table
}

fn document() -> String {
    let of = |prefix: &str| metrics().filter(|metric| metric.name.starts_with(prefix)).collect::<Vec<_>>();
    let tables =
        [table("Host", &of("host_")), table("Containers", &of("container_")), table("The agent itself", &of("agent_"))];
    INTRODUCTION.to_owned() + &tables.concat()
}

#[test]
fn the_documentation_lists_what_is_sampled() {
    let document = document();
    if std::env::var_os("MUSTER_WRITE_DOCS").is_some() {
        fs::write(PATH, &document).expect("written");
    }
    let written = fs::read_to_string(PATH).unwrap_or_default();
    assert!(written == document, "docs/metrics.md is not what the tables say: run this test with MUSTER_WRITE_DOCS=1");
}

#[test]
fn names_follow_the_rules() {
    let mut seen = BTreeSet::new();
    for metric in metrics() {
        let name = metric.name;
        assert!(seen.insert(name), "{name} is there twice");
        assert!(
            name.len() <= MAX_NAME_BYTES && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        );
        assert!(["host_", "container_", "agent_"].iter().any(|prefix| name.starts_with(prefix)), "{name}");
        assert_eq!(metric.kind == SeriesKind::Counter, name.ends_with("_total"), "{name}");
        assert!(!metric.help.is_empty() && metric.help.ends_with('.') && !metric.help.contains('|'), "{name}");
    }
}
