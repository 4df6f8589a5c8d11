//! Projects: names of their own, and when they may go.

use super::{
    environments::{new_environment, sizes},
    *,
};
use crate::{error::ErrorKind, projects::NewProject, store::test_database::on_each};

#[tokio::test]
async fn projects_have_slugs_of_their_own_and_go_when_empty() {
    on_each(|store| async move {
        let (fleet, others) = (Fleet::new(store.clone()).await, Fleet::new(store).await);
        let project = fleet.project("E-commerce Shop").await;
        assert_eq!(project.slug.as_str(), "e-commerce-shop");
        others.project("E-commerce Shop").await;
        let again = NewProject {
            name: "Another".parse().expect("a name"),
            slug: Some(project.slug.clone()),
            description: String::new().parse().expect("a text"),
            odoo_version: label(""),
        };
        let error = fleet.projects.create(&fleet.act(), again.clone()).await.expect_err("taken");
        assert_eq!((error.kind, error.code), (ErrorKind::Conflict, "slug_taken"));
        let environment = fleet.environment(&project, "production", None).await;
        let taken = new_environment("production", sizes(1, 1, 1), None);
        let error = fleet.environments.create(&fleet.act(), &project, &taken).await.expect_err("taken");
        assert_eq!(error.code, "name_taken");
        let error = fleet.projects.delete(&fleet.act(), project.id).await.expect_err("not empty");
        assert_eq!((error.kind, error.code), (ErrorKind::Precondition, "project_not_empty"));
        fleet.environments.delete(&fleet.act(), project.id, environment.id).await.expect("deleted");
        let theirs = others.projects.delete(&others.act(), project.id).await.expect_err("not theirs");
        assert_eq!(theirs.kind, ErrorKind::NotFound);
        fleet.projects.delete(&fleet.act(), project.id).await.expect("deleted");
        fleet.projects.create(&fleet.act(), again).await.expect("the slug is free");
    })
    .await;
}
