//! `muster login` and `muster contexts …`

use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use muster_shared::wire;
use serde::Serialize;

use super::{
    client::{self, Resolved, Target},
    contexts::{Context, ContextFile, ContextName},
    failure::Failure,
    output::Output,
    table, web_login,
};

/// Most read from standard input, in bytes: a token is far shorter.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Sign in to a control plane and keep its address and token.
///
/// At a terminal it shows an address: whoever is signed in there approves, and this terminal gets a token of its own. A
/// token that is given, or piped in, is taken as it is.
#[derive(Debug, Args)]
pub struct Login {
    /// What to call it; its host's name unless given.
    #[arg(long, value_name = "NAME")]
    name: Option<ContextName>,
    /// Have somebody approve in the browser, also where this is no terminal.
    #[arg(long, conflicts_with = "paste")]
    web: bool,
    /// Ask for a token to be pasted instead.
    #[arg(long)]
    paste: bool,
}

/// What to do with the control planes signed in to.
#[derive(Debug, Subcommand)]
pub enum ContextsCommand {
    /// List them.
    #[command(visible_alias = "ls")]
    List,
    /// Use this one from now on.
    Use {
        /// Its name.
        name: ContextName,
    },
    /// Forget one. Its token stays valid until it is revoked or expires.
    Remove {
        /// Its name.
        name: ContextName,
    },
}

/// A context as it is shown: without its token.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    url: String,
    ca_sha256: Option<String>,
    current: bool,
}

impl Login {
    /// Gets a token, asks the control plane who its bearer is, then keeps both.
    ///
    /// # Errors
    /// When the control plane can't be reached or refuses the token; nothing is kept then.
    pub async fn run(self, target: &Target, output: &mut Output<'_>) -> Result<(), Failure> {
        let file = user_file()?;
        let mut contexts = file.read()?;
        let url = target.url.clone().ok_or_else(|| {
            Failure::usage(
                "which control plane?",
                "pass --url https://HOST:PORT, and --ca-sha256 where it is self-signed",
            )
        })?;
        let name = match self.name.or_else(|| target.context.clone()).or_else(|| ContextName::of(&url)) {
            Some(name) => name,
            None => return Err(client::bad_url()),
        };
        let given = if self.web { None } else { target.given_token()? };
        let in_browser = self.web || (!self.paste && given.is_none() && std::io::stdin().is_terminal());
        let (token, me) = if in_browser {
            web_login::sign_in(target, &url).await?
        } else {
            let token = given.map_or_else(|| ask_for_token(&url.to_string()), Ok)?;
            let resolved = Resolved { url: url.clone(), ca_sha256: target.ca_sha256, token: token.clone() };
            let me = client::connect(&resolved, true).await?.get_me(wire::GetMeRequest {}).await?.into_inner();
            (token, me)
        };
        contexts.contexts.insert(name.clone(), Context { url, ca_sha256: target.ca_sha256, token });
        contexts.current = Some(name.clone());
        file.write(&contexts)?;
        let context = contexts.contexts.get(&name).map(|context| shown(&name, context, true));
        output.print(&context, |_| format!("signed in as {}, {}; context {name}", table::printable(&me.name), me.role))
    }
}

impl ContextsCommand {
    /// Reads and changes the file; asks nobody.
    ///
    /// # Errors
    /// When the file can't be used, or there is no such context.
    pub fn run(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let file = user_file()?;
        let mut contexts = file.read()?;
        match self {
            Self::List => {
                let list: Vec<Shown> = contexts
                    .contexts
                    .iter()
                    .map(|(name, context)| shown(name, context, contexts.current.as_ref() == Some(name)))
                    .collect();
                output.print(list.as_slice(), draw)
            }
            Self::Use { name } => {
                contexts.find(Some(&name))?;
                contexts.current = Some(name.clone());
                file.write(&contexts)?;
                output.print(&name, |name| format!("using {name}"))
            }
            Self::Remove { name } => {
                contexts.find(Some(&name))?;
                contexts.contexts.remove(&name);
                contexts.current.take_if(|current| *current == name);
                file.write(&contexts)?;
                output.print(&name, |name| format!("forgot {name}; `muster tokens list` shows what to revoke"))
            }
        }
    }
}

fn user_file() -> Result<ContextFile, Failure> {
    ContextFile::of_user()
        .ok_or_else(|| Failure::usage("there is no place to keep this", "set HOME or MUSTER_CONFIG_DIR"))
}

/// The token typed in, unseen, or read from a pipe.
fn ask_for_token(url: &str) -> Result<String, Failure> {
    let unread = |error: std::io::Error| {
        Failure::ended_badly(format!("the token can't be read: {error}"), "pass --token-file FILE or set MUSTER_TOKEN")
    };
    let token = if std::io::stdin().is_terminal() {
        eprintln!("Make a token at {}/#/you (or take the owner's, in owner.token).", url.trim_end_matches('/'));
        rpassword::prompt_password("Token: ").map_err(unread)?
    } else {
        let mut text = String::new();
        std::io::stdin().take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(unread)?;
        text
    };
    match token.trim() {
        "" => Err(Failure::usage("no token was given", "pipe it in, pass --token-file FILE or set MUSTER_TOKEN")),
        token => Ok(token.to_owned()),
    }
}

fn shown(name: &ContextName, context: &Context, current: bool) -> Shown {
    Shown {
        name: name.to_string(),
        url: context.url.to_string(),
        ca_sha256: context.ca_sha256.map(|pin| pin.to_string()),
        current,
    }
}

fn draw(contexts: &[Shown]) -> String {
    let row = |context: &Shown| {
        let mark = if context.current { "*" } else { "" };
        vec![mark.to_owned(), context.name.clone(), context.url.clone(), table::or_dash(context.ca_sha256.as_deref())]
    };
    table::draw(&["CURRENT", "NAME", "URL", "CA SHA-256"], contexts.iter().map(row).collect())
}

/// Shell completions and manual pages, from the same description as `--help`.
#[derive(Debug, Subcommand)]
pub enum Describe {
    /// Print completions for a shell. bash: `muster completions bash > /etc/bash_completion.d/muster`
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each command into a folder.
    Man {
        /// An existing folder, such as /usr/local/share/man/man1
        folder: PathBuf,
    },
}

impl Describe {
    /// Prints or writes it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn run(self, mut command: clap::Command, out: &mut dyn std::io::Write) -> Result<(), Failure> {
        let unwritten = |error: std::io::Error| {
            Failure::ended_badly(
                format!("it can't be written: {error}"),
                "name an existing folder that you may write to",
            )
        };
        match self {
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command, "muster", &mut script);
                out.write_all(&script).map_err(unwritten)
            }
            Self::Man { folder } => clap_mangen::generate_to(command, folder).map_err(unwritten),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::tls::CaPin;

    use super::*;

    #[test]
    fn contexts_are_listed_without_their_tokens() {
        let context = |host: &str, pin: Option<CaPin>| Context {
            url: format!("https://{host}:8443").parse().expect("a URL"),
            ca_sha256: pin,
            token: "mst_secret".to_owned(),
        };
        let name = |name: &str| name.parse::<ContextName>().expect("a name");
        let list = [
            shown(&name("fleet.example"), &context("fleet.example", Some(CaPin([7; 32]))), true),
            shown(&name("lab"), &context("lab.example", None), false),
        ];
        let json = serde_json::to_string_pretty(&list).expect("JSON");
        insta::assert_snapshot!(format!("{}\n{json}", draw(&list)));
    }
}
