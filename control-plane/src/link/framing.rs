//! gRPC's framing of one bidirectional stream, by hand: of thousands of streams that mostly say nothing, none keeps a
//! buffer between two messages. Generated stubs keep several, each as large as the largest message ever was.
//!
//! ```text
//! message  = flag length bytes      flag 0: not compressed; length: 4 bytes, big-endian
//! answer   = message* trailers      grpc-status, and grpc-message where there is something to say
//! ```

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use axum::{body::Body, response::Response};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::BodyExt as _;
use muster_shared::wire;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Status;

/// Flag and length.
const HEAD_BYTES: usize = 5;

/// What a host says.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Never locked: a body alone could not be shared with another thread, and neither could a stream that has one.
    body: Mutex<Body>,
    /// The beginning of a message whose end has not come yet; no allocation between two messages.
    held: BytesMut,
    max_message_bytes: usize,
}

impl Inbound {
    pub(super) fn new(body: Body, max_message_bytes: usize) -> Self {
        Self { body: Mutex::new(body), held: BytesMut::new(), max_message_bytes }
    }

    /// The next message; `None` at the stream's end. What has come of a message stays if the answer is not awaited.
    ///
    /// # Errors
    /// The status to end the stream with: OUT_OF_RANGE for a message over the limit, UNIMPLEMENTED for a compressed
    /// one, INVALID_ARGUMENT for one that can't be decoded; what the connection broke with.
    pub(super) async fn message(&mut self) -> Result<Option<wire::AgentMessage>, Status> {
        loop {
            if let Some(message) = self.whole_message()? {
                return Ok(Some(message));
            }
            let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.held.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(Status::from_error(error.into())),
                None if self.held.is_empty() => return Ok(None),
                None => return Err(Status::invalid_argument("the stream ends within a message")),
            }
        }
    }

    fn whole_message(&mut self) -> Result<Option<wire::AgentMessage>, Status> {
        let Some((head, rest)) = self.held.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [flag, length @ ..] = *head;
        if flag != 0 {
            return Err(Status::unimplemented("messages are not compressed here"));
        }
        // A length that doesn't fit is over every limit.
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.max_message_bytes {
            return Err(Status::out_of_range(format!("a message is at most {} bytes", self.max_message_bytes)));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let mut message = self.held.split_to(HEAD_BYTES + length);
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        message.advance(HEAD_BYTES);
        match wire::AgentMessage::decode(message.freeze()) {
            Ok(message) => Ok(Some(message)),
            Err(error) => Err(Status::invalid_argument(format!("the message can't be decoded: {error}"))),
        }
    }
}

/// What a host is told: the messages of a queue, then the stream's status. A queue that closes ends the stream well.
#[derive(Debug)]
pub(super) struct Outbound {
    messages: mpsc::Receiver<Result<wire::ControlMessage, Status>>,
    is_over: bool,
}

impl Outbound {
    pub(super) fn new(messages: mpsc::Receiver<Result<wire::ControlMessage, Status>>) -> Self {
        Self { messages, is_over: false }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::new(self));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

impl http_body::Body for Outbound {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let status = match ready!(self.messages.poll_recv(context)) {
            Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(framed(&message))))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.is_over = true;
        self.messages.close();
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
    }
}

fn framed(message: &wire::ControlMessage) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(HEAD_BYTES + length);
    framed.put_u8(0);
    // What is sent here is a few KiB at most: an envelope, or a list of acknowledged ranges.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut framed);
    framed.freeze()
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // The words can't be a header: the code alone is.
        trailers.clear();
        trailers.insert("grpc-status", HeaderValue::from(i32::from(status.code())));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use muster_shared::wire::{agent_message, control_message};
    use proptest::prelude::*;

    use super::*;

    fn pong(nonce: u64) -> wire::AgentMessage {
        wire::AgentMessage { kind: Some(agent_message::Kind::Pong(wire::Pong { nonce })) }
    }

    fn bytes_of(messages: &[wire::AgentMessage]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.put_u8(0);
            bytes.put_u32(message.encoded_len() as u32);
            message.encode(&mut bytes).expect("room");
        }
        bytes
    }

    fn inbound(chunks: Vec<Vec<u8>>) -> Inbound {
        let chunks = chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk)));
        Inbound::new(Body::from_stream(futures_util::stream::iter(chunks)), 1000)
    }

    async fn all(mut inbound: Inbound) -> (Vec<wire::AgentMessage>, Result<(), tonic::Code>) {
        let mut messages = Vec::new();
        loop {
            match inbound.message().await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, Ok(())),
                Err(status) => return (messages, Err(status.code())),
            }
        }
    }

    proptest! {
        #[test]
        fn messages_arrive_whole_however_they_are_cut(
            nonces in prop::collection::vec(any::<u64>(), 0..20),
            cuts in prop::collection::vec(1usize..40, 1..80),
        ) {
            let messages: Vec<_> = nonces.into_iter().map(pong).collect();
            let mut bytes = bytes_of(&messages);
            let mut chunks = Vec::new();
            for cut in cuts {
                let rest = bytes.split_off(cut.min(bytes.len()));
                chunks.push(std::mem::replace(&mut bytes, rest));
            }
            chunks.push(bytes);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            prop_assert_eq!(runtime.block_on(all(inbound(chunks))), (messages, Ok(())));
        }

        #[test]
        fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let _ = runtime.block_on(all(inbound(vec![bytes])));
        }
    }

    #[tokio::test]
    async fn what_breaks_a_bound_has_its_status() {
        let good = bytes_of(&[pong(1)]);
        let with = |bytes: &[u8]| inbound(vec![good.clone(), bytes.to_vec()]);
        let cases = [
            (&[0, 0, 0, 3, 233][..], tonic::Code::OutOfRange),
            (&[1, 0, 0, 0, 0], tonic::Code::Unimplemented),
            (&[0, 0, 0, 0, 1, 0xff], tonic::Code::InvalidArgument),
            (&[0, 0, 0, 0, 9, 1], tonic::Code::InvalidArgument),
        ];
        for (bytes, code) in cases {
            assert_eq!(all(with(bytes)).await, (vec![pong(1)], Err(code)), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_held_between_two_messages() {
        let mut inbound = inbound(vec![bytes_of(&[pong(1)]), bytes_of(&[pong(2), pong(3)])]);
        for nonce in 1..=3 {
            assert_eq!(inbound.message().await.expect("good"), Some(pong(nonce)));
        }
        assert_eq!(inbound.held.capacity(), 0);
    }

    #[tokio::test]
    async fn the_status_comes_last() {
        for (last, code) in [(None, "0"), (Some(Status::permission_denied("it was revoked: é")), "7")] {
            let (sender, queue) = mpsc::channel(4);
            let set_live = control_message::Kind::SetLive(wire::SetLive { live: true });
            let message = wire::ControlMessage { kind: Some(set_live) };
            sender.try_send(Ok(message.clone())).expect("room");
            if let Some(status) = &last {
                sender.try_send(Err(status.clone())).expect("room");
            }
            drop(sender);
            let told = Outbound::new(queue).into_response().into_body().collect().await.expect("a body");
            let trailers = told.trailers().cloned().expect("trailers");
            assert_eq!(trailers["grpc-status"], code);
            assert_eq!(trailers.contains_key("grpc-message"), last.is_some());
            let mut bytes = told.to_bytes();
            assert_eq!((bytes.get_u8(), bytes.get_u32() as usize), (0, message.encoded_len()));
            assert_eq!(wire::ControlMessage::decode(bytes), Ok(message));
        }
    }
}
