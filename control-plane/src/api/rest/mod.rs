//! REST: one resource a file, every route in one table.

pub mod agent;
pub mod audit;
pub mod bootstrap;
pub mod commands;
pub mod connection_test;
pub mod credentials;
pub mod dashboard;
pub mod document;
pub mod environments;
pub mod events;
pub mod extract;
pub mod facts;
pub mod fix;
pub mod fleet_runs;
pub mod hardening;
pub mod health;
pub mod host_key;
pub mod install;
pub mod join_tokens;
pub mod keyring;
pub mod login_requests;
#[cfg(test)]
mod login_tests;
#[cfg(test)]
mod matrix_tests;
pub mod me;
pub mod members;
pub mod metrics_export;
pub mod metrics_retention;
pub mod monitoring;
pub mod oidc;
pub mod organizations;
pub mod page;
#[cfg(test)]
mod people_tests;
pub mod power;
pub mod preflight;
pub mod problem;
#[cfg(test)]
mod project_tests;
pub mod projects;
pub mod quota;
pub mod routes;
pub mod secure;
pub mod series;
pub mod server_metrics;
pub mod servers;
pub mod session;
pub mod ssh_key_rotations;
pub mod ssh_keys;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod users;

use axum::{Extension, Router, middleware};
use document::Document;
use http::StatusCode;
use routes::Routes;

use super::operation::Operation;
use crate::{app::App, edge};

