//! A server's size in a word.

use crate::servers::Resources;

/// A server's size: the largest for which it has both the cores and the memory. A machine sold with 8 GB shows a little
/// less, and one with 8 GiB a little more, so the memory's limits lie below the round numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    Small,
    /// From 4 cores and 8 GB on.
    Medium,
    /// From 8 cores and 16 GB on.
    Large,
    /// From 16 cores and 32 GB on.
    XLarge,
}

const LARGEST_FIRST: [(Size, f64, f64); 3] =
    [(Size::XLarge, 16.0, 30.0), (Size::Large, 8.0, 15.0), (Size::Medium, 4.0, 7.5)];

impl Size {
    /// The size of a server with these resources; `None` where cores or memory are not known.
    #[must_use]
    pub fn of(resources: &Resources) -> Option<Self> {
        let (cores, memory_gb) = (resources.cpu_cores?, resources.memory_gb?);
        let fits = |(_, least_cores, least_gb): &&(Size, f64, f64)| cores >= *least_cores && memory_gb >= *least_gb;
        Some(LARGEST_FIRST.iter().find(fits).map_or(Self::Small, |(size, ..)| *size))
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::XLarge => "xlarge",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(cpu_cores: f64, memory_gb: f64) -> Option<Size> {
        Size::of(&Resources { cpu_cores: Some(cpu_cores), memory_gb: Some(memory_gb), disk_gb: None })
    }

    #[test]
    fn the_published_server_is_medium() {
        assert_eq!(size(4.0, 8.0).map(Size::as_str), Some("medium"));
        assert_eq!(size(2.0, 4.0), Some(Size::Small));
        assert_eq!(size(16.0, 8.2), Some(Size::Medium), "cores alone don't make it large");
        assert_eq!(size(8.0, 16.7), Some(Size::Large));
        assert_eq!(size(64.0, 256.0), Some(Size::XLarge));
        assert_eq!(Size::of(&Resources::default()), None);
    }

    proptest! {
        #[test]
        fn more_is_never_smaller(cores in 1.0..64.0, memory in 1.0..256.0, more in 0.0..64.0) {
            prop_assert!(size(cores + more, memory) >= size(cores, memory));
            prop_assert!(size(cores, memory + more) >= size(cores, memory));
        }
    }
}
