//! Whether images can be fetched: TCP connections to addresses on the Internet.

use std::net::IpAddr;

use hickory_resolver::TokioResolver;
use muster_shared::{
    command::PreflightArgs,
    preflight::{CheckName, CheckResult},
};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::{os::text, probe::ProbeOptions};

const NAME: CheckName = CheckName::NetworkConnectivity;
/// An image registry by name, and an address that needs no name service: together they tell routing from naming.
const DEFAULT_TARGETS: [&str; 2] = ["registry-1.docker.io:443", "1.1.1.1:443"];
/// Most targets tried; later ones are left out.
const MAX_TARGETS: usize = 8;
const REMEDY: &str = "Check the default route, the name servers in /etc/resolv.conf, and that the firewall lets this host out to TCP ports 80 and 443.";

/// A target and why it could not be reached, if it could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    target: String,
    failure: Option<&'static str>,
}

/// Tries all targets at the same time.
pub(super) async fn gather(args: &PreflightArgs, options: &ProbeOptions) -> Vec<Attempt> {
    let defaults = || DEFAULT_TARGETS.map(str::to_owned).to_vec();
    let targets = if args.connectivity_targets.is_empty() { defaults() } else { args.connectivity_targets.clone() };
    let limit = options.connect_timeout;
    let mut attempts = JoinSet::new();
    for (at, target) in targets.into_iter().take(MAX_TARGETS).enumerate() {
        attempts.spawn(async move {
            let failure = timeout(limit, connect(&target)).await.unwrap_or(Err("no answer in time")).err();
            (at, Attempt { target: text::clean(&target), failure })
        });
    }
    let mut attempts = attempts.join_all().await;
    attempts.sort_by_key(|(at, _)| *at);
    attempts.into_iter().map(|(_, attempt)| attempt).collect()
}

async fn connect(target: &str) -> Result<(), &'static str> {
    let (host, port) = target.rsplit_once(':').ok_or("not of the form host:port")?;
    let port: u16 = port.parse().map_err(|_| "not of the form host:port")?;
    let addresses = resolve(host.trim_matches(['[', ']'])).await?;
    let mut failure = "the name has no address";
    for address in addresses {
        match TcpStream::connect((address, port)).await {
            Ok(_) => return Ok(()),
            Err(error) => failure = in_words(&error),
        }
    }
    Err(failure)
}

/// A statically linked program has no name service of the C library, so names are asked for directly.
async fn resolve(host: &str) -> Result<Vec<IpAddr>, &'static str> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
    let resolver = resolver.map_err(|_| "/etc/resolv.conf can't be used")?;
    let found = resolver.lookup_ip(host).await.map_err(|_| "the name can't be resolved")?;
    Ok(found.iter().collect())
}

fn in_words(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    match error.kind() {
        ConnectionRefused => "connection refused",
        HostUnreachable => "host unreachable",
        NetworkUnreachable => "network unreachable",
        TimedOut => "no answer in time",
        _ => "connection failed",
    }
}

pub(super) fn decide(attempts: &[Attempt]) -> CheckResult {
    let (reached, missed): (Vec<_>, Vec<_>) = attempts.iter().partition(|attempt| attempt.failure.is_none());
    let names = reached.iter().map(|attempt| attempt.target.as_str()).collect::<Vec<_>>().join(", ");
    let failures = missed.iter().map(|attempt| format!("{}: {}", attempt.target, attempt.failure.unwrap_or_default()));
    let failures = failures.collect::<Vec<_>>().join("; ");
    if missed.is_empty() && !reached.is_empty() {
        CheckResult::passed(NAME, format!("reached {names}"))
    } else if reached.is_empty() {
        CheckResult::failed(NAME, format!("nothing could be reached: {failures}"), REMEDY)
    } else {
        CheckResult::warning(NAME, format!("reached {names}, but not {failures}"), REMEDY)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_shared::preflight::CheckStatus;
    use tokio::net::TcpListener;

    use super::*;

    async fn status(targets: Vec<String>) -> CheckStatus {
        let args = PreflightArgs { connectivity_targets: targets, ..PreflightArgs::default() };
        let options = ProbeOptions { connect_timeout: Duration::from_secs(5), ..ProbeOptions::default() };
        decide(&gather(&args, &options).await).status
    }

    #[tokio::test]
    async fn all_some_or_none_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let open = listener.local_addr().expect("an address").to_string();
        let closed =
            TcpListener::bind("127.0.0.1:0").await.expect("a listener").local_addr().expect("an address").to_string();
        assert_eq!(status(vec![open.clone()]).await, CheckStatus::Passed);
        assert_eq!(status(vec![open, closed.clone()]).await, CheckStatus::Warning);
        assert_eq!(
            status(vec![closed, "nonsense".to_owned(), "127.0.0.1:99999".to_owned()]).await,
            CheckStatus::Failed
        );
    }

    #[test]
    fn nothing_tried_is_nothing_reached() {
        assert_eq!(decide(&[]).status, CheckStatus::Failed);
    }
}
