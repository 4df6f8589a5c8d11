//! Files of one key a line: `/proc/meminfo`, `/proc/vmstat` and `/proc/net/snmp6` with one value, `/proc/softirqs` with
//! one a core, which are summed.

use std::path::Path;

use super::{
    metric::Metric,
    reader::{KeptFile, Reader},
    registry::{Registry, Slot},
    scan::{lines, number, words},
};

/// One key that is sampled.
#[derive(Debug)]
pub(super) struct Field {
    key: &'static str,
    /// What one of the file's units is in the metric's.
    unit: i64,
    pub(super) metric: Metric,
}

pub(super) const fn kilobytes(key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { key, unit: 1024, metric: Metric::gauge(name, 0, &[], help) }
}

pub(super) const fn pages(key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { key, unit: 1, metric: Metric::gauge(name, 0, &[], help) }
}

pub(super) const fn count(key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { key, unit: 1, metric: Metric::counter(name, 0, &[], help) }
}

pub(super) const fn kilobytes_moved(key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { key, unit: 1024, metric: Metric::counter(name, 0, &[], help) }
}

/// A file of which the fields in a table are sampled.
#[derive(Debug)]
pub(super) struct KeyedFile {
    file: KeptFile,
    fields: &'static [Field],
    slots: Vec<Slot>,
}

impl KeyedFile {
    pub(super) fn new(root: &Path, path: &str, fields: &'static [Field]) -> Self {
        Self { file: KeptFile::new(root.join(path)), fields, slots: vec![Slot::default(); fields.len()] }
    }

    pub(super) fn sample(&mut self, reader: &mut Reader, registry: &mut Registry) {
        let Some(text) = self.file.read(reader) else { return };
        for line in lines(text).map(<[u8]>::trim_ascii_start) {
            let Some(end) = line.iter().position(|byte| matches!(byte, b' ' | b':')) else { continue };
            let Ok(at) = self.fields.binary_search_by(|field| field.key.as_bytes().cmp(&line[..end])) else { continue };
            let Some(value) = words(&line[end + 1..]).map_while(number).reduce(i64::saturating_add) else { continue };
            let (field, slot) = (&self.fields[at], &mut self.slots[at]);
            registry.put(slot, &field.metric, &[], value.saturating_mul(field.unit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tables::{MEMINFO, SNMP6, SOFTIRQS, VMSTAT};

    #[test]
    fn tables_are_in_the_order_bisection_needs() {
        assert!(
            [&MEMINFO[..], &VMSTAT, &SNMP6, &SOFTIRQS].iter().all(|table| table.is_sorted_by_key(|field| field.key))
        );
    }

    #[test]
    fn values_of_all_cores_are_summed() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(root.path().join("proc")).expect("proc");
        let text = "                    CPU0       CPU1\n          HI:          3          4\n       TIMER: 10 20\n";
        std::fs::write(root.path().join("proc/softirqs"), text).expect("softirqs");
        let (mut reader, mut registry) = (Reader::new(), Registry::new(10));
        KeyedFile::new(root.path(), "proc/softirqs", &SOFTIRQS).sample(&mut reader, &mut registry);
        assert_eq!(registry.finish(0).values, [(1, 7), (2, 30)]);
    }
}
