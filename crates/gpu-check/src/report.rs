//! What was found, line by line while it is found, and as Markdown at the end.

/// How far one thing on a device is from the CPU's.
pub(crate) struct Line {
    pub(crate) what: String,
    /// In which numbers the device computed.
    pub(crate) numbers: &'static str,
    /// The relative difference, or why there is none.
    pub(crate) difference: Result<f64, String>,
    pub(crate) allowed: f64,
}

impl Line {
    /// NaN agrees with nothing.
    fn agrees(&self) -> bool {
        self.difference.as_ref().is_ok_and(|difference| *difference <= self.allowed)
    }
}

#[derive(Default)]
pub(crate) struct Report {
    markdown: String,
    lines: usize,
    disagreeing: Vec<String>,
}

impl Report {
    /// Begins a table of differences.
    pub(crate) fn table(&mut self, title: &str) {
        self.heading(title, &["what", "numbers", "relative difference", "allowed", ""]);
    }

    pub(crate) fn heading(&mut self, title: &str, columns: &[&str]) {
        println!("\n{title}");
        self.markdown += &format!("\n## {title}\n\n| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    }

    pub(crate) fn add(&mut self, line: &Line) {
        let verdict = if line.agrees() { "agrees" } else { "DIFFERS" };
        let difference = match &line.difference {
            Ok(difference) => format!("{difference:.1e}"),
            Err(reason) => format!("failed: {reason}"),
        };
        self.lines += 1;
        if !line.agrees() {
            self.disagreeing.push(format!("{} in {}", line.what, line.numbers));
        }
        self.row(&[&line.what, line.numbers, &difference, &format!("{:.0e}", line.allowed), verdict]);
    }

    pub(crate) fn row(&mut self, cells: &[&str]) {
        let widths = [46, 8, 20, 10, 8];
        let padded = cells.iter().enumerate().map(|(place, cell)| {
            let width = widths.get(place).copied().unwrap_or(0);
            format!("{cell:<width$}")
        });
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
        self.markdown += &format!("| {} |\n", cells.join(" | ").replace('\n', " "));
    }

    pub(crate) fn agrees(&self) -> bool {
        self.disagreeing.is_empty()
    }

    pub(crate) fn verdict(&self) -> String {
        if self.agrees() {
            return format!("\nall of {} comparisons agree", self.lines);
        }
        format!("\n{} of {} comparisons differ: {}", self.disagreeing.len(), self.lines, self.disagreeing.join(", "))
    }

    pub(crate) fn markdown(&self) -> String {
        format!("# GPU and CPU\n{}{}\n", self.markdown, self.verdict())
    }
}
