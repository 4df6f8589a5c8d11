//! `muster.v1.FleetService`: each method takes the caller and the request apart, calls its noun's function and
//! converts. What they do is in the nouns' files.

use muster_shared::wire::{self, fleet_service_server::FleetService};
use tonic::Request;

use super::{
    agent, audit,
    call::{Answer, Answers, Fleet, answer},
    commands, environments, events, fleet_runs, hardening, join_tokens, keyring, login_requests, members,
    metrics_retention, monitoring, organizations, power, projects, runs, servers, ssh_keys, tokens, users,
};
#[tonic::async_trait]
impl FleetService for Fleet {
    type ExportAuditStream = Answers<wire::AuditChainItem>;
    type BootstrapStream = Answers<wire::ProgressEvent>;
    type RunPreflightStream = Answers<wire::ProgressEvent>;
    type HardenStream = Answers<wire::ProgressEvent>;
    type FixServerStream = Answers<wire::ProgressEvent>;
    type SecureServerStream = Answers<wire::ProgressEvent>;
    type RotateSshKeyPairStream = Answers<wire::ProgressEvent>;
    type WatchSshKeyRotationStream = Answers<wire::ProgressEvent>;
    type WatchCommandStream = Answers<wire::ProgressEvent>;
    type WatchFleetRunStream = Answers<wire::ProgressEvent>;
    type WatchServerStream = Answers<wire::ServerEvent>;
    type WatchSeriesStream = Answers<wire::SeriesEvent>;
    type WatchEventsStream = Answers<wire::FleetEvent>;

    async fn list_servers(&self, request: Request<wire::ListServersRequest>) -> Answer<wire::ListServersResponse> {
        answer(servers::list(self.call(request)?).await)
    }

    async fn get_server(&self, request: Request<wire::GetServerRequest>) -> Answer<wire::Server> {
        answer(servers::get(self.call(request)?).await)
    }

    async fn create_server(&self, request: Request<wire::CreateServerRequest>) -> Answer<wire::Server> {
        answer(servers::create(self.call(request)?).await)
    }

    async fn update_server(&self, request: Request<wire::UpdateServerRequest>) -> Answer<wire::Server> {
        answer(servers::update(self.call(request)?).await)
    }

    async fn test_connection(
        &self,
        request: Request<wire::TestConnectionRequest>,
    ) -> Answer<wire::TestConnectionResponse> {
        answer(servers::test_connection(self.call(request)?).await)
    }

    async fn accept_host_key(&self, request: Request<wire::AcceptHostKeyRequest>) -> Answer<wire::Server> {
        answer(servers::accept_host_key(self.call(request)?).await)
    }

    async fn bootstrap(&self, request: Request<wire::BootstrapRequest>) -> Answer<Self::BootstrapStream> {
        answer(runs::bootstrap(self.call(request)?).await)
    }

    async fn run_preflight(&self, request: Request<wire::RunPreflightRequest>) -> Answer<Self::RunPreflightStream> {
        answer(runs::preflight(self.call(request)?).await)
    }

    async fn get_hardening(&self, request: Request<wire::GetHardeningRequest>) -> Answer<wire::Hardening> {
        answer(hardening::get(self.call(request)?).await)
    }

    async fn harden(&self, request: Request<wire::HardenRequest>) -> Answer<Self::HardenStream> {
        answer(hardening::harden(self.call(request)?).await)
    }

    async fn fix_server(&self, request: Request<wire::FixServerRequest>) -> Answer<Self::FixServerStream> {
        answer(runs::fix(self.call(request)?).await)
    }

    async fn secure_server(&self, request: Request<wire::SecureServerRequest>) -> Answer<Self::SecureServerStream> {
        answer(runs::secure(self.call(request)?).await)
    }

    async fn refresh_facts(&self, request: Request<wire::RefreshFactsRequest>) -> Answer<wire::Server> {
        answer(servers::refresh_facts(self.call(request)?).await)
    }

    async fn get_summary(&self, request: Request<wire::GetSummaryRequest>) -> Answer<wire::Summary> {
        answer(monitoring::summary(self.call(request)?).await)
    }

