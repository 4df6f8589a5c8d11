//! `muster-agent`: see [`muster_agent::app`].

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_agent::app::main()
}
