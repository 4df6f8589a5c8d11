//! Changing this host: plan → diff → apply → verify → undo.
//!
//! A change's plan is data ([`plan::Plan`]): steps whose inverses are known, decided by pure code over evidence that was
//! read before ([`plan::Change`]). The [`engine::Engine`] does the rest, the same for every item: it shows the diff,
//! writes down what each step replaces before it begins, carries the steps out, looks again, and takes back whatever
//! was begun when anything fails. Where a change could lock somebody out, the host takes it back by itself unless a
//! confirmation arrives ([`deadman`]), whoever has been killed by then.
//!
//! ```text
//! DIR/<command id>/record.json     plan, life, what each step replaced; rewritten before every effect
//! DIR/<command id>/before-<step>   the file that the step replaced, byte for byte
//! DIR/<command id>/output-<step>   what the step's program says
//! DIR/lock                         held by whoever makes or takes back a change
//! ```

pub mod catalogue;
pub mod deadman;
pub mod diff;
pub mod engine;
pub mod harden;
pub mod host;
pub mod items;
pub mod plan;
pub mod record;
pub mod step;

pub use self::{
    engine::Engine,
    host::{Host, LiveHost},
    plan::{Change, Plan, Refused},
    step::{Call, Owner, Step},
};
