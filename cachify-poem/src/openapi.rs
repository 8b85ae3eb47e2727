//! The documentation of refusals in the `OpenAPI` description of an operation.

use poem_openapi::ApiResponse;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;

use crate::problem::Problem;

/// The status of each refusal, its description, and whether it has `Retry-After`.
const REFUSALS: [(u16, &str, bool); 7] = [
    (400, "The request lacks a part of the key.", false),
    (408, "The body does not arrive in time.", false),
    (409, "The same request is running already.", true),
    (413, "The body is longer than the limit.", false),
    (423, "Another request holds the lock.", true),
    (429, "All permits are in use.", true),
    (
        503,
        "The backend is away, or the lock or permit was lost.",
        true,
    ),
];

/// Documents the refusals of an operation that returns a [`Problem`]. 500 is left out, since only a
/// mistake in the program causes it.
///
/// A guard among the arguments, or a middleware, can refuse with these responses too, but does not
/// document them. Return a `Result` with a [`Problem`] from such an operation as well.
///
/// # Examples
///
/// ```
/// use cachify_poem::{Cachify, Problem, key};
/// use poem::web::Data;
/// use poem_openapi::{OpenApi, OpenApiService, param::Path, payload::PlainText};
///
/// struct Api;
///
/// #[OpenApi]
/// impl Api {
///     #[oai(path = "/orders/:order/charge", method = "post")]
///     async fn charge(
///         &self,
///         Data(cachify): Data<&Cachify>,
///         order: Path<u64>,
///     ) -> Result<PlainText<&'static str>, Problem> {
///         let lock = cachify.lock(&key!("charge-{order}", order = order.0));
///         let _guard = lock.acquire().await?;
///         Ok(PlainText("charged"))
///     }
/// }
///
/// let service = OpenApiService::new(Api, "Orders", "1.0");
/// assert!(service.spec().contains("Another request holds the lock."));
/// ```
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let response = |(status, description, again): (_, _, bool)| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: "application/problem+json",
                schema: MetaSchemaRef::Inline(Box::new(problem())),
            }],
            headers: again.then(retry_after).into_iter().collect(),
        };
        MetaResponses {
            responses: REFUSALS.into_iter().map(response).collect(),
        }
    }

    fn register(_: &mut Registry) {}
}

/// Returns the schema of the document. It is inline, so that its name cannot collide with one of
/// the user's.
fn problem() -> MetaSchema {
    let properties = vec![
        ("type", String::schema_ref()),
        ("title", String::schema_ref()),
        ("status", u16::schema_ref()),
        ("detail", String::schema_ref()),
    ];
    MetaSchema {
        required: properties.iter().map(|(name, _)| *name).collect(),
        properties,
        ..MetaSchema::new("object")
    }
}

fn retry_after() -> MetaHeader {
    MetaHeader {
        name: "Retry-After".to_owned(),
        description: Some("The time in seconds after which a retry may succeed.".to_owned()),
        required: true,
        deprecated: false,
        schema: u64::schema_ref(),
    }
}
