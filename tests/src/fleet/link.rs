//! A simulated host's stream.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use muster_shared::wire::{self, agent_message, control_message, link_service_client::LinkServiceClient};
use prost::Message as _;
use ring::digest::{SHA256, digest};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    Order, Pace,
    host::{Host, now_us},
};

/// Messages on their way out; a full queue stops sampling, and nothing is lost.
const OUTGOING: usize = 64;
/// Frames in flight where the control plane names no number.
const DEFAULT_IN_FLIGHT: u32 = 16;
/// Between a broken stream and the next dial; each host adds its own part of it, so that they spread.
const REDIAL: Duration = Duration::from_millis(200);

/// Why a session is over.
#[derive(Debug)]
pub enum Ended {
    /// The stream's end, in order.
    Closed,
    /// The control plane or the network broke it off.
    Broken(tonic::Status),
    /// The control plane retired this host.
    Retired(String),
}

/// Keeps a stream, dialling again whenever it breaks, until it is dropped or the host is retired.
pub(super) async fn keep(host: Arc<Host>, address: SocketAddr, pace: Pace, mut order: watch::Receiver<Order>) {
    let mut clock = tokio::time::interval(pace.period);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let ended = async {
            let mut session = Session::open(Arc::clone(&host), address).await?;
            session.run(&mut clock, pace, &mut order).await
        };
        if let Ok(Ended::Retired(_)) = ended.await {
            host.set_online(false);
            return;
        }
        host.set_online(false);
        tokio::time::sleep(redial_pause(&host)).await;
    }
}

pub(super) fn redial_pause(host: &Host) -> Duration {
    REDIAL + Duration::from_millis(u64::from(host.server_id().bytes().last().unwrap_or(0)))
}

/// One stream from Hello to its end.
#[derive(Debug)]
pub struct Session {
    host: Arc<Host>,
    outgoing: mpsc::Sender<wire::AgentMessage>,
    incoming: Streaming<wire::ControlMessage>,
    sent: BTreeSet<u64>,
    acknowledged: usize,
    in_flight: usize,
    declared: bool,
    welcomed: bool,
}

impl Session {
    /// Dials and says Hello.
    ///
    /// # Errors
    /// When nothing answers, or the control plane refuses.
    pub async fn open(host: Arc<Host>, address: SocketAddr) -> Result<Self> {
        let channel = host.identity().lock().await.channel(address).await?;
        let (outgoing, queue) = mpsc::channel(OUTGOING);
        outgoing.send(message(agent_message::Kind::Hello(host.hello()))).await?;
        let incoming = LinkServiceClient::new(channel).link(ReceiverStream::new(queue)).await?.into_inner();
        Ok(Self {
            host,
            outgoing,
            incoming,
            sent: BTreeSet::new(),
            acknowledged: 0,
            in_flight: 0,
            declared: false,
            welcomed: false,
        })
    }

    /// Samples, sends and answers until the stream ends.
    async fn run(
        &mut self,
        clock: &mut tokio::time::Interval,
        pace: Pace,
        order: &mut watch::Receiver<Order>,
    ) -> Result<Ended> {
        loop {
            let sampling = *order.borrow_and_update() == Order::Sample;
            tokio::select! {
                heard = self.hear() => {
                    if let Some(ended) = heard? {
                        return Ok(ended);
                    }
                }
                _ = clock.tick(), if sampling && self.welcomed => {
                    let whole_us = now_us() / 1_000_000 * 1_000_000;
                    self.host.history().sample(whole_us, pace.ticks);
                }
                changed = order.changed() => {
                    if changed.is_err() {
                        bail!("the fleet is gone");
                    }
                }
            }
            self.send_frames().await?;
        }
    }

    /// Takes one message and does what it asks. `Some` when the session is over.
    ///
    /// # Errors
    /// When the stream takes no answer.
    pub async fn hear(&mut self) -> Result<Option<Ended>> {
        match self.incoming.message().await {
            Ok(Some(message)) => self.obey(message.kind).await,
            Ok(None) => Ok(Some(Ended::Closed)),
            Err(status) => Ok(Some(Ended::Broken(status))),
        }
    }

    /// Waits for a command and leaves it unanswered; obeys everything else.
    ///
    /// # Errors
    /// When the session ends first.
    pub async fn delivery(&mut self) -> Result<wire::SignedCommand> {
        loop {
            let kind = self.incoming.message().await?.context("the stream's end")?.kind;
            match kind {
                Some(control_message::Kind::Deliver(deliver)) => return deliver.command.context("a command"),
                other => {
                    if let Some(ended) = self.obey(other).await? {
                        bail!("{ended:?}");
                    }
                }
            }
        }
    }

