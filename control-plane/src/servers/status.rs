//! The words that servers are described with, the same in database, REST and gRPC.

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The value named `word`.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }
    )*};
}

pub(crate) use words;

words! {
    /// What a server is meant to be doing.
    ServerStatus {
        /// It was announced and never seen.
        Pending = "pending",
        Running = "running",
        Stopped = "stopped",
        Error = "error",
        Deleted = "deleted",
    }

    /// How a server is. See [`decide`](crate::health::decide) for what each means.
    HealthStatus {
        Healthy = "healthy",
        Degraded = "degraded",
        Unhealthy = "unhealthy",
        Unknown = "unknown",
        AuthFailed = "auth_failed",
        Unreachable = "unreachable",
    }

    /// Where a server's agent stands.
    AgentStatus {
        /// None was ever installed.
        None = "none",
        /// It has an identity and never connected with it.
        Pending = "pending",
        Online = "online",
        Offline = "offline",
        /// Two machines used one identity; both are refused until a person decides.
        Quarantined = "quarantined",
        /// A person withdrew its identity.
        Revoked = "revoked",
        /// Its server was deleted.
        Retired = "retired",
    }

    /// Which of a server's addresses to dial.
    #[derive(Default)]
    AddressChoice {
        /// The first there is of FQDN, IPv4, IPv6, host name.
        #[default]
        Auto = "auto",
        Ipv4 = "ipv4",
        Ipv6 = "ipv6",
        Fqdn = "fqdn",
        Hostname = "hostname",
    }

    /// How to prove who we are over SSH.
    AuthMethod {
        Password = "password",
        SshKey = "ssh_key",
    }

    /// How to become root over SSH.
    SudoMode {
        /// Find out.
        Auto = "auto",
        /// The user is root, or needs no more rights than it has.
        None = "none",
        Sudo = "sudo",
    }

    /// How the last attempt to connect over SSH ended.
    ConnectionOutcome {
        Success = "success",
        AuthFailed = "auth_failed",
        Unreachable = "unreachable",
        HostKeyMismatch = "host_key_mismatch",
        /// Connected, and then something else went wrong.
        Failed = "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for status in AgentStatus::ALL {
            assert_eq!(AgentStatus::parse(status.as_str()), Some(*status));
        }
        assert_eq!(ServerStatus::parse("Running"), None);
    }
}
