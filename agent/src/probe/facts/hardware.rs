//! Processor and memory.

use muster_shared::facts::{Cpu, Memory};

use crate::{os::text, probe::host::Host};

const KIB: u64 = 1024;

pub(super) fn cpu(host: &Host) -> Cpu {
    host.read("/proc/cpuinfo").map(|info| parse_cpu(&info)).unwrap_or_default()
}

fn parse_cpu(info: &str) -> Cpu {
    let fields = || info.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.trim(), value.trim()));
    let cores = fields().filter(|(key, _)| *key == "processor").count();
    // x86 names the model on every core; ARM boards name the board once, at the end, if at all.
    let model = ["model name", "Model", "cpu model", "Hardware", "CPU part"]
        .into_iter()
        .find_map(|wanted| fields().find(|(key, _)| *key == wanted).map(|(_, value)| text::clean(value)));
    Cpu { model: model.unwrap_or_default(), cores: u32::try_from(cores).unwrap_or(u32::MAX) }
}

pub(super) fn memory(host: &Host) -> Memory {
    let info = host.read("/proc/meminfo").unwrap_or_default();
    let bytes = |key: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kibibytes = line.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or(0).saturating_mul(KIB)
    };
    Memory { total_bytes: bytes("MemTotal"), swap_total_bytes: bytes("SwapTotal") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_and_model_on_both_architectures() {
        let x86 = parse_cpu("processor\t: 0\nmodel name\t: EPYC  7B13\n\nprocessor\t: 1\nmodel name\t: EPYC 7B13\n");
        assert_eq!((x86.cores, x86.model.as_str()), (2, "EPYC  7B13"));
        let arm = parse_cpu("processor\t: 0\nBogoMIPS\t: 50.00\nCPU part\t: 0xd0c\n\nModel\t\t: Raspberry Pi 4\n");
        assert_eq!((arm.cores, arm.model.as_str()), (1, "Raspberry Pi 4"));
    }
}
