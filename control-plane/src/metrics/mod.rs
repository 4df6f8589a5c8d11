//! What a server's samples say.

mod summary;

pub use summary::Summary;
