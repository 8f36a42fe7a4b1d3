//! Text whose values are separated by commas, semicolons or tabs.

/// What separates the heading's columns, the lines from the heading on, and the number of the first of them. A first line
/// `sep=;` is how some spreadsheets say it.
pub(super) fn separated(text: &str) -> (char, &str, u64) {
    if let Some((line, rest)) = text.split_once('\n')
        && let Some(separator) = line.trim_end_matches('\r').strip_prefix("sep=")
        && let Some(separator @ (',' | ';' | '\t')) = separator.chars().next()
    {
        return (separator, rest, 2);
    }
    let heading = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    // Every other piece is between quotation marks.
    let count = |separator: char| heading.split('"').step_by(2).map(|piece| piece.matches(separator).count()).sum();
    let counts: [(char, usize); 3] = [',', ';', '\t'].map(|separator| (separator, count(separator)));
    let (separator, _) = counts.into_iter().rev().max_by_key(|(_, count)| *count).unwrap_or((',', 0));
    (separator, text, 1)
}

/// The number that is written `-12,5e3`; none for anything else.
pub(super) fn with_point(text: &str) -> Option<f64> {
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | 'e' | 'E');
    let (whole, part) = text.split_once(',')?;
    if !whole.chars().chain(part.chars()).all(digits) || part.is_empty() {
        return None;
    }
    format!("{whole}.{part}").parse().ok()
}

/// The lines of a separated text with something on them (RFC 4180, blanks around values dropped), with their numbers from
/// `first` on; the number of the line with a quotation mark that cannot be there. The csv crate, which writes tables, takes a
/// quotation mark behind a blank for a letter.
pub(super) fn records(text: &str, separator: char, first: u64) -> std::result::Result<Vec<(u64, Vec<String>)>, u64> {
    // Tabs that separate are no blanks.
    let blank = |c: char| c.is_whitespace() && c != separator;
    let mut records = Vec::new();
    let mut lines = text.split('\n').zip(first..);
    while let Some((line, number)) = lines.next() {
        let mut rest = line.strip_suffix('\r').unwrap_or(line).to_owned();
        // A line end between quotation marks belongs to the value.
        while rest.matches('"').count() % 2 == 1 {
            let (next, _) = lines.next().ok_or(number)?;
            rest = format!("{rest}\n{}", next.strip_suffix('\r').unwrap_or(next));
        }
        let mut values: Vec<String> = Vec::new();
        let mut left = rest.trim_matches(blank);
        loop {
            let value;
            (value, left) = if let Some(quoted) = left.strip_prefix('"') {
                let inner = quoted.replace("\"\"", "\0\0");
                let end = inner.find('"').ok_or(number)?;
                (quoted[..end].replace("\"\"", "\""), quoted[end + 1..].trim_start_matches(blank))
            } else {
                let end = left.find(separator).unwrap_or(left.len());
                (left[..end].trim().to_owned(), &left[end..])
            };
            values.push(value);
            match left.strip_prefix(separator) {
                Some(next) => left = next.trim_start_matches(blank),
                None if left.is_empty() => break,
                None => return Err(number),
            }
        }
        if values.iter().any(|value| !value.is_empty()) {
            records.push((number, values));
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_may_hold_commas_and_line_ends() {
        let found = records("a, \"b, \"\"c\"\"\" ,d\r\n\n1,\"2\n3\",\n", ',', 1).unwrap();
        let row = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(found, [(1, row(&["a", "b, \"c\"", "d"])), (3, row(&["1", "2\n3", ""]))]);
        assert_eq!(records("a\n\"b", ',', 1), Err(2));
        assert_eq!(records("a\n\"b\"c", ',', 1), Err(2));
    }
}
