//! Asking the Docker engine, in bounded time: a hung engine costs its time limit and nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    path::Path,
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, Docker as Engine,
    models::{ContainerSummary, SystemInfo},
    query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptions},
};
use futures_util::{StreamExt, stream};
use muster_shared::facts::{AddressPool, Container, Docker, DockerStatus};

use tokio::time::{Instant, timeout_at};

use super::{ProbeOptions, host::Host};
use crate::os::text;

/// Most containers taken over; the engine lists the youngest first, later ones are left out.
const MAX_CONTAINERS: usize = 2048;
/// Most labels of a container taken over.
const MAX_LABELS: usize = 64;
/// How many containers are inspected at the same time, and by one call; the next call goes on with the others.
const INSPECTIONS_AT_ONCE: usize = 8;
const MAX_INSPECTIONS: usize = 128;

/// Why the engine did not answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("Docker is not installed")]
    NotInstalled,
    #[error("Docker is installed but not running")]
    Stopped,
    #[error("this user may not use the Docker socket")]
    PermissionDenied,
    #[error("the Docker engine did not answer in time")]
    Hung,
    #[error("the Docker engine gave no usable answer")]
    Unusable(#[source] bollard::errors::Error),
}

impl EngineError {
    fn status(&self) -> DockerStatus {
        match self {
            Self::NotInstalled => DockerStatus::NotInstalled,
            Self::Stopped => DockerStatus::Stopped,
            Self::PermissionDenied => DockerStatus::PermissionDenied,
            Self::Hung => DockerStatus::Hung,
            Self::Unusable(_) => DockerStatus::Unknown,
        }
    }
}

/// The engine's containers, running or not, the oldest first. `known` are those of the last call: what can't have
/// changed since is taken from there, which spares the engine most of the work.
///
/// # Errors
/// Why the engine did not answer; containers are then unknown, not none.
pub async fn read_containers(options: &ProbeOptions, known: &[Container]) -> Result<Vec<Container>, EngineError> {
    let ask = async {
        let engine = connect(options).await?;
        list_containers(&engine, known, options.docker_timeout).await
    };
    in_time(options, ask).await
}

/// Everything about the engine; what it did not say is missing, and its status says why.
pub(super) async fn read(options: &ProbeOptions) -> Docker {
    let ask = async {
        let engine = connect(options).await?;
        let known = options.previous.as_ref().map_or(&[][..], |facts| &facts.docker.containers);
        describe(&engine, known, options.docker_timeout).await
    };
    match in_time(options, ask).await {
        Ok(docker) => docker,
        Err(error) => Docker { status: error.status(), ..Docker::default() },
    }
}

async fn in_time<T>(
    options: &ProbeOptions,
    ask: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    tokio::time::timeout(options.docker_timeout, ask).await.unwrap_or(Err(EngineError::Hung))
}

/// A first look at the socket itself tells apart what an HTTP client reports as one failure.
async fn connect(options: &ProbeOptions) -> Result<Engine, EngineError> {
    let host = Host::new(&options.root);
    if !host.is_live() {
        return Err(EngineError::NotInstalled);
    }
    let socket = &options.docker_socket;
    if let Err(error) = tokio::net::UnixStream::connect(socket).await {
        let is_installed = host.has_program("dockerd");
        return Err(match error.kind() {
            std::io::ErrorKind::PermissionDenied => EngineError::PermissionDenied,
            _ if is_installed => EngineError::Stopped,
            _ => EngineError::NotInstalled,
        });
    }
    let engine = connect_client(socket, options.docker_timeout.as_secs().max(1)).map_err(EngineError::Unusable)?;
    engine.negotiate_version().await.map_err(unusable)
}

fn connect_client(socket: &Path, timeout_seconds: u64) -> Result<Engine, bollard::errors::Error> {
    Engine::connect_with_unix(&socket.to_string_lossy(), timeout_seconds, API_DEFAULT_VERSION)
}

fn unusable(error: bollard::errors::Error) -> EngineError {
    match error {
        bollard::errors::Error::RequestTimeoutError => EngineError::Hung,
        other => EngineError::Unusable(other),
    }
}

