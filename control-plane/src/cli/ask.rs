//! Asking the person whether something shall really be done.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::{failure::Failure, table};

/// Asks whether to do `what` unless `yes` was said in advance.
///
/// # Errors
/// As [`whether`].
pub(super) fn unless(yes: bool, what: &str) -> Result<(), Failure> {
    if yes { Ok(()) } else { whether(what) }
}

/// Asks whether to do `what`, and comes back well only after a yes.
///
/// # Errors
/// When the answer is another, or nobody is there to answer.
pub(super) fn whether(what: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("nobody is here to ask whether to {what}"), "add --yes"));
    }
    let unheard = |_| Failure::usage("the question could not be asked", "add --yes");
    let mut asked = std::io::stderr();
    write!(asked, "{}? [y/N] ", table::printable(what)).and_then(|()| asked.flush()).map_err(unheard)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(unheard)?;
    if matches!(line.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::ended_badly("nothing was done", "answer y, or say --yes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_person_nothing_is_done_unasked() {
        // Tests have no terminal.
        if !std::io::stdin().is_terminal() {
            let refused = whether("power off web-1").expect_err("nobody to ask");
            assert_eq!((refused.exit_code, refused.next_step.as_str()), (2, "add --yes"));
        }
    }
}
