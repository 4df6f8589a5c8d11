//! Changes to a host: what can be asked for, in which mode, what is answered, and the life of one change. Pure.
//!
//! Every argument is a type of its own that holds only what is harmless in an argument vector and in a file: no leading
//! hyphen, no NUL, no line break, and a bounded length.

pub mod argument;
pub mod item;
pub mod life;
pub mod report;
mod travel;

pub use self::{
    argument::{Cidr, InvalidArgument, Port, PublicKey, UnitName, UserName},
    item::{ChangeArgs, ConfirmArgs, Item, ItemName, Mode},
    report::{ChangeReport, StepReport},
};
