//! A TCP proxy that misbehaves on request: slow, silent in one direction or both, cut, healed again.
//!
//! It copies bytes and knows nothing of TLS, so the peers see each other's certificates. Each fault holds for open
//! connections and for those made while it lasts.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// How much is copied, and delayed, at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// What the network does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes, each chunk this much later.
    Fair { delay: Duration },
    /// Open connections stay open and new ones are accepted, but nothing arrives in the directions named, not even
    /// the end of a connection: what a lost route or a stopped peer looks like.
    Silent { to_server: bool, to_client: bool },
    /// Open connections are reset, new ones too.
    Cut,
}

const FAIR: Weather = Weather::Fair { delay: Duration::ZERO };

/// The proxy. Ends, and resets what passes through it, on drop.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    _task: JoinSet<()>,
}

impl FaultProxy {
    /// Listens on `listen` and passes on to `server`.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn start(listen: SocketAddr, server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let weather = watch::Sender::new(FAIR);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, server, weather.clone()));
        Ok(Self { address, weather, _task: task })
    }

    /// Where to connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather, at once.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Resets everything, and goes on doing so.
    pub fn cut(&self) {
        self.set(Weather::Cut);
    }

    /// Swallows everything in both directions without a word.
    pub fn half_open(&self) {
        self.set(Weather::Silent { to_server: true, to_client: true });
    }

    /// Passes everything, also what was held back.
    pub fn heal(&self) {
        self.set(FAIR);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, weather: watch::Sender<Weather>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(pass(client, server, weather.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, weather: watch::Sender<Weather>) {
    // Both ends are reset rather than closed when this connection is cut or the proxy dropped.
    let _ = client.set_zero_linger();
    if *weather.borrow() == Weather::Cut {
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    let _ = (upstream.set_zero_linger(), upstream.set_nodelay(true), client.set_nodelay(true));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = upstream.split();
    let mut cut = weather.subscribe();
    tokio::select! {
        _ = cut.wait_for(|weather| *weather == Weather::Cut) => {}
        () = async {
            tokio::join!(
                copy(from_client, to_server, Direction::ToServer, weather.subscribe()),
                copy(from_server, to_client, Direction::ToClient, weather.subscribe()),
            );
        } => {}
    }
}

#[derive(Clone, Copy)]
enum Direction {
    ToServer,
    ToClient,
}

impl Direction {
    fn held(self, weather: Weather) -> bool {
        match (self, weather) {
            (Self::ToServer, Weather::Silent { to_server, .. }) => to_server,
            (Self::ToClient, Weather::Silent { to_client, .. }) => to_client,
            _ => false,
        }
    }
}

async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut weather: watch::Receiver<Weather>,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        let Ok(now) = weather.wait_for(|weather| !direction.held(*weather)).await.map(|weather| *weather) else {
            return;
        };
        if let Weather::Fair { delay } = now
            && !delay.is_zero()
        {
            tokio::time::sleep(delay).await;
        }
        if read == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    async fn round_trip(stream: &mut TcpStream) -> std::io::Result<u8> {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    }

    async fn silent(stream: &mut TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(100), round_trip(stream)).await.is_err()
    }

    #[tokio::test]
    async fn silence_holds_bytes_back_until_it_ends() {
        let proxy = FaultProxy::start("127.0.0.1:0".parse().expect("address"), echo().await).await.expect("proxy");
        let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
        assert_eq!(round_trip(&mut stream).await.expect("echoed"), b'x');
        for weather in [(true, true), (true, false), (false, true)] {
            proxy.set(Weather::Silent { to_server: weather.0, to_client: weather.1 });
            assert!(silent(&mut stream).await, "{weather:?}");
            proxy.heal();
            assert_eq!(stream.read_u8().await.expect("what was held back"), b'x');
        }
    }

    #[tokio::test]
    async fn a_cut_resets_and_healing_lets_new_ones_in() {
        let proxy = FaultProxy::start("127.0.0.1:0".parse().expect("address"), echo().await).await.expect("proxy");
        let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
        assert!(round_trip(&mut stream).await.is_ok());
        proxy.cut();
        let error = stream.read_u8().await.expect_err("reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let refused = match TcpStream::connect(proxy.address()).await {
            Ok(mut stream) => round_trip(&mut stream).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
        proxy.heal();
        let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
        assert!(round_trip(&mut stream).await.is_ok());
    }

    #[tokio::test]
    async fn delay_is_added_each_way() {
        let proxy = FaultProxy::start("127.0.0.1:0".parse().expect("address"), echo().await).await.expect("proxy");
        proxy.set(Weather::Fair { delay: Duration::from_millis(50) });
        let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
        let begun = std::time::Instant::now();
        round_trip(&mut stream).await.expect("echoed");
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }
}
