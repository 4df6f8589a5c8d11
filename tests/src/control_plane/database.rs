//! The database of one control plane, made for it and removed with it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use sqlx::{AnyPool, AssertSqlSafe, Row as _, any::AnyRow};
use tokio::process::Command;
use uuid::Uuid;

/// Names the PostgreSQL server tests may make databases on; `tests/run` starts one.
const SERVER_VARIABLE: &str = "MUSTER_TEST_POSTGRES_URL";
/// States a command ends in.
const FINAL_STATES: &str = "'succeeded', 'failed', 'refused', 'cancelled', 'expired', 'indeterminate'";

/// Which engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Database {
    #[default]
    Sqlite,
    Postgres,
}

/// One control plane's own database.
#[derive(Debug)]
pub struct ScratchDatabase {
    /// As sqlx dials it.
    address: String,
    made_on: Option<(String, String)>,
}

impl ScratchDatabase {
    pub(super) async fn create(database: Database, directory: &Path) -> Result<Self> {
        sqlx::any::install_default_drivers();
        match database {
            Database::Sqlite => {
                let address = format!("sqlite://{}", directory.join("muster.db").display());
                Ok(Self { address, made_on: None })
            }
            Database::Postgres => {
                let server = std::env::var(SERVER_VARIABLE).context(SERVER_VARIABLE)?;
                let name = format!("muster_{}", Uuid::now_v7().simple());
                execute(&server, &format!("CREATE DATABASE {name}")).await?;
                let (root, _) = server.rsplit_once('/').context("an address that ends in a database's name")?;
                Ok(Self { address: format!("{root}/{name}"), made_on: Some((server.clone(), name)) })
            }
        }
    }

    /// Its address, for what opens it as the control plane does.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What `--database-url` gets; `None` where the default in the data directory serves.
    pub(super) fn url(&self) -> Option<&str> {
        self.made_on.is_some().then_some(self.address.as_str())
    }

    /// Rows of a query over constants only.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rows(&self, query: &str) -> Result<Vec<AnyRow>> {
        let pool = AnyPool::connect(&self.address).await?;
        let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&pool).await;
        pool.close().await;
        Ok(rows?)
    }

    /// The one number a query over constants answers.
    ///
    /// # Errors
    /// When the database does not answer, or not with a number.
    pub async fn number(&self, query: &str) -> Result<i64> {
        let rows = self.rows(query).await?;
        Ok(rows.first().context("a row")?.try_get(0)?)
    }

    /// A backup, made by the database's own means while it is used: SQLite writes a copy to `file`, PostgreSQL is dumped.
    ///
    /// # Errors
    /// When none is made.
    pub async fn backup(&self, file: &Path) -> Result<Vec<u8>> {
        if self.made_on.is_none() {
            execute(&self.address, &format!("VACUUM INTO '{}'", file.display())).await?;
            return Ok(std::fs::read(file)?);
        }
        let dumped = Command::new("pg_dump").args(["--dbname", &self.address]).output().await.context("pg_dump")?;
        ensure!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        Ok(dumped.stdout)
    }

    /// The commands in no final state, as `state: body`.
    pub(super) fn unfinished_commands(&self) -> Vec<String> {
        let query = format!("SELECT state || ': ' || body FROM commands WHERE state NOT IN ({FINAL_STATES})");
        apart(async {
            let rows = self.rows(&query).await.expect("the commands can be listed");
            rows.iter().map(|row| row.try_get(0).expect("a text")).collect()
        })
    }

    pub(super) fn remove(&self) {
        let Some((server, name)) = &self.made_on else { return };
        let drop_it = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        apart(async {
            if let Err(error) = execute(server, &drop_it).await {
                eprintln!("{name} is not removed: {error:#}");
            }
        });
    }
}

async fn execute(server: &str, statement: &str) -> Result<()> {
    let pool = AnyPool::connect(server).await?;
    let done = sqlx::query(AssertSqlSafe(statement)).execute(&pool).await;
    pool.close().await;
    done?;
    Ok(())
}

/// Runs to the end on a thread and runtime of its own: a destructor can't wait on the test's.
fn apart<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        scope.spawn(move || runtime().block_on(work)).join().expect("the work does not panic")
    })
}
