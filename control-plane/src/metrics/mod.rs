//! What a server's samples say.

pub mod block;
mod block_row;
pub mod compact;
mod declarations;
pub mod engine;
pub mod exchange;
pub mod forward;
mod fresh;
mod gathering;
mod group;
pub mod head;
mod heads;
mod history;
mod identity;
mod kept_lists;
mod latest;
mod live;
mod metric_store;
mod placed;
pub mod prometheus;
mod query;
pub mod remote_write;
mod role;
mod samples;
pub mod seal;
mod selection;
mod shape;
pub mod steps;
mod summary;
mod unpacking;

pub use declarations::{Declarations, UnreadableDeclarations};
pub use fresh::fresh_summary;
pub use group::{Aggregate, Group};
pub use heads::{HeadCell, Heads};
pub use history::History;
pub(crate) use kept_lists::KeptLists;
#[cfg(test)]
pub(crate) use latest::tests as latest_tests;
pub use latest::{Latest, latest};
pub use live::{Following, LiveFrame, Point};
pub use metric_store::MetricStore;
pub use placed::{PlacedContainer, the_one};
pub use query::{Asked, MAX_SERIES, MAX_SERVERS, MAX_VALUES, Metric, SeriesQuery, Stepped, metrics_of, query};
pub use samples::{Budget, Points};
pub use selection::{MAX_LABELS, MAX_METRICS, Selection};
pub use summary::Summary;
