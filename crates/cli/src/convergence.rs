//! How draws converged: as JSON lines, and drawn (the thesis's Figures 10 and 24).

use anyhow::{Context, Result, bail};
use faithful_core::{ConvergenceStep, Stop};
use faithful_report::{Axis, Chart, Level, Line};
use serde::{Deserialize, Serialize};

/// A line of a trace.
#[derive(Deserialize, Serialize)]
struct Step {
    draws: usize,
    gradient_sum: f64,
    difference: Option<f64>,
    delta: Option<f64>,
}

/// A JSON line per draw.
pub(crate) fn write_trace(steps: &[ConvergenceStep]) -> Result<String> {
    let lines = steps.iter().map(|step| {
        let ConvergenceStep { draws, gradient_sum, difference, delta } = *step;
        Ok(serde_json::to_string(&Step { draws, gradient_sum, difference, delta })? + "\n")
    });
    lines.collect()
}

/// The draws of [`write_trace`]'s lines.
pub(crate) fn read_trace(text: &str) -> Result<Vec<ConvergenceStep>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let steps = lines
        .map(|(place, line)| {
            let step: Step = serde_json::from_str(line)
                .with_context(|| format!("line {} is not one that `explain --trace` writes", place + 1))?;
            let Step { draws, gradient_sum, difference, delta } = step;
            Ok(ConvergenceStep { draws, gradient_sum, difference, delta })
        })
        .collect::<Result<Vec<_>>>()?;
    if steps.is_empty() {
        bail!("there is no draw in it");
    }
    Ok(steps)
}

/// The running sum of gradients, its change by every draw and, where it was measured, the completeness gap, for
/// several runs with names; the threshold of `stop` is drawn where it applies.
pub(crate) fn panels(runs: &[(String, Vec<ConvergenceStep>)], stop: Stop) -> Vec<Chart> {
    let line = |run: &(String, Vec<ConvergenceStep>), value: &dyn Fn(&ConvergenceStep) -> Option<f64>| {
        let points = run.1.iter().filter_map(|step| Some([step.draws as f64, value(step)?]));
        Line { name: run.0.clone(), points: points.collect(), band: Vec::new() }
    };
    let chart = |title: &str, y: Axis, threshold: Option<f64>, value: &dyn Fn(&ConvergenceStep) -> Option<f64>| {
        let levels = threshold.map(|value| Level { name: format!("threshold {value}"), value });
        let lines: Vec<Line> = runs.iter().map(|run| line(run, value)).filter(|line| !line.points.is_empty()).collect();
        let x = Axis::linear("draws");
        (!lines.is_empty()).then(|| Chart { title: title.into(), x, y, lines, levels: levels.into_iter().collect() })
    };
    let (difference, delta) = match stop {
        Stop::Draws => (None, None),
        Stop::Difference(value) => (Some(value), None),
        Stop::Delta(value) => (None, Some(value)),
    };
    let sum = Axis::linear("gradient sum");
    let panels = [
        chart("Running mean of the summed gradients", sum, None, &|step| Some(step.gradient_sum)),
        chart("Convergence-difference: its change by the draw", Axis::logarithmic("change"), difference, &|step| {
            step.difference
        }),
        chart("Convergence-delta: the completeness gap", Axis::logarithmic("gap, absolute"), delta, &|step| {
            step.delta.map(f64::abs)
        }),
    ];
    panels.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_read_as_they_were_written() {
        let steps = [
            ConvergenceStep { draws: 1, gradient_sum: 0.1 + 0.2, difference: None, delta: Some(-1e-9) },
            ConvergenceStep { draws: 2, gradient_sum: -3.5, difference: Some(3.8), delta: None },
        ];
        assert_eq!(read_trace(&write_trace(&steps).unwrap()).unwrap(), steps);
        assert!(read_trace("\n").unwrap_err().to_string().contains("no draw"));
        let text = write_trace(&steps).unwrap() + "{\"draws\": 3}\n";
        assert!(read_trace(&text).unwrap_err().to_string().contains("line 3"));
    }

    #[test]
    fn panels_are_those_that_were_measured() {
        let steps = |delta: Option<f64>| {
            let step = |draws: usize| ConvergenceStep {
                draws,
                gradient_sum: 1.0 / draws as f64,
                difference: (draws > 1).then_some(0.1),
                delta,
            };
            (1..5).map(step).collect::<Vec<_>>()
        };
        let titles = |panels: &[Chart]| panels.iter().map(|panel| panel.title.clone()).collect::<Vec<_>>().join("\n");
        let without = panels(&[("a".into(), steps(None))], Stop::Difference(0.01));
        assert!(titles(&without).contains("Convergence-difference") && !titles(&without).contains("Convergence-delta"));
        assert_eq!(without[1].levels[0].name, "threshold 0.01");
        let with = panels(&[("a".into(), steps(None)), ("b".into(), steps(Some(-0.5)))], Stop::Draws);
        assert!(titles(&with).contains("Convergence-delta") && with.iter().all(|panel| panel.levels.is_empty()));
        assert_eq!(with[0].lines[1].name, "b");
    }
}
