//! Files of one `key value` a line: `/proc/meminfo`, `/proc/vmstat` and `/proc/net/snmp6`.

use std::path::Path;

use super::{
    metric::Metric,
    reader::{KeptFile, Reader},
    registry::{Registry, Slot},
    scan::{lines, number},
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
        for line in lines(text) {
            let Some(end) = line.iter().position(|byte| matches!(byte, b' ' | b':')) else { continue };
            let Ok(at) = self.fields.binary_search_by(|field| field.key.as_bytes().cmp(&line[..end])) else { continue };
            let value = line[end + 1..].trim_ascii_start();
            let (field, slot) = (&self.fields[at], &mut self.slots[at]);
            if let Some(value) = number(value) {
                registry.put(slot, &field.metric, &[], value.saturating_mul(field.unit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sample::tables::{MEMINFO, SNMP6, VMSTAT};

    #[test]
    fn tables_are_in_the_order_bisection_needs() {
        assert!([&MEMINFO[..], &VMSTAT, &SNMP6].iter().all(|table| table.is_sorted_by_key(|field| field.key)));
    }
}
