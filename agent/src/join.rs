//! Joining: a token becomes an identity, root's files say whom to obey, and the agent is set to start.
//!
//! Doing it again on a host that has joined changes nothing. Nothing is written before the control plane has answered.

use std::{
    fs,
    io::{self, BufRead as _, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use muster_shared::policy::Family;
use rustix::process::geteuid;
use tonic::Code;
use zeroize::Zeroizing;

use crate::{
    app::{Exit, Failure, host_claims},
    clock::{Clock as _, SystemClock},
    config::JoinArgs,
    durable,
    executor::{
        receipts::StoredKey,
        trust::{Trust, policy_text},
    },
    install,
    link::{
        dial::DialError,
        enroll::{self, EnrollError, Enrolled},
        run::chain,
    },
    state::{DEFAULT_STATE_DIR, Identity, Paths, StateError, trusts},
};

/// Longest token file read, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Joins, then installs and starts the services where an init system is known.
///
/// # Errors
/// [`Failure`] with the next step in words.
pub async fn join(args: JoinArgs, out: &mut impl Write) -> Result<(), Failure> {
    let paths = Paths::of(&args.state.state_dir);
    let installed = paths.state_dir == Path::new(DEFAULT_STATE_DIR);
    if installed && !geteuid().is_root() {
        return Err(Failure::new(
            Exit::NoPermission,
            "root is needed: run it in a root shell or with sudo (or give a --state-dir of your own)",
        ));
    }
    let service = install::service().filter(|_| installed && !args.no_service);
    let previous = match paths.link().identity() {
        Ok(identity) => Some(identity),
        Err(StateError::NotEnrolled) => None,
        Err(error @ StateError::Damaged { .. }) => {
            say(out, &format!("{error}; joining as a new host"))?;
            None
        }
        Err(error) => return Err(Failure::new(Exit::Failed, chain(&error))),
    };
    let standing = previous.as_ref().filter(|identity| !args.force && still_stands(&paths, identity, &args));
    if let Some(identity) = standing {
        say(out, &format!("this host has joined as server {}; nothing was changed", identity.server_id))?;
        if !args.allow.is_empty() {
            save_policy(&paths, &args.allow)?;
            say(out, &format!("it now allows {}", words(&args.allow)))?;
        }
    } else {
        let token = token(&args)?;
        let damaged = |error: io::Error| {
            let path = paths.receipt_key();
            Failure::new(
                Exit::Failed,
                format!("{}: {error}. Next: move the file away, then join again", path.display()),
            )
        };
        let receipt_key = StoredKey::load_or_generate(&paths.receipt_key()).map_err(damaged)?;
        let public_key = receipt_key.signer().map_err(damaged)?.public_key();
        let enrolled =
            enroll::enroll(&args.url, args.ca_sha256, &token, (host_claims(), Some(public_key)), previous.as_ref())
                .await
                .map_err(|error| explain(&error, &args.url))?;
        if service.is_some() {
            install::create_user()?;
        }
        keep(&paths, (&enrolled, &receipt_key), previous.as_ref(), &args.allow)?;
        say(out, &format!("joined as server {}", enrolled.identity.server_id))?;
    }
    if let Some(service) = service {
        install::install(service, standing.is_none(), out)
    } else if args.no_service {
        Ok(())
    } else {
        let program = if installed { install::copy_binary()? } else { "muster-agent".into() };
        let state_dir = paths.state_dir.display();
        say(
            out,
            &format!(
                "no init system that is known starts it here; have this run at boot: {program} run --state-dir {state_dir}"
            ),
        )
    }
}

/// Whether the identity is good for the very control plane that was named.
fn still_stands(paths: &Paths, identity: &Identity, args: &JoinArgs) -> bool {
    identity.is_valid(SystemClock.now_us())
        && paths.link().endpoints().is_ok_and(|endpoints| trusts(&endpoints, args.ca_sha256))
        && Trust::load(&paths.trust()).is_ok_and(|trust| trust.server_id == identity.server_id)
}

fn token(args: &JoinArgs) -> Result<Zeroizing<String>, Failure> {
    let missing =
        || Failure::new(Exit::Usage, "a join token is needed: --token-file FILE, MUSTER_JOIN_TOKEN, or --token TOKEN");
    let text = match (&args.token, &args.token_file) {
        (Some(token), _) => Zeroizing::new(token.clone()),
        (None, Some(path)) => {
            let unreadable = |error: io::Error| {
                Failure::new(Exit::Usage, format!("the token can't be read from {}: {error}", path.display()))
            };
            let mut line = Zeroizing::new(String::new());
            if path == Path::new("-") {
                io::Read::take(io::stdin().lock(), MAX_TOKEN_BYTES).read_line(&mut line).map_err(unreadable)?;
            } else {
                let file = io::BufReader::new(fs::File::open(path).map_err(unreadable)?);
                io::Read::take(file, MAX_TOKEN_BYTES).read_line(&mut line).map_err(unreadable)?;
            }
            line
        }
        (None, None) => return Err(missing()),
    };
    let token = Zeroizing::new(text.trim().to_owned());
    if token.is_empty() { Err(missing()) } else { Ok(token) }
}

/// Writes root's part first: should this be cut short, the host is not enrolled yet and the join can be repeated.
fn keep(
    paths: &Paths,
    (enrolled, receipt_key): (&Enrolled, &StoredKey),
    previous: Option<&Identity>,
    allow: &[Family],
) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(Exit::Failed, format!("{} can't be written: {error}", paths.state_dir.display()))
    };
    let unsaved = |error: StateError| Failure::new(Exit::Failed, chain(&error));
    let owner = install::users::link_user().map(|user| (user.uid, user.gid));
    paths.create(owner).map_err(failed)?;
    let state = paths.link();
    let server_id = enrolled.identity.server_id;
    if previous.is_some_and(|previous| previous.server_id != server_id) {
        // What was sampled and counted so far belongs to the server this host was.
        state.remove_identity().map_err(unsaved)?;
    }
    receipt_key.save(&paths.receipt_key()).map_err(failed)?;
    Trust::new(server_id, &enrolled.command_key).save(&paths.trust()).map_err(failed)?;
    if !allow.is_empty() || !paths.policy().exists() {
        let allow = if allow.is_empty() { &[Family::Observe] } else { allow };
        save_policy(paths, allow)?;
    }
    state.save_endpoints(&enrolled.endpoints).map_err(unsaved)?;
    state.save_identity(&enrolled.identity).map_err(unsaved)?;
    // The files just written are root's; the link must own its own.
    paths.create(owner).map_err(failed)
}

