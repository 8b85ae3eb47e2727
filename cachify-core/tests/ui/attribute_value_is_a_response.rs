use cachify_core::cached;

// As in axum and in poem.
pub struct Json<T>(pub T);
pub struct PlainText<T>(pub T);
pub struct Response;
pub trait IntoResponse {}
impl IntoResponse for Response {}

#[cached(key = "user-{id}", companion = none)]
async fn user(id: u64) -> Json<u64> {
    Json(id)
}

#[cached(key = "greeting", companion = none)]
async fn greeting() -> Result<PlainText<String>, String> {
    Ok(PlainText("hello".to_owned()))
}

#[cached(key = "page", companion = none)]
async fn page() -> Response {
    Response
}

#[cached(key = "any", companion = none)]
async fn any() -> impl IntoResponse {
    Response
}

mod own {
    use cachify_core::cached;

    // A response by name alone.
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    pub struct Response(u64);

    #[cached(key = "of-another-service")]
    async fn fetch() -> Response {
        Response(7)
    }
}

fn main() {}
