//! What each metric is, from the table that people read.

use std::collections::HashMap;

/// Written from the sampler's tables, to which a test holds it.
const TABLE: &str = include_str!("../../../../docs/metrics.md");

/// One sentence on each metric, by name. Newer hosts may report more than this version knows.
#[must_use]
pub fn help() -> HashMap<&'static str, &'static str> {
    rows(TABLE).collect()
}

/// Name and description of each row of the tables in `text`.
fn rows(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
        let (_, description) = rest.trim_end().strip_suffix('|')?.rsplit_once('|')?;
        Some((name, description.trim()))
    })
}

#[cfg(test)]
mod tests {
    use muster_shared::metric::names;

    use super::*;

    #[test]
    fn a_row_is_a_name_and_its_last_cell() {
        let text = "| name | labels |\n| --- | --- |\n| `up` | a, b | gauge | 0 | It is up. |\nother\n";
        assert_eq!(rows(text).collect::<Vec<_>>(), [("up", "It is up.")]);
    }

    #[test]
    fn every_metric_of_this_version_is_described() {
        let known = help();
        assert!(known.len() > 100, "{}", known.len());
        assert!(known.values().all(|description| description.ends_with('.')));
        assert!(known.contains_key(names::HOST_CPU_SECONDS_TOTAL));
    }
}
