//! Files of one device a line: `/proc/diskstats` and `/proc/net/dev`. Devices come and go; which of them are worth
//! a series is decided when one is first seen.

use std::path::Path;

use muster_shared::metric::names;

use super::{
    metric::{MICRO, Metric},
    reader::{KeptFile, Reader},
    registry::{Registry, Slot},
    scan::{lines, number, words},
};
use crate::os::text;

/// Most devices of a kind that are told apart; later ones are not sampled.
const MAX_DEVICES: usize = 512;

const DEVICE: &[&str] = &["device"];

/// A column of the file: where the number stands after the device's name, and what one of its units is in the metric's.
#[derive(Debug)]
pub(super) struct Column {
    at: usize,
    unit: i64,
    pub(super) metric: Metric,
}

const fn column(at: usize, unit: i64, metric: Metric) -> Column {
    Column { at, unit, metric }
}

/// Sectors of `/proc/diskstats` are always these many bytes, whatever the device's own are.
const SECTOR_BYTES: i64 = 512;
const MILLISECOND_US: i64 = 1000;

pub(super) const DISKS: [Column; 16] = [
    column(0, 1, Metric::counter("host_disk_reads_total", 0, DEVICE, "Reads completed.")),
    column(
        1,
        1,
        Metric::counter("host_disk_reads_merged_total", 0, DEVICE, "Reads merged with others before they were issued."),
    ),
    column(2, SECTOR_BYTES, Metric::counter("host_disk_read_bytes_total", 0, DEVICE, "Bytes read.")),
    column(
        3,
        MILLISECOND_US,
        Metric::counter("host_disk_read_seconds_total", MICRO, DEVICE, "Time reads took, summed."),
    ),
    column(4, 1, Metric::counter("host_disk_writes_total", 0, DEVICE, "Writes completed.")),
    column(
        5,
        1,
        Metric::counter(
            "host_disk_writes_merged_total",
            0,
            DEVICE,
            "Writes merged with others before they were issued.",
        ),
    ),
    column(6, SECTOR_BYTES, Metric::counter("host_disk_written_bytes_total", 0, DEVICE, "Bytes written.")),
    column(
        7,
        MILLISECOND_US,
        Metric::counter("host_disk_write_seconds_total", MICRO, DEVICE, "Time writes took, summed."),
    ),
    column(8, 1, Metric::gauge("host_disk_in_flight", 0, DEVICE, "Requests under way.")),
    column(
        9,
        MILLISECOND_US,
        Metric::counter("host_disk_busy_seconds_total", MICRO, DEVICE, "Time with a request under way."),
    ),
    column(
        10,
        MILLISECOND_US,
        Metric::counter(
            "host_disk_waited_seconds_total",
            MICRO,
            DEVICE,
            "Time requests took, summed, those under way included.",
        ),
    ),
    column(11, 1, Metric::counter("host_disk_discards_total", 0, DEVICE, "Discards completed.")),
    column(
        12,
        1,
        Metric::counter(
            "host_disk_discards_merged_total",
            0,
            DEVICE,
            "Discards merged with others before they were issued.",
        ),
    ),
    column(13, SECTOR_BYTES, Metric::counter("host_disk_discarded_bytes_total", 0, DEVICE, "Bytes discarded.")),
    column(15, 1, Metric::counter("host_disk_flushes_total", 0, DEVICE, "Flushes completed.")),
    column(
        16,
        MILLISECOND_US,
        Metric::counter("host_disk_flush_seconds_total", MICRO, DEVICE, "Time flushes took, summed."),
    ),
];

