//! Following chosen series of a server, a point a second. REST and gRPC tell the same.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{Stream, stream};
use muster_shared::{
    id::{OrgId, ServerId},
    metric::{Series, unit},
};
use tokio::sync::broadcast::{self, error::RecvError};

use super::model::series::{SeriesEvent, WatchedSeries};
use crate::{
    app::App,
    error::Error,
    metrics::{Following, LiveFrame, MAX_SERIES, Selection},
    sessions::LiveGuard,
};

struct Watch {
    app: App,
    org: OrgId,
    server: ServerId,
    frames: broadcast::Receiver<Arc<LiveFrame>>,
    following: Following,
    told: VecDeque<SeriesEvent>,
    /// Held for its effect: the host sends each second while it exists.
    _live: LiveGuard,
}

/// Follows the series of `server` that `selection` takes. The first event lists them, and another does whenever they
/// change; a slow reader sees a gap.
#[must_use]
pub fn watch_series(
    app: App,
    org: OrgId,
    server: ServerId,
    selection: Selection,
) -> impl Stream<Item = Result<SeriesEvent, Error>> + Send + use<> {
    let frames = app.heads.cell(org, server).follow();
    let _live = app.sessions.watch_live(server);
    let (following, told) = (Following::new(selection), VecDeque::new());
    let watch = Watch { app, org, server, frames, following, told, _live };
    stream::try_unfold(watch, async |mut watch| Ok(watch.next().await?.map(|told| (told, watch))))
}

impl Watch {
    async fn next(&mut self) -> Result<Option<SeriesEvent>, Error> {
        let stop = self.app.shutdown.clone();
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(Some(told));
            }
            match stop.run_until_cancelled(self.frames.recv()).await {
                Some(Ok(frame)) => self.take(&frame).await?,
                Some(Err(RecvError::Lagged(count))) => {
                    metrics::counter!("muster_watch_frames_missed_total").increment(count);
                }
                Some(Err(RecvError::Closed)) | None => return Ok(None),
            }
        }
    }

    async fn take(&mut self, frame: &LiveFrame) -> Result<(), Error> {
        if self.following.must_learn(frame) {
            let declared = self.app.store.series_of(self.org, self.server, frame.epoch).await?;
            if self.following.learn(frame.epoch, declared) {
                let watched = |series: &Series| WatchedSeries {
                    metric: series.name.clone(),
                    labels: series.labels.clone(),
                    unit: unit(&series.name, series.kind),
                };
                let series: Vec<_> = self.following.series().map(watched).collect();
                if series.len() > MAX_SERIES {
                    let detail = format!("more than {MAX_SERIES} series would be followed: ask for fewer by labels");
                    return Err(Error::invalid("too_many_series", detail));
                }
                self.told.push_back(SeriesEvent::Series { series });
            }
        }
        // What was stored can be read; if not, the next frame can.
        let points = self.following.take(frame).unwrap_or_default();
        self.told.extend(points.into_iter().map(SeriesEvent::point));
        Ok(())
    }
}
