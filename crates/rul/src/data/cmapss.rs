//! NASA's C-MAPSS sets as they are published: text of 26 columns, in a folder or in a zip file.

use crate::data::archive;
use crate::{Fleet, Unit};
use faithful_core::{Error, Result};
use std::path::Path;

/// The three operational settings.
pub const SETTINGS: [&str; 3] = ["altitude", "mach", "tra"];

/// The 21 sensors in the order of the columns (Saxena et al. 2008, Table 2).
pub const SENSORS: [&str; 21] = [
    "T2",
    "T24",
    "T30",
    "T50",
    "P2",
    "P15",
    "P30",
    "Nf",
    "Nc",
    "epr",
    "Ps30",
    "phi",
    "NRf",
    "NRc",
    "BPR",
    "farB",
    "htBleed",
    "Nf_dmd",
    "PCNfR_dmd",
    "W31",
    "W32",
];

/// What a sensor of C-MAPSS measures and in which unit, in words (Saxena et al. 2008, Table 2); nothing for other names.
pub fn sensor_in_words(name: &str) -> Option<&'static str> {
    Some(match name {
        "T2" => "total temperature at the fan inlet, degrees Rankine",
        "T24" => "total temperature at the outlet of the low-pressure compressor, degrees Rankine",
        "T30" => "total temperature at the outlet of the high-pressure compressor, degrees Rankine",
        "T50" => "total temperature at the outlet of the low-pressure turbine, degrees Rankine",
        "P2" => "pressure at the fan inlet, psia",
        "P15" => "total pressure in the bypass duct, psia",
        "P30" => "total pressure at the outlet of the high-pressure compressor, psia",
        "Nf" => "physical fan speed, rpm",
        "Nc" => "physical core speed, rpm",
        "epr" => "engine pressure ratio, P50 to P2",
        "Ps30" => "static pressure at the outlet of the high-pressure compressor, psia",
        "phi" => "ratio of fuel flow to Ps30, pps/psi",
        "NRf" => "corrected fan speed, rpm",
        "NRc" => "corrected core speed, rpm",
        "BPR" => "bypass ratio",
        "farB" => "fuel-air ratio in the burner",
        "htBleed" => "bleed enthalpy",
        "Nf_dmd" => "demanded fan speed, rpm",
        "PCNfR_dmd" => "demanded corrected fan speed, rpm",
        "W31" => "coolant bleed of the high-pressure turbine, lbm/s",
        "W32" => "coolant bleed of the low-pressure turbine, lbm/s",
        _ => return None,
    })
}

/// One of the four sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CmapssSet {
    /// `FD001` to `FD004`.
    pub name: &'static str,
    /// How many operating conditions there are.
    pub conditions: usize,
    /// How many ways to fail there are.
    pub faults: usize,
}

/// All four.
pub const CMAPSS: [CmapssSet; 4] = [
    CmapssSet { name: "FD001", conditions: 1, faults: 1 },
    CmapssSet { name: "FD002", conditions: 6, faults: 1 },
    CmapssSet { name: "FD003", conditions: 1, faults: 2 },
    CmapssSet { name: "FD004", conditions: 6, faults: 2 },
];

impl CmapssSet {
    /// The set called `name`, in letters of any size.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn named(name: &str) -> Result<Self> {
        let found = CMAPSS.into_iter().find(|set| set.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| Error::unknown("set", name, CMAPSS.iter().map(|set| set.name)))
    }

    /// The engines that ran to failure, from `train_FDxxx.txt` in the folder or zip file `place`.
    pub fn train(self, place: &Path) -> Result<Fleet> {
        let name = format!("train_{}.txt", self.name);
        let mut fleet = parse_series(&name, &archive::text(place, &name)?)?;
        for unit in &mut fleet.units {
            unit.end = Some(0.0);
        }
        Ok(fleet)
    }

    /// The engines that were stopped before, from `test_FDxxx.txt`, with their remaining lives from `RUL_FDxxx.txt`.
    pub fn test(self, place: &Path) -> Result<Fleet> {
        let (series, lives) = (format!("test_{}.txt", self.name), format!("RUL_{}.txt", self.name));
        let mut fleet = parse_series(&series, &archive::text(place, &series)?)?;
        let remaining = parse_lives(&lives, &archive::text(place, &lives)?)?;
        if remaining.len() != fleet.units.len() {
            let reason =
                format!("{} remaining lives for the {} engines of {series}", remaining.len(), fleet.units.len());
            return Err(Error::format(lives, reason));
        }
        for (unit, end) in fleet.units.iter_mut().zip(remaining) {
            unit.end = Some(end);
        }
        Ok(fleet)
    }
}

