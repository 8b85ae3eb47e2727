//! `/docs` and `/openapi.json`.

use axum::Router;
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Users",
        description = "The users API on axum, cached and locked by cachify."
    ),
    paths(crate::create_user, crate::read_user, crate::update_user)
)]
struct Api;

pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    SwaggerUi::new("/docs")
        .url("/openapi.json", Api::openapi())
        .into()
}
