//! An SSH server in process: one that lets in whom it is told to, or an impostor, and that remembers every credential
//! it was shown. Logins get this machine's `/bin/sh`, as sshd would give it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use bytes::Bytes;
use russh::{
    Channel, ChannelId, MethodKind, MethodSet,
    keys::{PrivateKey, PublicKey},
    server::{self, Auth, ChannelOpenHandle, Config, Handle, Msg, Response, Session, VerifiedPublicKey},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::{ChildStdin, Command},
    sync::mpsc,
    task::JoinHandle,
};

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Accepts {
    Password(String),
    /// The password, but only as the answer to a question.
    Prompt(String),
    Key(PublicKey),
    Nobody,
}

/// A credential a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Password(String),
    Answer(String),
    /// The signature's algorithm.
    Signature(String),
}

/// A running server; gone on drop.
#[derive(Debug)]
pub struct SshServer {
    address: SocketAddr,
    shown: Arc<Mutex<Vec<Shown>>>,
    task: JoinHandle<()>,
}

impl SshServer {
    /// Starts one on a free port of 127.0.0.1 that proves itself by `host_keys`.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(host_keys: Vec<PrivateKey>, accepts: Accepts) -> Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), host_keys, accepts).await
    }

    /// The same on another address of this machine.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start_on(ip: IpAddr, host_keys: Vec<PrivateKey>, accepts: Accepts) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let shown = Arc::new(Mutex::new(Vec::new()));
        let methods: &[MethodKind] = match accepts {
            Accepts::Password(_) => &[MethodKind::PublicKey, MethodKind::Password],
            Accepts::Prompt(_) => &[MethodKind::PublicKey, MethodKind::KeyboardInteractive],
            Accepts::Key(_) => &[MethodKind::PublicKey],
            Accepts::Nobody => &[MethodKind::PublicKey, MethodKind::Password, MethodKind::KeyboardInteractive],
        };
        let config = Arc::new(Config {
            keys: host_keys,
            methods: MethodSet::from(methods),
            auth_rejection_time: std::time::Duration::ZERO,
            ..Config::default()
        });
        let login = Login { accepts, shown: Arc::clone(&shown), stdin: None };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, login) = (Arc::clone(&config), login.clone());
                tokio::spawn(async move {
                    if let Ok(session) = server::run_stream(config, stream, login).await {
                        // A client that leaves in the middle is what some tests are about.
                        let _ = session.await;
                    }
                });
            }
        });
        Ok(Self { address, shown, task })
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every credential it was shown so far.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone)]
struct Login {
    accepts: Accepts,
    shown: Arc<Mutex<Vec<Shown>>>,
    stdin: Option<mpsc::UnboundedSender<Bytes>>,
}

impl Login {
    fn remember(&self, shown: Shown) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).push(shown);
    }
}

fn decide(accepted: bool) -> Auth {
    if accepted { Auth::Accept } else { Auth::reject() }
}

impl server::Handler for Login {
    type Error = anyhow::Error;

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth> {
        self.remember(Shown::Password(password.to_owned()));
        Ok(decide(matches!(&self.accepts, Accepts::Password(expected) if expected == password)))
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth> {
        self.remember(Shown::Signature(key.algorithm.to_string()));
        Ok(decide(matches!(&self.accepts, Accepts::Key(expected) if expected.key_data() == key.public_key.key_data())))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth> {
        let Some(response) = response else {
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: vec![("Password: ".into(), false)].into(),
            });
        };
        let answers: Vec<String> = response.map(|answer| String::from_utf8_lossy(&answer).into_owned()).collect();
        answers.iter().for_each(|answer| self.remember(Shown::Answer(answer.clone())));
        Ok(decide(matches!(&self.accepts, Accepts::Prompt(expected) if answers == [expected.clone()])))
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<()> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, line: &[u8], session: &mut Session) -> Result<()> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(String::from_utf8_lossy(line).into_owned()).kill_on_drop(true);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, receiver) = mpsc::unbounded_channel();
        self.stdin = Some(sender);
        if let Some(stdin) = child.stdin.take() {
            tokio::spawn(feed(stdin, receiver));
        }
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let handle = session.handle();
        tokio::spawn(async move {
            tokio::join!(forward(stdout, &handle, channel, None), forward(stderr, &handle, channel, Some(1)));
            let status = child.wait().await.ok().and_then(|status| status.code()).unwrap_or(255);
            let _ = handle.exit_status_request(channel, status.unsigned_abs()).await;
            let _ = handle.eof(channel).await;
            let _ = handle.close(channel).await;
        });
        Ok(())
    }

    async fn data(&mut self, _channel: ChannelId, data: &[u8], _session: &mut Session) -> Result<()> {
        if let Some(stdin) = &self.stdin {
            let _ = stdin.send(Bytes::copy_from_slice(data));
        }
        Ok(())
    }

    async fn channel_eof(&mut self, _channel: ChannelId, _session: &mut Session) -> Result<()> {
        self.stdin = None;
        Ok(())
    }
}

async fn feed(mut stdin: ChildStdin, mut received: mpsc::UnboundedReceiver<Bytes>) {
    while let Some(bytes) = received.recv().await {
        if stdin.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn forward(from: Option<impl AsyncRead + Unpin>, to: &Handle, channel: ChannelId, extended: Option<u32>) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = Bytes::copy_from_slice(&buffer[..count]);
        let sent = match extended {
            Some(kind) => to.extended_data(channel, kind, bytes).await,
            None => to.data(channel, bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
}
