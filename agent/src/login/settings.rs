//! Where sshd's files must say something so that it counts. sshd takes the first value it meets for a keyword, and
//! `Match` blocks stand apart, so the place is at the very top: of the folder that is included, or of the main file.
//! Pure; whether it counts in the end is sshd's own word.

/// The file in the folder that is included; its name sorts before others.
pub(super) const DROP_IN: &str = "/etc/ssh/sshd_config.d/00-muster.conf";
pub(super) const MAIN: &str = "/etc/ssh/sshd_config";
const DROP_IN_FOLDER: &str = "/etc/ssh/sshd_config.d/";
const BEGIN: &str = "# Begin of what Muster keeps here.\n";
const END: &str = "# End of what Muster keeps here.\n";
/// Releases before 8.7 know the last two as two settings, later ones as one.
const NO_PASSWORDS: &str =
    "PasswordAuthentication no\nKbdInteractiveAuthentication no\nChallengeResponseAuthentication no\n";

/// A file to write, and what to write into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) path: &'static str,
    pub(super) content: Vec<u8>,
}

/// What to try, best first: a file of our own where the main file includes such, else the main file's own top.
pub(super) fn edits(main: &[u8]) -> Vec<Edit> {
    let drop_in = Edit { path: DROP_IN, content: format!("# Kept by Muster.\n{NO_PASSWORDS}").into_bytes() };
    let at_top = Edit { path: MAIN, content: with_block(main) };
    if includes_drop_ins(main) { vec![drop_in, at_top] } else { vec![at_top] }
}

/// Whether the main file reads the folder before any `Match`.
fn includes_drop_ins(main: &[u8]) -> bool {
    let text = String::from_utf8_lossy(main);
    let words = |line: &str| {
        let line = line.replace('=', " ");
        line.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    text.lines()
        .map(words)
        .take_while(|words| !words.first().is_some_and(|word| word.eq_ignore_ascii_case("match")))
        .filter(|words| words.first().is_some_and(|word| word.eq_ignore_ascii_case("include")))
        .flat_map(|words| words.into_iter().skip(1))
        .any(|pattern| {
            let absolute = if pattern.starts_with('/') { pattern } else { format!("/etc/ssh/{pattern}") };
            absolute.strip_prefix(DROP_IN_FOLDER).is_some_and(|name| matches!(name, "*" | "*.conf"))
        })
}

/// The main file with our lines at its top, in the place of those that may stand there already.
fn with_block(main: &[u8]) -> Vec<u8> {
    let block = format!("{BEGIN}{NO_PASSWORDS}{END}");
    let rest = main
        .strip_prefix(BEGIN.as_bytes())
        .and_then(|rest| {
            let end = rest.windows(END.len()).position(|window| window == END.as_bytes())?;
            rest.get(end + END.len()..)
        })
        .unwrap_or(main);
    [block.as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_our_own_is_used_only_where_it_is_read() {
        let paths = |main: &str| edits(main.as_bytes()).iter().map(|edit| edit.path).collect::<Vec<_>>();
        for main in [
            "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n",
            "# x\ninclude sshd_config.d/*.conf\n",
            "Include=\"/etc/ssh/sshd_config.d/*.conf\"\n",
        ] {
            assert_eq!(paths(main), [DROP_IN, MAIN], "{main}");
        }
        for main in ["Port 22\n", "#Include /etc/ssh/sshd_config.d/*.conf\n", "", "Include /etc/ssh/other/*.conf\n"] {
            assert_eq!(paths(main), [MAIN], "{main}");
        }
        assert_eq!(paths("Match User x\nInclude /etc/ssh/sshd_config.d/*.conf\n"), [MAIN]);
    }

    #[test]
    fn our_lines_stand_first_and_once() {
        let main = b"PasswordAuthentication yes\nMatch all\n\xff\n";
        let once = with_block(main);
        assert!(once.ends_with(main) && once.starts_with(BEGIN.as_bytes()));
        assert_eq!(with_block(&once), once);
    }
}