    async fn watch_server(&self, request: Request<wire::WatchServerRequest>) -> Answer<Self::WatchServerStream> {
        answer(monitoring::watch_server(self.call(request)?).await)
    }

    async fn get_stats(&self, request: Request<wire::GetStatsRequest>) -> Answer<wire::ServerStats> {
        answer(monitoring::stats(self.call(request)?).await)
    }

    async fn get_server_metrics(&self, request: Request<wire::GetServerMetricsRequest>) -> Answer<wire::ServerMetrics> {
        answer(monitoring::server_metrics(self.call(request)?).await)
    }

    async fn get_container_metrics(
        &self,
        request: Request<wire::GetContainerMetricsRequest>,
    ) -> Answer<wire::ContainerMetrics> {
        answer(monitoring::container_metrics(self.call(request)?).await)
    }

    async fn get_monitoring_url(&self, request: Request<wire::GetMonitoringUrlRequest>) -> Answer<wire::MonitoringUrl> {
        let door = join_tokens::door(&request);
        answer(monitoring::monitoring_url(self.call(request)?, door).await)
    }

    async fn list_metrics(&self, request: Request<wire::ListMetricsRequest>) -> Answer<wire::ListMetricsResponse> {
        answer(monitoring::list_metrics(self.call(request)?).await)
    }

    async fn query_series(&self, request: Request<wire::QuerySeriesRequest>) -> Answer<wire::QuerySeriesResponse> {
        answer(monitoring::query_series(self.call(request)?).await)
    }

    async fn watch_series(&self, request: Request<wire::WatchSeriesRequest>) -> Answer<Self::WatchSeriesStream> {
        answer(monitoring::watch_series(self.call(request)?).await)
    }

    async fn watch_events(&self, request: Request<wire::WatchEventsRequest>) -> Answer<Self::WatchEventsStream> {
        answer(events::watch(self.call(request)?).await)
    }

    async fn create_join_token(
        &self,
        request: Request<wire::CreateJoinTokenRequest>,
    ) -> Answer<wire::CreateJoinTokenResponse> {
        let door = join_tokens::door(&request);
        answer(join_tokens::create(self.call(request)?, door).await)
    }

    async fn list_join_tokens(
        &self,
        request: Request<wire::ListJoinTokensRequest>,
    ) -> Answer<wire::ListJoinTokensResponse> {
        answer(join_tokens::list(self.call(request)?).await)
    }

    async fn revoke_join_token(
        &self,
        request: Request<wire::RevokeJoinTokenRequest>,
    ) -> Answer<wire::RevokeJoinTokenResponse> {
        answer(join_tokens::revoke(self.call(request)?).await)
    }

    async fn reboot_server(&self, request: Request<wire::PowerRequest>) -> Answer<wire::PowerResponse> {
        answer(power::reboot(self.call(request)?).await)
    }

    async fn stop_server(&self, request: Request<wire::PowerRequest>) -> Answer<wire::PowerResponse> {
        answer(power::stop(self.call(request)?).await)
    }

    async fn start_server(&self, request: Request<wire::PowerRequest>) -> Answer<wire::PowerResponse> {
        answer(power::start(self.call(request)?).await)
    }

    async fn get_command(&self, request: Request<wire::GetCommandRequest>) -> Answer<wire::Command> {
        answer(commands::get(self.call(request)?).await)
    }

    async fn watch_command(&self, request: Request<wire::WatchCommandRequest>) -> Answer<Self::WatchCommandStream> {
        answer(commands::watch(self.call(request)?).await)
    }

    async fn list_commands(&self, request: Request<wire::ListCommandsRequest>) -> Answer<wire::ListCommandsResponse> {
        answer(commands::list(self.call(request)?).await)
    }

    async fn cancel_command(&self, request: Request<wire::CancelFleetCommandRequest>) -> Answer<wire::Command> {
        answer(commands::cancel(self.call(request)?).await)
    }

    async fn create_fleet_run(&self, request: Request<wire::CreateFleetRunRequest>) -> Answer<wire::FleetRun> {
        answer(fleet_runs::create(self.call(request)?).await)
    }

    async fn list_fleet_runs(
        &self,
        request: Request<wire::ListFleetRunsRequest>,
    ) -> Answer<wire::ListFleetRunsResponse> {
        answer(fleet_runs::list(self.call(request)?).await)
    }