async fn describe(engine: &Engine, known: &[Container], limit: Duration) -> Result<Docker, EngineError> {
    let images = ListImagesOptionsBuilder::new().build();
    let (info, version, containers, images, networks) = tokio::join!(
        engine.info(),
        engine.version(),
        list_containers(engine, known, limit),
        engine.list_images(Some(images)),
        engine.list_networks(None::<ListNetworksOptions>),
    );
    let info = info.map_err(unusable)?;
    let version = version.map_err(unusable)?;
    let images = images.unwrap_or_default();
    Ok(Docker {
        status: DockerStatus::Running,
        version: version.version.as_deref().map(text::clean),
        api_version: version.api_version.as_deref().map(text::clean),
        storage_driver: info.driver.as_deref().map(text::clean),
        cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()),
        cgroup_version: info.cgroup_version.map(|version| version.to_string()),
        live_restore: info.live_restore_enabled,
        data_directory: info.docker_root_dir.as_deref().map(text::clean),
        address_pools: address_pools(&info),
        networks: networks.map_or(0, |networks| u32::try_from(networks.len()).unwrap_or(u32::MAX)),
        containers: containers?,
        images: u32::try_from(images.len()).unwrap_or(u32::MAX),
        images_bytes: images.iter().filter_map(|image| u64::try_from(image.size).ok()).sum(),
    })
}

fn address_pools(info: &SystemInfo) -> Vec<AddressPool> {
    let pools = info.default_address_pools.iter().flatten();
    let pools = pools.filter_map(|pool| {
        Some(AddressPool { base: text::clean(pool.base.as_deref()?), size: u8::try_from(pool.size?).ok()? })
    });
    pools.collect()
}

/// A container that is just being started or removed keeps whoever inspects it waiting, so inspections get half of the
/// `limit` and the list does not depend on their answers.
async fn list_containers(engine: &Engine, known: &[Container], limit: Duration) -> Result<Vec<Container>, EngineError> {
    let inspected_until = Instant::now() + limit / 2;
    let all = ListContainersOptionsBuilder::new().all(true);
    let all = all.limit(i32::try_from(MAX_CONTAINERS).unwrap_or(i32::MAX)).build();
    let listed = engine.list_containers(Some(all)).await.map_err(unusable)?;
    let known: HashMap<&str, u32> =
        known.iter().filter_map(|known| Some((known.id.as_str(), known.restarts?))).collect();
    let mut inspections_left = MAX_INSPECTIONS;
    let described = stream::iter(listed).map(|summary| {
        let known = summary.id.as_deref().and_then(|id| known.get(id)).copied();
        let inspects = inspections_left > 0 && must_inspect(summary.status.as_deref().unwrap_or_default(), known);
        inspections_left -= usize::from(inspects);
        async move {
            let restarts = if inspects {
                let inspection = inspect_restarts(engine, summary.id.as_deref());
                timeout_at(inspected_until, inspection).await.unwrap_or(known)
            } else {
                known
            };
            container(summary, restarts)
        }
    });
    let mut containers: Vec<Container> = described.buffer_unordered(INSPECTIONS_AT_ONCE).collect().await;
    containers.sort_by(|a, b| (a.created_at_us, &a.id).cmp(&(b.created_at_us, &b.id)));
    Ok(containers)
}

/// A container's restarts are told by inspection only, which costs the engine much more than the list. They can only
/// have changed where the container started or ended a short while ago: `Up 3 seconds`, `Restarting (1) …`.
fn must_inspect(status: &str, known: Option<u32>) -> bool {
    known.is_none() || ["second", "About a minute", "Restarting"].iter().any(|sign| status.contains(sign))
}

/// `None` also where the container was removed meanwhile.
async fn inspect_restarts(engine: &Engine, id: Option<&str>) -> Option<u32> {
    let details = engine.inspect_container(id?, None).await.ok()?;
    u32::try_from(details.restart_count?).ok()
}

