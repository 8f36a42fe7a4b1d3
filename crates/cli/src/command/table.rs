//! `faithful table`: a run's rows as a table.

use crate::arguments::{TableArguments, TableFormat};
use crate::failure::Outcome;
use crate::output::Output;
use anyhow::Result;
use faithful_core::Error;
use faithful_evaluate::{Format, Manifest, Rows, Store, Table};
use std::path::PathBuf;

pub(crate) fn run(arguments: &TableArguments, output: &Output) -> Result<Outcome> {
    let rows = rows_of(&arguments.runs, output)?;
    let table = Table::new(&rows, &arguments.order, arguments.against.as_deref())?;
    let format = if output.is_json() { Format::Json } else { arguments.format.into() };
    output.text(table.write_within(format, output.width()).trim_end())?;
    Ok(Outcome::of_failures(rows.damaged.len()))
}

/// What two runs must have in common to make one table: runs of other methods on the same images do; another model, other
/// images or another protocol do not.
pub(super) fn question(manifest: &Manifest) -> impl PartialEq + use<> {
    let Manifest { model, preprocessing, images, protocol, class, seed, .. } = manifest.clone();
    (model, preprocessing, images, protocol, class, seed)
}

/// The rows of runs that can stand in one table; what is damaged is reported.
pub(super) fn rows_of(runs: &[PathBuf], output: &Output) -> Result<Rows> {
    let mut rows = Rows::default();
    let mut first = None;
    for folder in runs {
        let (store, manifest) = Store::open(folder)?;
        let question = question(&manifest);
        match &first {
            None => first = Some((folder, question)),
            Some((earlier, known)) if *known != question => {
                let reason = format!(
                    "{} and {} are of different models, images, protocols or seeds and make no common table",
                    earlier.display(),
                    folder.display()
                );
                return Err(Error::parameter("run", reason).into());
            }
            Some(_) => {}
        }
        let found = store.rows()?;
        rows.rows.extend(found.rows);
        rows.damaged.extend(found.damaged);
    }
    for (file, reason) in &rows.damaged {
        output.error(&format!(
            "{}: its rows are missing: {reason}; `faithful evaluate --resume` makes them again",
            file.display()
        ));
    }
    Ok(rows)
}

impl From<TableFormat> for Format {
    fn from(format: TableFormat) -> Self {
        match format {
            TableFormat::Text => Self::Text,
            TableFormat::Markdown => Self::Markdown,
            TableFormat::Csv => Self::Csv,
            TableFormat::Latex => Self::Latex,
            TableFormat::Json => Self::Json,
        }
    }
}
