//! `faithful rul pull`.

use crate::arguments::FetchArguments;
use crate::failure::Outcome;
use crate::fetching;
use crate::output::Output;
use anyhow::{Context, Result};
use faithful_fetch::CMAPSS;
use faithful_rul::CmapssSet;

pub(crate) fn run(arguments: &FetchArguments, output: &Output) -> Result<Outcome> {
    let store = fetching::store(arguments)?;
    let check = |path: &std::path::Path| {
        let set = CmapssSet::named("FD001")?;
        set.train(path).map(|_| ()).context("it does not hold C-MAPSS")
    };
    let (path, fetched) = fetching::keep(&store, CMAPSS, &check, output)?;
    output.object(&fetching::object(CMAPSS, &path, fetched.as_ref()))?;
    output.line(&fetching::line("C-MAPSS", &path, fetched.as_ref()))?;
    Ok(Outcome::Complete)
}
