//! What may still be added. Pure.

use std::fmt;

use super::amounts::{Amounts, Resource, written};

/// At most so much of each, in thousandths; `None` is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub cpu_milli: Option<u64>,
    pub ram_mb_milli: Option<u64>,
    pub disk_gb_milli: Option<u64>,
}

/// A limit that would be passed. Thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub resource: Resource,
    pub quota: u64,
    pub left: u64,
    /// What was to be added; 0 where its size is not known.
    pub asked: u64,
}

impl Limits {
    /// The limit on `resource`, in thousandths.
    #[must_use]
    pub fn of(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Cpu => self.cpu_milli,
            Resource::Ram => self.ram_mb_milli,
            Resource::Disk => self.disk_gb_milli,
        }
    }

    /// What is left of `resource` beside `used`, in thousandths.
    #[must_use]
    pub fn left(&self, resource: Resource, used: &Amounts) -> Option<u64> {
        Some(self.of(resource)?.saturating_sub(used.of(resource)))
    }

    /// The limits as amounts; nothing where there is none.
    #[must_use]
    pub fn amounts(&self) -> Amounts {
        Amounts::each(|resource| self.of(resource).unwrap_or(0))
    }

    fn exceeded(&self, used: &Amounts, added: &Amounts, is_over: impl Fn(u64, u64) -> bool) -> Result<(), Exceeded> {
        for resource in Resource::ALL {
            let (Some(quota), asked) = (self.of(resource), added.of(resource)) else { continue };
            let left = quota.saturating_sub(used.of(resource));
            if is_over(asked, left) {
                return Err(Exceeded { resource, quota, left, asked });
            }
        }
        Ok(())
    }
}

/// Whether `added` may come to what is `used`. What adds nothing of a resource is not held to its limit, so that
/// shrinking is always allowed.
///
/// # Errors
/// The first limit that would be passed.
pub fn admit(limits: &Limits, used: &Amounts, added: &Amounts) -> Result<(), Exceeded> {
    limits.exceeded(used, added, |asked, left| asked > left)
}

/// Whether a server may come that has `added` as far as is known: where its size is not known, something must be left.
///
/// # Errors
/// The first limit that would be passed, or has nothing left.
pub fn admit_unsized(limits: &Limits, used: &Amounts, added: &Amounts) -> Result<(), Exceeded> {
    limits.exceeded(used, added, |asked, left| asked > left || left == 0)
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.resource.unit();
        write!(
            f,
            "Quota exceeded: {} quota is {} {unit}, {} {unit} left",
            self.resource.name(),
            written(self.quota),
            written(self.left)
        )?;
        match self.asked {
            0 => f.write_str("; free some of it, or ask an owner of the organization for more"),
            asked => write!(
                f,
                ", {} {unit} needed; free some of it, or ask an owner of the organization for more",
                written(asked)
            ),
        }
    }
}
