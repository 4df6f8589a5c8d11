//! What a server's samples say.

mod declarations;
mod fresh;
mod group;
pub mod head;
mod heads;
mod latest;
mod live;
mod placed;
mod query;
mod role;
mod samples;
mod selection;
mod shape;
pub mod steps;
mod summary;

pub use declarations::{Declarations, UnreadableDeclarations};
pub use fresh::fresh_summary;
pub use group::{Aggregate, Group};
pub use heads::{HeadCell, Heads};
#[cfg(test)]
pub(crate) use latest::tests as latest_tests;
pub use latest::{Latest, latest};
pub use live::{Following, LiveFrame, Point};
pub use placed::{PlacedContainer, the_one};
pub use query::{Asked, MAX_SERIES, MAX_SERVERS, MAX_VALUES, Metric, SeriesQuery, Stepped, metrics_of, query};
pub use samples::{Budget, Points, samples};
pub use selection::{MAX_LABELS, MAX_METRICS, Selection};
pub use summary::Summary;
