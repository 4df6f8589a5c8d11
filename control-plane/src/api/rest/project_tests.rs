//! Projects, environments, quotas and deleting servers, as callers meet them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{access::Role, api::test_api::Api, store::test_database::add_user};

const NOTHING: &Value = &Value::Null;

fn environment(name: &str, vm_id: &Value) -> Value {
    json!({
        "name": name, "environment_type": "production", "domain": "shop.example.com", "port": 8069,
        "container_id": "odoo_prod_abc123", "cpu_cores": 1.0, "ram_mb": 2048, "disk_gb": 40, "vm_id": vm_id
    })
}

async fn made(api: &Api, path: &str, body: &Value) -> Value {
    let (status, made) = api.call("POST", path, body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made
}

fn code(body: &Value) -> &str {
    body["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn an_environment_moves_and_its_server_goes() {
    let api = Api::open().await;
    let (old, new) = (api.make_server("old").await, api.make_server("new").await);
    let project = json!({ "name": "E-commerce Shop", "slug": "ecommerce-shop", "odoo_version": "17.0" });
    let project = made(&api, "/api/v1/projects", &project).await;
    let environments = format!("/api/v1/projects/{}/environments", project["id"].as_str().expect("an id"));
    let production = made(&api, &environments, &environment("production", &old["id"])).await;
    let staging = made(&api, &environments, &environment("staging", &json!("old"))).await;
    let old_path = format!("/api/v1/vms/{}", old["id"].as_str().expect("an id"));

    let (_, there) = api.call("GET", &format!("{old_path}/environments"), NOTHING).await;
    let shown = &there[0];
    for (field, value) in [
        ("id", production["id"].clone()),
        ("name", json!("production")),
        ("environment_type", json!("production")),
        ("status", json!("pending")),
        ("domain", json!("shop.example.com")),
        ("port", json!(8069)),
        ("container_id", json!("odoo_prod_abc123")),
        ("cpu_cores", json!(1)),
        ("ram_mb", json!(2048)),
        ("disk_gb", json!(40)),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    let nested =
        json!({ "id": project["id"], "name": "E-commerce Shop", "slug": "ecommerce-shop", "odoo_version": "17.0" });
    assert_eq!(shown["project"], nested);
    let (_, server) = api.call("GET", &old_path, NOTHING).await;
    assert_eq!((&server["environment_count"], &server["running_environment_count"]), (&json!(2), &json!(0)));

    let (status, refused) = api.call("DELETE", &old_path, NOTHING).await;
    assert_eq!((status, code(&refused)), (StatusCode::CONFLICT, "environments_active"), "{refused}");
    let detail = refused["detail"].as_str().expect("words");
    assert!(detail.starts_with("Cannot delete server with 2 active environment(s). Reassign or delete them first."));

    let by_slug = "/api/v1/projects/ecommerce-shop/environments/production";
    let (status, moved) = api.call("PUT", by_slug, &json!({ "vm_id": new["id"] })).await;
    assert_eq!((status, &moved["vm_id"], &moved["ram_mb"]), (StatusCode::OK, &new["id"], &json!(2048)), "{moved}");
    let migration = json!({ "target_vm_id": new["id"], "environment_ids": [staging["id"]] });
    let (status, migrated) = api.call("POST", &format!("{old_path}/migrate"), &migration).await;
    assert_eq!((status, &migrated["environments"][0]["vm_name"]), (StatusCode::OK, &json!("new")), "{migrated}");
    let (status, refused) = api.call("POST", &format!("{old_path}/migrate"), &migration).await;
    assert_eq!((status, code(&refused)), (StatusCode::NOT_FOUND, "not_found"), "it is not there any more");

    let (status, deleted) = api.call("DELETE", &old_path, NOTHING).await;
    assert_eq!((status, deleted), (StatusCode::OK, json!({ "message": "Server deleted successfully" })));
    assert_eq!(api.call("GET", &old_path, NOTHING).await.0, StatusCode::NOT_FOUND);
    let (_, list) = api.call("GET", "/api/v1/vms", NOTHING).await;
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    api.make_server("old").await;

    let (status, unplaced) = api.call("PUT", by_slug, &json!({ "vm_id": null, "port": null })).await;
    assert_eq!((status, &unplaced["vm_id"], &unplaced["port"]), (StatusCode::OK, NOTHING, NOTHING));
    assert_eq!(api.call("DELETE", by_slug, NOTHING).await.0, StatusCode::OK);
    assert_eq!(api.call("GET", by_slug, NOTHING).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn over_quota_is_a_403_that_says_which_and_what_is_left() {
    let api = Api::open().await;
    let server = api.make_server("web").await;
    let quota = format!("/api/v1/organizations/{}/quota", server["organization_id"].as_str().expect("an id"));
    let limits = json!({ "total_cpu_quota": 4, "total_ram_quota_mb": 3000 });
    let (status, standing) = api.call("PUT", &quota, &limits).await;
    assert_eq!((status, &standing["total_disk_quota_gb"]), (StatusCode::OK, NOTHING), "{standing}");
    made(&api, "/api/v1/projects", &json!({ "name": "Shop" })).await;
    let path = "/api/v1/projects/shop/environments";
    made(&api, path, &environment("production", &server["id"])).await;
    let (status, refused) = api.call("POST", path, &environment("staging", &server["id"])).await;
    assert_eq!((status, code(&refused)), (StatusCode::FORBIDDEN, "quota_exceeded"), "{refused}");
    let detail = refused["detail"].as_str().expect("words");
    assert!(detail.contains("RAM quota is 3000 MB, 952 MB left, 2048 MB needed"), "{detail}");
    let replica = json!({ "name": "replica", "replica_of": "production" });
    let replica = made(&api, path, &replica).await;
    assert_eq!((&replica["is_replica"], &replica["cpu_cores"]), (&json!(true), &json!(1)));
    let (_, standing) = api.call("GET", &quota, NOTHING).await;
    let used = &standing["environments"];
    assert_eq!((&used["cpu_cores_used"], &used["cpu_cores_left"]), (&json!(1.3), &json!(2.7)));
    assert_eq!((&used["ram_mb_used"], &used["ram_mb_left"]), (&json!(2662.4), &json!(337.6)));
    assert_eq!((&used["disk_gb_used"], &used["disk_gb_left"]), (&json!(80), NOTHING));

    let large = json!({ "name": "large", "ipv4_address": "203.0.113.11", "ssh_password": "x", "cpu_cores": 8 });
    let (status, refused) = api.call("POST", "/api/v1/vms", &large).await;
    assert_eq!((status, code(&refused)), (StatusCode::FORBIDDEN, "quota_exceeded"), "{refused}");
    assert!(refused["detail"].as_str().expect("words").contains("CPU quota is 4 cores, 4 cores left, 8 cores needed"));
    let (status, lifted) = api.call("PUT", &quota, &json!({ "total_cpu_quota": null })).await;
    assert_eq!((status, &lifted["total_ram_quota_mb"]), (StatusCode::OK, &json!(3000)));
    made(&api, "/api/v1/vms", &large).await;
    for bad in [json!({ "total_cpu_quota": -1 }), json!({ "total_ram_quota_mb": 1e10 }), json!({ "cpu": 1 })] {
        assert_eq!(api.call("PUT", &quota, &bad).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
}

#[tokio::test]
async fn nothing_reaches_into_another_organization() {
    let api = Api::open().await;
    let stranger = api.stranger().await;
    let server = api.make_server("web").await;
    made(&api, "/api/v1/projects", &json!({ "name": "Shop" })).await;
    let ours = made(&api, "/api/v1/projects/shop/environments", &environment("production", &server["id"])).await;
    let theirs = async |method: &str, path: &str, body: &Value| api.call_as(&stranger, method, path, body).await;
    let (status, _) = theirs("POST", "/api/v1/projects", &json!({ "name": "Shop" })).await;
    assert_eq!(status, StatusCode::CREATED, "slugs are an organisation's own");
    let path = "/api/v1/projects/shop/environments";
    let (status, refused) = theirs("POST", path, &environment("production", &server["id"])).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{refused}");
    let (status, placed) = theirs("POST", path, &environment("production", NOTHING)).await;
    assert_eq!(status, StatusCode::CREATED, "{placed}");
    let (status, _) = theirs("PUT", &format!("{path}/production"), &json!({ "vm_id": server["id"] })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let by_id = format!("{path}/{}", ours["id"].as_str().expect("an id"));
    for (method, body) in [("GET", NOTHING), ("PUT", &json!({ "name": "x" })), ("DELETE", NOTHING)] {
        assert_eq!(theirs(method, &by_id, body).await.0, StatusCode::NOT_FOUND, "{method}");
    }
    let replica = json!({ "name": "replica", "replica_of": ours["id"] });
    assert_eq!(theirs("POST", path, &replica).await.0, StatusCode::NOT_FOUND);
    let body = json!({ "name": "mine", "ipv4_address": "203.0.113.12", "ssh_password": "x" });
    let (_, mine) = theirs("POST", "/api/v1/vms", &body).await;
    let migration = json!({ "target_vm_id": mine["id"], "environment_ids": [ours["id"]] });
    assert_eq!(theirs("POST", "/api/v1/vms/mine/migrate", &migration).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, _) = api.call("POST", "/api/v1/vms/web/migrate", &migration).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "their server is no target of ours");
    let (_, unchanged) = api.call("GET", "/api/v1/projects/shop/environments/production", NOTHING).await;
    assert_eq!(unchanged["vm_id"], server["id"]);
}

#[tokio::test]
async fn project_roles_see_and_touch_their_projects_only() {
    let api = Api::open().await;
    let server = api.make_server("web").await;
    let org = server["organization_id"].as_str().expect("an id");
    for name in ["mine", "hidden"] {
        made(&api, "/api/v1/projects", &json!({ "name": name })).await;
        let path = format!("/api/v1/projects/{name}/environments");
        made(&api, &path, &environment("production", &server["id"])).await;
    }
    let quota = format!("/api/v1/organizations/{org}/quota");
    for role in Role::ALL {
        let org = org.parse().expect("an id");
        let (user, token) = add_user(&api.app.store, org, &format!("{}-user", role.as_str()), role).await;
        let path = format!("/api/v1/projects/mine/members/{user}");
        assert_eq!(api.call("PUT", &path, NOTHING).await.0, StatusCode::NO_CONTENT);
        let ask = async |method: &str, path: &str, body: &Value| api.call_as(token.reveal(), method, path, body).await;
        let bound = matches!(role, Role::ProjectAdmin | Role::ProjectMember);
        let (_, projects) = ask("GET", "/api/v1/projects", NOTHING).await;
        assert_eq!(projects.as_array().map(Vec::len), Some(if bound { 1 } else { 2 }), "{role:?}");
        let (_, there) = ask("GET", "/api/v1/vms/web/environments", NOTHING).await;
        assert_eq!(there.as_array().map(Vec::len), Some(if bound { 1 } else { 2 }), "{role:?}");
        for path in ["/api/v1/projects/hidden", "/api/v1/projects/hidden/environments/production"] {
            let expected = if bound { StatusCode::NOT_FOUND } else { StatusCode::OK };
            assert_eq!(ask("GET", path, NOTHING).await.0, expected, "{role:?} {path}");
        }
        let may_update = matches!(role, Role::Owner | Role::Admin | Role::ProjectAdmin);
        let update = json!({ "domain": "shop2.example.com" });
        let (status, _) = ask("PUT", "/api/v1/projects/mine/environments/production", &update).await;
        assert_eq!(status, if may_update { StatusCode::OK } else { StatusCode::FORBIDDEN }, "{role:?}");
        let (status, _) = ask("PUT", "/api/v1/projects/hidden/environments/production", &update).await;
        let hidden = match role {
            Role::Owner | Role::Admin => StatusCode::OK,
            Role::ProjectAdmin => StatusCode::NOT_FOUND,
            Role::Member | Role::ProjectMember => StatusCode::FORBIDDEN,
        };
        assert_eq!(status, hidden, "{role:?}");
        let (status, _) = ask("PUT", &quota, &json!({})).await;
        assert_eq!(status, if role == Role::Owner { StatusCode::OK } else { StatusCode::FORBIDDEN }, "{role:?}");
        let (status, _) = ask("GET", &quota, NOTHING).await;
        assert_eq!(status, if bound { StatusCode::FORBIDDEN } else { StatusCode::OK }, "{role:?}");
        let (status, _) = ask("DELETE", "/api/v1/vms/web", NOTHING).await;
        assert_eq!(status, if role == Role::Owner { StatusCode::CONFLICT } else { StatusCode::FORBIDDEN }, "{role:?}");
        let (status, _) = ask("GET", "/api/v1/projects/mine/members", NOTHING).await;
        let sees_members = matches!(role, Role::Owner | Role::Admin);
        assert_eq!(status, if sees_members { StatusCode::OK } else { StatusCode::FORBIDDEN }, "{role:?}");
    }
}

#[test]
fn the_examples_are_accepted() {
    use crate::api::{
        model::{
            environment::{EnvironmentCreate, EnvironmentPut, Migration},
            project::{ProjectCreate, ProjectPatch},
            quota::QuotaPut,
        },
        openapi, rest,
    };
    let document = serde_json::to_value(openapi::document(&rest::routes())).expect("JSON");
    let example = |name: &str| document["components"]["schemas"][name]["example"].clone();
    let create = serde_json::from_value::<EnvironmentCreate>(example("EnvironmentCreate")).expect("EnvironmentCreate");
    create.into_environment(None, None).expect("acceptable");
    let put = serde_json::from_value::<EnvironmentPut>(example("EnvironmentPut")).expect("EnvironmentPut");
    put.into_patch(None).expect("acceptable");
    serde_json::from_value::<Migration>(example("Migration")).expect("Migration").ids().expect("ids");
    let create = serde_json::from_value::<ProjectCreate>(example("ProjectCreate")).expect("ProjectCreate");
    create.into_project().expect("acceptable");
    let patch = serde_json::from_value::<ProjectPatch>(example("ProjectPatch")).expect("ProjectPatch");
    patch.into_patch().expect("acceptable");
    let put = serde_json::from_value::<QuotaPut>(example("QuotaPut")).expect("QuotaPut");
    put.into_patch().expect("acceptable");
}

#[tokio::test]
async fn samples_are_kept_as_long_as_the_organization_says_and_the_control_plane_lets_it() {
    let api = Api::open().await;
    let server = api.make_server("web").await;
    let organization = server["organization_id"].as_str().expect("an id");
    let path = format!("/api/v1/organizations/{organization}/metrics-retention");
    let (status, shown) = api.call("GET", &path, NOTHING).await;
    assert_eq!((status, &shown["raw_retention_seconds"]), (StatusCode::OK, &json!(7 * 86_400)), "{shown}");
    assert_eq!(shown["own"]["raw_retention_seconds"], *NOTHING);
    let (status, set) = api.call("PUT", &path, &json!({ "raw_retention_seconds": 86_400 })).await;
    assert_eq!((status, &set["raw_retention_seconds"]), (StatusCode::OK, &json!(86_400)), "{set}");
    assert_eq!(set["max"]["raw_retention_seconds"], json!(7 * 86_400));
    let (status, refused) = api.call("PUT", &path, &json!({ "minute_retention_seconds": 3_600 })).await;
    assert_eq!((status, code(&refused)), (StatusCode::UNPROCESSABLE_ENTITY, "invalid_field"), "{refused}");
    assert!(refused["detail"].as_str().expect("words").contains("shorten the former"), "{refused}");
    let (_, shown) = api.call("GET", &path, NOTHING).await;
    assert_eq!(shown, set, "a refused one changes nothing");
    let (status, lifted) = api.call("PUT", &path, &json!({ "raw_retention_seconds": null })).await;
    assert_eq!((status, &lifted["own"]["raw_retention_seconds"]), (StatusCode::OK, NOTHING), "{lifted}");
    let other = "/api/v1/organizations/01890a5d-ac96-774b-bcce-b302099a8057/metrics-retention";
    assert_eq!(api.call("GET", other, NOTHING).await.0, StatusCode::NOT_FOUND);
}
