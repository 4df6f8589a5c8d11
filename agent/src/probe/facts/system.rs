//! The operating system and the running kernel.

use std::io;

use muster_shared::facts::{Os, SupportTier};

use crate::{
    os::{Release, release::FILES, text},
    probe::host::Host,
};

pub(super) fn hostname(host: &Host) -> String {
    host.read_word("/proc/sys/kernel/hostname").or_else(|| host.read_word("/etc/hostname")).unwrap_or_default()
}

pub(super) fn kernel(host: &Host) -> String {
    host.read_word("/proc/sys/kernel/osrelease").unwrap_or_default()
}

pub(super) fn arch() -> String {
    text::clean_bytes(rustix::system::uname().machine().to_bytes())
}

pub(super) fn boot_id(host: &Host) -> String {
    host.read_word("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

pub(super) fn booted_at_us(host: &Host) -> Option<i64> {
    let stat = host.read("/proc/stat").ok()?;
    let seconds: i64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    seconds.checked_mul(1_000_000)
}

pub(super) fn os(host: &Host) -> io::Result<Os> {
    let release = host.read(FILES[0]).or_else(|_| host.read(FILES[1]))?;
    Ok(parse_os(&release))
}

fn parse_os(release: &str) -> Os {
    let Release { id, version, name, codename, pretty_name } = Release::parse(release);
    Os { support_tier: support_tier(&id, &version), id, version, name, codename, pretty_name }
}

/// The table of supported systems. A release newer than the table's is of a supported family, so it is supported in
/// part until it is listed; one older than the table's is not supported.
fn support_tier(id: &str, version: &str) -> SupportTier {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match (id, major, minor) {
        ("ubuntu", 20 | 22 | 24, 4) | ("debian", 11 | 12, _) => SupportTier::Full,
        ("ubuntu", 20.., _) if (major, minor) > (20, 4) => SupportTier::Partial,
        ("debian", 13.., _) => SupportTier::Partial,
        ("rocky" | "almalinux" | "centos" | "rhel", 8.., _) => SupportTier::Partial,
        ("alpine", 3, 17..) | ("alpine", 4.., _) | ("arch", ..) => SupportTier::Experimental,
        _ => SupportTier::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_file_is_read_with_and_without_quotes() {
        let os = parse_os(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME='Debian GNU/Linux'\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n# comment\n",
        );
        assert_eq!((os.id.as_str(), os.version.as_str(), os.codename.as_str()), ("debian", "12", "bookworm"));
        assert_eq!((os.name.as_str(), os.support_tier), ("Debian GNU/Linux", SupportTier::Full));
    }

    #[test]
    fn tiers_follow_the_table() {
        use SupportTier::{Experimental, Full, Partial, Unsupported};
        let cases = [
            ("ubuntu", "20.04", Full),
            ("ubuntu", "24.04", Full),
            ("ubuntu", "24.10", Partial),
            ("ubuntu", "26.04", Partial),
            ("ubuntu", "18.04", Unsupported),
            ("debian", "11", Full),
            ("debian", "12", Full),
            ("debian", "13", Partial),
            ("debian", "10", Unsupported),
            ("debian", "", Unsupported),
            ("rocky", "8.9", Partial),
            ("almalinux", "9.3", Partial),
            ("centos", "7", Unsupported),
            ("alpine", "3.17.1", Experimental),
            ("alpine", "3.16", Unsupported),
            ("arch", "", Experimental),
            ("gentoo", "2.15", Unsupported),
        ];
        for (id, version, tier) in cases {
            assert_eq!(support_tier(id, version), tier, "{id} {version}");
        }
    }
}
