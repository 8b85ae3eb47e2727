//! The kind of a function's return type. It is decided by the type and not by its name, so an alias
//! of `Result` is a `Result`.
//!
//! `(&&&Returns::<R>::NEW).returned()` finds the most specific of three traits, since a method call
//! prefers the one that needs the fewest dereferences.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use crate::read::policy::Sharing;

/// Splits a function's return value into the cached value and the error, and joins them again.
pub trait Returned: Copy {
    type Returned;
    /// The value that is cached.
    type Value;
    /// The error, which is not cached.
    type Error;

    fn split(returned: Self::Returned) -> Result<Self::Value, Self::Error>;
    fn join(result: Result<Self::Value, Self::Error>) -> Self::Returned;
    /// Returns how errors are shared with the callers that waited, or `None` if they are not.
    fn sharing() -> Option<Sharing<Self::Error>>;
}

/// Stands for the return type of a function.
pub struct Returns<R>(PhantomData<fn() -> R>);

impl<R> Returns<R> {
    pub const NEW: Self = Self(PhantomData);
}

macro_rules! tag {
    ($(#[$doc:meta])* $name:ident<$($param:ident),*>) => {
        $(#[$doc])*
        pub struct $name<$($param),*>(PhantomData<fn() -> ($($param,)*)>);

        impl<$($param),*> Clone for $name<$($param),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($param),*> Copy for $name<$($param),*> {}

        impl<$($param),*> fmt::Debug for $name<$($param),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

tag! {
    /// A type that is cached as a whole.
    Plain<T>
}
tag! {
    /// A `Result` whose errors go only to the caller that computed them.
    Fallible<T, E>
}
tag! {
    /// A `Result` whose errors go to all callers that waited.
    Shared<T, E>
}

impl<R> fmt::Debug for Returns<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Returns")
    }
}

impl<T> Returned for Plain<T> {
    type Returned = T;
    type Value = T;
    type Error = Infallible;

    fn split(returned: T) -> Result<T, Infallible> {
        Ok(returned)
    }

    fn join(result: Result<T, Infallible>) -> T {
        match result {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    fn sharing() -> Option<Sharing<Infallible>> {
        None
    }
}

impl<T, E> Returned for Fallible<T, E> {
    type Returned = Result<T, E>;
    type Value = T;
    type Error = E;

    fn split(returned: Result<T, E>) -> Result<T, E> {
        returned
    }

    fn join(result: Result<T, E>) -> Result<T, E> {
        result
    }

    fn sharing() -> Option<Sharing<E>> {
        None
    }
}

impl<T, E: Clone + Send + Sync + 'static> Returned for Shared<T, E> {
    type Returned = Result<T, E>;
    type Value = T;
    type Error = E;

    fn split(returned: Result<T, E>) -> Result<T, E> {
        returned
    }

    fn join(result: Result<T, E>) -> Result<T, E> {
        result
    }

    fn sharing() -> Option<Sharing<E>> {
        Some(Sharing::new())
    }
}

impl<T> Plain<T> {
    pub const NEW: Self = Self(PhantomData);
}

pub trait ViaPlain {
    type Tag;
    fn returned(&self) -> Self::Tag;
}

impl<T> ViaPlain for Returns<T> {
    type Tag = Plain<T>;

    fn returned(&self) -> Plain<T> {
        Plain(PhantomData)
    }
}

pub trait ViaFallible {
    type Tag;
    fn returned(&self) -> Self::Tag;
}

impl<T, E> ViaFallible for &Returns<Result<T, E>> {
    type Tag = Fallible<T, E>;

    fn returned(&self) -> Fallible<T, E> {
        Fallible(PhantomData)
    }
}

pub trait ViaShared {
    type Tag;
    fn returned(&self) -> Self::Tag;
}

impl<T, E: Clone + Send + Sync + 'static> ViaShared for &&Returns<Result<T, E>> {
    type Tag = Shared<T, E>;

    fn returned(&self) -> Shared<T, E> {
        Shared(PhantomData)
    }
}
