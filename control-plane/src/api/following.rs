//! Following a command: REST and gRPC tell the same events.
//!
//! `line` for whatever its host says, from the beginning or after a given one; `command` whenever it is in another state;
//! then `complete`. Every line is told once, in order, also those that were said before. `error` is the last event where
//! the reader may not read on, or what there is can't be read.

use futures_util::{Stream, StreamExt as _, stream};
use muster_shared::id::CommandId;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    model::command::{Command, CommandLine},
    readmission::Readmission,
};
use crate::{app::App, commands::CommandEvent, error::Error, progress::ProgressEvent};

/// An event, and the number of the line that it tells.
pub type Followed = (Option<u64>, ProgressEvent);

/// Follows the command `id` of the reader's organisation after the line `after_seq`, until it has ended.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound).
pub async fn follow(
    app: &App,
    readmission: Readmission,
    id: CommandId,
    after_seq: u64,
) -> Result<impl Stream<Item = Followed> + Send + use<>, Error> {
    let org = readmission.principal().org_id;
    let watched = app.commands.watch_after(org, id, after_seq).await?;
    let told = Box::pin(readmission.guard(watched).take_until(app.shutdown.clone().cancelled_owned()));
    Ok(stream::unfold(Some(told), async |told| {
        let mut told = told?;
        loop {
            let (followed, is_over) = match told.next().await? {
                Ok(CommandEvent::Update(update)) => match CommandLine::of(&update) {
                    Some(line) => ((Some(line.seq), event("line", &line)), false),
                    None => continue,
                },
                Ok(CommandEvent::Changed(command)) if command.state.is_final() => {
                    ((None, event("complete", &Command::of(&command))), true)
                }
                Ok(CommandEvent::Changed(command)) => ((None, event("command", &Command::of(&command))), false),
                Err(error) => ((None, event("error", &json!({ "code": error.code, "detail": error.detail }))), true),
            };
            return Some((followed, (!is_over).then_some(told)));
        }
    }))
}

