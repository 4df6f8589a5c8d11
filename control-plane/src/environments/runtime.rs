//! How an environment runs, told by the containers that were seen on its server. Pure.
//!
//! A container is an environment's when the environment names it, by id (12 or more of its digits) or by name, or when its
//! label [`LABEL`] holds the environment's id. Of several, one in trouble decides, else one that runs.

use muster_shared::{
    facts::{Container, Docker, DockerStatus},
    id::EnvironmentId,
};

use super::EnvironmentStatus;

/// The label that says whose container it is.
pub const LABEL: &str = "muster.environment_id";
/// So many digits of an id tell a container from all others.
const MIN_ID_DIGITS: usize = 12;

/// What is known of an environment beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub id: EnvironmentId,
    pub container: Option<&'a str>,
    pub was: EnvironmentStatus,
}

/// Whether `container` is one of the environment's.
#[must_use]
pub fn is_of(expected: &Expected<'_>, container: &Container) -> bool {
    let named = expected.container.is_some_and(|wanted| {
        let by_id = wanted.len() >= MIN_ID_DIGITS && container.id.starts_with(wanted);
        by_id || container.name.trim_start_matches('/') == wanted
    });
    named || container.labels.get(LABEL).is_some_and(|label| label.parse() == Ok(expected.id))
}

/// How the environment runs; `None` where Docker told nothing.
#[must_use]
pub fn status(expected: &Expected<'_>, docker: &Docker) -> Option<EnvironmentStatus> {
    if !matches!(docker.status, DockerStatus::Running | DockerStatus::Stopped | DockerStatus::NotInstalled) {
        return None;
    }
    let mut theirs = docker.containers.iter().filter(|container| is_of(expected, container)).peekable();
    if theirs.peek().is_none() {
        return Some(match expected.was {
            EnvironmentStatus::Pending => EnvironmentStatus::Pending,
            _ => EnvironmentStatus::Stopped,
        });
    }
    Some(theirs.fold(EnvironmentStatus::Stopped, |status, container| match (status, one(container)) {
        (EnvironmentStatus::Error, _) | (_, EnvironmentStatus::Error) => EnvironmentStatus::Error,
        (EnvironmentStatus::Running, _) => EnvironmentStatus::Running,
        (_, one) => one,
    }))
}

fn one(container: &Container) -> EnvironmentStatus {
    match (container.state.as_str(), container.health.as_str()) {
        ("restarting" | "dead", _) | ("running", "unhealthy") => EnvironmentStatus::Error,
        ("running", _) => EnvironmentStatus::Running,
        _ => EnvironmentStatus::Stopped,
    }
}

/// Whether `container` runs.
#[must_use]
pub fn runs(container: &Container) -> bool {
    matches!(container.state.as_str(), "running" | "restarting" | "paused")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn container(id: &str, name: &str, state: &str) -> Container {
        Container { id: id.into(), name: name.into(), state: state.into(), ..Container::default() }
    }

    fn docker(containers: Vec<Container>) -> Docker {
        Docker { status: DockerStatus::Running, containers, ..Docker::default() }
    }

    fn named(container: &str) -> Expected<'_> {
        Expected { id: EnvironmentId::generate(), container: Some(container), was: EnvironmentStatus::Pending }
    }

    #[test]
    fn a_container_is_found_by_name_id_and_label() {
        let id = "3f4e5d6c7b8a90123f4e5d6c7b8a90123f4e5d6c7b8a90123f4e5d6c7b8a9012";
        let seen = container(id, "odoo_prod_abc123", "running");
        assert!(is_of(&named("odoo_prod_abc123"), &seen));
        assert!(is_of(&named(id), &seen) && is_of(&named(&id[..12]), &seen));
        assert!(!is_of(&named(&id[..11]), &seen), "too few digits tell nothing");
        assert!(!is_of(&named("odoo_prod_abc12"), &seen), "part of a name is another name");
        let expected = Expected { container: None, ..named("x") };
        let labels = BTreeMap::from([(LABEL.to_owned(), expected.id.to_string())]);
        assert!(is_of(&expected, &Container { labels, ..container("1", "a", "running") }));
        let labels = BTreeMap::from([(LABEL.to_owned(), EnvironmentId::generate().to_string())]);
        assert!(!is_of(&expected, &Container { labels, ..container("1", "a", "running") }));
    }

    #[test]
    fn each_state_has_its_word() {
        use EnvironmentStatus::{Error, Pending, Running, Stopped};
        for (state, word) in
            [("running", Running), ("exited", Stopped), ("paused", Stopped), ("dead", Error), ("restarting", Error)]
        {
            assert_eq!(status(&named("shop"), &docker(vec![container("1", "shop", state)])), Some(word), "{state}");
        }
        let unhealthy = Container { health: "unhealthy".into(), ..container("1", "shop", "running") };
        assert_eq!(status(&named("shop"), &docker(vec![unhealthy])), Some(Error));
        assert_eq!(status(&named("shop"), &docker(Vec::new())), Some(Pending));
        let gone = Expected { was: Running, ..named("shop") };
        assert_eq!(status(&gone, &docker(Vec::new())), Some(Stopped));
        let silent = Docker { status: DockerStatus::Hung, ..Docker::default() };
        assert_eq!(status(&gone, &silent), None);
    }

    proptest! {
        #[test]
        fn others_containers_and_their_order_change_nothing(
            states in prop::collection::vec("(running|exited|restarting|created|paused)", 0..6),
            others in prop::collection::vec("(running|exited|dead)", 0..6),
            turn in 0usize..12,
        ) {
            let expected = Expected { container: None, ..named("x") };
            let labels = BTreeMap::from([(LABEL.to_owned(), expected.id.to_string())]);
            let ours: Vec<_> = states.iter().map(|state| {
                Container { labels: labels.clone(), ..container("1", "ours", state) }
            }).collect();
            let alone = status(&expected, &docker(ours.clone()));
            let mut all = ours;
            all.extend(others.iter().map(|state| container("2", "theirs", state)));
            if !all.is_empty() {
                let by = turn % all.len();
                all.rotate_left(by);
            }
            prop_assert_eq!(status(&expected, &docker(all)), alone);
            let word = alone.expect("Docker told");
            prop_assert_eq!(word == EnvironmentStatus::Pending, states.is_empty());
            prop_assert_eq!(word == EnvironmentStatus::Error, states.iter().any(|state| state == "restarting"));
            if word == EnvironmentStatus::Running {
                prop_assert!(states.iter().any(|state| state == "running"));
            }
        }
    }
}
