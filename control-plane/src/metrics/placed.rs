//! Which container somebody means. Pure.

use muster_shared::id::ServerId;

use crate::error::{Error, ErrorKind};

/// A container, and the server it was last seen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedContainer {
    pub server_id: ServerId,
    /// As the engine says it, 64 digits.
    pub id: String,
    pub name: String,
}

/// The one of `found` that `reference` means: an id before a beginning of one, and that before a name.
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::Precondition`] where several are meant.
pub fn the_one(reference: &str, found: Vec<PlacedContainer>) -> Result<PlacedContainer, Error> {
    let digits = reference.to_ascii_lowercase();
    let rank = |container: &PlacedContainer| match () {
        () if container.id == digits => 0,
        () if container.id.starts_with(&digits) => 1,
        () => 2,
    };
    let Some(best) = found.iter().map(rank).min() else { return Err(Error::not_found("container")) };
    let mut meant = found.into_iter().filter(|container| rank(container) == best);
    match (meant.next(), meant.count()) {
        (Some(one), 0) => Ok(one),
        (_, more) => {
            let detail = format!("{} containers are called that: name the `server`, or more of the id", more + 1);
            Err(Error::new(ErrorKind::Precondition, "ambiguous_container", detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(id: &str, name: &str) -> PlacedContainer {
        PlacedContainer { server_id: ServerId::generate(), id: id.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn an_id_comes_before_a_beginning_and_that_before_a_name() {
        let all = || vec![placed("0123456789abcdef", "a"), placed("ffff", "0123456789ab")];
        assert_eq!(the_one("0123456789AB", all()).map(|one| one.name).ok().as_deref(), Some("a"));
        assert_eq!(the_one("0123456789abcdef", all()).map(|one| one.name).ok().as_deref(), Some("a"));
        assert_eq!(the_one("a", Vec::new()).map_err(|error| error.kind), Err(ErrorKind::NotFound));
        let two = vec![placed("01", "odoo"), placed("02", "odoo")];
        assert_eq!(the_one("odoo", two).map_err(|error| error.code), Err("ambiguous_container"));
    }
}
