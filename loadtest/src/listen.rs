//! The socket of a child.

use anyhow::Result;
use axum::Router;
use tokio::net::TcpListener;

/// Serves `app`, and tells the parent where.
pub(crate) async fn listen(
    flags: &users::Flags,
    app: Router,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let listener = TcpListener::bind(flags.listen).await?;
    users::announce(listener.local_addr()?)?;
    axum::serve(listener, app)
        .with_graceful_shutdown(end)
        .await?;
    Ok(())
}
