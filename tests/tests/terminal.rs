//! The CLI as somebody at a terminal uses it: signing in once, and the fleet live in tmux.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use muster_tests::{
    agent::Agent,
    binaries,
    control_plane::ControlPlane,
    fleet::{Fleet, Pace},
    patience::SOON,
    wait,
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{ChildStdout, Command},
};

/// `muster` with a configuration directory of the test's own, and nothing else to go by.
fn muster(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binaries::muster());
    command.args(arguments).env_clear().env("MUSTER_CONFIG_DIR", config).stdin(Stdio::null());
    command
}

async fn said(mut command: Command) -> Result<(Option<i32>, String)> {
    let output = command.output().await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

/// Signs in with the owner's token on standard input.
async fn sign_in(control_plane: &ControlPlane, config: &Path) -> Result<String> {
    let pin = control_plane.ca_pin().to_string();
    let mut command = muster(config, &["login", "--url", &control_plane.url(), "--ca-sha256", &pin, "--name", "here"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("its input")?;
    input.write_all(control_plane.owner_token()?.as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn who_signed_in_once_need_not_say_so_again() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let config = tempfile::tempdir()?;
    let (code, text) = said(muster(config.path(), &["servers", "list"])).await?;
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("muster login"), "{text}");

    let told = sign_in(&control_plane, config.path()).await?;
    assert!(told.contains("signed in as") && told.contains("owner"), "{told}");
    let token = control_plane.owner_token()?;
    assert!(!told.contains(token.trim()), "the token is not shown");
    let (code, text) = said(muster(config.path(), &["servers", "list", "-o", "json"])).await?;
    assert_eq!((code, text.trim()), (Some(0), "[]"));

    let (_, text) = said(muster(config.path(), &["contexts", "list"])).await?;
    assert!(text.contains("here") && !text.contains(token.trim()), "{text}");
    // The kept token does not go to an address it is not for.
    let (code, text) = said(muster(config.path(), &["--url", "https://127.0.0.1:9", "servers", "list"])).await?;
    assert_eq!(code, Some(4), "{text}");
    let (code, text) = said(muster(config.path(), &["contexts", "remove", "here"])).await?;
    assert_eq!(code, Some(0), "{text}");
    let (code, _) = said(muster(config.path(), &["servers", "list"])).await?;
    assert_eq!(code, Some(4));
    Ok(())
}

#[tokio::test]
async fn a_wrong_token_is_not_kept() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let config = tempfile::tempdir()?;
    let pin = control_plane.ca_pin().to_string();
    let mut command = muster(config.path(), &["login", "--url", &control_plane.url(), "--ca-sha256", &pin]);
    command.env("MUSTER_TOKEN", "nobody");
    let (code, text) = said(command).await?;
    assert_eq!(code, Some(4), "{text}");
    assert!(!config.path().join("contexts.json").exists());
    Ok(())
}

#[tokio::test]
async fn every_command_has_completions_and_a_manual_page() -> Result<()> {
    let config = tempfile::tempdir()?;
    for shell in ["bash", "zsh", "fish"] {
        let (code, script) = said(muster(config.path(), &["completions", shell])).await?;
        assert_eq!(code, Some(0));
        assert!(script.contains("join-tokens") && script.contains("preflight"), "{shell}");
    }
    let folder = config.path().join("man");
    std::fs::create_dir(&folder)?;
    let (code, text) = said(muster(config.path(), &["man", &folder.display().to_string()])).await?;
    assert_eq!(code, Some(0), "{text}");
    let page = std::fs::read_to_string(folder.join("muster-servers-list.1"))?;
    assert!(page.contains("CEL expression"), "{page}");
    Ok(())
}

/// A terminal of 120 by 20 in a tmux server of its own.
struct Terminal {
    socket: tempfile::TempDir,
}

impl Terminal {
    async fn run(config: &Path, arguments: &[&str]) -> Result<Self> {
        let terminal = Self { socket: tempfile::tempdir()? };
        let program = binaries::muster().display().to_string();
        let config = format!("MUSTER_CONFIG_DIR={}", config.display());
        let mut line = vec!["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "20", "-e", &config, &program];
        line.extend_from_slice(arguments);
        terminal.tmux(&line).await?;
        Ok(terminal)
    }

    async fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let socket = self.socket.path().join("tmux");
        let output =
            Command::new("tmux").arg("-S").arg(socket).args(arguments).env("LC_ALL", "C.UTF-8").output().await?;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "tmux {arguments:?}: {complaint}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn keys(&self, keys: &[&str]) -> Result<()> {
        self.tmux(&[&["send-keys"], keys].concat()).await.map(drop)
    }

    /// The screen once it is as wanted.
    async fn shows(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let last = std::cell::RefCell::new(String::new());
        let seen = wait::until(what, SOON, || async {
            let screen = self.tmux(&["capture-pane", "-p"]).await?;
            let fits = wanted(&screen);
            last.replace(screen.clone());
            Ok(fits.then_some(screen))
        });
        seen.await.with_context(|| format!("the screen was:\n{}", last.borrow()))
    }

    /// Whether the program has ended, and tmux with it.
    async fn ended(&self) -> Result<()> {
        wait::until("the program to end", Duration::from_secs(10), || async {
            Ok(self.tmux(&["has-session"]).await.is_err().then_some(()))
        })
        .await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let socket = self.socket.path().join("tmux");
        // It is gone already where the program ended.
        let _ = std::process::Command::new("tmux").arg("-S").arg(socket).arg("kill-server").output();
    }
}

#[tokio::test]
async fn the_fleet_is_live_in_a_terminal() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    let config = tempfile::tempdir()?;
    sign_in(&control_plane, config.path()).await?;
    let agent = Agent::join(&control_plane, "this-machine").await?;
    agent.online(&control_plane).await?;

    let terminal = Terminal::run(config.path(), &["top"]).await?;
    let figures = |screen: &str| {
        screen.lines().any(|line| line.contains("this-machine") && line.contains("online") && line.contains(" kB/s"))
    };
    let live = |screen: &str| {
        figures(screen) || screen.lines().any(|line| line.contains("this-machine") && line.contains(" B/s"))
    };
    let first = terminal.shows("the server's figures", live).await?;
    assert!(first.contains("1 servers"), "{first}");
    terminal.shows("other figures a moment later", |screen| live(screen) && screen != first).await?;

    terminal.keys(&["?"]).await?;
    terminal.shows("the help", |screen| screen.contains("reverse the order")).await?;
    terminal.keys(&["Escape"]).await?;
    terminal.keys(&["/", "n", "o", "n", "e"]).await?;
    terminal.shows("nothing found", |screen| screen.contains("/none") && !screen.contains("this-machine")).await?;
    terminal.keys(&["Escape"]).await?;
    terminal.shows("the server again", live).await?;
    terminal.keys(&["Enter"]).await?;
    terminal.shows("its containers", |screen| screen.contains("this-machine · containers")).await?;
    terminal.keys(&["Escape"]).await?;
    terminal.shows("the fleet", live).await?;

    control_plane.kill().await?;
    terminal
        .shows("that the values are old", |screen| screen.contains("old values") && screen.contains("this-machine"))
        .await?;
    control_plane.start_again().await?;
    terminal.shows("new values", |screen| live(screen) && !screen.contains("old values")).await?;
    terminal.keys(&["q"]).await?;
    terminal.ended().await
}

/// The servers on a screen of `muster top`, from above.
fn order(screen: &str) -> Vec<&str> {
    let named = |line: &'_ str| ["host-0", "host-1", "host-2", "idle-1"].into_iter().find(|name| line.contains(name));
    screen.lines().filter_map(named).collect()
}

#[tokio::test]
async fn the_live_fleet_is_sorted_and_filtered() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let config = tempfile::tempdir()?;
    sign_in(&control_plane, config.path()).await?;
    let mut fleet = Fleet::enrol(&control_plane, 3, 9).await?;
    fleet.start(control_plane.address(), Pace::second());
    fleet.all_online(SOON).await?;
    let idle = |name: &str| json!({ "name": name, "ipv4_address": "203.0.113.10", "ssh_username": "root", "ssh_password": "x" });
    control_plane.rest().call(Method::POST, "/api/v1/vms", Some(&idle("idle-1"))).await?;

    let terminal = Terminal::run(config.path(), &["top"]).await?;
    let by_name = ["host-0", "host-1", "host-2", "idle-1"];
    let live = |screen: &str| order(screen).len() == 4 && screen.matches("25").count() >= 3;
    let first = terminal.shows("every server, with figures", live).await?;
    assert_eq!(order(&first).last(), Some(&"idle-1"), "most of the processor first, without figures last\n{first}");
    terminal.keys(&["n"]).await?;
    terminal.shows("sorted by name", |screen| order(screen) == by_name).await?;
    terminal.keys(&["r"]).await?;
    terminal.shows("the other way", |screen| order(screen).iter().rev().eq(&by_name)).await?;
    terminal.keys(&["h"]).await?;
    terminal.shows("the healthy first", |screen| order(screen).last() == Some(&"idle-1")).await?;
    terminal.keys(&["r"]).await?;
    terminal.shows("what needs somebody first", |screen| order(screen).first() == Some(&"idle-1")).await?;
    terminal.keys(&["/", "1"]).await?;
    terminal.shows("those with a 1", |screen| order(screen).len() == 2 && screen.contains("/1")).await?;
    terminal.keys(&["Enter"]).await?;
    terminal.keys(&["q"]).await?;
    terminal.ended().await?;

    let terminal = Terminal::run(config.path(), &["top", "--filter", "name == \"host-2\""]).await?;
    terminal.shows("the one that the expression is true of", |screen| order(screen) == ["host-2"]).await?;
    control_plane.rest().call(Method::POST, "/api/v1/vms", Some(&idle("idle-2"))).await?;
    terminal.shows("no other", |screen| order(screen) == ["host-2"] && !screen.contains("idle-2")).await?;
    terminal.keys(&["q"]).await?;
    terminal.ended().await?;
    fleet.settle(SOON).await?;
    fleet.stop().await;
    Ok(())
}

