//! Signing in through the browser: the terminal makes a token, shows an address and a code, and waits until somebody who is
//! signed in there has approved it. The token itself leaves this machine only towards the control plane that it is for.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use http::Uri;
use muster_shared::wire;
use tokio::time::Instant;
use tonic::Code;

use super::{
    client::{self, Fleet, Resolved, Target},
    failure::Failure,
    waiting::during,
};
use crate::{
    access::{API_TOKEN_PREFIX, Token},
    login_requests::{LIFE_US, code_of},
};

/// How often the control plane is asked whether somebody has approved, as RFC 8628 has it for devices.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// What opens an address on a desktop.
const OPENER: &str = "xdg-open";

/// Signs in at `url`, and answers with the token and who approved it.
///
/// # Errors
/// When nobody approves in time, or the control plane can't be reached.
pub(super) async fn sign_in(target: &Target, url: &Uri) -> Result<(String, wire::Me), Failure> {
    let token = Token::generate(API_TOKEN_PREFIX).map_err(|error| {
        Failure::ended_badly(error.to_string(), "try again, or paste a token with `muster login --paste`")
    })?;
    let resolved = Resolved { url: url.clone(), ca_sha256: target.ca_sha256, token: token.reveal().to_owned() };
    let mut fleet = client::connect(&resolved, true).await?;
    let request = wire::BeginLoginRequest { name: name(), token_sha256: hex::encode(token.hash().as_bytes()) };
    let begun = fleet.begin_login(request).await?.into_inner();
    let address = address(url, &begun.request);
    eprintln!("Open this address and approve there what shows the code {}\n\n  {address}\n", code_of(&token.hash()));
    open(&address);
    let me = during("waiting for somebody to approve", approved(&mut fleet)).await?;
    Ok((resolved.token, me))
}

/// Waits until the token is good, for as long as the request is. By this machine's own measure: its clock may be wrong.
async fn approved(fleet: &mut Fleet) -> Result<wire::Me, Failure> {
    let until = Instant::now() + Duration::from_micros(LIFE_US.unsigned_abs());
    let mut ticks = tokio::time::interval(ASK_EVERY);
    loop {
        ticks.tick().await;
        match fleet.get_me(wire::GetMeRequest {}).await {
            Ok(me) => return Ok(me.into_inner()),
            Err(status) if status.code() == Code::Unauthenticated => {}
            // Ten minutes are long enough for a control plane to be started anew.
            Err(status) if status.code() == Code::Unavailable => {}
            Err(status) => return Err(status.into()),
        }
        if Instant::now() > until {
            let message = "nobody approved in time";
            return Err(Failure { exit_code: 4, ..Failure::usage(message, "begin again with `muster login`") });
        }
    }
}

/// What the token will be called. Names begin with a letter or digit and hold nothing that can't be printed.
fn name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().filter(|letter| letter.is_alphanumeric() || "-_.".contains(*letter)).collect();
    let host: String = host.chars().take(64).collect();
    format!("muster on {}", if host.is_empty() { "a terminal" } else { &host })
}

/// Where the request is approved.
fn address(url: &Uri, request: &str) -> String {
    format!("{}/#/login/{request}", url.to_string().trim_end_matches('/'))
}

/// Shows the address in the desktop's browser, where there is a desktop. Without one it was printed anyway.
fn open(address: &str) {
    let has_desktop = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if has_desktop {
        let silent = || Stdio::null();
        drop(Command::new(OPENER).arg(address).stdin(silent()).stdout(silent()).stderr(silent()).spawn());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_tokens::ApiTokenName;

    #[test]
    fn the_address_holds_the_request_and_no_secret() {
        let url = Uri::from_static("https://fleet.example.com:8443");
        assert_eq!(address(&url, "AbC_-"), "https://fleet.example.com:8443/#/login/AbC_-");
        assert!(name().parse::<ApiTokenName>().is_ok(), "{}", name());
    }
}
