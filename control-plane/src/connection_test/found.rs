//! What a connection test answers, decided from what was seen. Pure.

use muster_shared::facts::Sudo;

use super::Seen;
use crate::servers::{self, ConnectionOutcome, Fingerprint, SshTarget, SudoMode};
use crate::ssh::SshError;

/// How a connection test ended.
#[derive(Debug, Clone)]
pub struct TestResult {
    pub outcome: ConnectionOutcome,
    /// What happened, in words.
    pub message: String,
    /// What to do, in words; `None` where all is well.
    pub remedy: Option<String>,
    /// What the login showed of the host.
    pub detected: Option<Detected>,
    /// The key the host presented, where it came to that.
    pub host_key: Option<Fingerprint>,
    /// The key that was expected, where it was another.
    pub expected_host_key: Option<Fingerprint>,
}

/// What a login showed of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    pub host: servers::Detected,
    /// The login itself is root.
    pub is_root: bool,
    /// The login can become root through sudo.
    pub sudo_available: bool,
    /// What `auto` comes to on this host: `none` or `sudo`.
    pub sudo_mode: SudoMode,
}

impl TestResult {
    pub(super) fn failed(error: &SshError, host_key: Option<Fingerprint>) -> Self {
        let (host_key, expected_host_key) = match error {
            SshError::HostKeyMismatch { expected, presented } => (Some(presented.clone()), Some(expected.clone())),
            _ => (host_key, None),
        };
        Self {
            outcome: error.outcome(),
            message: error.to_string(),
            remedy: Some(error.remedy()),
            detected: None,
            host_key,
            expected_host_key,
        }
    }

    /// A login that can't become root still shows the host. It is a failure only where sudo was asked for by name.
    pub(super) fn of_seen(seen: &Seen, target: &SshTarget, host_key: Option<Fingerprint>) -> Self {
        let detected = Some(seen.detected(target.sudo_mode));
        let (outcome, message, remedy) = match &seen.refusal {
            None => (ConnectionOutcome::Success, "Connection successful".to_owned(), None),
            Some(refusal) if target.sudo_mode == SudoMode::Sudo => {
                (ConnectionOutcome::Failed, refusal.to_string(), Some(refusal.remedy()))
            }
            Some(refusal) => {
                let message = format!("Connection successful, but {refusal}");
                (ConnectionOutcome::Success, message, Some(refusal.remedy()))
            }
        };
        Self { outcome, message, remedy, detected, host_key, expected_host_key: None }
    }
}

impl Seen {
    fn detected(&self, asked: SudoMode) -> Detected {
        let through_sudo = self.refusal.is_none()
            && match asked {
                SudoMode::Auto => !self.login_is_root,
                SudoMode::Sudo => true,
                SudoMode::None => false,
            };
        let installed =
            matches!(self.facts.collected_as.sudo, Some(Sudo::Passwordless)) || self.login_has_unused_sudo(asked);
        Detected {
            host: (&self.facts).into(),
            is_root: self.login_is_root,
            sudo_available: through_sudo || (self.refusal.is_none() && installed),
            sudo_mode: if through_sudo { SudoMode::Sudo } else { SudoMode::None },
        }
    }

    /// Where sudo was not to be used, the probe's own look at it is all there is.
    fn login_has_unused_sudo(&self, asked: SudoMode) -> bool {
        asked == SudoMode::None && matches!(self.facts.collected_as.sudo, Some(Sudo::PasswordRequired))
    }
}

#[cfg(test)]
mod tests {
    use muster_shared::facts::Facts;
    use secrecy::SecretString;

    use super::*;
    use crate::{
        servers::SshAuth,
        ssh::{Elevation, Unreachable},
    };

    fn target(sudo_mode: SudoMode) -> SshTarget {
        SshTarget {
            host: "203.0.113.10".to_owned(),
            port: 22,
            username: "ops".parse().expect("a name"),
            auth: SshAuth::Password(SecretString::from("x")),
            sudo_mode,
            host_key: None,
        }
    }

    fn seen(login_is_root: bool, refusal: Option<Elevation>) -> Seen {
        let facts = Facts { hostname: "web-1".to_owned(), ..Facts::default() };
        Seen { facts, json: String::new(), login_is_root, refusal: refusal.map(SshError::Elevation) }
    }

    fn detected(seen: &Seen, mode: SudoMode) -> (bool, bool, SudoMode) {
        let detected = TestResult::of_seen(seen, &target(mode), None).detected.expect("seen");
        (detected.is_root, detected.sudo_available, detected.sudo_mode)
    }

    #[test]
    fn the_mode_that_works_is_found() {
        assert_eq!(detected(&seen(true, None), SudoMode::Auto), (true, false, SudoMode::None));
        assert_eq!(detected(&seen(false, None), SudoMode::Auto), (false, true, SudoMode::Sudo));
        assert_eq!(detected(&seen(false, None), SudoMode::Sudo), (false, true, SudoMode::Sudo));
        assert_eq!(detected(&seen(false, None), SudoMode::None), (false, false, SudoMode::None));
        let refused = seen(false, Some(Elevation::NotAllowed));
        assert_eq!(detected(&refused, SudoMode::Auto), (false, false, SudoMode::None));
    }

    #[test]
    fn a_login_that_cannot_become_root_fails_only_where_sudo_was_asked_for() {
        let refused = seen(false, Some(Elevation::PasswordRefused));
        let result = TestResult::of_seen(&refused, &target(SudoMode::Auto), None);
        assert_eq!(result.outcome, ConnectionOutcome::Success);
        assert!(result.message.contains("sudo refused the password") && result.remedy.is_some());
        let result = TestResult::of_seen(&refused, &target(SudoMode::Sudo), None);
        assert_eq!(result.outcome, ConnectionOutcome::Failed);
        assert_eq!(result.detected.expect("seen").host.hostname.as_deref(), Some("web-1"));
    }

    #[test]
    fn a_changed_host_key_shows_both() {
        let [expected, presented]: [Fingerprint; 2] = [
            "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg",
            "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        ]
        .map(|text| text.parse().expect("a fingerprint"));
        let error = SshError::HostKeyMismatch { expected: expected.clone(), presented: presented.clone() };
        let result = TestResult::failed(&error, None);
        assert_eq!((result.host_key, result.expected_host_key), (Some(presented), Some(expected)));
    }

    #[test]
    fn every_failure_has_a_word_and_a_remedy() {
        let error = SshError::Unreachable { address: "host".into(), port: 2222, why: Unreachable::Refused };
        let result = TestResult::failed(&error, None);
        assert_eq!(result.outcome, ConnectionOutcome::Unreachable);
        assert!(result.remedy.expect("words").contains("2222"));
    }
}
