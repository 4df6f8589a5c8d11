//! Which of two hosts that show the same identity is the copy. Pure.
//!
//! Each session gets the next generation number. The host writes it to its disk and confirms; from then on an older
//! number can only come from a copy of the disk. A crash between writing and confirming leaves a number that was issued
//! and not confirmed: that is the same host.

/// What is on record of a host's sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The number of the last session that was opened.
    pub issued: u64,
    /// The highest number the host is known to have on its disk.
    pub confirmed: u64,
    /// The machine that enrolled; empty where it had no machine id.
    pub machine_id_sha256: String,
}

/// What a host shows when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented<'a> {
    /// The last number it has on its disk; 0 before the first session.
    pub generation: u64,
    /// Empty where it has none.
    pub machine_id_sha256: &'a str,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Open a session with this number; the host has `confirmed` on its disk.
    Open { generation: u64, confirmed: u64 },
    /// Somebody else uses this identity.
    Clone(CloneSign),
}

/// How a copy showed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloneSign {
    /// The number is older than one that was confirmed.
    OldGeneration,
    /// It is another machine than the one that enrolled.
    OtherMachine,
}

impl CloneSign {
    /// A machine's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OldGeneration => "old_generation",
            Self::OtherMachine => "other_machine",
        }
    }
}

/// Whether the host that presents this is the one on record.
#[must_use]
pub fn decide(record: &Record, presented: &Presented<'_>) -> Decision {
    let known = [record.machine_id_sha256.as_str(), presented.machine_id_sha256];
    if known.iter().all(|id| !id.is_empty()) && known[0] != known[1] {
        return Decision::Clone(CloneSign::OtherMachine);
    }
    if presented.generation < record.confirmed {
        return Decision::Clone(CloneSign::OldGeneration);
    }
    // A number above every one issued means that the control plane was restored from an older backup: the host is
    // believed, and the count goes on from its number.
    let generation = record.issued.max(presented.generation).saturating_add(1);
    Decision::Open { generation, confirmed: presented.generation }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(issued: u64, confirmed: u64) -> Record {
        Record { issued, confirmed, machine_id_sha256: "m1".into() }
    }

    fn presented(generation: u64, machine_id_sha256: &str) -> Presented<'_> {
        Presented { generation, machine_id_sha256 }
    }

    #[test]
    fn every_case_has_its_answer() {
        let open = |generation, confirmed| Decision::Open { generation, confirmed };
        let cases = [
            ("first session", record(0, 0), presented(0, "m1"), open(1, 0)),
            ("ordinary reconnect", record(5, 5), presented(5, "m1"), open(6, 5)),
            ("the welcome was lost", record(6, 5), presented(5, "m1"), open(7, 5)),
            ("the confirmation was lost", record(6, 5), presented(6, "m1"), open(7, 6)),
            ("an older disk", record(6, 6), presented(5, "m1"), Decision::Clone(CloneSign::OldGeneration)),
            ("never connected, old disk", record(6, 6), presented(0, "m1"), Decision::Clone(CloneSign::OldGeneration)),
            ("another machine", record(6, 6), presented(6, "m2"), Decision::Clone(CloneSign::OtherMachine)),
            ("no machine id", record(6, 6), presented(6, ""), open(7, 6)),
            ("restored control plane", record(3, 3), presented(9, "m1"), open(10, 9)),
        ];
        for (name, record, presented, expected) in cases {
            assert_eq!(decide(&record, &presented), expected, "{name}");
        }
    }

    /// A host that may crash anywhere, and lose any message.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        WelcomeLost,
        ConfirmLost,
        Confirmed,
    }

    fn session(record: &mut Record, disk: &mut u64, step: Step) -> bool {
        let Decision::Open { generation, confirmed } = decide(record, &presented(*disk, "m1")) else { return false };
        record.issued = generation;
        record.confirmed = record.confirmed.max(confirmed);
        if !matches!(step, Step::WelcomeLost) {
            *disk = generation;
        }
        if matches!(step, Step::Confirmed) {
            record.confirmed = generation;
        }
        true
    }

    proptest! {
        #[test]
        fn a_lone_host_is_never_taken_for_a_copy(steps in prop::collection::vec(0..3u8, 0..40)) {
            let (mut record, mut disk) = (record(0, 0), 0);
            for step in steps {
                let step = [Step::WelcomeLost, Step::ConfirmLost, Step::Confirmed][usize::from(step)];
                prop_assert!(session(&mut record, &mut disk, step));
            }
        }

        #[test]
        fn of_two_hosts_with_one_disk_one_is_found_out_at_the_second_connect(before in 0..10u8) {
            let (mut record, mut disk) = (record(0, 0), 0);
            for _ in 0..before {
                session(&mut record, &mut disk, Step::Confirmed);
            }
            let mut copy = disk;
            prop_assert!(session(&mut record, &mut disk, Step::Confirmed));
            prop_assert!(!session(&mut record, &mut copy, Step::Confirmed));
        }
    }
}