pub(super) const INTERFACES: [Column; 16] = [
    column(0, 1, Metric::counter(names::HOST_NETWORK_RECEIVE_BYTES_TOTAL, 0, DEVICE, "Bytes received.")),
    column(1, 1, Metric::counter("host_network_receive_packets_total", 0, DEVICE, "Packets received.")),
    column(2, 1, Metric::counter("host_network_receive_errors_total", 0, DEVICE, "Packets received with errors.")),
    column(3, 1, Metric::counter("host_network_receive_drops_total", 0, DEVICE, "Packets dropped on receipt.")),
    column(
        4,
        1,
        Metric::counter(
            "host_network_receive_overruns_total",
            0,
            DEVICE,
            "Packets lost to a full queue of the device.",
        ),
    ),
    column(
        5,
        1,
        Metric::counter("host_network_receive_frame_errors_total", 0, DEVICE, "Packets received with a broken frame."),
    ),
    column(6, 1, Metric::counter("host_network_receive_compressed_total", 0, DEVICE, "Compressed packets received.")),
    column(7, 1, Metric::counter("host_network_receive_multicast_total", 0, DEVICE, "Multicast packets received.")),
    column(8, 1, Metric::counter(names::HOST_NETWORK_TRANSMIT_BYTES_TOTAL, 0, DEVICE, "Bytes sent.")),
    column(9, 1, Metric::counter("host_network_transmit_packets_total", 0, DEVICE, "Packets sent.")),
    column(10, 1, Metric::counter("host_network_transmit_errors_total", 0, DEVICE, "Packets not sent for errors.")),
    column(11, 1, Metric::counter("host_network_transmit_drops_total", 0, DEVICE, "Packets dropped on sending.")),
    column(
        12,
        1,
        Metric::counter(
            "host_network_transmit_overruns_total",
            0,
            DEVICE,
            "Packets not sent for a full queue of the device.",
        ),
    ),
    column(13, 1, Metric::counter("host_network_transmit_collisions_total", 0, DEVICE, "Collisions on the wire.")),
    column(
        14,
        1,
        Metric::counter(
            "host_network_transmit_carrier_errors_total",
            0,
            DEVICE,
            "Packets not sent for a lost carrier.",
        ),
    ),
    column(15, 1, Metric::counter("host_network_transmit_compressed_total", 0, DEVICE, "Compressed packets sent.")),
];

/// A file of devices.
#[derive(Debug)]
pub(super) struct DeviceFile<const N: usize> {
    file: KeptFile,
    columns: &'static [Column; N],
    kind: Kind,
    devices: Vec<Device<N>>,
}

#[derive(Debug)]
enum Kind {
    Disks,
    Interfaces { class: std::path::PathBuf },
}

#[derive(Debug)]
struct Device<const N: usize> {
    name: String,
    standing: Standing<N>,
    seen: bool,
}

#[derive(Debug)]
enum Standing<const N: usize> {
    /// A part of another device, or one that exists in software only.
    LeftOut,
    /// A disk without any request yet: most loop and RAM disks stay so for ever.
    Unused,
    Sampled([Slot; N]),
}

impl DeviceFile<16> {
    pub(super) fn disks(root: &Path) -> Self {
        Self::new(KeptFile::new(root.join("proc/diskstats")), &DISKS, Kind::Disks)
    }

    pub(super) fn interfaces(root: &Path) -> Self {
        let class = root.join("sys/class/net");
        Self::new(KeptFile::new(root.join("proc/net/dev")), &INTERFACES, Kind::Interfaces { class })
    }
}

impl<const N: usize> DeviceFile<N> {
    fn new(file: KeptFile, columns: &'static [Column; N], kind: Kind) -> Self {
        Self { file, columns, kind, devices: Vec::new() }
    }

    pub(super) fn sample(&mut self, reader: &mut Reader, registry: &mut Registry) {
        let Some(text) = self.file.read(reader) else { return };
        let mut expected = 0;
        for line in lines(text) {
            let Some((name, numbers)) = split_name(line, &self.kind) else { continue };
            let Some(at) = find_or_add(&mut self.devices, expected, name, &self.kind) else { continue };
            expected = at + 1;
            let device = &mut self.devices[at];
            device.seen = true;
            if matches!(device.standing, Standing::Unused) && words(numbers).any(|word| word != b"0") {
                device.standing = Standing::Sampled([Slot::default(); N]);
            }
            let Standing::Sampled(slots) = &mut device.standing else { continue };
            let mut columns = self.columns.iter().zip(slots).peekable();
            for (at, word) in words(numbers).enumerate() {
                let Some((column, slot)) = columns.next_if(|(column, _)| column.at == at) else { continue };
                if let Some(value) = number(word) {
                    registry.put(slot, &column.metric, &[&device.name], value.saturating_mul(column.unit));
                }
            }
        }
        self.forget_unseen(registry);
    }

    fn forget_unseen(&mut self, registry: &mut Registry) {
        self.devices.retain_mut(|device| {
            let seen = std::mem::take(&mut device.seen);
            if !seen && let Standing::Sampled(slots) = &mut device.standing {
                registry.retire(slots);
            }
            seen
        });
    }
}

/// The device's name and the line after it.
fn split_name<'t>(line: &'t [u8], kind: &Kind) -> Option<(&'t [u8], &'t [u8])> {
    match kind {
        Kind::Interfaces { .. } => {
            let colon = line.iter().rposition(|byte| *byte == b':')?;
            Some((line[..colon].trim_ascii_start(), &line[colon + 1..]))
        }
        Kind::Disks => {
            let name = words(line).nth(2)?;
            let start = line.windows(name.len()).position(|window| std::ptr::eq(window.as_ptr(), name.as_ptr()))?;
            Some((name, &line[start + name.len()..]))
        }
    }
}

