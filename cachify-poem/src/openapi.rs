//! Documents refusals in the `OpenAPI` description of an operation.

use poem_openapi::ApiResponse;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;

use crate::problem::Problem;

/// Status, description, and whether the answer says when to try again.
const REFUSALS: [(u16, &str, bool); 7] = [
    (400, "The path or the query does not make the key.", false),
    (408, "The body does not arrive in time.", false),
    (409, "The same is running already.", true),
    (413, "The body is longer than what is accepted.", false),
    (423, "Another request holds the lock.", true),
    (429, "All permits are out.", true),
    (503, "The backend is away, or what was held got lost.", true),
];

/// An operation that returns it documents all that it can answer, except for 500, which only a
/// mistake in the program causes. A guard among the arguments, or a middleware, can refuse with
/// some of these, which the arguments do not show: return it there too.
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

/// Inline, so that its name meets none of the user's.
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
        description: Some("When trying again may succeed, in seconds.".to_owned()),
        required: true,
        deprecated: false,
        schema: u64::schema_ref(),
    }
}
