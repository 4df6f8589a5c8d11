//! The measurements as four small charts, both axes logarithmic: what grows in proportion is a straight line at 45°.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::measured::Measured;

const SIZE: (u32, u32) = (960, 640);
/// Room above and below a line.
const MARGIN: f64 = 2.0;

type Figure = (&'static str, fn(&Measured) -> f64);

const FIGURES: [Figure; 4] = [
    ("CPU, % of a core", |point| point.cpu_percent),
    ("resident memory, MiB", |point| point.resident_mib),
    ("a command's round trip, p50, ms", |point| point.command_p50_ms),
    ("killed: all back, s", |point| point.back_s),
];

/// Draws `points` into the file at `path`.
pub(crate) fn draw(path: &Path, points: &[Measured]) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
    for (area, figure) in root.split_evenly((2, 2)).iter().zip(FIGURES) {
        chart(area, figure, points).map_err(|error| anyhow!("{error}"))?;
    }
    root.present().map_err(|error| anyhow!("{error}"))
}

fn chart<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    (title, figure): Figure,
    points: &[Measured],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let line: Vec<(f64, f64)> = points.iter().map(|point| (point.hosts as f64, figure(point))).collect();
    let (least, most) = line.iter().fold((f64::MAX, f64::MIN), |(least, most), at| (least.min(at.1), most.max(at.1)));
    let last = line.last().map_or(1.0, |at| at.0);
    let first = line.first().map_or(1.0, |at| at.0);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(48)
        .build_cartesian_2d((first..last * 1.2).log_scale(), (least / MARGIN..most * MARGIN).log_scale())?;
    chart.configure_mesh().x_desc("agents").light_line_style(TRANSPARENT).draw()?;
    chart.draw_series(LineSeries::new(line.iter().copied(), BLUE.stroke_width(2)))?;
    chart.draw_series(line.iter().map(|at| Circle::new(*at, 3, BLUE.filled())))?;
    Ok(())
}
