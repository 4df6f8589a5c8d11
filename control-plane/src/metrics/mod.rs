//! What a server's samples say.

pub mod head;
mod role;
mod summary;

pub use summary::Summary;
