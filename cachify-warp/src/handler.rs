//! The traits behind [`FilterExt`](crate::FilterExt): handlers, and the values that filters
//! extract.

use std::future::Future;

use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

/// The result of a handler: a [`Reply`], or a [`Result`] with a [`warp::Rejection`].
///
/// `Kind` distinguishes the two, and is inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a handler",
    note = "a handler returns a `warp::Reply`, or a `Result` of one and a `warp::Rejection`"
)]
pub trait Answer<Kind>: Send {
    /// Returns the response, or the rejection.
    ///
    /// # Errors
    ///
    /// The handler's rejection.
    fn answer(self) -> Result<Response, Rejection>;
}

/// The kind of handlers that always answer, as [`Filter::then`] takes them.
#[derive(Debug)]
pub enum Replies {}

/// The kind of handlers that can reject, as [`Filter::and_then`] takes them.
#[derive(Debug)]
pub enum Fallible {}

impl<R: Reply> Answer<Replies> for R {
    fn answer(self) -> Result<Response, Rejection> {
        Ok(self.into_response())
    }
}

impl<R: Reply> Answer<Fallible> for Result<R, Rejection> {
    fn answer(self) -> Result<Response, Rejection> {
        self.map(Reply::into_response)
    }
}

/// An async function of the values that a filter extracts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle the extracted values `{Args}`",
    note = "a handler is an async function of all extracted values, in their order, which returns \
            a `warp::Reply`, or a `Result` of one and a `warp::Rejection`"
)]
pub trait Handler<Args, Kind>: Send + Sync + 'static {
    /// Handles a request.
    fn call(
        &self,
        args: Args,
    ) -> impl Future<Output = Result<Response, Rejection>> + Send + 'static + use<Self, Args, Kind>;
}

/// A filter that can reject, and that can be cloned and sent to other threads.
pub trait Route: Filter<Error = Rejection> + Clone + Send + Sync + 'static {}

impl<F: Filter<Error = Rejection> + Clone + Send + Sync + 'static> Route for F {}

/// The values that a filter extracts: a tuple of up to 12 values.
pub trait Extracted: Sized + Send + 'static {
    /// A filter that extracts one more value.
    type Held<G: Send + 'static>: Route;

    /// Turns the values into one value, a tuple.
    fn one<F: Route<Extract = Self>>(filter: F) -> impl Route<Extract = (Self,)>;

    /// Turns the tuple back into several values, and appends one.
    fn held<G: Send + 'static>(filter: impl Route<Extract = ((Self, G),)>) -> Self::Held<G>;
}

macro_rules! tuples {
    ($($T:ident)*) => {
        #[allow(non_snake_case, clippy::unused_unit)]
        impl<$($T,)* H, Fut, Kind> Handler<($($T,)*), Kind> for H
        where
            H: Fn($($T),*) -> Fut + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: Answer<Kind>,
        {
            fn call(
                &self,
                ($($T,)*): ($($T,)*),
            ) -> impl Future<Output = Result<Response, Rejection>>
            + Send
            + 'static
            + use<$($T,)* H, Fut, Kind> {
                let answer = self($($T),*);
                async { answer.await.answer() }
            }
        }

        #[allow(non_snake_case, clippy::unused_unit)]
        impl<$($T: Send + 'static),*> Extracted for ($($T,)*) {
            type Held<G: Send + 'static> = BoxedFilter<($($T,)* G,)>;

            fn one<F: Route<Extract = Self>>(filter: F) -> impl Route<Extract = (Self,)> {
                filter.map(|$($T: $T),*| ($($T,)*))
            }

            fn held<G: Send + 'static>(
                filter: impl Route<Extract = ((Self, G),)>,
            ) -> Self::Held<G> {
                let several = |(($($T,)*), guard): (Self, G)| ($($T,)* guard,);
                filter.map(several).untuple_one().boxed()
            }
        }
    };
}

tuples!();
tuples!(T1);
tuples!(T1 T2);
tuples!(T1 T2 T3);
tuples!(T1 T2 T3 T4);
tuples!(T1 T2 T3 T4 T5);
tuples!(T1 T2 T3 T4 T5 T6);
tuples!(T1 T2 T3 T4 T5 T6 T7);
tuples!(T1 T2 T3 T4 T5 T6 T7 T8);
tuples!(T1 T2 T3 T4 T5 T6 T7 T8 T9);
tuples!(T1 T2 T3 T4 T5 T6 T7 T8 T9 T10);
tuples!(T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11);
tuples!(T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12);
