//! Who this host is while the loop runs: renewed in time, and taken up anew when a join has replaced it.

use tokio::time::Instant;

use super::{Link, LinkError, Renewal, Wire, chain, dice};
use crate::link::{dial::Dialer, enroll, renew, session::Event};

impl Link {
    pub(super) fn renew(&mut self) {
        if self.renewal.is_some() {
            return;
        }
        let (dialer, attempt, identity) = (self.dialer.clone(), self.attempt, self.identity.clone());
        let receipt_key = self.receipt_key.clone();
        self.renewal = Some(tokio::spawn(async move { enroll::renew(&dialer, attempt, &identity, receipt_key).await }));
    }

    pub(super) fn renewed(&mut self, outcome: Renewal, now: Instant) {
        let taken = outcome.map_err(|error| chain(&error)).and_then(|(identity, endpoints)| {
            self.settings.state.save_identity(&identity).map_err(|error| chain(&error))?;
            self.identity = identity;
            if let Some(endpoints) = endpoints {
                self.settings.state.save_endpoints(&endpoints).map_err(|error| chain(&error))?;
            }
            self.take_new_credentials()
        });
        match taken {
            Ok(()) => {
                self.renew_again.succeeded();
                tracing::info!(server_id = %self.identity.server_id, "renewed this host's certificate");
                // Frames in flight go back to the backlog and are sent again under the new certificate.
                self.wire = Wire::Waiting { until: now };
                self.tell(Event::Closed);
            }
            Err(error) => {
                let wait = self.renew_again.failed(dice());
                self.certificate_at = now + wait;
                tracing::warn!(error, retry_in_ms = wait.as_millis() as u64, "the certificate was not renewed");
            }
        }
    }

    /// A new join may have left a new identity; answers whether it did.
    pub(super) fn take_identity_from_disk(&mut self) -> bool {
        match self.settings.state.identity() {
            Ok(identity) if identity.server_id != self.identity.server_id => {
                self.exit = Some(Err(LinkError::Replaced));
                true
            }
            Ok(identity) if identity != self.identity => {
                self.identity = identity;
                self.take_new_credentials().is_ok()
            }
            _ => false,
        }
    }

    pub(super) fn take_new_credentials(&mut self) -> Result<(), String> {
        let endpoints = self.settings.state.endpoints().map_err(|error| chain(&error))?;
        self.dialer = Dialer::enrolled(&self.identity, &endpoints).map_err(|error| chain(&error))?;
        let (from, to) = (self.identity.not_before_us, self.identity.not_after_us);
        self.renew_due_us = renew::due_at_us(from, to, dice());
        Ok(())
    }
}
