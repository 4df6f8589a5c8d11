//! How streams end, and what is left in order behind them.

use muster_shared::wire::{self, control_message};
use tonic::{Code, Status};

use super::{
    status::refusal,
    stream::{Host, HostStream, message},
};
use crate::{
    error::ErrorKind,
    events::EventKind,
    sessions::{Closing, Cut},
};

/// Why a stream ended.
#[derive(Debug)]
pub(super) enum End {
    /// The host closed it or the connection is gone.
    Gone,
    /// The control plane stops: the host shall come back.
    Stopping,
    Cut(Cut),
    /// We ended it, for this reason.
    Refused(Status, &'static str),
}

impl HostStream {
    /// Tells the host why, and leaves everything as the next stream needs it.
    pub(super) async fn finish(self, end: End) {
        let Host { org, server, generation, .. } = self.host;
        let (status, why) = farewell(&end);
        if let End::Cut(Cut::Retired) = end {
            let retire = control_message::Kind::Retire(wire::Retire { reason: "the server was deleted".to_owned() });
            let _ = self.outbound.try_send(message(retire));
        }
        if let Some(status) = status {
            // A full queue means that the host isn't reading; it learns when it connects again.
            let _ = self.outbound.try_send(Err(status));
        }
        let was_current = self.guard.leave();
        tracing::info!(%server, generation, why, "agent disconnected");
        if matches!(end, End::Stopping) {
            // Everybody is set offline by one statement when the process stops.
            return;
        }
        let context = &self.context;
        let closing = Closing {
            org,
            server,
            generation,
            lease_owner: self.lease_owner,
            is_current: was_current,
            last_seen_at_us: context.clock.now_us(),
        };
        if let Err(error) = context.ledger.close(closing).await {
            tracing::warn!(%server, error = %crate::app::chain(&error), "session not recorded as over yet");
        }
        if was_current {
            context.events.publish(org, server, EventKind::AgentOffline);
            context.events.publish(org, server, EventKind::ServerChanged);
        }
    }
}

/// The end of a stream that can't be read on: the host broke a bound, or the connection broke.
pub(super) fn unreadable(status: Status) -> End {
    let word = match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => "message_too_large",
        Code::Internal | Code::InvalidArgument | Code::Unimplemented => "message_unreadable",
        _ => return End::Gone,
    };
    metrics::counter!("muster_link_refused_total", "reason" => word).increment(1);
    End::Refused(status, word)
}

/// What the host hears last, and the log's word for it.
fn farewell(end: &End) -> (Option<Status>, &'static str) {
    match end {
        End::Gone => (None, "gone"),
        End::Stopping => (Some(Status::unavailable("the control plane is stopping: connect again")), "stopping"),
        End::Refused(status, why) => (Some(status.clone()), why),
        End::Cut(why) => {
            let kind = if *why == Cut::Superseded { ErrorKind::Precondition } else { ErrorKind::PermissionDenied };
            let detail = match why {
                Cut::Superseded => "a newer stream of this host took over",
                Cut::Revoked => "this identity was revoked: join the server again with a new token",
                Cut::Quarantined => "two machines showed this identity: release the quarantine and join the right one",
                Cut::Retired => "this server was deleted",
            };
            (Some(refusal(kind, why.as_str(), detail)), why.as_str())
        }
    }
}
