use crate::escape;
use std::fmt::Write as _;

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// What is written.
    pub text: String,
    /// A second, smaller line.
    pub small: Option<String>,
    /// What the column is sorted by, where that is a number; numbers stand at the right.
    pub value: Option<f64>,
    /// Whether it stands out.
    pub best: bool,
    /// An interval drawn under the number: its low end, its middle and its high end in 0 to 1 of the column's width.
    pub span: Option<[f64; 3]>,
    /// The section that it leads to, by its anchor.
    pub link: Option<String>,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl From<f64> for Cell {
    /// Three decimals.
    fn from(value: f64) -> Self {
        let text = if value.is_finite() { format!("{value:.3}") } else { "–".into() };
        Self { text, value: Some(value).filter(|value| value.is_finite()), ..Self::default() }
    }
}

/// Words and numbers in columns; the first cell of a row names it. Sorted by a press on a heading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The headings.
    pub columns: Vec<String>,
    /// The rows, with a cell per heading.
    pub rows: Vec<Vec<Cell>>,
    /// What is said below it.
    pub caption: Option<String>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(crate) fn html(&self, label: &str) -> String {
        // A region that scrolls sideways must be reachable by keyboard, and so has a name.
        let mut html =
            format!("<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}\">", escape(label));
        html.push_str("<table data-sort>");
        if let Some(caption) = &self.caption {
            let _ = write!(html, "<caption>{}</caption>", escape(caption));
        }
        let numeric = |column: usize| {
            column > 0 && self.rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.value.is_some()))
        };
        html.push_str("<thead><tr>");
        for (column, name) in self.columns.iter().enumerate() {
            let class = if numeric(column) { " class=\"number\"" } else { "" };
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(name));
        }
        html.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            html.push_str("<tr>");
            for column in 0..self.columns.len() {
                let empty = Cell::default();
                let cell = row.get(column).unwrap_or(&empty);
                html.push_str(&cell_html(cell, column == 0, numeric(column)));
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table></div>");
        html
    }
}

fn cell_html(cell: &Cell, first: bool, numeric: bool) -> String {
    let classes: Vec<&str> =
        [(numeric, "number"), (cell.best, "best")].into_iter().filter_map(|(is, class)| is.then_some(class)).collect();
    let class = if classes.is_empty() { String::new() } else { format!(" class=\"{}\"", classes.join(" ")) };
    let value = cell.value.map_or_else(String::new, |value| format!(" data-value=\"{value}\""));
    let mut inner = match &cell.link {
        Some(anchor) => format!("<a href=\"#at-{}\">{}</a>", escape(anchor), escape(&cell.text)),
        None => escape(&cell.text),
    };
    if let Some(small) = &cell.small {
        let _ = write!(inner, "<small>{}</small>", escape(small));
    }
    if let Some(span) = cell.span {
        let [low, middle, high] = span.map(|share| 4.0 + 96.0 * share.clamp(0.0, 1.0));
        let _ = write!(
            inner,
            "<svg class=\"span\" viewBox=\"0 0 104 10\" aria-hidden=\"true\"><line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"5\" \
             y2=\"5\"/><circle cx=\"{middle:.1}\" cy=\"5\" r=\"3\"/></svg>"
        );
    }
    if first {
        format!("<th scope=\"row\"{class}{value}>{inner}</th>")
    } else {
        format!("<td{class}{value}>{inner}</td>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped_and_short_rows_are_filled() {
        let mut table = Table::new(&["<a>", "b", "c"]);
        table.caption = Some("\"quoted\"".into());
        table.row(vec!["<script>".into(), Cell { small: Some("<i>".into()), best: true, ..1.5.into() }]);
        let html = table.html("x\" onload=\"y");
        assert!(!html.contains("<script>") && !html.contains("<i>") && !html.contains("x\" "), "{html}");
        assert!(html.contains("<td class=\"number best\" data-value=\"1.5\">1.500"), "{html}");
        assert_eq!(html.matches("<td").count(), 2);
        assert_eq!(Cell::from(f64::NAN).value, None);
    }
}
