//! Series of one's own: CSV or Parquet with named columns.

mod parts;

pub use parts::read_in_parts;

use super::delimited::{records, separated, with_point};
use crate::{Fleet, Unit};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use faithful_core::{Error, Result, read_file};
use faithful_parquet::{Field, Rows};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Which columns of a table are what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The machine's number or name.
    pub unit: String,
    /// The cycle, a whole number; or a point of time, by which a machine's rows are ordered and its cycles numbered from 1 on.
    pub cycle: String,
    /// The remaining useful life after the row's cycle. Without such a column engines are taken to have run to failure
    /// where [`Columns::to_failure`] says so, and are of unknown life otherwise.
    pub rul: String,
    /// Why the machine failed.
    pub fault: String,
    /// The operational settings; empty for all columns whose names begin with `setting`.
    pub settings: Vec<String>,
    /// The sensors; empty for all columns that are nothing else.
    pub sensors: Vec<String>,
    /// Whether a machine's last row is its last cycle.
    pub to_failure: bool,
    /// Whether readings and settings may be missing: they become NaN, which [`Preparation`](crate::Preparation) passes over.
    pub gaps: bool,
}

impl Default for Columns {
    fn default() -> Self {
        let [unit, cycle, rul, fault] = ["unit", "cycle", "rul", "fault"].map(String::from);
        Self { unit, cycle, rul, fault, settings: Vec::new(), sensors: Vec::new(), to_failure: false, gaps: false }
    }
}

/// A table as text and numbers, with each row's place in the file for errors.
struct Table {
    what: String,
    names: Vec<String>,
    /// By column.
    cells: Vec<Cells>,
    /// The rows' line numbers in a text file; counted from 1 in a Parquet file.
    places: Vec<u64>,
    /// What a place is called: a line or a row.
    word: &'static str,
    /// Whether numbers have a comma where others have a point, as in spreadsheets in much of the world.
    decimal_comma: bool,
}

enum Cells {
    Text(Vec<String>),
    Numbers(Vec<f64>),
}

impl Cells {
    /// Adds cells of the same kind.
    fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Text(own), Self::Text(more)) => own.extend(more),
            (Self::Numbers(own), Self::Numbers(more)) => own.extend(more),
            _ => {}
        }
    }
}

impl From<faithful_parquet::Cells> for Cells {
    /// Of a Parquet file: a number that is missing is NaN.
    fn from(cells: faithful_parquet::Cells) -> Self {
        use faithful_parquet::Cells::{Lists, Numbers, Texts, Whole};
        match cells {
            Texts(cells) => Self::Text(cells.into_iter().map(Option::unwrap_or_default).collect()),
            Numbers(cells) => Self::Numbers(cells.into_iter().map(|cell| cell.unwrap_or(f64::NAN)).collect()),
            Whole(cells) => Self::Numbers(cells.into_iter().map(|cell| cell.map_or(f64::NAN, |n| n as f64)).collect()),
            // As words that are no number, which is refused where a number is needed.
            Lists(cells) => {
                Self::Text(cells.into_iter().map(|cell| format!("{:?}", cell.unwrap_or_default())).collect())
            }
        }
    }
}

/// The fleet in a text table with a heading line (`.csv`, `.tsv`) or a Parquet file (`.parquet`).
///
/// A text table is separated by what separates its heading: commas, semicolons or tabs. With semicolons and tabs, numbers may
/// have decimal commas. Rows of one machine stand together or not; they are sorted by cycle.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] with line and column for what is no finite number, for
/// ragged lines and cycles that occur twice; [`Error::UnknownName`] for columns that are not there.
pub fn read_columns(path: &Path, columns: &Columns) -> Result<Fleet> {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
    let table = match extension.as_deref() {
        Some("csv" | "tsv") => csv_table(path)?,
        Some("parquet") => parquet_table(path)?,
        _ => {
            let reason = format!("`{}` is neither a .csv nor a .parquet file", path.display());
            return Err(Error::parameter("data", reason));
        }
    };
    table.fleet(name_of(path), columns)
}

/// What the fleet of a file is called.
fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(|| "fleet".into(), |stem| stem.to_string_lossy().into_owned())
}

