//! `/docs` and `/openapi.json`.

use std::sync::Arc;

use cachify_warp::get_or_head;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;
use warp::filters::BoxedFilter;
use warp::http::Uri;
use warp::path::Tail;
use warp::reply::{Reply, Response, json, with_header};
use warp::{Filter, Rejection, reject};

pub(crate) fn routes(openapi: OpenApi) -> BoxedFilter<(Response,)> {
    let config = Arc::new(Config::from("/openapi.json"));
    let file = move |path: Tail| {
        let config = Arc::clone(&config);
        async move {
            match utoipa_swagger_ui::serve(path.as_str(), config) {
                Ok(Some(file)) => {
                    let bytes = file.bytes.into_owned();
                    Ok::<_, Rejection>(with_header(bytes, "content-type", file.content_type))
                }
                _ => Err(reject::not_found()),
            }
        }
    };
    let openapi = warp::path!("openapi.json").map(move || json(&openapi));
    // The page's own links are relative to `/docs/`.
    let slash =
        warp::path::full().and_then(async |path: warp::path::FullPath| match path.as_str() {
            "/docs" => Ok(warp::redirect::see_other(Uri::from_static("/docs/"))),
            _ => Err(reject::not_found()),
        });
    let files = warp::path("docs").and(warp::path::tail()).and_then(file);
    get_or_head()
        .and(openapi.or(slash).or(files))
        .map(Reply::into_response)
        .boxed()
}