    async fn obey(&mut self, kind: Option<control_message::Kind>) -> Result<Option<Ended>> {
        match kind {
            Some(control_message::Kind::Welcome(welcome)) => self.welcomed(&welcome).await?,
            Some(control_message::Kind::FrameAck(ack)) => {
                self.host.history().acknowledge(&ack);
                self.acknowledged = self.sent.len() - self.waiting_of_sent();
            }
            Some(control_message::Kind::Deliver(deliver)) => self.deliver(&deliver).await?,
            Some(control_message::Kind::CommandAck(ack)) => self.host.history().acknowledge_command(&ack),
            Some(control_message::Kind::Ping(ping)) => {
                // A stream that takes no answer any more has ended, and says so itself.
                let _ = self.send(agent_message::Kind::Pong(wire::Pong { nonce: ping.nonce })).await;
            }
            Some(control_message::Kind::Retire(retire)) => return Ok(Some(Ended::Retired(retire.reason))),
            _ => {}
        }
        Ok(None)
    }

    /// Sends one message of the caller's making.
    ///
    /// # Errors
    /// When the stream is over.
    pub async fn send(&self, kind: agent_message::Kind) -> Result<()> {
        self.outgoing.send(message(kind)).await.context("the stream takes no more messages")
    }

    async fn welcomed(&mut self, welcome: &wire::Welcome) -> Result<()> {
        self.host.confirm(welcome.generation);
        self.send(agent_message::Kind::Confirm(wire::Confirm { generation: welcome.generation })).await?;
        let most = if welcome.max_frames_in_flight == 0 { DEFAULT_IN_FLIGHT } else { welcome.max_frames_in_flight };
        self.in_flight = usize::try_from(most)?;
        self.welcomed = true;
        let json = facts(self.host.name())?;
        let sha256 = digest(&SHA256, &json).as_ref().to_vec();
        self.send(agent_message::Kind::Facts(wire::FactsReport { json, sha256, collected_at_us: now_us() })).await?;
        let waiting = self.host.history().waiting_updates();
        for update in waiting {
            self.send(agent_message::Kind::CommandUpdate(update)).await?;
        }
        self.host.set_online(true);
        Ok(())
    }

    async fn deliver(&mut self, deliver: &wire::Deliver) -> Result<()> {
        let envelope = envelope_of(deliver.command.as_ref().context("a command")?)?;
        if envelope.server_id != self.host.server_id() {
            bail!("a command for {} came to {}", envelope.server_id, self.host.server_id());
        }
        let updates = self.host.history().deliver(&envelope.command_id, now_us());
        for update in updates {
            self.send(agent_message::Kind::CommandUpdate(update)).await?;
        }
        Ok(())
    }

    fn waiting_of_sent(&self) -> usize {
        let history = self.host.history();
        self.sent.iter().filter(|seq| history.waiting().contains_key(seq)).count()
    }

    /// Sends what waits, as far as the window allows; the first frame declares every series.
    ///
    /// # Errors
    /// When the stream is over.
    pub async fn send_frames(&mut self) -> Result<()> {
        if !self.welcomed {
            return Ok(());
        }
        let room = self.in_flight.saturating_sub(self.sent.len() - self.acknowledged);
        let frames = self.host.history().to_send(&self.sent, room);
        for mut frame in frames {
            self.sent.insert(frame.seq);
            if !std::mem::replace(&mut self.declared, true) {
                frame.declarations = self.host.history().declarations();
            }
            self.send(agent_message::Kind::Frame(frame)).await?;
        }
        Ok(())
    }
}

/// What was signed.
///
/// # Errors
/// When it can't be decoded.
pub fn envelope_of(command: &wire::SignedCommand) -> Result<wire::CommandEnvelope> {
    Ok(wire::CommandEnvelope::decode(command.envelope.as_ref())?)
}

fn message(kind: agent_message::Kind) -> wire::AgentMessage {
    wire::AgentMessage { kind: Some(kind) }
}

fn facts(hostname: &str) -> Result<Vec<u8>> {
    let facts = muster_shared::facts::Facts { hostname: hostname.to_owned(), ..Default::default() };
    Ok(serde_json::to_vec(&facts)?)
}