fn csv_table(path: &Path) -> Result<Table> {
    let what = path.display().to_string();
    let bytes = read_file(path)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::format(&what, "it is no text in UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let (separator, text, first) = separated(text);
    let records = records(text, separator, first);
    let mut records = records.map_err(|line| {
        Error::format(format!("{what}, line {line}"), "a quotation mark has no second one, or stands inside a value")
    })?;
    let names = if records.is_empty() { Vec::new() } else { records.remove(0).1 };
    let mut cells = vec![Vec::new(); names.len()];
    let mut places = Vec::new();
    for (line, record) in records {
        if record.len() != names.len() {
            let by = match separator {
                ';' => "semicolons",
                '\t' => "tabs",
                _ => "commas",
            };
            let reason =
                format!("{} values for the {} columns of the heading, which {by} separate", record.len(), names.len());
            return Err(Error::format(format!("{what}, line {line}"), reason));
        }
        record.into_iter().zip(&mut cells).for_each(|(cell, column)| column.push(cell));
        places.push(line);
    }
    let decimal_comma = separator != ',' && cells.iter().flatten().any(|cell| with_point(cell).is_some());
    if decimal_comma {
        let with_points =
            |row: &usize| cells.iter().any(|column| column[*row].contains('.') && column[*row].parse::<f64>().is_ok());
        if let Some(row) = (0..places.len()).find(with_points) {
            let reason = "it has a number with a decimal point, and other lines have decimal commas; write all one way";
            return Err(Error::format(format!("{what}, line {}", places[row]), reason));
        }
    }
    let cells = cells.into_iter().map(Cells::Text).collect();
    Ok(Table { what, names, cells, places, word: "line", decimal_comma })
}

fn parquet_table(path: &Path) -> Result<Table> {
    let what = path.display().to_string();
    let mut table = Table::of_rows(&what);
    let about = faithful_parquet::read(&what, &read_file(path)?.into(), |rows| {
        table.add(rows);
        Ok(())
    })?;
    table.name(&about.fields);
    Ok(table)
}

impl Table {
    /// A table of a Parquet file, without rows.
    fn of_rows(what: &str) -> Self {
        let (names, cells, places) = (Vec::new(), Vec::new(), Vec::new());
        Self { what: what.into(), names, cells, places, word: "row", decimal_comma: false }
    }

    /// Takes the columns of a file over, which may be one without rows.
    fn name(&mut self, fields: &[Field]) {
        if self.names.is_empty() {
            self.names = fields.iter().map(|field| field.name.clone()).collect();
            self.cells.resize_with(self.names.len(), || Cells::Numbers(Vec::new()));
        }
    }

    /// Adds the rows of a Parquet file, which follow on those that are there.
    fn add(&mut self, rows: Rows) {
        let is_first = self.names.is_empty();
        for (place, cells) in rows.columns.into_iter().enumerate() {
            let found = Cells::from(cells);
            if is_first { self.cells.push(found) } else { self.cells[place].append(found) }
        }
        self.name(&rows.fields);
        let first = self.places.last().map_or(1, |place| place + 1);
        self.places.extend((first..).take(rows.count));
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    fn needed(&self, name: &str) -> Result<usize> {
        let unknown = || {
            let error = Error::unknown("column", name, self.names.iter().map(String::as_str));
            Error::format(&self.what, format!("{error}; it has {}", self.names.join(", ")))
        };
        self.find(name).ok_or_else(unknown)
    }

    fn refuse(&self, column: usize, row: usize, reason: &str) -> Error {
        let place = format!("{}, {} {}, column `{}`", self.what, self.word, self.places[row], self.names[column]);
        Error::format(place, reason)
    }

    fn whole(&self, column: usize, row: usize) -> Result<i64> {
        let number = self.number(column, row)?;
        if !(0.0..=1e9).contains(&number) || number.fract() != 0.0 {
            return Err(self.refuse(column, row, &format!("{number} is not a whole number from 0 on")));
        }
        Ok(number as i64)
    }

    fn number(&self, column: usize, row: usize) -> Result<f64> {
        let value = match &self.cells[column] {
            Cells::Numbers(values) => values[row],
            Cells::Text(words) => {
                let with_comma = || with_point(&words[row]).filter(|_| self.decimal_comma);
                words[row]
                    .parse()
                    .ok()
                    .or_else(with_comma)
                    .ok_or_else(|| self.refuse(column, row, &format!("`{}` is not a number", words[row])))?
            }
        };
        if value.is_finite() && (value as f32).is_finite() {
            return Ok(value);
        }
        let what = if value.is_nan() { "a missing value or NaN" } else { "too large a number" };
        Err(self.refuse(column, row, &format!("{what}; fill the gap, or leave the rows out")))
    }

    /// As [`Table::number`], NaN where the cell is empty or says that it is missing.
    fn number_or_gap(&self, column: usize, row: usize) -> Result<f64> {
        let missing = match &self.cells[column] {
            Cells::Numbers(values) => values[row].is_nan(),
            Cells::Text(words) => MISSING.iter().any(|word| words[row].eq_ignore_ascii_case(word)),
        };
        if missing { Ok(f64::NAN) } else { self.number(column, row) }
    }

    /// Every row's point of time, in microseconds, where the column holds such points: its first cell is one and no number.
    fn times(&self, column: usize) -> Result<Option<Vec<i64>>> {
        let Cells::Text(words) = &self.cells[column] else { return Ok(None) };
        let is_time = |word: &String| word.parse::<f64>().is_err() && point_of_time(word).is_some();
        if !words.first().is_some_and(is_time) {
            return Ok(None);
        }
        let of = |row: usize| {
            let reason = || format!("`{}` is no point of time such as 2026-03-01T06:00:00", words[row]);
            point_of_time(&words[row]).ok_or_else(|| self.refuse(column, row, &reason()))
        };
        (0..words.len()).map(of).collect::<Result<_>>().map(Some)
    }

    fn text(&self, column: usize, row: usize) -> String {
        match &self.cells[column] {
            Cells::Text(words) => words[row].clone(),
            Cells::Numbers(values) => values[row].to_string(),
        }
    }

    fn fleet(&self, name: String, columns: &Columns) -> Result<Fleet> {
        if let Some(twice) = (1..self.names.len()).find(|&i| self.names[..i].contains(&self.names[i])) {
            return Err(Error::format(&self.what, format!("the column `{}` occurs twice", self.names[twice])));
        }
        let (unit, cycle) = (self.needed(&columns.unit)?, self.needed(&columns.cycle)?);
        let (rul, fault) = (self.find(&columns.rul), self.find(&columns.fault));
        let all = |names: &[String]| names.iter().map(|name| self.needed(name)).collect::<Result<Vec<_>>>();
        let settings = if columns.settings.is_empty() {
            (0..self.names.len()).filter(|&i| self.names[i].to_lowercase().starts_with("setting")).collect()
        } else {
            all(&columns.settings)?
        };
        let sensors = if columns.sensors.is_empty() {
            let taken: HashSet<usize> =
                [unit, cycle].into_iter().chain(rul).chain(fault).chain(settings.iter().copied()).collect();
            (0..self.names.len()).filter(|column| !taken.contains(column)).collect()
        } else {
            all(&columns.sensors)?
        };
        let columns_may_lack = columns.gaps;
        let mut order: Vec<String> = Vec::new();
        let mut rows: HashMap<String, Vec<(i64, usize)>> = HashMap::new();
        let times = self.times(cycle)?;
        for row in 0..self.places.len() {
            let name = self.text(unit, row);
            if name.is_empty() || name == "NaN" {
                return Err(self.refuse(unit, row, "the row does not say whose it is"));
            }
            let at = match &times {
                Some(times) => times[row],
                None => self.whole(cycle, row)?,
            };
            let of = rows.entry(name.clone()).or_insert_with(|| {
                order.push(name);
                Vec::new()
            });
            of.push((at, row));
        }
        let units = order
            .into_iter()
            .map(|name| {
                let mut own = rows.remove(&name).unwrap_or_default();
                own.sort_unstable();
                if let Some(pair) = own.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                    let reason = format!("cycle {} of engine {name} occurs twice", self.text(cycle, pair[0].1));
                    return Err(self.refuse(cycle, pair[1].1, &reason));
                }
                let gather = |columns: &[usize]| -> Result<Vec<f32>> {
                    let cells = own.iter().flat_map(|(_, row)| columns.iter().map(move |column| (*column, *row)));
                    let number = |column, row| {
                        if columns_may_lack { self.number_or_gap(column, row) } else { self.number(column, row) }
                    };
                    cells.map(|(column, row)| Ok(number(column, row)? as f32)).collect()
                };
                let last = own.last().map(|(_, row)| *row);
                let end = match (rul, last) {
                    (Some(rul), Some(row)) => Some(self.number(rul, row)?).filter(|end| *end >= 0.0).map(|e| e as f32),
                    _ => columns.to_failure.then_some(0.0),
                };
                let fault = fault.zip(last).map(|(column, row)| self.text(column, row)).filter(|f| !f.is_empty());
                let cycles = if times.is_some() {
                    (1..=own.len() as u32).collect()
                } else {
                    own.iter().map(|(cycle, _)| *cycle as u32).collect()
                };
                Ok(Unit { settings: gather(&settings)?, readings: gather(&sensors)?, name, cycles, end, fault })
            })
            .collect::<Result<_>>()?;
        let of = |columns: &[usize]| columns.iter().map(|&column| self.names[column].clone()).collect();
        Fleet { name, settings: of(&settings), sensors: of(&sensors), units }.checked()
    }
}

/// How a cell says that its value is missing.
const MISSING: [&str; 6] = ["", "nan", "na", "n/a", "null", "none"];

/// A point of time in microseconds since 1970, UTC unless it says otherwise.
fn point_of_time(text: &str) -> Option<i64> {
    const WITH_TIME: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    const WITH_ZONE: [&str; 2] = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
    let text = text.trim();
    let zoned = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros());
    let other = |format| DateTime::parse_from_str(text, format).ok().map(|time| time.timestamp_micros());
    let plain = |format| NaiveDateTime::parse_from_str(text, format).ok().map(|time| time.and_utc().timestamp_micros());
    let day = || {
        let midnight = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?;
        Some(midnight.and_utc().timestamp_micros())
    };
    zoned()
        .or_else(|| WITH_TIME.into_iter().find_map(plain))
        .or_else(|| WITH_ZONE.into_iter().find_map(other))
        .or_else(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode_table;
    use faithful_parquet::Cells::{Numbers, Texts, Whole};

    const CSV: &str =
        "unit,cycle,setting1,T24,P30,rul\r\nb,2,0.5,2.5,30,7\r\nb,1,0.5,1.5,31,8\r\na,1,0.25,9,32,0\r\n\r\n";

    fn read(name: &str, content: &[u8]) -> Result<Fleet> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_columns(&path, &Columns::default())
    }

    #[test]
    fn columns_are_found_by_their_names_and_rows_sorted_by_cycle() {
        let fleet = read("engines.csv", CSV.as_bytes()).unwrap();
        assert_eq!((fleet.sensors.join(" "), fleet.settings.join(" ")), ("T24 P30".into(), "setting1".into()));
        assert_eq!((fleet.units[0].name.as_str(), fleet.units[0].cycles.as_slice()), ("b", &[1, 2][..]));
        assert_eq!(fleet.units[0].readings, [1.5, 31.0, 2.5, 30.0]);
        assert_eq!((fleet.units[0].remaining(0), fleet.units[1].end), (Some(8.0), Some(0.0)));
    }

    #[test]
    fn semicolons_tabs_and_decimal_commas_give_the_same_fleet() {
        let plain = read("engines.csv", CSV.as_bytes()).unwrap();
        let semicolons = CSV.replace(',', ";").replace('.', ",");
        for (name, text) in [
            ("engines.csv", semicolons.clone()),
            ("engines.csv", format!("sep=;\r\n{semicolons}")),
            ("engines.tsv", CSV.replace(',', "\t")),
            ("engines.csv", CSV.replace(',', "\t").replace('.', ",")),
            ("engines.csv", semicolons.replace("T24", "\"T24\"")),
        ] {
            assert_eq!(read(name, text.as_bytes()).unwrap(), plain, "{text}");
        }
        // An empty first column of a table with tabs is a column.
        let error = read("engines.csv", b"unit\tcycle\tT24\n\t1\t2\n").unwrap_err().to_string();
        assert!(error.contains("line 2, column `unit`: the row does not say whose it is"), "{error}");
        let cases = [
            (semicolons.replace("1,5", "1.5"), "line 3: it has a number with a decimal point"),
            (CSV.replacen(',', ";", 2), "separate"),
            (semicolons.replace("1,5", "1.000,5"), "`1.000,5` is not a number"),
        ];
        for (text, expected) in cases {
            let error = read("engines.csv", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
    }

    #[test]
    fn parquet_gives_the_same_fleet() {
        let numbers = |values: [f64; 3]| Numbers(values.map(Some).to_vec());
        let whole = |values: [u64; 3]| Whole(values.map(Some).to_vec());
        let columns = vec![
            ("unit", Texts(["b", "b", "a"].map(|name| Some(name.to_owned())).to_vec())),
            ("cycle", whole([2, 1, 1])),
            ("setting1", numbers([0.5, 0.5, 0.25])),
            ("T24", numbers([2.5, 1.5, 9.0])),
            ("P30", whole([30, 31, 32])),
            ("rul", whole([7, 8, 0])),
        ];
        let bytes = encode_table(columns).unwrap();
        assert_eq!(read("engines.parquet", &bytes).unwrap(), read("engines.csv", CSV.as_bytes()).unwrap());
        assert!(read("engines.parquet", &bytes[..bytes.len() - 9]).unwrap_err().to_string().contains("Parquet"));
    }

    #[test]
    fn what_is_missing_may_be_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engines.csv");
        std::fs::write(&path, CSV.replace("2.5,", ",").replace("1.5,31", "NaN,n/a")).unwrap();
        let fleet = read_columns(&path, &Columns { gaps: true, ..Columns::default() }).unwrap();
        let gaps: Vec<bool> = fleet.units[0].readings.iter().map(|value| value.is_nan()).collect();
        assert_eq!(gaps, [true, true, true, false]);
    }

    #[test]
    fn points_of_time_are_ordered_and_numbered() {
        let text = CSV.replace("b,2,", "b,2026-03-01 12:00:00,").replace("b,1,", "b,2026-03-01T06:00:00Z,");
        let fleet = read("engines.csv", text.replace("a,1,", "a,2026-02-01,").as_bytes()).unwrap();
        assert_eq!((fleet.units[0].cycles.as_slice(), fleet.units[0].readings[0]), (&[1, 2][..], 1.5));
        let error = read("engines.csv", text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line 4, column `cycle`: `1` is no point of time"), "{error}");
    }

    #[test]
    fn times_are_read_as_people_and_programs_write_them() {
        let six = point_of_time("2026-03-01T06:00:00Z").unwrap();
        for text in [
            "2026-03-01T06:00:00",
            "2026-03-01 06:00:00",
            "2026-03-01 06:00",
            "2026-03-01T06:00",
            "2026-03-01 06:00:00.000",
            "2026-03-01T07:00:00+01:00",
            "2026-03-01 07:00:00+01:00",
            "2026-03-01 07:00:00+01",
            "2026-03-01 06:00:00Z",
        ] {
            assert_eq!(point_of_time(text), Some(six), "{text}");
        }
        assert_eq!(point_of_time("2026-03-01").unwrap() + 6 * 3_600_000_000, six);
        assert_eq!(point_of_time("2026-03-01T06:00:00.25").unwrap() - six, 250_000);
        for text in ["", "6", "6:00", "2026-13-01", "2026-02-30", "1970", "2026-03-01x"] {
            assert_eq!(point_of_time(text), None, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_by_line_and_column() {
        let cases = [
            (CSV.replace("2.5,", ""), "line 2: 5 values for the 6 columns"),
            (CSV.replace("2.5", "x"), "line 2, column `T24`: `x` is not a number"),
            (CSV.replace("2.5", "NaN"), "line 2, column `T24`: a missing value or NaN"),
            (CSV.replace("2.5", ""), "line 2, column `T24`: `` is not a number"),
            (CSV.replace("b,1", "b,2"), "cycle 2 of engine b occurs twice"),
            (CSV.replace("a,1", ",1"), "line 4, column `unit`: the row does not say whose it is"),
            (CSV.replace("b,1", "b,1.5"), "1.5 is not a whole number"),
            (CSV.replace("unit,", "engine,"), "no column `unit`"),
            (CSV.replace("P30", "T24"), "`T24` occurs twice"),
            ("unit,cycle,T24\n".into(), "no engines"),
            (String::new(), "no column `unit`"),
        ];
        for (text, expected) in cases {
            let error = read("engines.csv", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
        assert!(read("engines.txt", b"").unwrap_err().to_string().contains("neither a .csv nor a .parquet"));
    }
}
