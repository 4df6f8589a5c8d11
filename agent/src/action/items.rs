//! The items, one a file. Each reads its evidence and decides its plan; nothing here changes the host.

mod accounts;
mod add_to_docker_group;
mod configure_sudo;
mod free_disk;
mod free_ports;
mod install_docker;
mod start_docker;

pub use self::{
    accounts::{Account, Accounts},
    add_to_docker_group::AddToDockerGroup,
    configure_sudo::ConfigureSudo,
    free_disk::FreeDisk,
    free_ports::FreePorts,
    install_docker::InstallDocker,
    start_docker::StartDocker,
};
