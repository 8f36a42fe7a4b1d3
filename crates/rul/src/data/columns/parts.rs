//! Tables that are larger than memory: some machines at a time.

use super::{Cells, Columns, Table, name_of, read_columns};
use crate::Fleet;
use bytes::Bytes;
use faithful_core::{Result, read_file};
use std::collections::HashSet;
use std::path::Path;

/// The fleet of a table as [`read_columns`] reads it, given to `each` in parts of `machines` machines.
///
/// Of a Parquet file whose machines each have their rows in one place, memory holds the file as it lies on the disk, a batch
/// of its rows, and one part. It is read twice, the first time to see that all of it can be read: either `each` gets all machines
/// or none. A Parquet file in another order, and a text table, are read as a whole.
///
/// # Errors
/// As [`read_columns`], and what `each` gives.
pub fn read_in_parts(
    path: &Path,
    columns: &Columns,
    machines: usize,
    each: &mut dyn FnMut(Fleet) -> Result<()>,
) -> Result<()> {
    let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    if is_parquet {
        let file = File { path, bytes: read_file(path)?.into() };
        if file.in_parts(columns, machines, &mut |_| Ok(()))? {
            return file.in_parts(columns, machines, each).map(drop);
        }
    }
    let mut fleet = read_columns(path, columns)?;
    while !fleet.units.is_empty() {
        let units = fleet.units.drain(..machines.clamp(1, fleet.units.len())).collect();
        each(Fleet { units, ..fleet.without_units() })?;
    }
    Ok(())
}

/// A Parquet file.
struct File<'a> {
    path: &'a Path,
    bytes: Bytes,
}

impl File<'_> {
    /// Gives the machines to `each` as long as every one has its rows in one place; whether all have.
    fn in_parts(&self, columns: &Columns, machines: usize, each: &mut dyn FnMut(Fleet) -> Result<()>) -> Result<bool> {
        let what = self.path.display().to_string();
        let mut table = Table::of_rows(&what);
        let mut known = HashSet::new();
        let mut give = |table: &Table| -> Result<bool> {
            let fleet = table.fleet(name_of(self.path), columns)?;
            let together = fleet.units.iter().all(|unit| known.insert(unit.name.clone()));
            if together {
                each(fleet)?;
            }
            Ok(together)
        };
        let mut together = true;
        let about = faithful_parquet::read(&what, &self.bytes, |rows| {
            if together {
                table.add(rows);
            }
            while together && let Some(rows) = table.rows_of(machines, &columns.unit)? {
                together = give(&table.take(rows))?;
            }
            Ok(())
        })?;
        table.name(&about.fields);
        // The last machine is still there, and of a table without rows its heading, which has its own mistakes.
        Ok(together && give(&table)?)
    }
}

impl Table {
    /// How many rows the first `machines` machines have, where another one begins behind them.
    fn rows_of(&self, machines: usize, unit: &str) -> Result<Option<usize>> {
        let column = &self.cells[self.needed(unit)?];
        let mut begins = (1..self.places.len()).filter(|row| !column.is_same(row - 1, *row));
        Ok(begins.nth(machines.max(1) - 1))
    }

    /// The first rows, which it then has no longer.
    fn take(&mut self, rows: usize) -> Self {
        let (names, what) = (self.names.clone(), self.what.clone());
        let cells = self.cells.iter_mut().map(|cells| cells.take(rows)).collect();
        let places = self.places.drain(..rows).collect();
        Self { what, names, cells, places, ..*self }
    }
}

impl Cells {
    fn is_same(&self, a: usize, b: usize) -> bool {
        match self {
            Self::Text(words) => words[a] == words[b],
            Self::Numbers(numbers) => numbers[a] == numbers[b],
        }
    }

    fn take(&mut self, rows: usize) -> Self {
        match self {
            Self::Text(words) => Self::Text(words.drain(..rows).collect()),
            Self::Numbers(numbers) => Self::Numbers(numbers.drain(..rows).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cells as Column, encode_table};

    /// A machine's name per row, cycles that rise, and a sensor.
    fn file(units: &[&str]) -> Vec<u8> {
        let numbers = |of: fn(usize) -> f64| Column::Numbers((0..units.len()).map(|row| Some(of(row))).collect());
        let names = units.iter().map(|unit| Some((*unit).to_owned())).collect();
        let columns = vec![
            ("unit", Column::Texts(names)),
            ("cycle", numbers(|row| row as f64 + 1.0)),
            ("T24", numbers(|row| row as f64 / 8.0)),
        ];
        encode_table(columns).unwrap()
    }

    fn parts(bytes: &[u8], machines: usize) -> Result<Vec<Fleet>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.parquet");
        std::fs::write(&path, bytes).unwrap();
        let mut parts = Vec::new();
        read_in_parts(&path, &Columns::default(), machines, &mut |fleet| {
            parts.push(fleet);
            Ok(())
        })?;
        let whole = read_columns(&path, &Columns::default())?;
        let units: Vec<_> = parts.iter().flat_map(|fleet| fleet.units.clone()).collect();
        assert_eq!(units, whole.units);
        Ok(parts)
    }

    #[test]
    fn parts_are_whole_machines_in_any_order_of_rows() {
        let long: Vec<&str> = ["a", "b", "c", "d", "e"].into_iter().flat_map(|name| [name; 700]).collect();
        let sizes = |units: &[&str], machines| -> Vec<usize> {
            parts(&file(units), machines).unwrap().iter().map(|fleet| fleet.units.len()).collect()
        };
        assert_eq!(sizes(&long, 2), [2, 2, 1]);
        assert_eq!(sizes(&long, 9), [5]);
        assert_eq!(sizes(&["a"], 0), [1]);
        // Rows of `a` stand in two places: all is read before anything is given.
        assert_eq!(sizes(&["a", "b", "c", "a", "d"], 2), [2, 2]);
    }

    #[test]
    fn nothing_is_given_of_a_table_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.parquet");
        let mut units = vec!["a"; 3000];
        units.extend(["b", "", "c"]);
        std::fs::write(&path, file(&units)).unwrap();
        let error = read_in_parts(&path, &Columns::default(), 1, &mut |_| panic!("a part was given"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("row 3002, column `unit`: the row does not say whose it is"), "{error}");
        assert!(parts(&file(&[]), 2).unwrap_err().to_string().contains("no engines"));
    }
}
