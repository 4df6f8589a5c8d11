# What CI runs.
check:
    tests/run

# Without the lab: under five minutes once built.
quick:
    tests/run --quick

# dist/muster and dist/muster-agent.
build:
    packaging/build

# A control plane with this machine in it; Ctrl-C ends it.
quickstart *arguments:
    packaging/quickstart {{ arguments }}

# Every bench in full, or the named ones: just bench agent fleet list codec
bench *names:
    tests/bench {{ names }}

# Every mitigation switched off in turn, or the named ones: each must be noticed.
mutations *names:
    tests/mutations {{ names }}

# Kills either side while changes are made, a thousand times or as often as said, on six real servers at once.
fix-kills times="1000":
    MUSTER_FIX_KILLS={{ times }} MUSTER_FIX_SERVERS=6 tests/run --profile long --no-capture -E 'binary(fixes) and test(whichever_side_is_killed)'

# Licences, sources and advisories of every dependency (needs cargo-deny).
deny:
    cargo deny --config .deny.toml check

# Holds the whole API to its own document with many more requests than tests/run makes up, on both databases.
schemathesis:
    MUSTER_TESTS_FEATURES=muster-tests/schemathesis tests/run --profile long -E 'binary(schemathesis)'

# No lock-out: at least 200 broken changes on eight real servers, about half an hour. Seeded by MUSTER_LOCKOUT_SEED.
lockout:
    MUSTER_LOCKOUT_RUNS=208 MUSTER_LOCKOUT_SERVERS=8 tests/run --profile long --no-capture -E 'test(whatever_breaks_the_way_in)'

# Every sample once: 1,000 simulated agents with 250 series for 20 minutes, links that drop, both sides killed by chance;
# about three quarters of an hour. Seeded by MUSTER_SOAK_SEED. Whether memory is flat is told where nobody kills the control
# plane: just soak 250 2000 0
soak agents="1000" seconds="1200" kills="8":
    MUSTER_SOAK_AGENTS={{ agents }} MUSTER_SOAK_SECONDS={{ seconds }} MUSTER_SOAK_KILLS={{ kills }} MUSTER_SOAK_SPEED=1 MUSTER_SOAK_SEALING=30 tests/run --profile long --no-capture -E 'binary(soak)'

# Pictures of every page of the dashboard at both widths, into docs/screens.
screens:
    mkdir -p docs/screens
    MUSTER_SCREENS="$PWD/docs/screens" tests/run --profile long -E 'binary(dashboard) and test(no_page_has)'