/// Devices keep their order, so the one expected next is nearly always the one that comes.
fn find_or_add<const N: usize>(
    devices: &mut Vec<Device<N>>,
    expected: usize,
    name: &[u8],
    kind: &Kind,
) -> Option<usize> {
    if devices.get(expected).is_some_and(|device| device.name.as_bytes() == name) {
        return Some(expected);
    }
    if let Some(at) = devices.iter().position(|device| device.name.as_bytes() == name) {
        return Some(at);
    }
    if devices.len() >= MAX_DEVICES {
        return None;
    }
    let name = text::clean_bytes(name);
    let standing = match kind {
        Kind::Disks if is_part_of_another(&name, devices.iter().map(|device| device.name.as_str())) => {
            Standing::LeftOut
        }
        Kind::Disks => Standing::Unused,
        Kind::Interfaces { class } if is_virtual(&name, &class.join(&name)) => Standing::LeftOut,
        Kind::Interfaces { .. } => Standing::Sampled([Slot::default(); N]),
    };
    devices.push(Device { name, standing, seen: false });
    Some(devices.len() - 1)
}

/// Whether `name` is a partition of one of the disks before it: `sda1`, `nvme0n1p1`, `mmcblk0p2`.
fn is_part_of_another<'d>(name: &str, mut disks: impl Iterator<Item = &'d str>) -> bool {
    disks.any(|disk| {
        let Some(rest) = name.strip_prefix(disk) else { return false };
        let number =
            if disk.ends_with(|last: char| last.is_ascii_digit()) { rest.strip_prefix('p') } else { Some(rest) };
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Loopback, the host's ends of containers' pairs, and devices stacked on others (bridges, bonds, VLANs): their bytes
/// are counted where they enter or leave the host.
fn is_virtual(name: &str, class: &Path) -> bool {
    let by_name =
        name == "lo" || ["veth", "ifb", "dummy", "docker", "br-"].iter().any(|prefix| name.starts_with(prefix));
    let is_stacked = || {
        let entries = std::fs::read_dir(class).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name())
            .any(|entry| entry == "bridge" || entry.as_encoded_bytes().starts_with(b"lower_"))
    };
    by_name || is_stacked()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sample::Tick;

    #[test]
    fn partitions_are_told_from_disks() {
        let disks = ["sda", "nvme0n1", "mmcblk0", "dm-1"];
        let parts = ["sda1", "sda15", "nvme0n1p2", "mmcblk0p1"];
        assert!(parts.iter().all(|name| is_part_of_another(name, disks.into_iter())));
        let whole = ["sdaa", "nvme0n2", "mmcblk0boot0", "dm-10", "md0"];
        assert!(!whole.iter().any(|name| is_part_of_another(name, disks.into_iter())));
    }

    #[test]
    fn a_device_that_goes_ends_its_series_and_one_that_returns_begins_new_ones() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("proc")).expect("proc");
        let write = |lines: &str| fs::write(root.path().join("proc/diskstats"), lines).expect("diskstats");
        let (mut reader, mut registry) = (Reader::new(), Registry::new(100));
        let mut disks = DeviceFile::disks(root.path());
        let mut tick = || {
            disks.sample(&mut reader, &mut registry);
            registry.finish(0)
        };

        write(
            "   7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n 254 0 vda 5 1 16 3 4 1 8 2 0 6 9 0 0 0 0\n 254 1 vda1 5 1 16 3 4 1 8 2 0 6 9\n",
        );
        let Tick { values, declared, .. } = tick();
        let expected = [5, 1, 16 * 512, 3000, 4, 1, 8 * 512, 2000, 0, 6000, 9000, 0, 0, 0];
        assert_eq!(values.iter().map(|(_, value)| *value).collect::<Vec<_>>(), expected);
        assert!(declared.iter().all(|(_, series)| series.labels["device"] == "vda"));

        write("");
        assert_eq!(tick().values, []);
        write(" 254 0 vda 6 1 16 3 4 1 8 2 0 6 9\n");
        assert_eq!(tick().values[0], (15, 6));
    }

    #[test]
    fn interfaces_are_counted_where_bytes_enter_the_host() {
        let class = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(class.path().join("vmbr0/bridge")).expect("bridge");
        fs::create_dir_all(class.path().join("bond0/lower_eth0")).expect("bond");
        fs::create_dir_all(class.path().join("eth0")).expect("interface");
        let left_out = ["lo", "veth12ab", "docker0", "br-0123456789ab", "vmbr0", "bond0"];
        assert!(left_out.iter().all(|name| is_virtual(name, &class.path().join(name))));
        assert!(!is_virtual("eth0", &class.path().join("eth0")));
    }
}
