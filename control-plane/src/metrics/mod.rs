//! What a server's samples say.

mod declarations;
mod fresh;
pub mod head;
mod heads;
mod role;
mod series;
mod shape;
mod summary;

pub use declarations::{Declarations, UnreadableDeclarations};
pub use fresh::fresh_summary;
pub use heads::{HeadCell, Heads};
pub use series::{SeriesPoints, series};
pub use summary::Summary;
