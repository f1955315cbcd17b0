//! Pieces of HTML. Whatever comes from a run goes through [`escape`].

use std::fmt::Write as _;

/// Text that HTML takes as it stands, between tags and in quoted attributes alike.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A table of cells that are markup already; the first column heads its rows.
pub(super) fn table(caption: &str, head: &[String], rows: &[Vec<String>]) -> String {
    let mut html = format!("<div class=wide><table><caption>{caption}</caption><thead><tr>");
    for cell in head {
        let _ = write!(html, "<th scope=col>{cell}</th>");
    }
    html += "</tr></thead><tbody>";
    for row in rows {
        html += "<tr>";
        for (column, cell) in row.iter().enumerate() {
            let _ = match column {
                0 => write!(html, "<th scope=row>{cell}</th>"),
                _ => write!(html, "<td>{cell}</td>"),
            };
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>\n"
}

/// What most readers need not see at once.
pub(super) fn folded(summary: &str, content: &str) -> String {
    format!("<details><summary>{summary}</summary>{content}</details>\n")
}

/// A section with its heading.
pub(super) fn section(id: &str, title: &str, content: &str) -> String {
    format!("<section id={id}><h2>{title}</h2>\n{content}</section>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_run_can_become_markup() {
        let text = escape("</td><script>alert(\"x\" + 'y' & \x1b)</script>\n");
        assert!(!text.contains(['<', '>', '"', '\'', '\x1b', '\n']), "{text}");
        assert!(text.contains("&amp; \u{fffd})"), "{text}");
    }
}
