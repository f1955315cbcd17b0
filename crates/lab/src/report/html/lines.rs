//! Line charts: latency by quantile, goodput over time.

use std::fmt::Write as _;

use super::{axis::Axis, markup::escape, palette};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 88.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 44.0;

/// The least distance between two labels at the ends of lines.
const LABEL_STEP: f64 = 14.0;

/// The points that a line is drawn with: more cannot be told apart.
const POINTS_MAX: usize = 240;

/// A chart with a line for each subject.
pub(super) struct Lines<'a> {
    /// What it shows, for those who cannot see it.
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line<'a>>,
}

/// One subject's line.
pub(super) struct Line<'a> {
    /// Its place among the subjects, which gives its colour.
    pub(super) subject: usize,
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
    /// What to say of it where the pointer rests.
    pub(super) hint: String,
}

impl Lines<'_> {
    /// The chart as SVG.
    pub(super) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{}\">",
            escape(&self.title)
        );
        self.frame(&mut svg);
        let labels = self.label_heights();
        for (line, height) in self.lines.iter().zip(labels) {
            self.line(&mut svg, line, height);
        }
        svg + "</svg>"
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.at(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.at(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn frame(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in &self.y.ticks {
            let y = self.y(*value);
            let _ = write!(
                svg,
                "<path class=grid d=\"M{LEFT} {y:.1}H{right}\"/><text class=tick x={:.1} y={:.1} \
                 text-anchor=end>{label}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        for (value, label) in &self.x.ticks {
            let x = self.x(*value);
            let _ = write!(
                svg,
                "<path class=grid d=\"M{x:.1} {TOP}V{bottom}\"/><text class=tick x={x:.1} y={:.1} \
                 text-anchor=middle>{label}</text>",
                bottom + 16.0
            );
        }
        let _ = write!(
            svg,
            "<text class=axis x={:.1} y={:.1} text-anchor=middle>{}</text><text class=axis \
             transform=\"translate(12 {:.1})rotate(-90)\" text-anchor=middle>{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0,
            self.x.label,
            f64::midpoint(TOP, bottom),
            self.y.label
        );
    }

    fn line(&self, svg: &mut String, line: &Line<'_>, label: f64) {
        let mut path = String::new();
        for (index, (x, y)) in thinned(&line.points).enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", self.x(x), self.y(y));
        }
        let Some((end_x, end_y)) = line.points.last().map(|(x, y)| (self.x(*x), self.y(*y))) else {
            return;
        };
        let hint = escape(&format!("{}: {}", line.name, line.hint));
        let text = WIDTH - RIGHT + 10.0;
        let _ = write!(
            svg,
            "<g {}><title>{hint}</title><path class=near d=\"{path}\"/><path class=line \
             d=\"{path}\"/><path class=lead d=\"M{end_x:.1} {end_y:.1}L{:.1} {:.1}\"/><text \
             class=name x={text:.1} y={:.1}>{}</text></g>",
            palette::of(line.subject),
            text - 2.0,
            label,
            label + 4.0,
            escape(&palette::short(line.name))
        );
    }

    /// Where the names stand: beside the ends of their lines, pushed apart where they would meet.
    fn label_heights(&self) -> Vec<f64> {
        let mut heights: Vec<(usize, f64)> = self
            .lines
            .iter()
            .map(|line| line.points.last().map_or(HEIGHT, |(_, y)| self.y(*y)))
            .enumerate()
            .collect();
        heights.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        spread(&mut heights);
        heights.sort_by_key(|(index, _)| *index);
        heights.into_iter().map(|(_, height)| height).collect()
    }
}

/// Pushes apart what stands closer than [`LABEL_STEP`], both ways, and then back into the chart.
fn spread(heights: &mut [(usize, f64)]) {
    for _ in 0..4 * heights.len() {
        for index in 1..heights.len() {
            let overlap = LABEL_STEP - (heights[index].1 - heights[index - 1].1);
            if overlap > 0.0 {
                heights[index - 1].1 -= overlap / 2.0;
                heights[index].1 += overlap / 2.0;
            }
        }
    }
    let mut below = HEIGHT - BOTTOM + LABEL_STEP;
    for (_, height) in heights.iter_mut().rev() {
        *height = height.min(below - LABEL_STEP);
        below = *height;
    }
    let mut above = TOP - LABEL_STEP;
    for (_, height) in heights.iter_mut() {
        *height = height.max(above + LABEL_STEP);
        above = *height;
    }
}

/// At most about [`POINTS_MAX`] of the points, with the first and the last.
fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + '_ {
    let step = points.len().div_ceil(POINTS_MAX).max(1);
    let last = points.len().saturating_sub(1);
    let kept = move |index: usize| index.is_multiple_of(step) || index == last;
    points.iter().copied().enumerate().filter(move |(index, _)| kept(*index)).map(|(_, it)| it)
}
