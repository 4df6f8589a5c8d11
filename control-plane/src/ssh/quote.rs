//! SSH carries one string where a program takes arguments: the login's shell splits it again. This is the only place
//! where such a string is made, and it makes one that every POSIX shell splits into exactly the arguments given.

/// An argument that no program can be given: it holds a NUL byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an argument holds a NUL byte")]
pub struct NulByte;

/// `arguments` as one string, to be split by a shell into just these.
///
/// # Errors
/// [`NulByte`] where an argument cannot exist in an argument vector.
pub fn command_line<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<String, NulByte> {
    let mut line = String::new();
    for argument in arguments {
        if argument.contains('\0') {
            return Err(NulByte);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        push_quoted(&mut line, argument);
    }
    Ok(line)
}

/// Everything is literal between single quotes; a single quote itself is put between double quotes.
fn push_quoted(line: &mut String, argument: &str) {
    line.push('\'');
    for piece in argument.split_inclusive('\'') {
        match piece.strip_suffix('\'') {
            Some(before) => {
                line.push_str(before);
                line.push_str("'\"'\"'");
            }
            None => line.push_str(piece),
        }
    }
    line.push('\'');
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// What `/bin/sh` makes of the arguments: each as `printf` got it, ended by a NUL.
    fn through_a_shell(arguments: &[String]) -> Vec<String> {
        let vector = ["printf", "%s\\0"].into_iter().chain(arguments.iter().map(String::as_str));
        let line = command_line(vector).expect("no NUL");
        let output = Command::new("/bin/sh").arg("-c").arg(&line).output().expect("sh runs");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("as it went in");
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn hostile_arguments_stay_arguments() {
        let home = tempfile::tempdir().expect("a directory");
        let canary = home.path().join("canary");
        let canary_text = canary.display();
        let hostile: Vec<String> = [
            format!("; touch {canary_text}"),
            format!("$(touch {canary_text})"),
            format!("`touch {canary_text}`"),
            format!("'; touch {canary_text}; '"),
            format!("\"; touch {canary_text}; \""),
            format!("'\"'\"'; touch {canary_text} #"),
            format!("\n touch {canary_text}\n"),
            format!("& touch {canary_text} &"),
            format!("| touch {canary_text}"),
            format!("> {canary_text}"),
            format!("\\'; touch {canary_text}; \\'"),
            "-n".to_owned(),
            "$IFS".to_owned(),
            "~".to_owned(),
            "*".to_owned(),
            "{a,b}".to_owned(),
            "\u{202e}".to_owned(),
            String::new(),
        ]
        .into();
        assert_eq!(through_a_shell(&hostile), hostile);
        assert!(!canary.exists());
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert_eq!(command_line(["a", "b\0c"]), Err(NulByte));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_shell_splits_the_line_into_the_same_arguments(
            arguments in prop::collection::vec("[^\0]{0,24}|[ \\\\'\"$`!;&|<>(){}*?~#\n\t=a-]{0,24}", 1..6),
        ) {
            prop_assert_eq!(through_a_shell(&arguments), arguments);
        }
    }
}
