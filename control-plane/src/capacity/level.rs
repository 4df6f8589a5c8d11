//! How near to its end a resource is.

/// From this share on, somebody should think about it.
pub const WARNING_PERCENT: f64 = 80.0;
/// From this share on, somebody should act.
pub const CRITICAL_PERCENT: f64 = 95.0;
/// Above this share, more was promised than there is.
pub const OVER_PROVISIONED_PERCENT: f64 = 100.0;

/// How near to its end a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Its size is not known.
    Unknown,
    Ok,
    Warning,
    Critical,
    OverProvisioned,
}

impl Level {
    /// The level of a share in percent.
    #[must_use]
    pub fn of(percent: Option<f64>) -> Self {
        match percent {
            None => Self::Unknown,
            Some(percent) if percent > OVER_PROVISIONED_PERCENT => Self::OverProvisioned,
            Some(percent) if percent >= CRITICAL_PERCENT => Self::Critical,
            Some(percent) if percent >= WARNING_PERCENT => Self::Warning,
            Some(_) => Self::Ok,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::OverProvisioned => "over_provisioned",
        }
    }

    /// What to do, to be added to what was found.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Unknown | Self::Ok => "",
            Self::Warning => ": consider adding server capacity soon",
            Self::Critical => ": approaching the maximum, add servers",
            Self::OverProvisioned => ": physical limits are exceeded, move environments away",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_begin_where_they_are_published_to() {
        let levels = [0.0, 79.9, 80.0, 94.9, 95.0, 100.0, 100.1].map(|percent| Level::of(Some(percent)));
        use Level::{Critical, Ok, OverProvisioned, Warning};
        assert_eq!(levels, [Ok, Ok, Warning, Warning, Critical, Critical, OverProvisioned]);
    }
}
