//! Cached routes: wherever the middleware is put, and whatever poem does around it.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cachify_poem::{CacheMiddleware, Cachify, key};
use futures_util::future::join_all;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use poem::endpoint::{BoxEndpoint, make};
use poem::error::NotFoundError;
use poem::http::{HeaderMap, Method, StatusCode, header};
use poem::test::TestClient;
use poem::{
    Body, Endpoint, EndpointExt as _, IntoResponse, Request, Response, Result, Route, RouteMethod,
    get, handler,
};
use support::{App, Door, backends};

/// Most of the endpoints here are inside of no route.
fn page(cachify: &Cachify, template: &str) -> CacheMiddleware {
    CacheMiddleware::new(cachify, template)
        .ttl(Duration::from_mins(5))
        .same_on_every_route()
}

/// Answers with its path parameters and which call this is.
fn numbered() -> impl Endpoint<Output = String> {
    let count = Arc::new(AtomicUsize::new(0));
    make(move |request: Request| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        let id = request.raw_path_param("id").unwrap_or("none").to_owned();
        async move { format!("{id} {n}") }
    })
}

/// Answers with what is made of the count of its calls.
fn answering<R: IntoResponse>(
    response: impl Fn(usize) -> Result<R> + Send + Sync,
) -> impl Endpoint<Output = Response> {
    let count = AtomicUsize::new(0);
    let response = move |_| {
        let response = response(count.fetch_add(1, Ordering::SeqCst));
        async { response.map(IntoResponse::into_response) }
    };
    make(response)
}

#[tokio::test]
async fn h1_a_middleware_caches_wherever_it_is_put_inside_of_a_route() {
    for cachify in backends() {
        let cached = |name: &str| page(&cachify, &format!("{name}-{{id}}"));
        let apps = [
            ("handler", get(numbered().with(cached("handler"))).boxed()),
            ("method", get(numbered()).with(cached("method")).boxed()),
            (
                "around",
                get(numbered()
                    .with(cached("around"))
                    .around(|inner, request| async move {
                        let response = inner.call(request).await?;
                        Ok(response.with_header("x-around", "1"))
                    }))
                .boxed(),
            ),
            (
                "within",
                get(numbered().around(async |inner, request| inner.call(request).await))
                    .with(cached("within"))
                    .boxed(),
            ),
        ];
        for (name, route) in apps {
            let app = App::new(Route::new().at("/:id", route));
            for (uri, text, cache) in [
                ("/a", "a 0", "cachify; fwd=uri-miss; stored"),
                ("/b", "b 1", "cachify; fwd=uri-miss; stored"),
                ("/a", "a 0", "cachify; hit"),
                ("/b?x=1", "b 1", "cachify; hit"),
            ] {
                let answer = app.get(uri).await;
                assert_eq!(
                    (answer.text(), answer.cache()),
                    (text, cache),
                    "{name} {uri}"
                );
            }
        }
    }
}

#[tokio::test]
async fn h1_nested_routes_are_cached_and_around_a_route_there_is_no_path_yet() {
    for cachify in backends() {
        let users = Route::new().at("/:id", get(numbered().with(page(&cachify, "nested-{id}"))));
        let app = App::new(Route::new().nest("/users", users));
        assert_eq!(app.get("/users/7").await.text(), "7 0");
        assert_eq!(app.get("/users/8").await.text(), "8 1");
        assert_eq!(app.get("/users/7").await.cache(), "cachify; hit");

        let users = || Route::new().at("/:id", get(numbered()));
        let app = App::new(users().with(page(&cachify, "outside-{id}")));
        let said = "cachify; fwd=bypass; detail=no-key";
        assert_eq!(app.get("/7").await.cache(), said);
        let app = App::new(users().with(page(&cachify, "outside-{query.page}")));
        for (uri, text, cache) in [
            ("/a?page=1", "a 0", "cachify; fwd=uri-miss; stored"),
            ("/a?page=2", "a 1", "cachify; fwd=uri-miss; stored"),
            ("/a?page=1", "a 0", "cachify; hit"),
            // The path is no part of the key.
            ("/b?page=1", "a 0", "cachify; hit"),
        ] {
            let answer = app.get(uri).await;
            assert_eq!((answer.text(), answer.cache()), (text, cache), "{uri}");
        }
    }
}