    async fn get_fleet_run(&self, request: Request<wire::GetFleetRunRequest>) -> Answer<wire::FleetRun> {
        answer(fleet_runs::get(self.call(request)?).await)
    }

    async fn watch_fleet_run(&self, request: Request<wire::WatchFleetRunRequest>) -> Answer<Self::WatchFleetRunStream> {
        answer(fleet_runs::watch(self.call(request)?).await)
    }

    async fn cancel_fleet_run(&self, request: Request<wire::CancelFleetRunRequest>) -> Answer<wire::FleetRun> {
        answer(fleet_runs::cancel(self.call(request)?).await)
    }

    async fn revoke_agent(&self, request: Request<wire::RevokeAgentRequest>) -> Answer<wire::Server> {
        answer(agent::revoke(self.call(request)?).await)
    }

    async fn release_quarantine(&self, request: Request<wire::ReleaseQuarantineRequest>) -> Answer<wire::Server> {
        answer(agent::release(self.call(request)?).await)
    }

    async fn list_audit(&self, request: Request<wire::ListAuditRequest>) -> Answer<wire::ListAuditResponse> {
        answer(audit::list(self.call(request)?).await)
    }

    async fn export_audit(&self, request: Request<wire::ExportAuditRequest>) -> Answer<Self::ExportAuditStream> {
        answer(audit::export(self.call(request)?).await)
    }

    async fn verify_audit(&self, request: Request<wire::VerifyAuditRequest>) -> Answer<wire::VerifyAuditResponse> {
        answer(audit::verify(self.call(request)?).await)
    }

    async fn set_ssh_password(&self, request: Request<wire::SetSshPasswordRequest>) -> Answer<wire::Server> {
        answer(servers::set_ssh_password(self.call(request)?).await)
    }

    async fn set_ssh_key(&self, request: Request<wire::SetSshKeyRequest>) -> Answer<wire::Server> {
        answer(servers::set_ssh_key(self.call(request)?).await)
    }

    async fn create_ssh_key_pair(
        &self,
        request: Request<wire::CreateSshKeyPairRequest>,
    ) -> Answer<wire::CreateSshKeyPairResponse> {
        answer(ssh_keys::create(self.call(request)?).await)
    }

    async fn list_ssh_key_pairs(
        &self,
        request: Request<wire::ListSshKeyPairsRequest>,
    ) -> Answer<wire::ListSshKeyPairsResponse> {
        answer(ssh_keys::list(self.call(request)?).await)
    }

    async fn get_ssh_key_pair(&self, request: Request<wire::GetSshKeyPairRequest>) -> Answer<wire::SshKeyPair> {
        answer(ssh_keys::get(self.call(request)?).await)
    }

    async fn update_ssh_key_pair(&self, request: Request<wire::UpdateSshKeyPairRequest>) -> Answer<wire::SshKeyPair> {
        answer(ssh_keys::update(self.call(request)?).await)
    }

    async fn delete_ssh_key_pair(
        &self,
        request: Request<wire::DeleteSshKeyPairRequest>,
    ) -> Answer<wire::DeleteSshKeyPairResponse> {
        answer(ssh_keys::delete(self.call(request)?).await)
    }

    async fn rotate_ssh_key_pair(
        &self,
        request: Request<wire::RotateSshKeyPairRequest>,
    ) -> Answer<Self::RotateSshKeyPairStream> {
        answer(ssh_keys::rotate(self.call(request)?).await)
    }

    async fn get_ssh_key_rotation(
        &self,
        request: Request<wire::GetSshKeyRotationRequest>,
    ) -> Answer<wire::SshKeyRotation> {
        answer(ssh_keys::rotation(self.call(request)?).await)
    }

    async fn watch_ssh_key_rotation(
        &self,
        request: Request<wire::WatchSshKeyRotationRequest>,
    ) -> Answer<Self::WatchSshKeyRotationStream> {
        answer(ssh_keys::watch_rotation(self.call(request)?).await)
    }

    async fn get_keyring(&self, request: Request<wire::GetKeyringRequest>) -> Answer<wire::Keyring> {
        answer(keyring::get(self.call(request)?).await)
    }

