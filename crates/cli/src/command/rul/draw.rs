use super::source::pumps;
use crate::arguments::RulDrawArguments;
use crate::failure::Outcome;
use crate::files::spare;
use crate::output::Output;
use anyhow::Result;
use faithful_report::write_atomic;
use faithful_rul::{SyntheticSpec, draw_fleet};
use serde_json::json;

pub(crate) fn run(arguments: &RulDrawArguments, output: &Output) -> Result<Outcome> {
    let RulDrawArguments { out, units, stopped, regimes, seed } = arguments;
    spare(out, [])?;
    let spec = SyntheticSpec { units: *units, stopped: *stopped, regimes: *regimes, ..SyntheticSpec::default() };
    let fleet = draw_fleet(&spec, &pumps(*seed, *stopped))?;
    let names = [&fleet.settings[..], &fleet.sensors[..]].concat();
    let mut text = format!("unit,cycle,{},rul,fault\n", names.join(","));
    for unit in &fleet.units {
        for (place, row) in unit.readings.chunks(fleet.sensors.len()).enumerate() {
            let width = fleet.settings.len();
            let settings = &unit.settings[place * width..(place + 1) * width];
            let readings: Vec<String> = settings.iter().chain(row).map(|value| format!("{value:.4}")).collect();
            let rul = unit.remaining(place).unwrap_or_default();
            let fault = unit.fault.as_deref().unwrap_or_default();
            text.push_str(&format!("{},{},{},{rul},{fault}\n", unit.name, unit.cycles[place], readings.join(",")));
        }
    }
    write_atomic(out, text.as_bytes())?;
    output.object(&json!({ "file": out.display().to_string(), "units": units, "seed": seed }))?;
    output.line(&format!("{units} pumps in {}", out.display()))?;
    Ok(Outcome::Complete)
}