#[tokio::test]
async fn whoever_waits_at_a_terminal_is_told_what_for() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let config = tempfile::tempdir()?;
    let (url, pin) = (control_plane.url(), control_plane.ca_pin().to_string());
    let terminal = Terminal::run(config.path(), &["login", "--web", "--url", &url, "--ca-sha256", &pin]).await?;
    let waits = |screen: &str| screen.contains("waiting for somebody to approve, ");
    let first = terminal.shows("what it waits for", waits).await?;
    terminal.shows("for how long already", |screen| waits(screen) && screen != first).await?;
    terminal.keys(&["C-c"]).await?;
    terminal.ended().await
}

#[tokio::test]
async fn a_server_is_deleted_only_after_a_yes() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let config = tempfile::tempdir()?;
    sign_in(&control_plane, config.path()).await?;
    let idle = json!({ "name": "idle-1", "ipv4_address": "203.0.113.10", "ssh_username": "root", "ssh_password": "x" });
    control_plane.rest().call(Method::POST, "/api/v1/vms", Some(&idle)).await?;
    for (answer, is_there) in [("n", true), ("y", false)] {
        let terminal = Terminal::run(config.path(), &["servers", "delete", "idle-1"]).await?;
        terminal
            .shows("the question", |screen| screen.contains("delete the server idle-1") && screen.contains("[y/N]"))
            .await?;
        terminal.keys(&[answer, "Enter"]).await?;
        terminal.ended().await?;
        assert_eq!(control_plane.server_named("idle-1").await?.is_some(), is_there, "after {answer}");
    }
    Ok(())
}

