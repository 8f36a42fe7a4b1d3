//! `--set` and `--data`: which machines.

use crate::arguments::FleetArguments;
use crate::failure::Usage;
use anyhow::Result;
use faithful_core::{Error, Stream};
use faithful_rul::{CmapssSet, Columns, Fleet, SyntheticSpec, draw_fleet, read_columns, read_in_parts};
use std::path::{Path, PathBuf};

/// Where machines come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Cmapss(CmapssSet, PathBuf),
    Table(PathBuf, Box<Columns>),
    Synthetic,
}

impl Source {
    pub(crate) fn of(arguments: &FleetArguments) -> Result<Self> {
        let table = arguments.data.as_deref().filter(|path| is_table(path));
        match (arguments.set.as_deref(), table) {
            (None | Some("synthetic"), None) if arguments.set.is_some() || arguments.data.is_none() => {
                Ok(Self::Synthetic)
            }
            (None, None) => Err(Usage::from("which set? name one with --set FD001".to_owned()).into()),
            (None, Some(path)) => Ok(Self::Table(path.into(), Box::new(columns(arguments)))),
            (Some(name), Some(path)) => {
                let text = format!("--set {name} and the table {} exclude each other", path.display());
                Err(Usage::from(text).into())
            }
            (Some(name), None) => {
                let set = CmapssSet::named(name)
                    .map_err(|error| Usage::with_hint(&error, "there are FD001 to FD004 and synthetic"))?;
                let Some(place) = arguments.data.clone().or_else(pulled) else {
                    let text = format!(
                        "{} needs --data: the folder or zip file with C-MAPSS; `faithful rul pull` fetches it",
                        set.name
                    );
                    return Err(Usage::from(text).into());
                };
                Ok(Self::Cmapss(set, place))
            }
        }
    }

    /// A name for files.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Cmapss(set, _) => set.name.into(),
            Self::Table(path, _) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Synthetic => "synthetic".into(),
        }
    }

    /// How many ways to fail it is known to have.
    pub(crate) fn faults(&self) -> usize {
        if let Self::Cmapss(set, _) = self { set.faults } else { 1 }
    }

    /// Machines to learn from.
    pub(crate) fn training(&self) -> Result<Fleet> {
        Ok(match self {
            Self::Cmapss(set, place) => set.train(place)?,
            Self::Table(path, columns) => read_columns(path, &Columns { to_failure: true, ..(**columns).clone() })?,
            Self::Synthetic => {
                let fleet = draw_fleet(&SyntheticSpec { units: 60, ..SyntheticSpec::default() }, &pumps(0, false))?;
                Fleet { name: "drawn pumps".into(), ..fleet }
            }
        })
    }

    /// Machines whose lives are asked for, given to `each` some at a time: readings may be missing.
    pub(crate) fn readings(
        &self,
        machines: usize,
        each: &mut dyn FnMut(Fleet) -> faithful_core::Result<()>,
    ) -> Result<()> {
        if let Self::Table(path, columns) = self {
            let columns = Columns { gaps: true, ..(**columns).clone() };
            return Ok(read_in_parts(path, &columns, machines, each)?);
        }
        let fleet = self.test()?;
        for units in fleet.units.chunks(machines) {
            each(Fleet { units: units.to_vec(), ..fleet.without_units() })?;
        }
        Ok(())
    }

    /// Machines to judge.
    pub(crate) fn test(&self) -> Result<Fleet> {
        Ok(match self {
            Self::Cmapss(set, place) => set.test(place)?,
            Self::Table(path, columns) => read_columns(path, columns)?,
            Self::Synthetic => {
                draw_fleet(&SyntheticSpec { units: 20, stopped: true, ..SyntheticSpec::default() }, &pumps(0, true))?
            }
        })
    }
}

/// The source that is meant, or every table of the folder that is.
pub(crate) fn tables(arguments: &FleetArguments) -> Result<Vec<Source>> {
    let Some(folder) = arguments.data.as_deref().filter(|path| arguments.set.is_none() && path.is_dir()) else {
        return Ok(vec![Source::of(arguments)?]);
    };
    let unreadable = |source| Error::Io { path: folder.display().to_string(), source };
    let entries =
        std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(unreadable)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(|path| is_table(path)).collect();
    paths.sort();
    if paths.is_empty() {
        let text =
            format!("there is no .csv, .tsv or .parquet file in {}; C-MAPSS needs --set FD001", folder.display());
        return Err(Usage::from(text).into());
    }
    let columns = Box::new(columns(arguments));
    Ok(paths.into_iter().map(|path| Source::Table(path, columns.clone())).collect())
}

/// The stream of drawn pumps; those that were stopped are others than those that failed.
pub(crate) fn pumps(seed: u64, stopped: bool) -> Stream {
    Stream::new(seed, if stopped { "pumps that were stopped" } else { "pumps that failed" })
}

/// C-MAPSS, where it was fetched before.
fn pulled() -> Option<PathBuf> {
    let file = faithful_fetch::kept_file(&faithful_model::faithful_home()?, faithful_fetch::CMAPSS)?;
    file.is_file().then_some(file)
}

fn is_table(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| ["csv", "parquet", "tsv"].contains(&extension.to_lowercase().as_str()))
}

fn columns(arguments: &FleetArguments) -> Columns {
    Columns {
        unit: arguments.unit_column.clone(),
        cycle: arguments.cycle_column.clone(),
        rul: arguments.rul_column.clone(),
        fault: arguments.fault_column.clone(),
        settings: arguments.setting_columns.clone(),
        sensors: arguments.sensors.clone(),
        to_failure: false,
        gaps: false,
    }
}