/// Every route there is.
#[must_use]
pub fn routes() -> Routes {
    Routes::default()
        .public::<health::__path_healthz, _, _>(health::healthz)
        .public::<health::__path_readyz, _, _>(health::readyz)
        .guarded::<health::__path_own_metrics, _, _>(Operation::ReadOwnMetrics, health::own_metrics)
        .compressed()
        .guarded::<servers::__path_list_servers, _, _>(Operation::ListServers, servers::list_servers)
        .compressed()
        .guarded::<servers::__path_create_server, _, _>(Operation::CreateServer, servers::create_server)
        .guarded::<servers::__path_get_server, _, _>(Operation::GetServer, servers::get_server)
        .compressed()
        .guarded::<servers::__path_update_server, _, _>(Operation::UpdateServer, servers::update_server)
        .guarded::<servers::__path_delete_server, _, _>(Operation::DeleteServer, servers::delete_server)
        .guarded::<environments::__path_list_server_environments, _, _>(
            Operation::ListEnvironments,
            environments::list_server_environments,
        )
        .compressed()
        .guarded::<environments::__path_migrate_environments, _, _>(
            Operation::MigrateEnvironments,
            environments::migrate_environments,
        )
        .guarded::<projects::__path_list_projects, _, _>(Operation::ListProjects, projects::list_projects)
        .compressed()
        .guarded::<projects::__path_create_project, _, _>(Operation::CreateProject, projects::create_project)
        .guarded::<projects::__path_get_project, _, _>(Operation::GetProject, projects::get_project)
        .guarded::<projects::__path_update_project, _, _>(Operation::UpdateProject, projects::update_project)
        .guarded::<projects::__path_delete_project, _, _>(Operation::DeleteProject, projects::delete_project)
        .guarded::<projects::__path_list_project_members, _, _>(
            Operation::ListProjectMembers,
            projects::list_project_members,
        )
        .guarded::<projects::__path_add_project_member, _, _>(Operation::AddProjectMember, projects::add_project_member)
        .guarded::<projects::__path_remove_project_member, _, _>(
            Operation::RemoveProjectMember,
            projects::remove_project_member,
        )
        .guarded::<environments::__path_list_environments, _, _>(
            Operation::ListEnvironments,
            environments::list_environments,
        )
        .compressed()
        .guarded::<environments::__path_create_environment, _, _>(
            Operation::CreateEnvironment,
            environments::create_environment,
        )
        .guarded::<environments::__path_get_environment, _, _>(Operation::GetEnvironment, environments::get_environment)
        .guarded::<environments::__path_update_environment, _, _>(
            Operation::UpdateEnvironment,
            environments::update_environment,
        )
        .guarded::<environments::__path_delete_environment, _, _>(
            Operation::DeleteEnvironment,
            environments::delete_environment,
        )
        .guarded::<quota::__path_get_quota, _, _>(Operation::GetQuota, quota::get_quota)
        .guarded::<quota::__path_set_quota, _, _>(Operation::SetQuota, quota::set_quota)
        .guarded::<metrics_export::__path_export_metrics, _, _>(
            Operation::ExportMetrics,
            metrics_export::export_metrics,
        )
        .guarded::<metrics_retention::__path_get_metrics_retention, _, _>(
            Operation::GetMetricsRetention,
            metrics_retention::get_metrics_retention,
        )
        .guarded::<metrics_retention::__path_set_metrics_retention, _, _>(
            Operation::SetMetricsRetention,
            metrics_retention::set_metrics_retention,
        )
        .guarded::<host_key::__path_accept_host_key, _, _>(Operation::AcceptHostKey, host_key::accept_host_key)
        .guarded::<connection_test::__path_test_new_connection, _, _>(
            Operation::TestConnection,
            connection_test::test_new_connection,
        )
        .guarded::<connection_test::__path_test_connection, _, _>(
            Operation::TestConnection,
            connection_test::test_connection,
        )
        .guarded::<preflight::__path_run_preflight, _, _>(Operation::RunPreflight, preflight::run_preflight)
        .guarded::<fix::__path_fix_server, _, _>(Operation::FixServer, fix::fix_server)
        .guarded::<facts::__path_get_facts, _, _>(Operation::GetServer, facts::get_facts)
        .compressed()
        .guarded::<facts::__path_refresh_facts, _, _>(Operation::RefreshFacts, facts::refresh_facts)
        .guarded::<power::__path_reboot_server, _, _>(Operation::RebootServer, power::reboot_server)
        .guarded::<power::__path_stop_server, _, _>(Operation::StopServer, power::stop_server)
        .guarded::<power::__path_start_server, _, _>(Operation::StartServer, power::start_server)
        .guarded::<hardening::__path_get_hardening, _, _>(Operation::GetHardening, hardening::get_hardening)
        .compressed()
        .guarded::<hardening::__path_harden_server, _, _>(Operation::Harden, hardening::harden_server)
        .guarded::<commands::__path_list_commands, _, _>(Operation::ListCommands, commands::list_commands)
        .compressed()
        .guarded::<commands::__path_list_fleet_commands, _, _>(Operation::ListCommands, commands::list_fleet_commands)
        .compressed()
        .guarded::<commands::__path_get_command, _, _>(Operation::GetCommand, commands::get_command)
        .compressed()
        .guarded::<commands::__path_cancel_command, _, _>(Operation::CancelCommand, commands::cancel_command)
        .guarded::<fleet_runs::__path_create_fleet_run, _, _>(Operation::CreateFleetRun, fleet_runs::create_fleet_run)
        .guarded::<fleet_runs::__path_list_fleet_runs, _, _>(Operation::ListFleetRuns, fleet_runs::list_fleet_runs)
        .compressed()
        .guarded::<fleet_runs::__path_get_fleet_run, _, _>(Operation::GetFleetRun, fleet_runs::get_fleet_run)
        .compressed()
        .guarded::<fleet_runs::__path_cancel_fleet_run, _, _>(Operation::CancelFleetRun, fleet_runs::cancel_fleet_run)
        .guarded::<stats::__path_get_stats, _, _>(Operation::GetStats, stats::get_stats)
        .compressed()
        .guarded::<events::__path_watch_events, _, _>(Operation::WatchEvents, events::watch_events)
        .guarded::<monitoring::__path_get_summary, _, _>(Operation::GetSummary, monitoring::get_summary)
        .guarded::<monitoring::__path_follow_live, _, _>(Operation::GetSummary, monitoring::follow_live)
        .guarded::<series::__path_query_series, _, _>(Operation::QuerySeries, series::query_series)
        .compressed()
        .guarded::<series::__path_query_fleet_series, _, _>(Operation::QuerySeries, series::query_fleet_series)
        .compressed()
        .guarded::<series::__path_follow_series, _, _>(Operation::WatchSeries, series::follow_series)
        .guarded::<series::__path_list_metrics, _, _>(Operation::ListMetrics, series::list_metrics)
        .compressed()
        .guarded::<server_metrics::__path_get_server_metrics, _, _>(
            Operation::GetServerMetrics,
            server_metrics::get_server_metrics,
        )
        .guarded::<server_metrics::__path_get_monitoring_url, _, _>(
            Operation::GetMonitoringUrl,
            server_metrics::get_monitoring_url,
        )
        .guarded::<server_metrics::__path_get_container_metrics, _, _>(
            Operation::GetContainerMetrics,
            server_metrics::get_container_metrics,
        )
        .compressed()
        .guarded::<bootstrap::__path_bootstrap, _, _>(Operation::Bootstrap, bootstrap::bootstrap)
        .guarded::<secure::__path_secure_server, _, _>(Operation::SecureServer, secure::secure_server)
        .guarded::<agent::__path_revoke_agent, _, _>(Operation::RevokeAgent, agent::revoke_agent)
        .guarded::<agent::__path_release_quarantine, _, _>(Operation::ReleaseQuarantine, agent::release_quarantine)
        .guarded::<join_tokens::__path_create_join_token, _, _>(
            Operation::CreateJoinToken,
            join_tokens::create_join_token,
        )
        .guarded::<join_tokens::__path_list_join_tokens, _, _>(Operation::ListJoinTokens, join_tokens::list_join_tokens)
        .guarded::<join_tokens::__path_revoke_join_token, _, _>(
            Operation::RevokeJoinToken,
            join_tokens::revoke_join_token,
        )
        .guarded::<audit::__path_list_audit, _, _>(Operation::ListAudit, audit::list_audit)
        .compressed()
        .guarded::<audit::__path_verify_audit, _, _>(Operation::VerifyAudit, audit::verify_audit)
        .guarded::<audit::__path_export_audit, _, _>(Operation::ExportAudit, audit::export_audit)
        .compressed()
        .guarded::<credentials::__path_set_ssh_password, _, _>(Operation::SetSshPassword, credentials::set_ssh_password)
        .guarded::<credentials::__path_set_ssh_key, _, _>(Operation::SetSshKey, credentials::set_ssh_key)
        .guarded::<ssh_keys::__path_create_ssh_key_pair, _, _>(
            Operation::CreateSshKeyPair,
            ssh_keys::create_ssh_key_pair,
        )
        .guarded::<ssh_keys::__path_list_ssh_key_pairs, _, _>(Operation::ListSshKeyPairs, ssh_keys::list_ssh_key_pairs)
        .compressed()
        .guarded::<ssh_keys::__path_get_ssh_key_pair, _, _>(Operation::GetSshKeyPair, ssh_keys::get_ssh_key_pair)
        .guarded::<ssh_keys::__path_update_ssh_key_pair, _, _>(
            Operation::UpdateSshKeyPair,
            ssh_keys::update_ssh_key_pair,
        )
        .guarded::<ssh_keys::__path_delete_ssh_key_pair, _, _>(
            Operation::DeleteSshKeyPair,
            ssh_keys::delete_ssh_key_pair,
        )
        .guarded::<ssh_key_rotations::__path_rotate_ssh_key_pair, _, _>(
            Operation::RotateSshKeyPair,
            ssh_key_rotations::rotate_ssh_key_pair,
        )
        .guarded::<ssh_key_rotations::__path_get_ssh_key_rotation, _, _>(
            Operation::GetSshKeyRotation,
            ssh_key_rotations::get_ssh_key_rotation,
        )
        .compressed()
        .guarded::<keyring::__path_get_keyring, _, _>(Operation::GetKeyring, keyring::get_keyring)
        .guarded::<keyring::__path_rotate_keyring, _, _>(Operation::RotateKeyring, keyring::rotate_keyring)
        .guarded::<keyring::__path_retire_keyring_key, _, _>(Operation::RetireKeyringKey, keyring::retire_keyring_key)
        .signed_in::<me::__path_get_me, _, _>(me::get_me)
        .signed_in::<me::__path_change_password, _, _>(me::change_password)
        .signed_in::<me::__path_enroll_totp, _, _>(me::enroll_totp)
        .signed_in::<me::__path_confirm_totp, _, _>(me::confirm_totp)
        .signed_in::<me::__path_disable_totp, _, _>(me::disable_totp)
        .public::<session::__path_sign_in, _, _>(session::sign_in)
        .public::<oidc::__path_get_oidc, _, _>(oidc::get_oidc)
        .public::<oidc::__path_begin_oidc_login, _, _>(oidc::begin_oidc_login)
        .public::<oidc::__path_finish_oidc_login, _, _>(oidc::finish_oidc_login)
        .public::<oidc::__path_complete_oidc_login, _, _>(oidc::complete_oidc_login)
        .signed_in::<session::__path_get_session, _, _>(session::get_session)
        .signed_in::<session::__path_update_session, _, _>(session::update_session)
        .signed_in::<session::__path_sign_out, _, _>(session::sign_out)
        .signed_in::<session::__path_list_sessions, _, _>(session::list_sessions)
        .signed_in::<session::__path_end_session, _, _>(session::end_session)
        .public::<login_requests::__path_begin_login, _, _>(login_requests::begin_login)
        .signed_in::<login_requests::__path_get_login_request, _, _>(login_requests::get_login_request)
        .signed_in::<login_requests::__path_approve_login, _, _>(login_requests::approve_login)
        .signed_in::<tokens::__path_list_tokens, _, _>(tokens::list_tokens)
        .signed_in::<tokens::__path_create_token, _, _>(tokens::create_token)
        .signed_in::<tokens::__path_revoke_token, _, _>(tokens::revoke_token)
        .signed_in::<organizations::__path_list_organizations, _, _>(organizations::list_organizations)
        .guarded::<organizations::__path_create_organization, _, _>(
            Operation::CreateOrganization,
            organizations::create_organization,
        )
        .guarded::<organizations::__path_get_organization, _, _>(
            Operation::GetOrganization,
            organizations::get_organization,
        )
        .guarded::<organizations::__path_update_organization, _, _>(
            Operation::UpdateOrganization,
            organizations::update_organization,
        )
        .guarded::<members::__path_list_members, _, _>(Operation::ListMembers, members::list_members)
        .compressed()
        .guarded::<members::__path_add_member, _, _>(Operation::AddMember, members::add_member)
        .guarded::<members::__path_update_member, _, _>(Operation::UpdateMember, members::update_member)
        .guarded::<members::__path_remove_member, _, _>(Operation::RemoveMember, members::remove_member)
        .guarded::<users::__path_list_users, _, _>(Operation::ListUsers, users::list_users)
        .guarded::<users::__path_create_user, _, _>(Operation::CreateUser, users::create_user)
        .guarded::<users::__path_get_user, _, _>(Operation::GetUser, users::get_user)
        .guarded::<users::__path_update_user, _, _>(Operation::UpdateUser, users::update_user)
        .guarded::<users::__path_reset_user_totp, _, _>(Operation::ResetUserTotp, users::reset_user_totp)
        .guarded::<users::__path_delete_user, _, _>(Operation::DeleteUser, users::delete_user)
        .public::<install::__path_install_sh, _, _>(install::install_sh)
        .public::<install::__path_agent_binary, _, _>(install::agent_binary)
        .public::<document::__path_openapi, _, _>(document::openapi)
        .compressed()
        .public::<dashboard::__path_dashboard_page, _, _>(dashboard::dashboard_page)
        .public::<dashboard::__path_dashboard_sign_in, _, _>(dashboard::dashboard_sign_in)
        .public::<dashboard::__path_dashboard_server, _, _>(dashboard::dashboard_server)
        .public::<dashboard::__path_dashboard_asset, _, _>(dashboard::dashboard_asset)
        .public::<page::__path_docs_page, _, _>(page::docs_page)
        .public::<page::__path_docs_script, _, _>(page::docs_script)
        .compressed()
        .public::<page::__path_docs_style, _, _>(page::docs_style)
        .compressed()
}

/// The router that serves them: errors always have a body, requests always have an id.
pub fn router(app: &App) -> Router {
    let routes = routes();
    let document = Document::of(&routes);
    let router = routes
        .into_router(app)
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(Extension(document))
        .with_state(app.clone());
    edge::protect_public(router).layer(middleware::from_fn(problem::render))
}
