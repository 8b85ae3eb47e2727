//! The handle that the function of a macro uses.

use std::borrow::Borrow;

use crate::{Cachify, global};

/// The source of the handle.
pub trait HandleSource {
    fn using<T>(self, work: impl FnOnce(&Cachify) -> T) -> T;
}

/// The source without `with = ..`: the current handle.
#[derive(Debug)]
pub struct Ambient;

impl HandleSource for Ambient {
    fn using<T>(self, work: impl FnOnce(&Cachify) -> T) -> T {
        global::with_current(work)
    }
}

/// The source with `with = ..`: the given handle.
#[derive(Debug)]
pub struct Given<'a, H: ?Sized>(pub &'a H);

impl<H: Handle + ?Sized> HandleSource for Given<'_, H> {
    fn using<T>(self, work: impl FnOnce(&Cachify) -> T) -> T {
        work(self.0.cachify())
    }
}

/// A handle, owned or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handle: `with` takes a `Cachify`, a reference to one or an `Arc` \
               of one",
    label = "is not a `Cachify`"
)]
pub trait Handle {
    fn cachify(&self) -> &Cachify;
}

#[diagnostic::do_not_recommend]
impl<H: Borrow<Cachify> + ?Sized> Handle for H {
    fn cachify(&self) -> &Cachify {
        self.borrow()
    }
}

/// Clones the handle.
pub fn handle(source: impl HandleSource) -> Cachify {
    source.using(Cachify::clone)
}