    async fn rotate_keyring(&self, request: Request<wire::RotateKeyringRequest>) -> Answer<wire::Keyring> {
        answer(keyring::rotate(self.call(request)?).await)
    }

    async fn retire_keyring_key(&self, request: Request<wire::RetireKeyringKeyRequest>) -> Answer<wire::Keyring> {
        answer(keyring::retire(self.call(request)?).await)
    }

    async fn delete_server(&self, request: Request<wire::DeleteServerRequest>) -> Answer<wire::DeleteServerResponse> {
        answer(servers::delete(self.call(request)?).await)
    }

    async fn list_projects(&self, request: Request<wire::ListProjectsRequest>) -> Answer<wire::ListProjectsResponse> {
        answer(projects::list(self.call(request)?).await)
    }

    async fn get_project(&self, request: Request<wire::GetProjectRequest>) -> Answer<wire::Project> {
        answer(projects::get(self.call(request)?).await)
    }

    async fn create_project(&self, request: Request<wire::CreateProjectRequest>) -> Answer<wire::Project> {
        answer(projects::create(self.call(request)?).await)
    }

    async fn update_project(&self, request: Request<wire::UpdateProjectRequest>) -> Answer<wire::Project> {
        answer(projects::update(self.call(request)?).await)
    }

    async fn delete_project(
        &self,
        request: Request<wire::DeleteProjectRequest>,
    ) -> Answer<wire::DeleteProjectResponse> {
        answer(projects::delete(self.call(request)?).await)
    }

    async fn list_project_members(
        &self,
        request: Request<wire::ListProjectMembersRequest>,
    ) -> Answer<wire::ListProjectMembersResponse> {
        answer(projects::members(self.call(request)?).await)
    }

    async fn add_project_member(
        &self,
        request: Request<wire::AddProjectMemberRequest>,
    ) -> Answer<wire::AddProjectMemberResponse> {
        answer(projects::add_member(self.call(request)?).await)
    }

    async fn remove_project_member(
        &self,
        request: Request<wire::RemoveProjectMemberRequest>,
    ) -> Answer<wire::RemoveProjectMemberResponse> {
        answer(projects::remove_member(self.call(request)?).await)
    }

    async fn list_environments(
        &self,
        request: Request<wire::ListEnvironmentsRequest>,
    ) -> Answer<wire::ListEnvironmentsResponse> {
        answer(environments::list(self.call(request)?).await)
    }

    async fn get_environment(&self, request: Request<wire::GetEnvironmentRequest>) -> Answer<wire::Environment> {
        answer(environments::get(self.call(request)?).await)
    }

    async fn create_environment(&self, request: Request<wire::CreateEnvironmentRequest>) -> Answer<wire::Environment> {
        answer(environments::create(self.call(request)?).await)
    }

    async fn update_environment(&self, request: Request<wire::UpdateEnvironmentRequest>) -> Answer<wire::Environment> {
        answer(environments::update(self.call(request)?).await)
    }

    async fn delete_environment(
        &self,
        request: Request<wire::DeleteEnvironmentRequest>,
    ) -> Answer<wire::DeleteEnvironmentResponse> {
        answer(environments::delete(self.call(request)?).await)
    }

    async fn migrate_environments(
        &self,
        request: Request<wire::MigrateEnvironmentsRequest>,
    ) -> Answer<wire::MigrateEnvironmentsResponse> {
        answer(environments::migrate(self.call(request)?).await)
    }

    async fn get_quota(&self, request: Request<wire::GetQuotaRequest>) -> Answer<wire::Quota> {
        answer(projects::quota(self.call(request)?).await)
    }

    async fn set_quota(&self, request: Request<wire::SetQuotaRequest>) -> Answer<wire::Quota> {
        answer(projects::set_quota(self.call(request)?).await)
    }

    async fn get_metrics_retention(
        &self,
        request: Request<wire::GetMetricsRetentionRequest>,
    ) -> Answer<wire::MetricsRetention> {
        answer(metrics_retention::get(self.call(request)?).await)
    }

