//! The work of a child: it serves one app until its standard input ends, which it does with its
//! parent, however that ends.

use std::io::Read;
use std::thread;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use tokio::sync::oneshot;

use crate::app::App;
use crate::lab;
use crate::listen::listen;
use crate::sabotage::{self, Sabotage};

pub(crate) async fn serve(app: App, flags: users::Flags) -> Result<()> {
    users::log_to_stderr();
    let end = end_of_input()?;
    let sabotage = Sabotage::asked_for()?;
    let served = match (app, sabotage) {
        (App::Floor, _) => return floor(&flags, end).await,
        (App::Lab, _) => return lab::serve(&flags, sabotage, end).await,
        (App::Axum, Some(sabotage)) => return sabotage::serve(sabotage, &flags, end).await,
        (App::Axum, None) => users_axum::serve(flags, users::Ending::after(end)).await,
        (App::Poem, Some(Sabotage::Start)) => bail!("this app was told not to start"),
        (App::Poem, _) => users_poem::serve(flags, users::Ending::after(end)).await,
        (App::Warp, _) => users_warp::serve(flags, users::Ending::after(end)).await,
        (App::Python | App::Target, _) => bail!("{} is not served by this program", app.name()),
    };
    served.map_err(anyhow::Error::from_boxed)
}

/// The answer of the floor, as long as a user.
pub(crate) const FLOOR: &str = r#"{"id":1,"name":"User 1","email":"user-1@example.com"}"#;

async fn floor(flags: &users::Flags, end: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let answer = ([(header::CONTENT_TYPE, "application/json")], FLOOR);
    let app = Router::new().route("/users/{user_id}", get(async move || answer));
    listen(flags, app, end).await
}

fn end_of_input() -> Result<impl Future<Output = ()> + Send + 'static> {
    let (sender, receiver) = oneshot::channel::<()>();
    // Not tokio's standard input: that one would keep the runtime from ending.
    thread::Builder::new()
        .name("end-of-input".into())
        .spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            drop(sender);
        })
        .context("cannot watch standard input")?;
    Ok(async move {
        let _ = receiver.await;
    })
}
