//! A connection that is kept from call to call, as browsers and programs keep theirs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::timeout,
};

/// Longest a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// One connection, one call at a time.
#[derive(Debug)]
pub struct Kept {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    authorization: Option<String>,
    driving: AbortHandle,
}

impl Kept {
    /// Calls over `stream`, as `host` knows itself.
    ///
    /// # Errors
    /// When nothing speaks HTTP there.
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: String,
        authorization: Option<String>,
    ) -> Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let driving = tokio::spawn(connection).abort_handle();
        Ok(Self { sender, host, authorization, driving })
    }

    /// GET that must succeed: the answer, and how long it took to its last byte.
    ///
    /// # Errors
    /// On any status but 200.
    pub async fn get(&mut self, path: &str) -> Result<(Bytes, Duration)> {
        let mut request = Request::get(path).header(header::HOST, &self.host);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let (begun, request) = (Instant::now(), request.body(Empty::new())?);
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            Ok::<_, anyhow::Error>((status, response.into_body().collect().await?.to_bytes()))
        };
        let (status, body) = timeout(CALL_LIMIT, exchange).await.with_context(|| format!("no answer to {path}"))??;
        let took = begun.elapsed();
        ensure!(status == StatusCode::OK, "{path}: {status} {}", String::from_utf8_lossy(&body));
        Ok((body, took))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.driving.abort();
    }
}
