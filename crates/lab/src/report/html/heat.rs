//! Goodput by loss and round trip, as coloured tables: they can be read, heard and printed.

use std::fmt::Write as _;

use super::{markup::escape, palette};
use crate::{
    report::{figures::Figures, words},
    result::{Matrix, MatrixTable},
};

/// The depth of a ground from which on text in the page's colour reads better than in its ink: on a
/// dark page, whose deepest ground is light, and on a light one.
const INVERTED_ON_DARK: f64 = 0.58;
const INVERTED_ON_LIGHT: f64 = 0.7;

/// A table for each subject.
pub(super) fn maps(figures: &Figures<'_>, matrix: &Matrix) -> String {
    let map = |table: &MatrixTable| map(figures, matrix, table);
    format!("<div class=charts>{}</div>", matrix.tables.iter().map(map).collect::<String>())
}

fn map(figures: &Figures<'_>, matrix: &Matrix, table: &MatrixTable) -> String {
    let mut html = format!(
        "<div class=wide><table class=heat><caption {}><i class=swatch></i><b>{}</b> {} \
         <span>Mbit/s</span></caption><thead><tr><th scope=col>loss</th>",
        palette::of(figures.place(&table.subject)),
        escape(&table.subject),
        escape(&table.congestion_control)
    );
    for rtt in &matrix.rtt_ms {
        let _ = write!(html, "<th scope=col>{rtt} ms</th>");
    }
    html += "</tr></thead><tbody>";
    for (loss, row) in matrix.loss_percent.iter().zip(&table.mbit) {
        let _ = write!(html, "<tr><th scope=row>{loss} %</th>");
        for cell in row {
            html += &coloured(*cell, matrix.rate_mbit);
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>\n"
}

/// The ground grows with the square root of the share, so that 1 % and 5 % of a link still differ.
fn coloured(mbit: Option<f64>, rate: f64) -> String {
    let Some(mbit) = mbit else {
        return "<td class=none title=\"did not get through\">–</td>".to_owned();
    };
    let share = (mbit / rate).clamp(0.0, 1.0);
    let depth = if share.is_finite() { share.sqrt() } else { 0.0 };
    let class = match depth {
        deep if deep >= INVERTED_ON_LIGHT => " class=\"mid deep\"",
        middle if middle >= INVERTED_ON_DARK => " class=mid",
        _ => "",
    };
    format!("<td{class} style=\"--v:{:.0}%\">{}</td>", depth * 100.0, words::number(mbit))
}
