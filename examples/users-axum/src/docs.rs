//! `/docs` and `/openapi.json`.

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

pub(crate) fn routes<S: Clone + Send + Sync + 'static>(openapi: OpenApi) -> Router<S> {
    SwaggerUi::new("/docs").url("/openapi.json", openapi).into()
}
