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

/// A text of at most `width` letters: where it is longer, its end gives way to `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A path of at most `width` letters: where it is longer, its middle gives way to `…`, so that the file's name stays.
pub(crate) fn cut_path(text: &str, width: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (start, end) = (kept / 3, kept - kept / 3);
    letters[..start].iter().chain(&['…']).chain(&letters[letters.len() - end..]).collect()
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

/// As [`lines`], no line longer than `width`: cells of the widest columns go on below themselves.
pub(crate) fn lines_within(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let widest = |place: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(column.heading.chars().count())
    };
    let longest_word = |place: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(place)).map(String::as_str).chain([column.heading]);
        cells.flat_map(|cell| cell.split(' ')).map(|word| word.chars().count()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = columns.iter().enumerate().map(|(place, column)| widest(place, column)).collect();
    // No narrower than its longest word, so that words stay whole as long as there is another way.
    let least: Vec<usize> = columns.iter().enumerate().map(|(place, column)| longest_word(place, column)).collect();
    let gaps = 2 * columns.len().saturating_sub(1);
    let width = width.unwrap_or(usize::MAX);
    // The widest gives way first; below a few letters a column cannot be read.
    while widths.iter().sum::<usize>() + gaps > width {
        let spare = |at: &usize| (widths[*at] > least[*at], widths[*at]);
        let Some(most) = (0..widths.len()).max_by_key(spare).filter(|&at| widths[at] > 12) else { break };
        widths[most] -= 1;
    }
    let mut folded: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let cells: Vec<Vec<String>> = row.iter().zip(&widths).map(|(cell, width)| fold(cell, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(1);
        let line = |at: usize| cells.iter().map(|cell| cell.get(at).cloned().unwrap_or_default()).collect();
        folded.extend((0..height).map(line));
    }
    lines(columns, &folded)
}

/// A text in lines of at most `width` letters, broken between words where it can be.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut letters: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + letters.len() > width {
            lines.push(String::new());
            used = 0;
        }
        while letters.len() > width {
            let rest = letters.split_off(width);
            lines.push(String::new());
            let at = lines.len() - 2;
            lines[at].extend(letters);
            letters = rest;
        }
        let line = lines.len() - 1;
        if used > 0 {
            lines[line].push(' ');
            used += 1;
        }
        used += letters.len();
        lines[line].extend(letters);
    }
    lines
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
    fn tables_fit_the_width_by_folding_their_widest_cells() {
        let columns = [Column::left("name"), Column::left("what it is"), Column::right("n")];
        let rows = [["short", "a sentence that is rather long for a narrow terminal", "1"].map(str::to_owned).to_vec()];
        for width in [30, 40, 50] {
            let found = lines_within(&columns, &rows, Some(width));
            assert!(found.iter().all(|line| line.chars().count() <= width), "{found:?}");
            let joined = found[1..].join(" ");
            let words: Vec<&str> = joined.split_whitespace().filter(|word| *word != "short" && *word != "1").collect();
            assert_eq!(words.join(" "), rows[0][1]);
        }
        assert_eq!(lines_within(&columns, &rows, None), lines(&columns, &rows));
        assert_eq!(fold("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
    }

    #[test]
    fn words_stay_whole_where_another_column_can_give_way() {
        let columns = [Column::left("method"), Column::left("what it does"), Column::left("source")];
        let row = ["hyper-expected-grad-cam", "one two three four five six seven eight nine", "Buono and Akesson 2023"];
        let found = lines_within(&columns, &[row.map(str::to_owned).to_vec()], Some(60));
        assert!(found.iter().all(|line| line.chars().count() <= 60), "{found:?}");
        assert!(found[1].starts_with("hyper-expected-grad-cam "), "{found:?}");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!((cut("checkered square", 9), cut("disc", 9)), ("checkere…".into(), "disc".into()));
        assert_eq!(cut_path("photos/of/animals/heron.jpg", 16), "photo…/heron.jpg");
    }

    #[test]
    fn control_characters_are_not_printed() {
        assert_eq!(Table::new(&[Column::left("a")]).row(&["x\u{1b}[2Jy".into()]), "x\u{fffd}[2Jy");
    }
}
