//! The API held to its own document by schemathesis, with all of its checks: no answer that the document does not
//! name, none of another shape, nothing accepted that it forbids, nothing refused that it allows, and no 5xx.
//!
//! Every operation, every phase and every check runs each time, on both databases: what the schemas say is walked whole. Only
//! how much is made up beside that is bounded: a little in every run, much by `just schemathesis`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::{Database, Settings, free_port},
    process::Process,
};

const IS_LONG: bool = cfg!(feature = "schemathesis");
/// Longest a run may take.
const LIMIT: Duration = Duration::from_secs(if IS_LONG { 1_800 } else { 300 });
/// Requests made up for one operation in one phase.
const MAX_EXAMPLES: &str = if IS_LONG { "25" } else { "2" };
/// What is made up is the same in every run.
const SEED: &str = "20260101";

async fn hold_to_its_document(database: Database) -> Result<()> {
    let python = std::env::var("MUSTER_TEST_PYTHON").context("MUSTER_TEST_PYTHON, which tests/run sets")?;
    let program = PathBuf::from(python).with_file_name("st");
    let port = free_port();
    let http = format!("127.0.0.1:{port}");
    let control_plane = Settings::new().on(database).argument("--http-listen").argument(&http).start().await?;

    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python");
    let folder = folder.to_str().context("a path in UTF-8")?;
    let (config, document) = (format!("{folder}/schemathesis.toml"), format!("http://{http}/api/v1/openapi.json"));
    let arguments = ["--config-file", &config, "run", &document, "--checks", "all", "--max-examples", MAX_EXAMPLES];
    let arguments = [&arguments[..], &["--seed", SEED, "--generation-database", "none"]].concat();
    let token = control_plane.owner_token()?;
    let environment = [("API_TOKEN", token.as_str()), ("PYTHONPATH", folder), ("PYTHONDONTWRITEBYTECODE", "1")];
    let mut run = Process::start(&program, &arguments, &environment)?;
    let status = run.wait(LIMIT).await?;
    let lines = run.lines().all();
    ensure!(status.success(), "{}", lines.join("\n"));
    let tested = lines.iter().any(|line| line.contains("generated"));
    ensure!(tested, "nothing was tested:\n{}", lines.join("\n"));
    Ok(())
}

#[tokio::test]
async fn the_api_is_what_its_document_says_on_sqlite() -> Result<()> {
    hold_to_its_document(Database::Sqlite).await
}

#[tokio::test]
async fn the_api_is_what_its_document_says_on_postgresql() -> Result<()> {
    hold_to_its_document(Database::Postgres).await
}
