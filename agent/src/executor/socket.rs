//! The executor's Unix socket. Each message is a varint length and its bytes; who is on the other end is what the
//! kernel says (`SO_PEERCRED`), and only the link's user and root are served.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use bytes::{Buf as _, BytesMut};
use muster_shared::wire;
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

use super::Executor;

/// Largest message either way, in bytes: a facts document and its wrapping.
pub const MAX_MESSAGE_BYTES: usize = 2 << 20;
/// Connections served at once; later ones are closed at once.
const MAX_CONNECTIONS: usize = 8;

/// Binds the socket at `path`, taking the place of one that a dead process left.
///
/// `group` may connect, beside the owner; whoever connects is asked for anyway.
///
/// # Errors
/// When the socket can't be made, or another executor serves it.
pub fn bind(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another executor serves this socket"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    Ok(listener)
}

/// Serves clients whose user id is in `allowed` until `listener` fails.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: UnixListener, executor: Executor, allowed: Vec<u32>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (stream, _) = listener.accept().await?;
        let user = stream.peer_cred()?.uid();
        if !allowed.contains(&user) {
            tracing::warn!(user, "refused a connection of another user");
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(limit = MAX_CONNECTIONS, "refused a connection: too many are open");
            continue;
        };
        let executor = executor.clone();
        tokio::spawn(async move {
            if let Err(error) = talk(stream, executor).await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
}

async fn talk(stream: UnixStream, executor: Executor) -> io::Result<()> {
    let Some(mut connection) = executor.connect().await else { return Ok(()) };
    let (mut input, mut output) = stream.into_split();
    let reading = async {
        let mut buffer = BytesMut::new();
        while let Some(request) = read_message::<wire::ExecutorRequest>(&mut input, &mut buffer).await? {
            if connection.requests.send(request).await.is_err() {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    let writing = async {
        while let Some(reply) = connection.replies.recv().await {
            write_message(&mut output, &reply).await?;
        }
        Ok::<_, io::Error>(())
    };
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    }
}

/// Reads one message; `None` at the end of the stream. What came beyond it stays in `buffer`.
///
/// # Errors
/// When the stream fails, or a message is too large or malformed.
pub async fn read_message<M: Message + Default>(
    input: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<M>> {
    loop {
        if let Some(message) = take_message(buffer)? {
            return Ok(Some(message));
        }
        if input.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn take_message<M: Message + Default>(buffer: &mut BytesMut) -> io::Result<Option<M>> {
    let malformed = |detail: &'static str| io::Error::new(io::ErrorKind::InvalidData, detail);
    let mut ahead = &buffer[..];
    let length = match prost::decode_length_delimiter(&mut ahead) {
        Ok(length) => length,
        // A length takes at most ten bytes; with fewer there may be more to come.
        Err(_) if buffer.len() < 10 => return Ok(None),
        Err(_) => return Err(malformed("a message without a length")),
    };
    if length > MAX_MESSAGE_BYTES {
        return Err(malformed("a message larger than allowed"));
    }
    let start = buffer.len() - ahead.len();
    if ahead.len() < length {
        buffer.reserve(length - ahead.len());
        return Ok(None);
    }
    buffer.advance(start);
    let message = M::decode(buffer.split_to(length)).map_err(|_| malformed("a message that can't be decoded"))?;
    if buffer.is_empty() {
        // A large message must not keep its memory.
        *buffer = BytesMut::new();
    }
    Ok(Some(message))
}

/// Writes one message.
///
/// # Errors
/// When the stream fails.
pub async fn write_message(output: &mut (impl AsyncWrite + Unpin), message: &impl Message) -> io::Result<()> {
    output.write_all(&message.encode_length_delimited_to_vec()).await
}
