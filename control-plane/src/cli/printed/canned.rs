//! A fleet service on loopback that answers every method with messages whose every field is filled. What it fills is taken
//! from the service's own descriptors, so a field that is new shows in what is printed of it.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri};
use http_body::Frame;
use http_body_util::StreamBody;
use muster_shared::wire;
use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto, Timestamp,
    field_descriptor_proto::{Label, Type},
};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::api::model::structure::to_struct;

/// In the year 2100: never long ago, so that ages stay the same.
const TIME: Timestamp = Timestamp { seconds: 4_102_444_800, nanos: 0 };
/// How many of what may be many.
const MANY: u64 = 2;

/// What a method is known to answer instead of what its fields are filled with.
pub(super) enum Said {
    /// A run's events: what happened, and its data.
    Progress(Vec<(&'static str, Value)>),
    /// The document in the one field that takes any.
    Document(Value),
}

/// The service.
pub(super) struct Canned {
    messages: BTreeMap<String, DescriptorProto>,
    methods: BTreeMap<String, MethodDescriptorProto>,
    said: BTreeMap<&'static str, Said>,
}

impl Canned {
    pub(super) fn new(said: BTreeMap<&'static str, Said>) -> Self {
        let files = FileDescriptorSet::decode(wire::DESCRIPTORS).expect("descriptors");
        let mut messages = BTreeMap::new();
        for file in &files.file {
            for message in &file.message_type {
                learn(&mut messages, &format!(".{}", file.package()), message);
            }
        }
        let services = files.file.iter().flat_map(|file| &file.service);
        let fleet = services.into_iter().find(|service| service.name() == "FleetService").expect("the service");
        let methods = fleet.method.iter().map(|method| (method.name().to_owned(), method.clone())).collect();
        Self { messages, methods, said }
    }

    /// Listens until the test's runtime ends.
    pub(super) async fn serve(self) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let canned = Arc::new(self);
        let router = Router::new().fallback(move |uri: Uri| {
            let canned = Arc::clone(&canned);
            async move { answer(canned.messages_of(uri.path().rsplit('/').next().unwrap_or_default())) }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn messages_of(&self, method: &str) -> Vec<Vec<u8>> {
        let described = &self.methods[method];
        if let Some(Said::Progress(events)) = self.said.get(method) {
            let event = |(event, data): &(&str, Value)| wire::ProgressEvent {
                event: (*event).to_owned(),
                data: Some(to_struct(data.clone())),
            };
            return events.iter().map(|one| event(one).encode_to_vec()).collect();
        }
        let message = &self.messages[described.output_type()];
        let document = match self.said.get(method) {
            Some(Said::Document(document)) => document.clone(),
            _ => Value::Null,
        };
        // Of what is one of several, a stream has each in turn.
        let members = message.field.iter().filter(|field| is_one_of_several(field)).count().max(1);
        let turns = if described.server_streaming() { members } else { 1 };
        (0..turns).map(|turn| self.filled(message, 0, turn, &document)).collect()
    }

    /// The bytes of `message` as the `nth` of several, with the member `turn` of what is one of several.
    fn filled(&self, message: &DescriptorProto, nth: u64, turn: usize, document: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        let several: Vec<_> = message.field.iter().filter(|field| is_one_of_several(field)).collect();
        for field in &message.field {
            if is_one_of_several(field) && several.get(turn).is_none_or(|member| member.name() != field.name()) {
                continue;
            }
            let is_map = self.messages.get(field.type_name()).is_some_and(is_entry);
            let times = if field.label() == Label::Repeated && !is_map { MANY } else { 1 };
            for one in 0..times {
                self.put(&mut bytes, field, nth + one, document);
            }
        }
        bytes
    }

    fn put(&self, bytes: &mut Vec<u8>, field: &FieldDescriptorProto, nth: u64, document: &Value) {
        let number = u64::from(field.number().unsigned_abs());
        let figure = number % 90 + 1 + nth;
        let mut tag = |kind: u64| varint(bytes, (number << 3) | kind);
        match field.r#type() {
            // As long as a SHA-256.
            Type::Bytes if field.name().ends_with("hash") => {
                tag(2);
                delimited(bytes, &[figure as u8; 32]);
            }
            Type::String | Type::Bytes => {
                tag(2);
                delimited(bytes, text(field.name(), nth).as_bytes());
            }
            Type::Message => {
                tag(2);
                let inner = match field.type_name() {
                    ".google.protobuf.Timestamp" => TIME.encode_to_vec(),
                    ".google.protobuf.Struct" => to_struct(document.clone()).encode_to_vec(),
                    name => {
                        self.messages.get(name).map(|inner| self.filled(inner, nth, 0, document)).unwrap_or_default()
                    }
                };
                delimited(bytes, &inner);
            }
            Type::Double => {
                tag(1);
                bytes.extend((figure as f64 + 0.5).to_le_bytes());
            }
            Type::Float => {
                tag(5);
                bytes.extend((figure as f32 + 0.5).to_le_bytes());
            }
            Type::Bool | Type::Enum => {
                tag(0);
                varint(bytes, 1);
            }
            _ => {
                tag(0);
                varint(bytes, figure);
            }
        }
    }
}

fn learn(messages: &mut BTreeMap<String, DescriptorProto>, scope: &str, message: &DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        learn(messages, &name, nested);
    }
    messages.insert(name, message.clone());
}

fn is_one_of_several(field: &FieldDescriptorProto) -> bool {
    field.oneof_index.is_some() && !field.proto3_optional()
}

fn is_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

/// A text that fits a field of this name.
fn text(field: &str, nth: u64) -> String {
    match field {
        "id" => format!("01890a5d-ac96-774b-bcce-b302099a805{nth}"),
        field if field.ends_with("_id") => format!("01890a5d-ac96-774b-bcce-b302099a806{nth}"),
        "status" => "running".to_owned(),
        "state" => "succeeded".to_owned(),
        "health_status" => "healthy".to_owned(),
        field if nth == 0 => field.to_owned(),
        field => format!("{field}-{}", nth + 1),
    }
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(((value & 0x7f) as u8) | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn delimited(bytes: &mut Vec<u8>, inner: &[u8]) {
    varint(bytes, inner.len() as u64);
    bytes.extend(inner);
}

fn answer(messages: Vec<Vec<u8>>) -> Response {
    let framed = messages.into_iter().map(|message| {
        let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
        Ok::<_, Infallible>(Frame::data(Bytes::from([&[0], length.as_slice(), message.as_slice()].concat())))
    });
    let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static("0"))]);
    let frames: Vec<_> = framed.chain([Ok(Frame::trailers(trailers))]).collect();
    let mut response = Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
