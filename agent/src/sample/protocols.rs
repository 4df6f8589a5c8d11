//! Files of `Protocol: …` lines: `/proc/net/sockstat{,6}`, where names and values alternate, and `/proc/net/{snmp,
//! netstat}`, where a line of names is followed by one of values.

use std::path::Path;

use super::{
    metric::Metric,
    reader::{KeptFile, Reader},
    registry::{Registry, Slot},
    scan::{lines, number, words},
};

/// One number that is sampled.
#[derive(Debug)]
pub(super) struct Field {
    protocol: &'static str,
    key: &'static str,
    pub(super) metric: Metric,
}

pub(super) const fn count(protocol: &'static str, key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { protocol, key, metric: Metric::counter(name, 0, &[], help) }
}

pub(super) const fn milliseconds(
    protocol: &'static str,
    key: &'static str,
    name: &'static str,
    help: &'static str,
) -> Field {
    Field { protocol, key, metric: Metric::counter(name, -3, &[], help) }
}

pub(super) const fn level(protocol: &'static str, key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { protocol, key, metric: Metric::gauge(name, 0, &[], help) }
}

/// How names and values lie.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    /// `TCP: inuse 2 orphan 0`
    Alternating,
    /// `Tcp: InSegs OutSegs` and then `Tcp: 10 12`
    TwoLines,
}

/// A file of which the fields in a table are sampled.
#[derive(Debug)]
pub(super) struct ProtocolFile {
    file: KeptFile,
    layout: Layout,
    fields: &'static [Field],
    slots: Vec<Slot>,
}

impl ProtocolFile {
    pub(super) fn new(root: &Path, path: &str, layout: Layout, fields: &'static [Field]) -> Self {
        Self { file: KeptFile::new(root.join(path)), layout, fields, slots: vec![Slot::default(); fields.len()] }
    }

    pub(super) fn sample(&mut self, reader: &mut Reader, registry: &mut Registry) {
        let Some(text) = self.file.read(reader) else { return };
        let mut lines = lines(text);
        while let Some(line) = lines.next() {
            let Some((protocol, names)) = split_protocol(line) else { continue };
            match self.layout {
                Layout::Alternating => {
                    let values = names.clone().skip(1).step_by(2);
                    put(self.fields, &mut self.slots, protocol, names.step_by(2).zip(values), registry);
                }
                Layout::TwoLines => {
                    let Some((_, values)) = lines.next().and_then(split_protocol) else { return };
                    put(self.fields, &mut self.slots, protocol, names.zip(values), registry);
                }
            }
        }
    }
}

fn split_protocol(line: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]> + Clone)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], words(&line[colon + 1..])))
}

/// Tables name a protocol's fields together and mostly in the kernel's order, so the search begins where the last hit
/// was and seldom looks further than the next entry.
fn put<'t>(
    fields: &'static [Field],
    slots: &mut [Slot],
    protocol: &[u8],
    pairs: impl Iterator<Item = (&'t [u8], &'t [u8])>,
    registry: &mut Registry,
) {
    let Some(first) = fields.iter().position(|field| field.protocol.as_bytes() == protocol) else { return };
    let count = fields[first..].iter().take_while(|field| field.protocol.as_bytes() == protocol).count();
    let (fields, slots) = (&fields[first..first + count], &mut slots[first..first + count]);
    let mut expected = 0;
    for (key, value) in pairs {
        let rotated = (expected..count).chain(0..expected);
        let Some(at) = rotated.take(count).find(|at| fields[*at].key.as_bytes() == key) else { continue };
        expected = (at + 1) % count;
        if let Some(value) = number(value) {
            registry.put(&mut slots[at], &fields[at].metric, &[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sample::{
        Tick,
        tables::{SNMP, SOCKSTAT},
    };

    #[test]
    fn both_layouts_are_read_whatever_the_order() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("proc/net")).expect("directories");
        let sockstat = "sockets: used 82\nTCP: inuse 2 orphan 0 tw 1 alloc 3 mem 4\nODD: inuse 9\n";
        fs::write(root.path().join("proc/net/sockstat"), sockstat).expect("sockstat");
        let snmp = "Tcp: OutSegs New InSegs\nTcp: 12 99 10\nUdp: NoPorts\nUdp: -1\n";
        fs::write(root.path().join("proc/net/snmp"), snmp).expect("snmp");

        let (mut reader, mut registry) = (Reader::new(), Registry::new(100));
        let mut files = [
            ProtocolFile::new(root.path(), "proc/net/sockstat", Layout::Alternating, &SOCKSTAT),
            ProtocolFile::new(root.path(), "proc/net/snmp", Layout::TwoLines, &SNMP),
        ];
        for file in &mut files {
            file.sample(&mut reader, &mut registry);
        }
        let Tick { values, declared, .. } = registry.finish(0);
        let read: Vec<_> =
            declared.iter().zip(&values).map(|((_, series), (_, value))| (series.name.as_str(), *value)).collect();
        assert_eq!(read[..3], [("host_sockets", 82), ("host_tcp_sockets", 2), ("host_tcp_orphan_sockets", 0)]);
        assert_eq!(
            read[6..],
            [
                ("host_tcp_segments_sent_total", 12),
                ("host_tcp_segments_received_total", 10),
                ("host_udp_no_port_total", -1)
            ]
        );
    }
}