#[tokio::test]
async fn k2_a_parameter_that_is_named_twice_fills_nothing() {
    for cachify in backends() {
        let inner = Route::new().at("/:id", get(numbered().with(page(&cachify, "twice-{id}"))));
        let app = App::new(Route::new().at("/:id/<.*>", strip_one(inner)));
        assert_eq!(app.get("/1/2").await.text(), "1 0");
        assert_eq!(app.get("/1/3").await.text(), "1 1");
    }
}

/// A nested route behind a parameter, which poem's own `nest` does not have.
fn strip_one(inner: Route) -> impl Endpoint<Output = Response> {
    inner.before(|mut request: Request| async move {
        let path = request.uri().path()[1..].find('/').unwrap() + 1;
        *request.uri_mut() = request.uri().path()[path..].parse().unwrap();
        Ok(request)
    })
}

#[tokio::test]
async fn h1_a_request_that_does_not_fill_the_key_passes_through() {
    for cachify in backends() {
        let app = App::new(get(numbered().with(page(&cachify, "page-{query.page}"))));
        for text in ["none 0", "none 1"] {
            let answer = app.get("/").await;
            assert_eq!(
                (answer.text(), answer.cache()),
                (text, "cachify; fwd=bypass; detail=no-key")
            );
        }
        for _ in 0..2 {
            assert_eq!(app.get("/?page=7").await.text(), "none 2");
        }
    }
}

#[test]
#[should_panic(expected = "a `{` is not closed")]
fn k1_a_malformed_template_panics_when_the_middleware_is_built() {
    let _ = CacheMiddleware::new(&Cachify::memory(), "user-{id");
}

#[tokio::test]
async fn c4_a_reset_is_seen_by_the_middleware() {
    for cachify in backends() {
        let cached = get(numbered().with(page(&cachify, "user-{id}")));
        let app = App::new(Route::new().at("/:id", cached));
        assert_eq!(app.get("/7").await.text(), "7 0");
        let id = 7;
        cachify.reset(&key!("user-{id}")).await.unwrap();
        assert_eq!(app.get("/7").await.text(), "7 1");
    }
}

#[tokio::test]
async fn c2_requests_at_once_are_one_call() {
    for cachify in backends() {
        let door = Door::shut();
        let inside = door.clone();
        let endpoint = make(move |_| {
            let door = inside.clone();
            async move {
                door.pass().await;
                "one"
            }
        });
        let app = App::new(get(endpoint.with(page(&cachify, "one"))));
        let asked = join_all((0..32).map(|_| app.get("/")));
        let (answers, ()) = tokio::join!(asked, async {
            door.until_came(1).await;
            door.open(32);
        });
        assert!(answers.iter().all(|answer| answer.text() == "one"));
        assert_eq!(door.came(), 1);
    }
}

#[tokio::test]
async fn h1_s29_cookies_are_shared_with_nobody() {
    for cachify in backends() {
        let endpoint = answering(|n| Ok("hello".with_header(header::SET_COOKIE, n)));
        let app = App::new(get(endpoint.with(page(&cachify, "cookies"))));
        let answers = join_all((0..50).map(|_| app.get("/"))).await;
        let cookie = |answer: &support::Answer| answer.header("set-cookie").unwrap().to_owned();
        let mut cookies: Vec<_> = answers.iter().map(cookie).collect();
        cookies.sort_unstable();
        cookies.dedup();
        assert_eq!(cookies.len(), 50);
    }
}

#[tokio::test]
async fn h1_an_error_reaches_each_caller_as_it_is() {
    for cachify in backends() {
        let endpoint = answering(|_| Err::<(), _>(NotFoundError.into()));
        let cached = endpoint.with(page(&cachify, "missing"));
        let caught = cached.catch_error(|NotFoundError| async { (StatusCode::GONE, "caught") });
        let app = App::new(get(caught));
        for answer in join_all((0..10).map(|_| app.get("/"))).await {
            assert_eq!(answer.brief(), (410, "caught"));
        }
    }
}