/// The lines with something on them, counted from 1. Line ends may be those of any system.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())).filter(|(_, line)| !line.is_empty())
}

const COLUMNS: usize = 2 + SETTINGS.len() + SENSORS.len();

/// What a column is called in errors, counted from 0.
fn column_name(column: usize) -> &'static str {
    match column {
        0 => "unit",
        1 => "cycle",
        _ => SETTINGS.iter().chain(&SENSORS).nth(column - 2).copied().unwrap_or("too many"),
    }
}

/// Series of 26 columns; `what` names the file in errors.
///
/// # Errors
/// [`Error::Format`] with the line, and the column where there is one: another number of columns, what is no finite
/// number, engines or cycles that are missing.
pub fn parse_series(what: &str, text: &str) -> Result<Fleet> {
    let name = what.strip_suffix(".txt").unwrap_or(what);
    let mut fleet = Fleet {
        name: name.into(),
        settings: SETTINGS.map(String::from).to_vec(),
        sensors: SENSORS.map(String::from).to_vec(),
        units: Vec::new(),
    };
    for (number, line) in lines(text) {
        let refuse = |reason: String| Error::format(format!("{what}, line {number}"), reason);
        let mut values = [0f32; COLUMNS];
        let mut count = 0;
        for (column, word) in line.split_ascii_whitespace().enumerate() {
            count += 1;
            if let Some(value) = values.get_mut(column) {
                let place = || format!("column {} ({})", column + 1, column_name(column));
                *value = word.parse().map_err(|_| refuse(format!("{}: `{word}` is not a number", place())))?;
                if !value.is_finite() {
                    return Err(refuse(format!("{}: {word} is not a finite number", place())));
                }
            }
        }
        if count != COLUMNS {
            let reason = format!("{count} columns instead of {COLUMNS}: unit, cycle, 3 settings and 21 sensors");
            return Err(refuse(reason));
        }
        let [unit, cycle, ..] = values;
        let whole = |value: f32| ((1.0..=1e6).contains(&value) && value.fract() == 0.0).then_some(value as u32);
        let (Some(unit), Some(cycle)) = (whole(unit), whole(cycle)) else {
            return Err(refuse(format!("unit {unit} and cycle {cycle} must be whole numbers from 1 on")));
        };
        append(&mut fleet, unit, cycle, &values[2..]).map_err(refuse)?;
    }
    if fleet.units.is_empty() {
        return Err(Error::format(what, "it is empty"));
    }
    fleet.checked()
}

/// Adds a line to its engine; the reason where it cannot be the next one.
fn append(fleet: &mut Fleet, unit: u32, cycle: u32, values: &[f32]) -> std::result::Result<(), String> {
    let known = fleet.units.len() as u32;
    if unit == known + 1 {
        if cycle != 1 {
            return Err(format!("engine {unit} begins with cycle {cycle} instead of 1"));
        }
        fleet.units.push(Unit { name: unit.to_string(), ..Unit::default() });
    } else if unit != known {
        return Err(format!("engine {} is missing: engine {unit} follows engine {known}", known + 1));
    }
    let last = fleet.units.last_mut().ok_or("there is no engine before it")?;
    let before = last.cycles.last().copied().unwrap_or(0);
    if cycle != before + 1 {
        return Err(format!("cycle {cycle} of engine {unit} follows cycle {before}"));
    }
    last.cycles.push(cycle);
    last.settings.extend_from_slice(&values[..SETTINGS.len()]);
    last.readings.extend_from_slice(&values[SETTINGS.len()..]);
    Ok(())
}