/// Reads what a watching command prints until `wanted` is in it.
async fn prints(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) -> Result<()> {
    let seen = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains(wanted) {
                return Ok(());
            }
        }
        bail!("it ended without {wanted:?}")
    };
    tokio::time::timeout(SOON, seen).await.with_context(|| format!("no {wanted:?} was printed"))?
}

#[tokio::test]
async fn watched_lists_are_shown_again_when_something_happens() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    let config = tempfile::tempdir()?;
    sign_in(&control_plane, config.path()).await?;
    let watch = |arguments: &[&str]| -> Result<_> {
        let mut child = muster(config.path(), arguments).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        Ok((child, lines))
    };
    let (_servers, mut servers) = watch(&["servers", "list", "--watch"])?;
    let (mut ending, mut commands) =
        watch(&["commands", "list", "--watch", "--kind", "refresh_facts", "--since", "1h"])?;
    let (_others, mut others) = watch(&["commands", "list", "--watch", "--kind", "reboot", "-o", "json"])?;
    prints(&mut servers, "no servers yet").await?;
    prints(&mut commands, "KIND").await?;
    prints(&mut others, "[]").await?;

    let agent = Agent::join(&control_plane, "web-1").await?;
    prints(&mut servers, "web-1").await?;
    agent.online(&control_plane).await?;
    let refresh = control_plane.rest().call(Method::POST, "/api/v1/vms/web-1/facts/refresh", None).await?;
    ensure!(refresh.status.is_success(), "{}", refresh.text);
    prints(&mut commands, "refresh_facts").await?;
    prints(&mut commands, "succeeded").await?;
    // Shown again as well, and still empty: the other command is none of its kind.
    prints(&mut others, "[]").await?;

    // A new host's first checks may still run.
    wait::until("every command to have ended", SOON, || async {
        let commands = control_plane.rest().get("/api/v1/commands").await?;
        let commands = commands.as_array().context("a list")?;
        Ok(commands.iter().all(|command| !command["finished_at"].is_null()).then_some(()))
    })
    .await?;
    control_plane.terminate().await?;
    let code = tokio::time::timeout(SOON, ending.wait()).await??.code();
    assert_eq!(code, Some(5), "a list that is old says so by its end");
    Ok(())
}
