//! A database that is full, and one that is written to by many at once.

use crate::{
    error::{Error, ErrorKind},
    servers::ServerFilter,
    store::{
        StoreError,
        suite::{Fleet, new_server},
        test_database::{TestDatabase, on_each},
    },
};

#[tokio::test]
async fn a_full_database_still_reads_and_recovers_by_itself() {
    let database = TestDatabase::sqlite().await;
    let fleet = Fleet::new(database.store.clone()).await;
    fleet.create("before").await;
    let resize = async |pages: &'static str| {
        sqlx::raw_sql(pages).execute(&database.store.inner.write).await.expect("resized");
    };
    resize("PRAGMA max_page_count = 1").await;
    let mut failure = None;
    for number in 0..500 {
        if let Err(error) = fleet.servers.create(&fleet.act(), new_server(&format!("s-{number}")), None).await {
            failure = Some(error);
            break;
        }
    }
    let failure: Error = failure.expect("the database is full");
    assert_eq!((failure.kind, failure.code), (ErrorKind::Unavailable, "database_unavailable"));
    fleet.servers.resolve(fleet.org, "before").await.expect("reads go on");
    resize("PRAGMA max_page_count = 1000000").await;
    fleet.create("after").await;
}

#[tokio::test]
async fn a_closed_database_is_unavailable_and_nothing_worse() {
    on_each(|store| async move {
        let fleet = Fleet::new(store.clone()).await;
        store.close().await;
        assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
        let error = fleet.servers.list(fleet.org, ServerFilter::default()).await.expect_err("closed");
        assert_eq!(error.kind, ErrorKind::Unavailable);
    })
    .await;
}

#[tokio::test]
async fn opening_again_finds_everything_and_changes_nothing() {
    let database = TestDatabase::sqlite().await;
    let fleet = Fleet::new(database.store.clone()).await;
    let made = fleet.create("web").await;
    database.store.close().await;
    let again = crate::store::Store::open(&database.url).await.expect("opened");
    assert_eq!(again.server(fleet.org, made.id).await.expect("read"), Some(made));
}
