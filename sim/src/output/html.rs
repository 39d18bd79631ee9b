//! Pages: one file each, with all that they need inside.

use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// A page that is being written.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// A page with this title.
    pub(crate) fn new(title: &str) -> Self {
        let title = escaped(title);
        let text = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n\
             <title>{title}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
            series_colours()
        );
        Self { text }
    }

    /// Adds text that is HTML already.
    pub(crate) fn raw(&mut self, html: &str) {
        self.text.push_str(html);
        self.text.push('\n');
    }

    /// Adds a paragraph.
    pub(crate) fn paragraph(&mut self, class: &str, text: &str) {
        self.line(format_args!("<p class=\"{class}\">{}</p>", escaped(text)));
    }

    /// Adds a heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.line(format_args!("<h2>{}</h2>", escaped(text)));
    }

    /// Adds names and values, as tiles.
    pub(crate) fn tiles(&mut self, tiles: &[(&str, String, String)]) {
        self.raw("<div class=\"tiles\">");
        for (name, value, note) in tiles {
            let (name, value, note) = (escaped(name), escaped(value), escaped(note));
            self.line(format_args!(
                "<div class=\"tile\"><span class=\"name\">{name}</span><strong>{value}</strong>\
                 <span class=\"note\">{note}</span></div>"
            ));
        }
        self.raw("</div>");
    }

    /// Adds a table: the first column names the rows. Columns with long texts are broken into lines.
    pub(crate) fn table(&mut self, heads: &[String], rows: &[Vec<String>]) {
        let is_long = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).any(|cell| cell.chars().count() > 32)
        };
        let class = |column: usize| if column > 0 && is_long(column) { " class=\"words\"" } else { "" };
        let columns = heads.len().max(rows.iter().map(Vec::len).max().unwrap_or(0));
        let classes: Vec<&str> = (0..columns).map(class).collect();
        self.raw("<div class=\"wide\"><table>");
        if !heads.is_empty() {
            let heads = heads.iter().zip(&classes);
            let heads: String =
                heads.map(|(head, class)| format!("<th{class}>{}</th>", escaped(head))).collect();
            self.line(format_args!("<thead><tr>{heads}</tr></thead>"));
        }
        self.raw("<tbody>");
        for row in rows {
            let first = escaped(row.first().map(String::as_str).unwrap_or_default());
            let rest = row.iter().zip(&classes).skip(1);
            let rest: String =
                rest.map(|(cell, class)| format!("<td{class}>{}</td>", escaped(cell))).collect();
            self.line(format_args!("<tr><th>{first}</th>{rest}</tr>"));
        }
        self.raw("</tbody></table></div>");
    }

    /// Begins a row of figures: as many beside each other as fit.
    pub(crate) fn begin_figures(&mut self) {
        self.raw("<div class=\"figures\">");
    }

    /// Ends it.
    pub(crate) fn end_figures(&mut self) {
        self.raw("</div>");
    }

    /// Adds a figure with a title, and the names of its colours if there are several. Nothing without a plot.
    pub(crate) fn figure(&mut self, title: &str, plot: Option<String>, colours: &[&str], note: &str) {
        let Some(plot) = plot else { return };
        self.line(format_args!("<figure><figcaption><b>{}</b>", escaped(title)));
        if colours.len() > 1 {
            self.raw("<span class=\"legend\">");
            for (n, name) in colours.iter().enumerate() {
                let n = n % super::plot::SERIES.len();
                self.line(format_args!("<span><i class=\"c{n}\"></i>{}</span>", escaped(name)));
            }
            self.raw("</span>");
        }
        self.raw("</figcaption>");
        self.raw(&plot);
        if !note.is_empty() {
            self.paragraph("note", note);
        }
        self.raw("</figure>");
    }

    /// Adds names and values that are shown on demand; on paper always.
    pub(crate) fn details(&mut self, title: &str, rows: &[(String, String)]) {
        self.line(format_args!("<details><summary>{}</summary>", escaped(title)));
        let rows: Vec<Vec<String>> =
            rows.iter().map(|(name, value)| vec![name.clone(), value.clone()]).collect();
        self.table(&[], &rows);
        self.raw("</details>");
    }

    /// The whole page.
    pub(crate) fn finish(mut self) -> String {
        self.raw("</main>\n</body>\n</html>");
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Rules for the colours of plots: swatches, and lighter ones in the dark.
fn series_colours() -> String {
    let dark = ["#56b4e9", "#ff9248", "#2fd3a4", "#f0a5cd", "#e3c93d", "#9fd3f5", "#b9a0e0", "#b0b0b0"];
    let mut text = String::new();
    let mut at_night = String::new();
    for (n, ((r, g, b), night)) in super::plot::SERIES.iter().zip(dark).enumerate() {
        let colour = format!("{r:02X}{g:02X}{b:02X}");
        let _ = writeln!(text, "i.c{n}{{background:#{colour}}}");
        let _ = writeln!(at_night, "i.c{n}{{background:{night}}}");
        let _ = writeln!(at_night, "svg [fill=\"#{colour}\"]{{fill:{night}}}");
        let _ = writeln!(at_night, "svg [stroke=\"#{colour}\"]{{stroke:{night}}}");
    }
    format!("{text}@media screen and (prefers-color-scheme:dark){{\n{at_night}}}\n")
}

/// Text that means nothing to a browser but itself.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML has no other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A JSON text that cannot end the script it stands in.
pub(crate) fn script_safe(json: &str) -> String {
    json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}
