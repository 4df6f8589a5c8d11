//! A caller of the REST API: HTTP/1.1 over TLS against the pinned CA, one connection a call.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use muster_shared::tls::{CaPin, Trust, client_config};
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{kept::Kept, patience::SOON};

/// Longest a call may take that does not stream.
const CALL_LIMIT: Duration = SOON;

/// Who calls whom, with which token.
#[derive(Debug, Clone)]
pub struct Rest {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    token: String,
}

/// What a call answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    /// `Null` where the answer is no JSON.
    pub body: Value,
    pub text: String,
}

impl Rest {
    /// A caller that believes the CA with this pin only.
    ///
    /// # Errors
    /// When no TLS configuration can be made.
    pub fn new(address: SocketAddr, pin: CaPin, token: &str) -> Result<Self> {
        let mut tls = client_config(Trust::Pin(pin), None)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { address, tls: Arc::new(tls), token: token.trim().to_owned() })
    }

    /// The same caller with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// One call, whatever it answers.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        tokio::time::timeout(CALL_LIMIT, async {
            let response = self.open(method.clone(), path, body, "application/json").await?;
            let status = response.status();
            let text = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
            Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or_default(), text })
        })
        .await
        .with_context(|| format!("{method} {path} took over {CALL_LIMIT:?}"))?
    }

    /// GET that must succeed.
    ///
    /// # Errors
    /// On any status but 2xx.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.succeed(Method::GET, path, None).await
    }

    /// POST that must succeed.
    ///
    /// # Errors
    /// On any status but 2xx.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.succeed(Method::POST, path, Some(body)).await
    }

    async fn succeed(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.call(method.clone(), path, body).await?;
        if !answer.status.is_success() {
            bail!("{method} {path}: {} {}", answer.status, answer.text);
        }
        Ok(answer.body)
    }

    /// POST that answers with server-sent events.
    ///
    /// # Errors
    /// On any status but 2xx.
    pub async fn stream(&self, path: &str, body: Option<&Value>) -> Result<Events> {
        self.events(Method::POST, path, body).await
    }

    /// GET that answers with server-sent events.
    ///
    /// # Errors
    /// On any status but 2xx.
    pub async fn follow(&self, path: &str) -> Result<Events> {
        self.events(Method::GET, path, None).await
    }

    async fn events(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Events> {
        let response = self.open(method.clone(), path, body, "text/event-stream").await?;
        if !response.status().is_success() {
            let status = response.status();
            let text = response.into_body().collect().await?.to_bytes();
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&text));
        }
        Ok(Events { body: response.into_body(), unread: String::new(), ready: VecDeque::new() })
    }

    /// A connection that is kept, with this caller's token.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn keep(&self) -> Result<Kept> {
        Kept::over(self.connect().await?, self.address.to_string(), Some(format!("Bearer {}", self.token))).await
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.address.ip().into());
        Ok(TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?)
    }

    async fn open(&self, method: Method, path: &str, body: Option<&Value>, accept: &str) -> Result<Response<Incoming>> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::ACCEPT, accept)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, accept)
            .body(Full::new(Bytes::from(bytes)))?;
        Ok(sender.send_request(request).await?)
    }
}

/// Seconds since a time of the API; negative for one to come.
///
/// # Errors
/// When it is no time.
pub fn age_seconds(timestamp: &Value) -> Result<f64> {
    let then: prost_types::Timestamp = timestamp.as_str().context("a time")?.parse()?;
    let then = SystemTime::try_from(then)?;
    Ok(SystemTime::now()
        .duration_since(then)
        .map_or_else(|ahead| -ahead.duration().as_secs_f64(), |age| age.as_secs_f64()))
}

/// Server-sent events as they come.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    unread: String,
    ready: VecDeque<Event>,
}

/// One event: its name and its data, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

impl Events {
    /// The next event; `None` at the stream's end.
    ///
    /// # Errors
    /// When the connection breaks, or an event's data is no JSON.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Some(data) = frame?.data_ref() {
                self.unread.push_str(std::str::from_utf8(data)?);
            }
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                self.ready.extend(Event::parse(block)?);
                self.unread = rest.to_owned();
            }
        }
    }

    /// Every event until the stream's end.
    ///
    /// # Errors
    /// When it does not end within `limit`, or breaks.
    pub async fn all(mut self, limit: Duration) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let read = async {
            while let Some(event) = self.next().await? {
                events.push(event);
            }
            Ok::<_, anyhow::Error>(())
        };
        match tokio::time::timeout(limit, read).await {
            Ok(read) => read.with_context(|| format!("after {events:?}"))?,
            Err(_) => bail!("the stream has not ended after {limit:?}: {events:?}"),
        }
        Ok(events)
    }
}

impl Event {
    fn parse(block: &str) -> Result<Option<Self>> {
        let field = |name: &str| {
            let lines =
                block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim_start));
            lines.collect::<Vec<_>>().join("\n")
        };
        let data = field("data");
        if data.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { name: field("event"), data: serde_json::from_str(&data)? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_are_not() {
        let event =
            Event::parse("event: check\ndata: {\"name\":\ndata: \"docker\"}").expect("parsed").expect("an event");
        assert_eq!((event.name.as_str(), &event.data["name"]), ("check", &Value::from("docker")));
        assert_eq!(Event::parse(": keep-alive").expect("parsed"), None);
    }
}