#[tokio::test]
async fn h1_an_error_of_a_status_that_is_chosen_is_stored_as_its_response() {
    for cachify in backends() {
        let endpoint = answering(|n| {
            let text = format!("missing {n}");
            Err::<(), _>(poem::Error::from_string(text, StatusCode::NOT_FOUND))
        });
        let chosen = page(&cachify, "missing").statuses([StatusCode::OK, StatusCode::NOT_FOUND]);
        let app = App::new(get(endpoint.with(chosen)));
        for cache in ["cachify; fwd=uri-miss; stored", "cachify; hit"] {
            let answer = app.get("/").await;
            assert_eq!(
                (answer.brief(), answer.cache()),
                ((404, "missing 0"), cache)
            );
        }
    }
}

#[tokio::test]
async fn h2_s30_languages_are_apart_and_one_reset_clears_both() {
    #[handler]
    fn greet(headers: &HeaderMap) -> Response {
        let language = headers["accept-language"].to_str().unwrap().to_owned();
        language
            .with_header(header::VARY, "accept-language")
            .into_response()
    }
    for cachify in backends() {
        let app = App::new(get(greet.with(page(&cachify, "page"))));
        let ask = async |language| {
            let answer = app.get_with("/", &[("accept-language", language)]).await;
            assert_eq!(answer.text(), language);
            answer.cache().to_owned()
        };
        for _ in 0..2 {
            assert!(ask("en").await.ends_with("stored"));
            assert!(ask("de").await.ends_with("stored"));
            assert_eq!(ask("en").await, "cachify; hit");
            assert_eq!(ask("de").await, "cachify; hit");
            cachify.reset(&key!("page")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn h3_s31_head_is_answered_from_the_entry_of_get() {
    for cachify in backends() {
        // Around `get`, which makes a HEAD a GET; the endpoint inside has no body for it.
        let app = App::new(get(numbered()).with(page(&cachify, "page")));
        let head = async || app.send(Method::HEAD, "/", &[], ()).await;
        let first = head().await;
        assert_eq!(
            (first.brief(), first.cache()),
            ((200, ""), "cachify; fwd=uri-miss")
        );
        assert_eq!(app.get("/").await.text(), "none 1");
        let hit = head().await;
        assert_eq!((hit.brief(), hit.cache()), ((200, ""), "cachify; hit"));
        assert_eq!(hit.header("content-length"), Some("6"));

        // Inside of `get`, where it is a GET already, whose answer is whole.
        let app = App::new(get(numbered().with(page(&cachify, "inside"))));
        let first = app.send(Method::HEAD, "/", &[], ()).await;
        assert_eq!(first.brief(), (200, ""));
        let hit = app.get("/").await;
        assert_eq!((hit.text(), hit.cache()), ("none 0", "cachify; hit"));
    }
}

#[tokio::test]
async fn h3_conditions_and_ranges_are_answered_from_the_entry() {
    for cachify in backends() {
        let endpoint = answering(|_| Ok("0123456789".with_header(header::ETAG, "\"v1\"")));
        let app = App::new(get(endpoint.with(page(&cachify, "page"))));
        let ask = async |name, value| app.get_with("/", &[(name, value)]).await;
        for _ in 0..2 {
            assert_eq!(ask("if-none-match", "\"v1\"").await.brief(), (304, ""));
            assert_eq!(
                ask("if-none-match", "\"v2\"").await.brief(),
                (200, "0123456789")
            );
            let part = ask("range", "bytes=2-3").await;
            assert_eq!(
                (part.brief(), part.header("content-length")),
                ((206, "23"), Some("2"))
            );
            assert_eq!(ask("range", "bytes=10-").await.brief(), (416, ""));
        }
    }
}

#[tokio::test]
async fn h3_s28_a_leaders_condition_answers_nobody_else() {
    for cachify in backends() {
        let door = Door::shut();
        let inside = door.clone();
        let endpoint = make(move |request: Request| {
            let door = inside.clone();
            async move {
                door.pass().await;
                assert!(request.header("if-none-match").is_none());
                "whole".with_header(header::ETAG, "\"v1\"")
            }
        });
        let app = App::new(get(endpoint.with(page(&cachify, "page"))));
        let condition = [("if-none-match", "\"v1\"")];
        let (leader, waiters, ()) = tokio::join!(
            app.get_with("/", &condition),
            join_all((0..10).map(|_| app.get("/"))),
            async {
                door.until_came(1).await;
                door.open(11);
            }
        );
        assert_eq!(leader.brief(), (304, ""));
        assert!(
            waiters
                .iter()
                .all(|answer| answer.brief() == (200, "whole"))
        );
        assert_eq!(door.came(), 1);
    }
}

#[tokio::test]
async fn h4_streams_and_large_bodies_pass_through_whole() {
    for cachify in backends() {
        let streaming = answering(|_| {
            let pieces = ["a", "b", "c"].map(Ok::<_, std::io::Error>);
            Ok(Body::from_bytes_stream(stream::iter(pieces)))
        });
        let large = answering(|_| Ok(vec![b'x'; 11]));
        let app = App::new(
            Route::new()
                .at("/stream", get(streaming.with(page(&cachify, "stream"))))
                .at("/large", get(large.with(page(&cachify, "large").limit(10)))),
        );
        for _ in 0..2 {
            let answer = app.get("/stream").await;
            assert_eq!(
                (answer.text(), answer.cache()),
                ("abc", "cachify; fwd=bypass; detail=streaming")
            );
            let answer = app.get("/large").await;
            assert_eq!(
                (answer.body.len(), answer.cache()),
                (11, "cachify; fwd=bypass; detail=too-large")
            );
        }
    }
}

#[tokio::test]
async fn h4_a_stream_that_tells_its_length_is_stored() {
    for cachify in backends() {
        let endpoint = answering(|n| {
            let pieces = [Ok::<_, std::io::Error>(n.to_string()), Ok("b".to_owned())];
            let body = Body::from_bytes_stream(stream::iter(pieces));
            Ok(Response::builder()
                .header(header::CONTENT_LENGTH, 2)
                .body(body))
        });
        let app = App::new(get(endpoint.with(page(&cachify, "told"))));
        for cache in ["cachify; fwd=uri-miss; stored", "cachify; hit"] {
            let answer = app.get("/").await;
            assert_eq!((answer.text(), answer.cache()), ("0b", cache));
        }
    }
}

#[tokio::test]
async fn h4_a_body_that_breaks_off_breaks_off_for_the_client_too() {
    for cachify in backends() {
        let endpoint = answering(|_| {
            let pieces = [Ok("a"), Err(std::io::Error::other("broken"))];
            let body = Body::from_bytes_stream(stream::iter(pieces));
            Ok(Response::builder()
                .header(header::CONTENT_LENGTH, 2)
                .body(body))
        });
        let client = TestClient::new(get(endpoint.with(page(&cachify, "broken"))));
        for _ in 0..2 {
            let mut response = client.get("/").send().await.0;
            assert!(response.take_body().into_bytes().await.is_err());
        }
    }
}

#[tokio::test]
async fn h1_trailers_are_not_lost() {
    for cachify in backends() {
        let endpoint = answering(|_| {
            let trailers = HeaderMap::from_iter([(header::ETAG, "\"1\"".parse().unwrap())]);
            let body = Full::new(Bytes::from("a")).with_trailers(async { Some(Ok(trailers)) });
            let never = |never: Infallible| -> io::Error { match never {} };
            let body = BoxBody::new(body.map_err(never));
            Ok(Response::builder()
                .header(header::CONTENT_LENGTH, 1)
                .body(body))
        });
        let client = TestClient::new(get(endpoint.with(page(&cachify, "trailers"))));
        for _ in 0..2 {
            let body = client.get("/").send().await.0.into_body();
            let read = BoxBody::from(body).collect().await.unwrap();
            assert_eq!(read.trailers().unwrap()[header::ETAG], "\"1\"");
            assert_eq!(read.to_bytes(), "a");
        }
    }
}

#[tokio::test]
async fn h1_other_methods_of_the_route_pass_through_with_their_bodies() {
    #[handler]
    fn echo(body: String) -> String {
        body
    }
    for cachify in backends() {
        let route: BoxEndpoint<'_> = RouteMethod::new()
            .get(numbered())
            .post(echo)
            .with(page(&cachify, "echo-{query}"))
            .boxed();
        let app = App::new(route);
        let answer = app.send(Method::POST, "/", &[], "hello").await;
        assert_eq!(
            (answer.text(), answer.cache()),
            ("hello", "cachify; fwd=method")
        );
    }
}
