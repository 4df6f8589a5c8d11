//! A Docker engine of a Unix socket that knows as many containers as it is told, or says nothing at all.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

/// The engine. Ends on drop.
#[derive(Debug)]
pub struct FakeEngine {
    socket: PathBuf,
    _task: JoinSet<()>,
}

impl FakeEngine {
    /// One that lists the containers of these ids as running for hours; they are called `container-0` and so on.
    ///
    /// # Errors
    /// When nothing can listen at `socket`.
    pub fn listing(socket: &Path, ids: &[String]) -> Result<Self> {
        let mut list = String::new();
        for (number, id) in ids.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(
                list,
                r#"{comma}{{"Id":"{id}","Names":["/container-{number}"],"Image":"image","State":"running","Status":"Up 2 hours"}}"#
            )?;
        }
        Self::serve(socket, Some(format!("[{list}]").into()))
    }

    /// One that accepts and never answers.
    ///
    /// # Errors
    /// When nothing can listen at `socket`.
    pub fn hung(socket: &Path) -> Result<Self> {
        Self::serve(socket, None)
    }

    fn serve(socket: &Path, list: Option<Arc<str>>) -> Result<Self> {
        let (listener, mut task) = (UnixListener::bind(socket)?, JoinSet::new());
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, list.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { socket: socket.to_owned(), _task: task })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

async fn answer(stream: UnixStream, list: Option<Arc<str>>) {
    let (mut stream, mut line, mut asked) = (BufStream::new(stream), String::new(), String::new());
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        if let Some(path) = line.strip_prefix("GET ") {
            path.clone_into(&mut asked);
        }
        if line == "\r\n"
            && let Some(list) = &list
        {
            let body = if asked.contains("/containers/json") {
                list
            } else if asked.contains("/containers/") {
                r#"{"RestartCount":0}"#
            } else {
                r#"{"ApiVersion":"1.41"}"#
            };
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            let whole = format!("{head} {}\r\n\r\n{body}", body.len());
            if stream.write_all(whole.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
        line.clear();
    }
}
