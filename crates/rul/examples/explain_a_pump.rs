//! Which sensor tells of a pump's end: `cargo run -p faithful-rul --example explain_a_pump`

use faithful_core::{Objective, Result, Stream, Target};
use faithful_rul::{RulModel, SyntheticSpec, Windows, draw_fleet};

fn main() -> Result<()> {
    let model = RulModel::shipped()?;
    let spec = SyntheticSpec { units: 4, stopped: true, ..SyntheticSpec::default() };
    let pumps = draw_fleet(&spec, &Stream::new(5, "pumps in the field"))?;
    let windows = Windows::last(&pumps, &model.about.preparation)?;
    let predicted = model.predict(&windows.inputs)?;
    let target = Target::Output(0);
    let objective = Objective::new(&model.graph, &target);
    // Gradient times the way from the healthy machines' mean: a first-order estimate of the cycles that each sensor takes.
    let healthy = model.healthy.mean_keepdim(0)?;
    for (place, (pump, predicted)) in pumps.units.iter().zip(predicted).enumerate() {
        let window = windows.inputs.narrow(0, place, 1)?;
        let taken = (objective.input_gradient(&window)? * window.broadcast_sub(&healthy)?)?;
        let taken: Vec<f32> = taken.sum(2)?.squeeze(0)?.to_vec1()?;
        let sensors = model.about.preparation.sensors.iter().zip(taken);
        let worst = sensors.min_by(|(_, a), (_, b)| a.total_cmp(b));
        if let Some((sensor, cycles)) = worst {
            println!("pump {}: {predicted:.0} cycles left; {sensor} takes {cycles:+.0}", pump.name);
        }
    }
    Ok(())
}
