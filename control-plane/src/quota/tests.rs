use proptest::prelude::*;

use super::*;

fn amounts() -> impl Strategy<Value = Amounts> {
    (0u64..1 << 40, 0u64..1 << 40, 0u64..1 << 40).prop_map(|(cpu_milli, ram_mb_milli, disk_gb_milli)| Amounts {
        cpu_milli,
        ram_mb_milli,
        disk_gb_milli,
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let limit = || proptest::option::of(0u64..1 << 41);
    (limit(), limit(), limit()).prop_map(|(cpu_milli, ram_mb_milli, disk_gb_milli)| Limits {
        cpu_milli,
        ram_mb_milli,
        disk_gb_milli,
    })
}

#[test]
fn a_replica_counts_for_thirty_percent_of_cpu_and_ram_and_all_of_the_disk() {
    let sizes = Amounts { cpu_milli: 1_000, ram_mb_milli: 2_048_000, disk_gb_milli: 40_000 };
    assert_eq!(counted(&sizes, true, false), sizes);
    let replica = Amounts { cpu_milli: 300, ram_mb_milli: 614_400, disk_gb_milli: 40_000 };
    assert_eq!(counted(&sizes, true, true), replica);
    assert_eq!(counted(&sizes, false, false), Amounts::default());
    assert_eq!(counted(&sizes, false, true), Amounts::default());
}

#[test]
fn a_refusal_names_the_resource_the_quota_and_what_is_left() {
    let limits = Limits { ram_mb_milli: Some(8_192_000), ..Limits::default() };
    let used = Amounts { ram_mb_milli: 7_168_000, ..Amounts::default() };
    let added = Amounts { ram_mb_milli: 2_048_500, cpu_milli: 64_000, ..Amounts::default() };
    let error: Error = admit(&limits, &used, &added).expect_err("over").into();
    assert_eq!((error.kind, error.code), (ErrorKind::PermissionDenied, "quota_exceeded"));
    assert!(
        error.detail.starts_with("Quota exceeded: RAM quota is 8192 MB, 1024 MB left, 2048.5 MB needed"),
        "{error}"
    );
}

#[test]
fn a_server_of_unknown_size_needs_something_left() {
    let limits = Limits { cpu_milli: Some(4_000), ..Limits::default() };
    let full = Amounts { cpu_milli: 4_000, ..Amounts::default() };
    assert!(admit_unsized(&limits, &full, &Amounts::default()).is_err());
    assert!(admit_unsized(&limits, &Amounts { cpu_milli: 3_999, ..full }, &Amounts::default()).is_ok());
    assert!(admit(&limits, &full, &Amounts::default()).is_ok());
}

proptest! {
    #[test]
    fn what_is_admitted_fits_and_what_is_refused_does_not(limits in limits(), used in amounts(), added in amounts()) {
        let sum = used.plus(&added);
        match admit(&limits, &used, &added) {
            Ok(()) => for resource in Resource::ALL {
                let fits = limits.of(resource).is_none_or(|quota| sum.of(resource) <= quota);
                prop_assert!(fits || added.of(resource) == 0);
            },
            Err(Exceeded { resource, quota, left, asked }) => {
                prop_assert_eq!(limits.of(resource), Some(quota));
                prop_assert_eq!(limits.left(resource, &used), Some(left));
                prop_assert!(asked > left && sum.of(resource) > quota);
            }
        }
    }

    #[test]
    fn admitting_one_by_one_never_passes_a_limit(limits in limits(), asked in prop::collection::vec(amounts(), 0..20)) {
        let mut used = Amounts::default();
        for added in asked {
            if admit(&limits, &used, &added).is_ok() {
                used = used.plus(&added);
            }
        }
        for resource in Resource::ALL {
            prop_assert!(limits.of(resource).is_none_or(|quota| used.of(resource) <= quota));
        }
    }

    #[test]
    fn a_replica_never_counts_for_less_than_its_share_nor_for_more_than_the_whole(sizes in amounts()) {
        let counted = counted(&sizes, true, true);
        for resource in [Resource::Cpu, Resource::Ram] {
            prop_assert!(counted.of(resource) * 100 >= sizes.of(resource) * 30);
            prop_assert!(counted.of(resource) * 100 < sizes.of(resource) * 30 + 100);
            prop_assert!(counted.of(resource) <= sizes.of(resource));
        }
        prop_assert_eq!(counted.disk_gb_milli, sizes.disk_gb_milli);
    }

    #[test]
    fn taking_away_what_was_added_leaves_what_was_there(one in amounts(), other in amounts()) {
        prop_assert_eq!(one.plus(&other).minus(&other), one);
        prop_assert_eq!([one, other].into_iter().sum::<Amounts>(), one.plus(&other));
    }

    #[test]
    fn numbers_are_written_as_they_read_back(milli in 0u64..1 << 50) {
        let text = written(milli);
        let number: f64 = text.parse().expect("a number");
        prop_assert_eq!(thousandths(number), milli);
    }
}
