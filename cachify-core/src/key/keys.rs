use std::borrow::Cow;

use super::Key;

/// One key or several, for [`Cachify::reset`](crate::Cachify::reset) and
/// [`Cachify::update`](crate::Cachify::update).
///
/// Implemented for [`Key`], for `&Key`, and for everything that iterates over keys or references to
/// keys: arrays, slices, `Vec`, iterators.
///
/// # Examples
///
/// ```
/// use cachify_core::{Cachify, Key, key};
///
/// #[tokio::main]
/// async fn main() -> Result<(), cachify_core::Error> {
///     let cachify = Cachify::memory();
///     let (user, list) = (key!("user-7"), key!("users"));
///     cachify.reset(&user).await?;
///     cachify.reset([&user, &list]).await?;
///
///     let pages: Vec<Key> = (1..=3).map(|page| key!("users-{page}")).collect();
///     cachify.reset(&pages).await?;
///     cachify.reset(pages.iter().skip(1)).await?;
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key",
    label = "expected a key, or several",
    note = "make a key with `key!`: `reset(&key!(\"user-{{id}}\"))`; for several keys, pass \
            a list: `reset([&user, &list])`"
)]
pub trait Keys: sealed::Keys {}

#[diagnostic::do_not_recommend]
impl<K: sealed::Keys> Keys for K {}

#[allow(unnameable_types, reason = "sealed")]
mod sealed {
    use super::{Cow, Key};

    pub trait Keys {
        /// Returns the keys. A single key is borrowed, so resetting it allocates nothing.
        fn list<'a>(self) -> Cow<'a, [Key]>
        where
            Self: 'a;
    }

    impl Keys for &Key {
        fn list<'a>(self) -> Cow<'a, [Key]>
        where
            Self: 'a,
        {
            Cow::Borrowed(std::slice::from_ref(self))
        }
    }

    impl Keys for Key {
        fn list<'a>(self) -> Cow<'a, [Key]> {
            Cow::Owned(vec![self])
        }
    }

    #[diagnostic::do_not_recommend]
    impl<I> Keys for I
    where
        I: IntoIterator,
        I::Item: One,
    {
        fn list<'a>(self) -> Cow<'a, [Key]>
        where
            Self: 'a,
        {
            self.into_iter().map(|key| key.one().clone()).collect()
        }
    }

    pub trait One {
        fn one(&self) -> &Key;
    }

    impl One for Key {
        fn one(&self) -> &Key {
            self
        }
    }

    impl<K: One + ?Sized> One for &K {
        fn one(&self) -> &Key {
            (**self).one()
        }
    }
}