    async fn set_metrics_retention(
        &self,
        request: Request<wire::SetMetricsRetentionRequest>,
    ) -> Answer<wire::MetricsRetention> {
        answer(metrics_retention::set(self.call(request)?).await)
    }

    async fn get_me(&self, request: Request<wire::GetMeRequest>) -> Answer<wire::Me> {
        answer(organizations::me(self.call(request)?).await)
    }

    async fn list_organizations(
        &self,
        request: Request<wire::ListOrganizationsRequest>,
    ) -> Answer<wire::ListOrganizationsResponse> {
        answer(organizations::list(self.call(request)?).await)
    }

    async fn create_organization(
        &self,
        request: Request<wire::CreateOrganizationRequest>,
    ) -> Answer<wire::Organization> {
        answer(organizations::create(self.call(request)?).await)
    }

    async fn get_organization(&self, request: Request<wire::GetOrganizationRequest>) -> Answer<wire::Organization> {
        answer(organizations::get(self.call(request)?).await)
    }

    async fn update_organization(
        &self,
        request: Request<wire::UpdateOrganizationRequest>,
    ) -> Answer<wire::Organization> {
        answer(organizations::update(self.call(request)?).await)
    }

    async fn list_members(&self, request: Request<wire::ListMembersRequest>) -> Answer<wire::ListMembersResponse> {
        answer(members::list(self.call(request)?).await)
    }

    async fn add_member(&self, request: Request<wire::AddMemberRequest>) -> Answer<wire::Member> {
        answer(members::add(self.call(request)?).await)
    }

    async fn update_member(&self, request: Request<wire::UpdateMemberRequest>) -> Answer<wire::Member> {
        answer(members::update(self.call(request)?).await)
    }

    async fn remove_member(&self, request: Request<wire::RemoveMemberRequest>) -> Answer<wire::RemoveMemberResponse> {
        answer(members::remove(self.call(request)?).await)
    }

    async fn list_users(&self, request: Request<wire::ListUsersRequest>) -> Answer<wire::ListUsersResponse> {
        answer(users::list(self.call(request)?).await)
    }

    async fn get_user(&self, request: Request<wire::GetUserRequest>) -> Answer<wire::User> {
        answer(users::get(self.call(request)?).await)
    }

    async fn create_user(&self, request: Request<wire::CreateUserRequest>) -> Answer<wire::User> {
        answer(users::create(self.call(request)?).await)
    }

    async fn update_user(&self, request: Request<wire::UpdateUserRequest>) -> Answer<wire::User> {
        answer(users::update(self.call(request)?).await)
    }

    async fn reset_user_totp(&self, request: Request<wire::ResetUserTotpRequest>) -> Answer<wire::User> {
        answer(users::reset_totp(self.call(request)?).await)
    }

    async fn delete_user(&self, request: Request<wire::DeleteUserRequest>) -> Answer<wire::DeleteUserResponse> {
        answer(users::delete(self.call(request)?).await)
    }

    async fn begin_login(&self, request: Request<wire::BeginLoginRequest>) -> Answer<wire::BeginLoginResponse> {
        answer(login_requests::begin(self.app(), request.into_inner()))
    }

    async fn get_login_request(&self, request: Request<wire::GetLoginRequestRequest>) -> Answer<wire::LoginRequest> {
        answer(login_requests::get(&self.call(request)?))
    }

    async fn approve_login(&self, request: Request<wire::ApproveLoginRequest>) -> Answer<wire::ApiToken> {
        answer(login_requests::approve(self.call(request)?).await)
    }

    async fn list_api_tokens(
        &self,
        request: Request<wire::ListApiTokensRequest>,
    ) -> Answer<wire::ListApiTokensResponse> {
        answer(tokens::list(self.call(request)?).await)
    }

    async fn create_api_token(
        &self,
        request: Request<wire::CreateApiTokenRequest>,
    ) -> Answer<wire::CreateApiTokenResponse> {
        answer(tokens::create(self.call(request)?).await)
    }

    async fn revoke_api_token(
        &self,
        request: Request<wire::RevokeApiTokenRequest>,
    ) -> Answer<wire::RevokeApiTokenResponse> {
        answer(tokens::revoke(self.call(request)?).await)
    }
}