fn container(summary: ContainerSummary, restarts: Option<u32>) -> Container {
    let name = summary.names.iter().flatten().find(|name| name.matches('/').count() == 1);
    let labels = summary.labels.into_iter().flatten();
    let labels: BTreeMap<_, _> = labels.map(|(key, value)| (text::clean(&key), text::clean(&value))).collect();
    Container {
        id: text::clean(summary.id.as_deref().unwrap_or_default()),
        name: name.map(|name| text::clean(name.trim_start_matches('/'))).unwrap_or_default(),
        image: text::clean(summary.image.as_deref().unwrap_or_default()),
        state: summary.state.map(|state| state.to_string()).unwrap_or_default(),
        health: health(summary.status.as_deref().unwrap_or_default()).to_owned(),
        restarts,
        created_at_us: summary.created.map(|seconds| seconds.saturating_mul(1_000_000)),
        labels: labels.into_iter().take(MAX_LABELS).collect(),
    }
}

/// The list says it in the words people read: `Up 2 hours (healthy)`.
fn health(status: &str) -> &'static str {
    [("(healthy)", "healthy"), ("(unhealthy)", "unhealthy"), ("(health: starting)", "starting")]
        .into_iter()
        .find_map(|(sign, word)| status.contains(sign).then_some(word))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_containers_that_may_have_restarted_are_inspected() {
        assert!(must_inspect("Up 2 hours", None));
        assert!(!must_inspect("Up 2 hours", Some(3)));
        for status in
            ["Up Less than a second", "Up 40 seconds (healthy)", "Exited (1) 2 seconds ago", "Restarting (1) now"]
        {
            assert!(must_inspect(status, Some(3)), "{status}");
        }
    }

    #[test]
    fn health_is_read_from_the_status() {
        assert_eq!(health("Up 2 minutes (health: starting)"), "starting");
        assert_eq!(health("Up 2 minutes (unhealthy)"), "unhealthy");
        assert_eq!(health("Up 2 minutes (Paused)"), "");
    }

    fn options(socket: &Path) -> ProbeOptions {
        ProbeOptions {
            docker_socket: socket.to_owned(),
            docker_timeout: Duration::from_millis(100),
            ..ProbeOptions::default()
        }
    }

    #[tokio::test]
    async fn an_engine_that_accepts_and_stays_silent_is_hung() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("docker.sock");
        let _silent = tokio::net::UnixListener::bind(&socket).expect("a listener");
        assert!(matches!(read_containers(&options(&socket), &[]).await, Err(EngineError::Hung)));
        assert_eq!(read(&options(&socket)).await.status, DockerStatus::Hung);
    }

    /// Answers the version and the list, and no inspection.
    async fn serve_list_only(listener: tokio::net::UnixListener) {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let (mut stream, mut line, mut asked) = (BufStream::new(stream), String::new(), String::new());
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    if let Some(path) = line.strip_prefix("GET ") {
                        asked = path.to_owned();
                    }
                    let body = if asked.contains("/containers/json") {
                        r#"[{"Id":"c1","Names":["/web"],"State":"running","Status":"Up 2 seconds"}]"#
                    } else {
                        r#"{"ApiVersion":"1.41"}"#
                    };
                    if line == "\r\n" && !asked.contains("/c1/json") {
                        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
                        let answer = format!("{head} {}\r\n\r\n{body}", body.len());
                        stream.write_all(answer.as_bytes()).await.expect("written");
                        stream.flush().await.expect("sent");
                    }
                    line.clear();
                }
            });
        }
    }

    #[tokio::test]
    async fn a_container_that_can_not_be_inspected_is_listed_all_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("docker.sock");
        tokio::spawn(serve_list_only(tokio::net::UnixListener::bind(&socket).expect("a listener")));
        let options = ProbeOptions { docker_timeout: Duration::from_secs(4), ..options(&socket) };
        let containers = read_containers(&options, &[]).await.expect("a list");
        assert_eq!(containers.iter().map(|c| (c.name.as_str(), c.restarts)).collect::<Vec<_>>(), [("web", None)]);
    }

    #[tokio::test]
    async fn without_a_socket_there_is_no_running_engine() {
        let directory = tempfile::tempdir().expect("a directory");
        let answer = read_containers(&options(&directory.path().join("docker.sock")), &[]).await;
        assert!(matches!(answer, Err(EngineError::Stopped | EngineError::NotInstalled)));
    }
}
