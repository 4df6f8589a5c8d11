//! What lies in a spool's folder when it is opened.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use muster_shared::{
    metric::{Series, SeriesId},
    wire,
};

use super::{
    Counters, FrameKey,
    segment::{SUFFIX, Segment},
};

/// What lies in the folder.
#[derive(Default)]
pub(super) struct Found {
    pub(super) segments: BTreeMap<FrameKey, Segment>,
    pub(super) ids: HashMap<Series, (u64, SeriesId)>,
    pub(super) next_series: SeriesId,
    acknowledged: Vec<wire::FrameAck>,
    pub(super) counters: Counters,
}

impl Found {
    pub(super) fn add(&mut self, path: &Path) -> io::Result<()> {
        let Some((segment, findings)) = Segment::scan(path)? else {
            self.counters.damaged_segments += 1;
            tracing::warn!(path = %path.display(), "removing a damaged spool segment");
            return fs::remove_file(path);
        };
        self.counters.damaged_records += findings.damaged_records;
        self.counters.torn_tails += u64::from(findings.torn);
        self.acknowledged.extend(findings.acknowledged);
        for declaration in findings.declarations {
            let id = declaration.id;
            self.next_series = self.next_series.max(id.saturating_add(1));
            if let Ok(series) = Series::try_from(declaration) {
                self.ids.insert(series, (segment.epoch, id));
            }
        }
        self.segments.insert(segment.key(), segment);
        Ok(())
    }

    pub(super) fn apply_acknowledgements(&mut self) {
        for ack in &self.acknowledged {
            for segment in self.segments.values_mut().filter(|segment| segment.epoch == ack.epoch) {
                for range in &ack.ranges {
                    segment.forget(range.first, range.last);
                }
            }
        }
    }
}

pub(super) fn segment_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(OsStr::to_str) {
            Some(SUFFIX) => paths.push(path),
            // Half-made when the process died: nothing was numbered by it.
            Some("new") => fs::remove_file(&path)?,
            _ => {}
        }
    }
    paths.sort();
    Ok(paths)
}
