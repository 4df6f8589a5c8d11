//! Files of one `key value` a line: `/proc/meminfo` and `/proc/vmstat`.

use std::path::Path;

use muster_shared::metric::names;

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

const fn kilobytes(key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { key, unit: 1024, metric: Metric::gauge(name, 0, &[], help) }
}

const fn pages(key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { key, unit: 1, metric: Metric::gauge(name, 0, &[], help) }
}

const fn count(key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { key, unit: 1, metric: Metric::counter(name, 0, &[], help) }
}

const fn kilobytes_moved(key: &'static str, name: &'static str, help: &'static str) -> Field {
    Field { key, unit: 1024, metric: Metric::counter(name, 0, &[], help) }
}

/// In the order of their keys' bytes, so that a key is found by bisection.
pub(super) const MEMINFO: [Field; 31] = [
    kilobytes("Active", "host_memory_active_bytes", "Memory used recently."),
    kilobytes("Active(anon)", "host_memory_active_anonymous_bytes", "Programs' own memory used recently."),
    kilobytes("Active(file)", "host_memory_active_file_bytes", "Page cache used recently."),
    kilobytes("AnonHugePages", "host_memory_huge_anonymous_bytes", "Programs' own memory in huge pages."),
    kilobytes("AnonPages", "host_memory_anonymous_bytes", "Programs' own memory."),
    kilobytes("Buffers", "host_memory_buffers_bytes", "Cache of block devices."),
    kilobytes("Cached", "host_memory_cached_bytes", "Page cache."),
    kilobytes(
        "CommitLimit",
        "host_memory_commit_limit_bytes",
        "Memory that could be promised under strict accounting.",
    ),
    kilobytes("Committed_AS", "host_memory_committed_bytes", "Memory promised to programs."),
    kilobytes("Dirty", "host_memory_dirty_bytes", "Page cache waiting to be written."),
    pages("HugePages_Free", "host_memory_huge_pages_free", "Reserved huge pages that are free."),
    pages("HugePages_Total", "host_memory_huge_pages", "Huge pages reserved."),
    kilobytes("Inactive", "host_memory_inactive_bytes", "Memory not used recently."),
    kilobytes("Inactive(anon)", "host_memory_inactive_anonymous_bytes", "Programs' own memory not used recently."),
    kilobytes("Inactive(file)", "host_memory_inactive_file_bytes", "Page cache not used recently."),
    kilobytes("KernelStack", "host_memory_kernel_stack_bytes", "Stacks of tasks in the kernel."),
    kilobytes("Mapped", "host_memory_mapped_bytes", "Files mapped into programs."),
    kilobytes("MemAvailable", names::HOST_MEMORY_AVAILABLE_BYTES, "What a new program could get without swapping."),
    kilobytes("MemFree", "host_memory_free_bytes", "Memory nobody uses."),
    kilobytes("MemTotal", names::HOST_MEMORY_TOTAL_BYTES, "Memory of the host."),
    kilobytes("Mlocked", "host_memory_locked_bytes", "Memory locked against swapping."),
    kilobytes("PageTables", "host_memory_page_tables_bytes", "Page tables."),
    kilobytes("SReclaimable", "host_memory_slab_reclaimable_bytes", "Kernel objects that can be dropped."),
    kilobytes("SUnreclaim", "host_memory_slab_unreclaimable_bytes", "Kernel objects that can't be dropped."),
    kilobytes("Shmem", "host_memory_shared_bytes", "Shared memory and tmpfs."),
    kilobytes("SwapCached", "host_memory_swap_cached_bytes", "Memory that is in swap too."),
    kilobytes("SwapFree", "host_memory_swap_free_bytes", "Swap nobody uses."),
    kilobytes("SwapTotal", "host_memory_swap_total_bytes", "Swap of the host."),
    kilobytes("Unevictable", "host_memory_unevictable_bytes", "Memory that can't be reclaimed."),
    kilobytes("VmallocUsed", "host_memory_vmalloc_bytes", "The kernel's virtually mapped memory."),
    kilobytes("Writeback", "host_memory_writeback_bytes", "Page cache being written."),
];

/// In the order of their keys' bytes.
pub(super) const VMSTAT: [Field; 24] = [
    count("allocstall_movable", "host_memory_allocation_stalls_total", "Allocations that had to wait for reclaim."),
    count("compact_fail", "host_memory_compaction_failures_total", "Compactions that made no huge page."),
    count("compact_stall", "host_memory_compaction_stalls_total", "Allocations that had to wait for compaction."),
    count("compact_success", "host_memory_compactions_total", "Compactions that made a huge page."),
    count("drop_pagecache", "host_memory_cache_drops_total", "Times the page cache was dropped by hand."),
    count("oom_kill", "host_memory_oom_kills_total", "Processes killed for want of memory."),
    count("pageoutrun", "host_memory_reclaim_runs_total", "Runs of the reclaiming thread."),
    count("pgactivate", "host_memory_pages_activated_total", "Pages moved to the recently used."),
    count("pgdeactivate", "host_memory_pages_deactivated_total", "Pages moved from the recently used."),
    count("pgfault", "host_memory_page_faults_total", "Page faults."),
    count("pgfree", "host_memory_pages_freed_total", "Pages freed."),
    count("pgmajfault", "host_memory_major_page_faults_total", "Page faults that waited for a disk."),
    kilobytes_moved("pgpgin", "host_memory_paged_in_bytes_total", "Bytes read from disks."),
    kilobytes_moved("pgpgout", "host_memory_paged_out_bytes_total", "Bytes written to disks."),
    count(
        "pgscan_direct",
        "host_memory_pages_scanned_direct_total",
        "Pages looked at for reclaim by those who waited.",
    ),
    count("pgscan_kswapd", "host_memory_pages_scanned_total", "Pages looked at for reclaim in the background."),
    count("pgsteal_direct", "host_memory_pages_reclaimed_direct_total", "Pages reclaimed by those who waited."),
    count("pgsteal_kswapd", "host_memory_pages_reclaimed_total", "Pages reclaimed in the background."),
    count("pswpin", "host_swap_pages_in_total", "Pages read back from swap."),
    count("pswpout", "host_swap_pages_out_total", "Pages written to swap."),
    count("thp_fault_alloc", "host_memory_huge_pages_allocated_total", "Huge pages given at a fault."),
    count("thp_fault_fallback", "host_memory_huge_pages_missed_total", "Faults for which no huge page was free."),
    count("workingset_refault_anon", "host_memory_refaults_anonymous_total", "Swapped pages needed again soon."),
    count("workingset_refault_file", "host_memory_refaults_file_total", "Dropped cache needed again soon."),
];

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
    use super::*;

    #[test]
    fn tables_are_in_the_order_bisection_needs() {
        assert!(MEMINFO.is_sorted_by_key(|field| field.key));
        assert!(VMSTAT.is_sorted_by_key(|field| field.key));
    }
}
