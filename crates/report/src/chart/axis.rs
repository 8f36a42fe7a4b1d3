/// What is measured along one side of a panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What it is and in which unit.
    pub label: String,
    /// Whether equal ratios have equal lengths.
    pub logarithmic: bool,
    /// The lowest and the highest value that must be in sight, besides the data's own.
    pub include: Vec<f64>,
}

impl Axis {
    /// A linear axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// A logarithmic axis.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: true, ..Self::default() }
    }

    /// The same axis with these values in sight.
    pub fn including(self, include: impl Into<Vec<f64>>) -> Self {
        Self { include: include.into(), ..self }
    }
}

/// An axis that knows its range: from values to places, and where its marks are.
#[derive(Clone, Debug)]
pub(super) struct Ruler {
    logarithmic: bool,
    low: f64,
    high: f64,
    pub(super) marks: Vec<f64>,
}

impl Ruler {
    /// A ruler over all of `values` that `axis` can show.
    pub(super) fn new(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let shown = values.chain(axis.include.iter().copied());
        let shown = shown.filter(|value| value.is_finite() && (!axis.logarithmic || *value > 0.0));
        let (low, high) =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if axis.logarithmic {
            let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
            let (low, high) = if high / low < 1.5 { (low / 2.0, high * 2.0) } else { (low, high) };
            return Self { logarithmic: true, low, high, marks: powers(low, high) };
        }
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        // A range of nothing, or of rounding alone, is widened to something that can be read.
        let least = 1e-9 * low.abs().max(high.abs());
        let (low, high) = match high - low {
            range if range > least => (low, high),
            _ if low == 0.0 => (-1.0, 1.0),
            _ => (low - 0.1 * low.abs(), high + 0.1 * high.abs()),
        };
        let step = step(low, high);
        // The axis ends on marks: the last of the data is not left between two of them.
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let marks = (0..=(last - first).min(12.0) as u32).map(|place| (first + f64::from(place)) * step).collect();
        Self { logarithmic: false, low: (first * step).min(low), high: (last * step).max(high), marks }
    }

    /// Where `value` lies, 0 at the low end and 1 at the high one; nothing for what cannot be shown.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        if self.logarithmic {
            (value > 0.0).then(|| (value / self.low).ln() / (self.high / self.low).ln())
        } else {
            Some((value - self.low) / (self.high - self.low))
        }
    }
}

/// The distance between about six round numbers from `low` to `high`.
fn step(low: f64, high: f64) -> f64 {
    let rough = (high - low) / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|unit| unit * power).find(|step| *step >= rough * 0.999);
    step.unwrap_or(rough)
}

/// Powers of ten from `low` to `high`, every second, third … where they are many; with 2 and 5 between where few.
fn powers(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let units: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = ((last - first) / 6 + 1) as usize;
    let all = (first..=last).step_by(every).flat_map(|power| units.iter().map(move |unit| unit * 10f64.powi(power)));
    all.filter(|value| (low * 0.999..=high * 1.001).contains(value)).collect()
}

/// A mark's number: at most four digits that matter, with an exponent where it is very small or large.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let size = value.abs();
    if !(1e-3..1e6).contains(&size) {
        let text = format!("{value:.2e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", trimmed(digits));
    }
    let digits = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    trimmed(&format!("{value:.digits$}")).to_owned()
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruler(axis: &Axis, values: &[f64]) -> Ruler {
        Ruler::new(axis, values.iter().copied())
    }

    #[test]
    fn marks_are_round_numbers_within_the_range() {
        assert_eq!(ruler(&Axis::linear(""), &[0.0, 50.0]).marks, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        let around = ruler(&Axis::linear(""), &[-0.3, 0.9]);
        assert_eq!((around.marks.len(), around.marks[0], around.place(-0.4)), (8, -0.4, Some(0.0)));
        assert_eq!(ruler(&Axis::logarithmic(""), &[0.001, 20.0]).marks, [0.001, 0.01, 0.1, 1.0, 10.0]);
        assert_eq!(ruler(&Axis::logarithmic(""), &[3.0, 60.0]).marks, [5.0, 10.0, 20.0, 50.0]);
        assert!(ruler(&Axis::logarithmic(""), &[1e-300, 1e300]).marks.len() < 10);
    }

    #[test]
    fn every_value_has_its_place() {
        let line = ruler(&Axis::linear("").including([0.0]), &[5.0, 10.0]);
        assert_eq!([0.0, 5.0, 10.0].map(|value| line.place(value)), [Some(0.0), Some(0.5), Some(1.0)]);
        let log = ruler(&Axis::logarithmic(""), &[0.0, -3.0, 1.0, 100.0]);
        assert_eq!([log.place(10.0), log.place(0.0), log.place(-3.0)], [Some(0.5), None, None]);
        // One value, none, and values that differ by rounding alone.
        for values in [&[][..], &[0.0], &[7.0], &[-7.0], &[1.0, 1.0 + 1e-15]] {
            for axis in [Axis::linear(""), Axis::logarithmic("")] {
                let ruler = ruler(&axis, values);
                let inside = |value: &f64| ruler.place(*value).is_none_or(|place| (0.0..=1.0).contains(&place));
                assert!(values.iter().all(inside) && !ruler.marks.is_empty(), "{values:?} on {axis:?}: {ruler:?}");
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 50.0, 0.25, -1.5, 1e-5, 123_456.0, 2e7, 0.1 + 0.2, 0.001];
        let texts = numbers.map(number);
        assert_eq!(texts, ["0", "50", "0.25", "-1.5", "1e-5", "123456", "2e7", "0.3", "0.001"]);
    }
}