/// One remaining life per line.
///
/// # Errors
/// [`Error::Format`] with the line for what is no number of at least 0.
pub fn parse_lives(what: &str, text: &str) -> Result<Vec<f32>> {
    lines(text)
        .map(|(number, line)| {
            let value = line.parse::<f32>().ok().filter(|value| value.is_finite() && *value >= 0.0);
            value.ok_or_else(|| {
                let reason = format!("`{line}` is not one remaining life in cycles");
                Error::format(format!("{what}, line {number}"), reason)
            })
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn every_sensor_has_its_words() {
        assert!(SENSORS.iter().all(|name| sensor_in_words(name).is_some()) && sensor_in_words("vibration").is_none());
    }

    /// Two engines of 3 and 2 cycles; sensor `s` reads `unit * 100 + cycle + s / 100`.
    pub(crate) fn text() -> String {
        let line = |unit: usize, cycle: usize| {
            let sensors: Vec<String> = (0..21).map(|s| format!("{}.{s:02}", unit * 100 + cycle)).collect();
            format!("{unit} {cycle} 0.5 -0.25 100.0 {}", sensors.join(" "))
        };
        [line(1, 1), line(1, 2), line(1, 3), line(2, 1), line(2, 2)].join("\n")
    }

    #[test]
    fn what_nasa_publishes_is_read_with_any_line_ends_and_trailing_blanks() {
        let plain = parse_series("train_FD001.txt", &text()).unwrap();
        assert_eq!(plain.units.iter().map(|unit| unit.cycles.len()).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(plain.units[1].readings[21 + 2], 202.02);
        assert_eq!((plain.name.as_str(), plain.sensors[2].as_str()), ("train_FD001", "T30"));
        let other = format!("{}  \r\n\r\n   \r\n", text().replace('\n', "  \r\n"));
        assert_eq!(parse_series("train_FD001.txt", &other).unwrap(), plain);
        assert_eq!(parse_lives("RUL", "112 \r\n98 \r\n\r\n").unwrap(), [112.0, 98.0]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_column() {
        let replaced = |from: &str, to: &str| text().replacen(from, to, 1);
        let cases = [
            (replaced("102.05", ""), "line 2: 25 columns instead of 26"),
            (replaced("103.20", "103.20 7"), "line 3: 27 columns"),
            (replaced("102.05", "NaN"), "line 2: column 11 (P15): NaN is not a finite number"),
            (replaced("102.05", "n/a"), "line 2: column 11 (P15): `n/a` is not a number"),
            (replaced("2 1 0.5", "3 1 0.5"), "line 4: engine 2 is missing: engine 3 follows engine 1"),
            (replaced("1 3 0.5", "1 4 0.5"), "line 3: cycle 4 of engine 1 follows cycle 2"),
            (replaced("2 1 0.5", "2 2 0.5"), "line 4: engine 2 begins with cycle 2"),
            (replaced("1 1 0.5", "1.5 1 0.5"), "line 1: unit 1.5 and cycle 1 must be whole"),
            (String::from("\r\n  \n"), "train.txt: it is empty"),
        ];
        for (text, expected) in cases {
            let error = parse_series("train.txt", &text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
        for wrong in ["12 13", "-1", "nan", "x"] {
            assert!(parse_lives("RUL", wrong).unwrap_err().to_string().contains("RUL, line 1"), "{wrong}");
        }
        assert!(CmapssSet::named("FD005").unwrap_err().to_string().contains("`FD001`"));
        assert_eq!(CmapssSet::named("fd004").unwrap().conditions, 6);
    }

    #[test]
    fn a_set_comes_from_a_folder_and_lives_must_be_as_many_as_engines() {
        let folder = tempfile::tempdir().unwrap();
        let set = CmapssSet::named("FD001").unwrap();
        let error = set.train(folder.path()).unwrap_err().to_string();
        assert!(error.contains("train_FD001.txt"), "{error}");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("test_FD001.txt", &text());
        write("RUL_FD001.txt", "10\n20\n");
        let test = set.test(folder.path()).unwrap();
        assert_eq!((test.units[0].remaining(0), test.units[1].remaining(1)), (Some(12.0), Some(20.0)));
        write("RUL_FD001.txt", "10\n20\n30\n");
        let error = set.test(folder.path()).unwrap_err().to_string();
        assert!(error.contains("3 remaining lives for the 2 engines of test_FD001.txt"), "{error}");
    }
}
