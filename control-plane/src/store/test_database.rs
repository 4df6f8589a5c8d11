//! A database of a test's own: SQLite in a folder always, and a schema in PostgreSQL where `MUSTER_TEST_POSTGRES_URL`
//! names a server. [`on_each`] runs one test on both.

use std::{env, future::Future, path::Path};

use muster_shared::id::{ApiTokenId, OrgId, ServerId, UserId};
use sqlx::Row as _;
use tempfile::TempDir;
use uuid::Uuid;

use super::{DatabaseUrl, Dialect, Store};
use crate::{
    access::{API_TOKEN_PREFIX, Role, Token},
    audit::AuditSigner,
};

/// A new, empty database that goes with the test.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    pub(crate) store: Store,
    pub(crate) url: DatabaseUrl,
    folder: TempDir,
}

/// A signer of audit chains, as the control plane keeps one.
pub(crate) fn audit_signer() -> AuditSigner {
    AuditSigner::from_pkcs8(&AuditSigner::generate_pkcs8().expect("randomness")).expect("a key")
}

impl TestDatabase {
    /// The folder that holds SQLite's files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A SQLite database.
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::sqlite_in(folder.path());
        let store = Store::open(&url).await.expect("a new database");
        store.sign_audit_with(audit_signer());
        Self { store, url, folder }
    }

    /// A PostgreSQL schema, where a server is named.
    pub(crate) async fn postgres() -> Option<Self> {
        let server = env::var("MUSTER_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())?;
        let schema = format!("t{}", Uuid::now_v7().simple());
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&server).await.expect("the server that MUSTER_TEST_POSTGRES_URL names");
        let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        sqlx::query(create).execute(&pool).await.expect("a schema");
        pool.close().await;
        let joint = if server.contains('?') { '&' } else { '?' };
        let url: DatabaseUrl = format!("{server}{joint}options[search_path]={schema}").parse().expect("an address");
        let store = Store::open(&url).await.expect("a new schema");
        store.sign_audit_with(audit_signer());
        Some(Self { store, url, folder: tempfile::tempdir().expect("a folder") })
    }
}

/// The tables of a PostgreSQL database that hold `needle` in any text or bytes, as a dump would show them.
pub(crate) async fn tables_with(store: &Store, needle: &[u8]) -> Vec<String> {
    let sql = "SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = current_schema()";
    let tables = sqlx::query(sql).fetch_all(store.read()).await.expect("a schema");
    let digits = hex::encode(needle);
    let text = std::str::from_utf8(needle).unwrap_or(&digits);
    let mut found = Vec::new();
    for table in tables {
        let table: String = table.get("name");
        let sql = format!(
            "SELECT COUNT(*) AS found FROM {table} t WHERE position($1 in row_to_json(t)::text) > 0 \
             OR position($2 in row_to_json(t)::text) > 0"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(text).bind(&*digits).fetch_one(store.read()).await;
        if row.expect("searched").get::<i64, _>("found") > 0 {
            found.push(table);
        }
    }
    found
}

/// What PostgreSQL's own tool makes of a schema's database as a backup.
pub(crate) async fn dump(url: &DatabaseUrl) -> Vec<u8> {
    let (server, schema) = url.as_str().split_once("options[search_path]=").expect("a schema of a test's own");
    let server = server.trim_end_matches(['?', '&']);
    let dumped = tokio::process::Command::new("pg_dump").args(["--schema", schema, "--dbname", server]).output().await;
    let dumped = dumped.expect("pg_dump");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    dumped.stdout
}

/// A user of `org` with `role`, and the user's API token.
pub(crate) async fn add_user(store: &Store, org: OrgId, name: &str, role: Role) -> (UserId, Token) {
    let (user, token) = (UserId::generate(), Token::generate(API_TOKEN_PREFIX).expect("randomness"));
    let mut tx = store.begin().await.expect("a transaction");
    sqlx::query("INSERT INTO users (id, name, created_at_us) VALUES ($1, $2, 1)")
        .bind(user.to_string())
        .bind(name)
        .execute(&mut *tx)
        .await
        .expect("a user");
    sqlx::query("INSERT INTO memberships (org_id, user_id, role, created_at_us) VALUES ($1, $2, $3, 1)")
        .bind(org.to_string())
        .bind(user.to_string())
        .bind(role.as_str())
        .execute(&mut *tx)
        .await
        .expect("a membership");
    sqlx::query(
        "INSERT INTO api_tokens (id, org_id, user_id, name, token_sha256, created_at_us) \
         VALUES ($1, $2, $3, 'test', $4, 1)",
    )
    .bind(ApiTokenId::generate().to_string())
    .bind(org.to_string())
    .bind(user.to_string())
    .bind(token.hash().as_bytes())
    .execute(&mut *tx)
    .await
    .expect("a token");
    tx.commit().await.expect("committed");
    (user, token)
}

/// Runs `test` on SQLite, then on PostgreSQL where there is one.
pub(crate) async fn on_each<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    let sqlite = TestDatabase::sqlite().await;
    test(sqlite.store.clone()).await;
    sqlite.store.close().await;
    if let Some(postgres) = TestDatabase::postgres().await {
        assert_eq!(postgres.url.dialect(), Dialect::Postgres);
        test(postgres.store.clone()).await;
        postgres.store.close().await;
    }
}

/// What a person would have done to accounts.
impl Store {
    /// Gives every member of `org` this role.
    pub(crate) async fn set_roles(&self, org: OrgId, role: Role) {
        sqlx::query("UPDATE memberships SET role = $2 WHERE org_id = $1")
            .bind(org.to_string())
            .bind(role.as_str())
            .execute(self.write())
            .await
            .expect("a role");
    }

    /// Revokes every token of `org`.
    pub(crate) async fn revoke_tokens(&self, org: OrgId, now_us: i64) {
        sqlx::query("UPDATE api_tokens SET revoked_at_us = $2 WHERE org_id = $1")
            .bind(org.to_string())
            .bind(now_us)
            .execute(self.write())
            .await
            .expect("revoked");
    }

    /// Has SQLite write a copy of itself to `file`, as a backup.
    pub(crate) async fn copy_into(&self, file: &Path) {
        let copy = sqlx::AssertSqlSafe(format!("VACUUM INTO '{}'", file.display()));
        sqlx::query(copy).execute(self.write()).await.expect("a copy");
    }

    /// Puts disk use in place, as checks would hour by hour.
    pub(crate) async fn insert_disk_use(&self, server: ServerId, points: &[(i64, f64)]) {
        let mut tx = self.begin().await.expect("a transaction");
        for (hour, percent) in points {
            let milli = (percent * 1000.0).round() as i64;
            super::disk_use::insert(&mut tx, server, *hour, milli).await.expect("a point");
        }
        tx.commit().await.expect("stored");
    }
}
