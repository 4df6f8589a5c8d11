//! An engine that answers as it is told, and says what it was sent.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::{net::TcpListener, sync::mpsc};

use super::message::{TimeSeries, WriteRequest};
use crate::metrics::exchange::{Client, Destination};

pub(in crate::metrics) struct Fake {
    pub(in crate::metrics) address: SocketAddr,
    pub(in crate::metrics) received: mpsc::UnboundedReceiver<(StatusCode, WriteRequest)>,
}

impl Fake {
    /// Answers each request with the status that `judge` gives it.
    pub(in crate::metrics) async fn start(judge: impl FnMut(&WriteRequest) -> u16 + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (told, received) = mpsc::unbounded_channel();
        let judge = Arc::new(std::sync::Mutex::new(judge));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, judge) = (told.clone(), Arc::clone(&judge));
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (told, judge) = (told.clone(), Arc::clone(&judge));
                    async move {
                        assert_eq!(request.headers()["authorization"], "Bearer secret");
                        assert_eq!(request.headers()["x-scope-orgid"], "tenant");
                        assert_eq!(request.headers()["content-encoding"], "snappy");
                        let body = request.into_body().collect().await?.to_bytes();
                        let plain = snap::raw::Decoder::new().decompress_vec(&body).expect("snappy");
                        let sent = WriteRequest::decode(plain.as_slice()).expect("protobuf");
                        let status = (judge.lock().expect("whole"))(&sent);
                        let status = StatusCode::from_u16(status).expect("a status");
                        // Who doesn't listen any more has heard enough.
                        let _ = told.send((status, sent));
                        let mut response = Response::new(Full::new(Bytes::from_static(b"words")));
                        *response.status_mut() = status;
                        Ok::<_, hyper::Error>(response)
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { address, received }
    }

    /// One that gives these answers, then 200.
    pub(in crate::metrics) async fn answering(answers: Vec<u16>) -> Self {
        let mut answers = answers.into_iter();
        Self::start(move |_| answers.next().unwrap_or(200)).await
    }
}

/// What writes to `address`.
pub(in crate::metrics) fn client(address: SocketAddr) -> Client {
    let destination = Destination {
        url: format!("http://{address}/api/v1/write").parse().expect("a URL"),
        bearer_token: Some("secret".to_owned().into()),
        headers: vec![("x-scope-orgid".parse().expect("a name"), "tenant".parse().expect("a value"))],
        authorities: Vec::new(),
    };
    Client::new(destination).expect("a client")
}

/// Server and value of each series in it that is of a server by name, in order.
pub(in crate::metrics) fn said(request: &WriteRequest) -> Vec<(String, f64)> {
    let server = |series: &TimeSeries| {
        series.labels.iter().find(|label| label.name == "server").map(|label| label.value.clone())
    };
    let named = request.timeseries.iter().filter_map(|series| Some((server(series)?, series.samples[0].value)));
    let mut said: Vec<_> = named.collect();
    said.sort_by(|one, other| one.0.cmp(&other.0));
    said
}