fn event(event: &'static str, data: &impl Serialize) -> ProgressEvent {
    ProgressEvent { event, data: serde_json::to_value(data).unwrap_or(Value::Null) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::{Body, BodyDataStream};
    use http::{Request, StatusCode};
    use muster_shared::{
        command::{CommandBody, CommandState, PreflightArgs},
        id::ServerId,
        preflight::{CheckName, CheckResult},
        wire,
    };
    use prost::Message as _;
    use tokio::time::timeout;
    use tonic::Code;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        api::{model::structure, test_api::Api},
        commands::{DEFAULT_TTL_US, Finished, Step, Update},
    };

    struct World {
        api: Api,
        server: ServerId,
        command: CommandId,
    }

    impl World {
        /// A host that has begun a preflight and said one line.
        async fn new() -> Self {
            let api = Api::open().await;
            let server = api.join_server("web-1").await;
            let act = api.owner_act().await;
            let body = CommandBody::Preflight(PreflightArgs::default());
            let command = api.app.commands.submit(&act, server, body, DEFAULT_TTL_US).await.expect("given").id;
            let world = Self { api, server, command };
            for (seq, step) in [(1, Step::Received), (2, Step::Started), (3, Step::Line("looking \u{1b}[2J".into()))] {
                world.report(seq, step).await;
            }
            world
        }

        async fn report(&self, seq: u64, step: Step) {
            let update = Update { seq, at_us: 1_736_937_000_000_000, step };
            let now_us = self.api.app.clock.now_us();
            self.api.app.commands.record(self.server, self.command, &update, now_us).await.expect("stored");
        }

        async fn check_and_end(&self) {
            self.report(4, Step::Check(CheckResult::failed(CheckName::DiskSpace, "2 GB free", "free some"))).await;
            let (state, detail) = (CommandState::Succeeded, "all looked at".to_owned());
            self.report(
                5,
                Step::Finished(Finished { state, code: String::new(), detail, result: None, receipt: None }),
            )
            .await;
        }

        async fn follow(&self, token: &str, after: Option<&str>) -> (StatusCode, BodyDataStream) {
            let request = Request::builder()
                .uri(format!("/api/v1/commands/{}", self.command))
                .header("accept", "text/event-stream")
                .header("authorization", format!("Bearer {token}"));
            let request = after.into_iter().fold(request, |request, id| request.header("last-event-id", id));
            let response = self.api.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
            let response = response.expect("an answer");
            (response.status(), response.into_body().into_data_stream())
        }
    }

    /// Everything up to the end, as `id event` a line.
    async fn rest_of(body: &mut BodyDataStream) -> (Vec<String>, String) {
        let mut text = String::new();
        while let Some(bytes) = timeout(Duration::from_secs(20), body.next()).await.expect("an end in time") {
            text.push_str(std::str::from_utf8(&bytes.expect("a body")).expect("text"));
        }
        let field = |block: &str, name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("-").to_owned()
        };
        let blocks = text.split("\n\n").filter(|block| block.contains("event: "));
        (blocks.map(|block| format!("{} {}", field(block, "id"), field(block, "event"))).collect(), text)
    }

    #[tokio::test]
    async fn whoever_follows_a_command_hears_what_was_said_and_what_comes() {
        let world = World::new().await;
        let (status, mut body) = world.follow(&world.api.owner, None).await;
        assert_eq!(status, StatusCode::OK);
        let first =
            timeout(Duration::from_secs(20), body.next()).await.expect("in time").expect("an event").expect("a body");
        assert!(
            std::str::from_utf8(&first).expect("text").starts_with("event: line\n") || first.starts_with(b"id: 3\n")
        );
        world.check_and_end().await;
        let (events, text) = rest_of(&mut body).await;
        assert!(events.ends_with(&["4 line".to_owned(), "- complete".to_owned()]), "{events:?}");
        assert!(text.contains("disk space: failed: 2 GB free") && text.contains("all looked at"), "{text}");

        let (_, mut late) = world.follow(&world.api.owner, Some("3")).await;
        assert_eq!(rest_of(&mut late).await.0, ["4 line", "- complete"], "after the line that was read");
        let stranger = world.api.stranger().await;
        assert_eq!(world.follow(&stranger, None).await.0, StatusCode::NOT_FOUND);

        let request = wire::WatchCommandRequest { id: world.command.to_string(), after_seq: 3 };
        let (code, bytes) = world.api.send_grpc("WatchCommand", &request).await;
        assert_eq!(code, Code::Ok);
        let length = u32::from_be_bytes(bytes[1..5].try_into().expect("four bytes")) as usize;
        let told = wire::ProgressEvent::decode(&bytes[5..5 + length]).expect("an event");
        let data = structure::to_json(told.data.expect("data"));
        assert_eq!(
            (told.event.as_str(), &data["seq"], &data["check"]["name"]),
            ("line", &json!(4), &json!("disk_space"))
        );
    }

    #[tokio::test]
    async fn a_command_shows_what_its_host_said_and_the_record_of_its_server_names_it() {
        let world = World::new().await;
        let get = async |path: &str| world.api.call("GET", path, &Value::Null).await;
        let path = format!("/api/v1/commands/{}", world.command);
        for list in ["/api/v1/vms/web-1/commands", "/api/v1/commands"] {
            let (_, listed) = get(list).await;
            assert_eq!(listed[0]["progress"]["lines"][0]["seq"], 3, "{listed}");
        }
        world.check_and_end().await;
        let (_, command) = get(&path).await;
        let progress = &command["progress"];
        assert_eq!((&progress["lines"][1]["seq"], &progress["percent"]), (&json!(4), &json!(7)), "{command}");
        assert_eq!(progress["lines"][1]["check"]["status"], "failed");
        assert_eq!(get("/api/v1/commands").await.1[0]["progress"], Value::Null, "it has ended");
        let request = wire::GetCommandRequest { id: world.command.to_string() };
        let (_, bytes) = world.api.send_grpc("GetCommand", &request).await;
        let told = wire::Command::decode(&bytes[5..]).expect("a command");
        assert_eq!(
            serde_json::to_value(Command::from(told)).expect("JSON")["progress"],
            *progress,
            "gRPC shows the same"
        );

        let words = |list: &Value| -> Vec<String> {
            let entries = list.as_array().expect("a list").iter();
            entries.filter_map(|entry| entry["action"].as_str().map(str::to_owned)).collect()
        };
        let (_, by_name) = get("/api/v1/audit?server=web-1").await;
        let expected = ["COMMAND_FINISHED", "COMMAND_SUBMITTED", "SERVER_JOINED"];
        assert_eq!(words(&by_name)[..3], expected.map(str::to_owned), "{by_name}");
        let (_, by_id) = get(&format!("/api/v1/audit?server={}&action=COMMAND_FINISHED", world.server)).await;
        assert_eq!(words(&by_id), ["COMMAND_FINISHED"]);
        assert_eq!(get("/api/v1/audit?server=web-2").await.0, StatusCode::NOT_FOUND);
        let request = wire::ListAuditRequest { server: "web-1".into(), ..wire::ListAuditRequest::default() };
        let (_, bytes) = world.api.send_grpc("ListAudit", &request).await;
        let listed = wire::ListAuditResponse::decode(&bytes[5..]).expect("a list");
        assert_eq!(listed.entries.iter().map(|entry| entry.action.clone()).collect::<Vec<_>>(), words(&by_name));
        let stranger = world.api.stranger().await;
        let path = format!("/api/v1/audit?server={}", world.server);
        let (status, foreign) = world.api.call_as(&stranger, "GET", &path, &Value::Null).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "another organisation never had it: {foreign}");
        let (status, deleted) = world.api.call("DELETE", "/api/v1/vms/web-1", &Value::Null).await;
        assert!(status.is_success(), "{deleted}");
        let (_, listed) = get(&path).await;
        assert!(words(&listed).contains(&"SERVER_DELETED".to_owned()), "what is on record of it stays so: {listed}");
        assert_eq!(get("/api/v1/audit?server=web-1").await.0, StatusCode::NOT_FOUND, "its name is free again");
    }
}
