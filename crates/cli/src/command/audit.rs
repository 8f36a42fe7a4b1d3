//! `faithful audit`: which metrics order methods as the ground truth does.

use crate::arguments::AuditArguments;
use crate::failure::Outcome;
use crate::output::Output;
use anyhow::Result;
use faithful_evaluate::{Audit, Format};

pub(crate) fn run(arguments: &AuditArguments, output: &Output) -> Result<Outcome> {
    let rows = super::table::rows_of(&arguments.runs, output)?;
    let audit = Audit::new(&rows, &arguments.truth)?;
    let format = if output.is_json() { Format::Json } else { arguments.format.into() };
    output.text(audit.write(format).trim_end())?;
    Ok(Outcome::of_failures(rows.damaged.len()))
}