fn save_policy(paths: &Paths, allow: &[Family]) -> Result<(), Failure> {
    durable::write_atomically(&paths.policy(), policy_text(allow).as_bytes(), 0o644)
        .map_err(|error| Failure::new(Exit::Failed, format!("the policy can't be written: {error}")))
}

fn words(allow: &[Family]) -> String {
    allow.iter().map(|family| family.as_str()).collect::<Vec<_>>().join(", ")
}

fn say(out: &mut impl Write, line: &str) -> Result<(), Failure> {
    writeln!(out, "{line}").map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

/// What went wrong and what to do about it.
fn explain(error: &EnrollError, url: &str) -> Failure {
    let refused = error.code();
    let (exit, next) = match error {
        EnrollError::Dial(DialError::Url(_)) => {
            (Exit::Usage, "copy the address from the control plane anew".to_owned())
        }
        EnrollError::Dial(DialError::Resolve { .. }) => {
            (Exit::Unavailable, "check the name, and the resolver in /etc/resolv.conf".to_owned())
        }
        EnrollError::Dial(DialError::Connect { .. }) => (
            Exit::Unavailable,
            format!("check that {url} is the control plane's address and that nothing between blocks its port"),
        ),
        EnrollError::Dial(DialError::Clock(_)) => {
            (Exit::Failed, format!("this host's clock says {}; set it, then run the line again", utc_now()))
        }
        EnrollError::Dial(DialError::Tls(_)) => (
            Exit::NoPermission,
            "copy the line from the control plane anew; if that does not help, something answers in its place"
                .to_owned(),
        ),
        _ => match refused {
            Some(Code::Unauthenticated) => {
                (Exit::NoPermission, "make a new line: muster join-tokens create, or in the dashboard".to_owned())
            }
            Some(Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted) => {
                (Exit::Unavailable, "wait a little, then run the line again; its token was not used".to_owned())
            }
            _ => (Exit::Failed, "if it happens again, look into the control plane's log".to_owned()),
        },
    };
    Failure::new(exit, format!("{}. Next: {next}", chain(error)))
}

/// The wall clock as `YYYY-MM-DD HH:MM UTC`.
fn utc_now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3600 % 24, seconds / 60 % 60)
}

/// The Gregorian date of a day counted from 1970-01-01, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }

    #[test]
    fn every_failure_names_a_next_step() {
        let connect = DialError::Connect { host: "h".into(), port: 1, source: io::ErrorKind::ConnectionRefused.into() };
        let status = |code| EnrollError::from(tonic::Status::new(code, "the join token has expired"));
        for (error, exit) in [
            (EnrollError::Dial(connect), Exit::Unavailable),
            (status(Code::Unauthenticated), Exit::NoPermission),
            (status(Code::Unavailable), Exit::Unavailable),
            (EnrollError::Dial(DialError::Clock(io::ErrorKind::Other.into())), Exit::Failed),
        ] {
            let failure = explain(&error, "https://h:1");
            assert_eq!(failure.exit, exit);
            assert!(failure.words.contains(". Next: "), "{}", failure.words);
        }
        assert!(explain(&status(Code::Unauthenticated), "").words.contains("expired"));
    }
}
