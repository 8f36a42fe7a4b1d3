//! Plain tables: columns as wide as their widest cell, the last one as long as it likes.

/// How a column's cells are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A heading, an alignment and a width for the rows that are not known yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    pub(crate) align: Align,
    pub(crate) width: usize,
}

impl Column {
    pub(crate) fn left(heading: &'static str) -> Self {
        Self { heading, align: Align::Left, width: 0 }
    }

    pub(crate) fn right(heading: &'static str) -> Self {
        Self { heading, align: Align::Right, width: 0 }
    }

    pub(crate) fn width(self, width: usize) -> Self {
        Self { width, ..self }
    }
}

/// A table that is printed row by row.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
}

impl Table {
    /// A table for rows that come one at a time.
    pub(crate) fn new(columns: &[Column]) -> Self {
        let fitted = columns.iter().map(|column| column.width(column.width.max(column.heading.chars().count())));
        Self { columns: fitted.collect() }
    }

    /// The line of headings.
    pub(crate) fn headings(&self) -> String {
        let headings: Vec<String> = self.columns.iter().map(|column| column.heading.to_owned()).collect();
        self.row(&headings)
    }

    /// One line. A cell that is wider than its column pushes the rest of the line to the right.
    pub(crate) fn row(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (index, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            if index > 0 {
                line.push_str("  ");
            }
            // Control characters of a file's name or a label must not move the cursor.
            let cell: String = cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            let padding = " ".repeat(column.width.saturating_sub(cell.chars().count()));
            match column.align {
                Align::Left => line.extend([cell.as_str(), &padding]),
                Align::Right => line.extend([padding.as_str(), &cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// All lines of a table whose rows are known, headings first.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let mut columns = columns.to_vec();
    for row in rows {
        for (column, cell) in columns.iter_mut().zip(row) {
            column.width = column.width.max(cell.chars().count());
        }
    }
    let table = Table::new(&columns);
    std::iter::once(table.headings()).chain(rows.iter().map(|row| table.row(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let columns = [Column::left("name"), Column::right("size"), Column::left("note")];
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = lines(&columns, &[row(["Åsa", "7", "x"]), row(["longer", "123456", ""])]);
        assert_eq!(lines, ["name      size  note", "Åsa          7  x", "longer  123456"]);
    }

    #[test]
    fn control_characters_are_not_printed() {
        assert_eq!(Table::new(&[Column::left("a")]).row(&["x\u{1b}[2Jy".into()]), "x\u{fffd}[2Jy");
    }
}
