use crate::{Fleet, Preparation, Unit};
use candle_core::{Device, Tensor};
use faithful_core::{Error, Result};

/// Pieces of series, as a network takes them.
#[derive(Clone, Debug)]
pub struct Windows {
    /// `(N, sensors, window)`.
    pub inputs: Tensor,
    /// The remaining life after each window's last cycle, in cycles and not capped; NaN where it is not known.
    pub remaining: Vec<f32>,
    /// Each window's unit, by its place in the fleet.
    pub units: Vec<usize>,
    /// The place of each window's last cycle in its unit. Where fewer cycles lead up to it than the window has, the window
    /// begins with the mean of the unit's first ten.
    pub ends: Vec<usize>,
}

/// Of how many first cycles the mean stands for what was before them: one reading alone is as noisy as it happens to be.
const EARLY: usize = 10;

impl Windows {
    /// All windows of every unit, `stride` cycles apart, the last window of each unit among them: what a network learns
    /// from, and therefore no window with fewer cycles than [`Preparation::shortest`].
    ///
    /// # Errors
    /// [`Error::Parameter`] names the units that are too short, or says that the stride is zero.
    pub fn all(fleet: &Fleet, preparation: &Preparation, stride: usize) -> Result<Self> {
        check_lengths(fleet, preparation)?;
        Self::course(fleet, preparation, stride)
    }

    /// As [`Windows::all`], with the last window of units that are too short to learn from.
    ///
    /// # Errors
    /// [`Error::Parameter`] says that the stride is zero.
    pub fn course(fleet: &Fleet, preparation: &Preparation, stride: usize) -> Result<Self> {
        if stride == 0 {
            return Err(Error::parameter("stride", "0 cycles lead nowhere; 1 at least"));
        }
        let first = |cycles: usize| preparation.shortest.min(cycles) - 1;
        Self::ending(fleet, preparation, |cycles| (first(cycles)..cycles).rev().step_by(stride).collect())
    }

    /// The last window of every unit, however short the unit is.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a unit without cycles.
    pub fn last(fleet: &Fleet, preparation: &Preparation) -> Result<Self> {
        Self::ending(fleet, preparation, |cycles| vec![cycles - 1])
    }

    /// The first `count` whole windows of every unit, or as many as there are: cycles of healthy machines.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a unit without cycles.
    pub fn first(fleet: &Fleet, preparation: &Preparation, count: usize) -> Result<Self> {
        let window = preparation.window;
        Self::ending(fleet, preparation, |cycles| (window.min(cycles) - 1..cycles).take(count).collect())
    }

    fn ending(fleet: &Fleet, preparation: &Preparation, ends_of: impl Fn(usize) -> Vec<usize>) -> Result<Self> {
        let (window, sensors) = (preparation.window, preparation.sensors.len());
        if let Some(unit) = fleet.units.iter().find(|unit| unit.cycles.is_empty()) {
            return Err(Error::parameter("data", format!("engine {} of {} has no cycles", unit.name, fleet.name)));
        }
        let (mut values, mut remaining, mut units, mut ends) = (Vec::<f32>::new(), Vec::new(), Vec::new(), Vec::new());
        for (index, (unit, series)) in fleet.units.iter().zip(preparation.apply(fleet)?).enumerate() {
            for end in ends_of(unit.cycles.len()) {
                let begin = (end + 1).saturating_sub(window);
                let rows = &series[begin * sensors..(end + 1) * sensors];
                let lacking = window - rows.len() / sensors;
                let first = &rows[..rows.len().min(EARLY * sensors)];
                for sensor in 0..sensors {
                    if lacking > 0 {
                        let sum = first.iter().skip(sensor).step_by(sensors).sum::<f32>();
                        values.extend(std::iter::repeat_n(sum * sensors as f32 / first.len() as f32, lacking));
                    }
                    values.extend(rows.iter().skip(sensor).step_by(sensors));
                }
                remaining.push(unit.remaining(end).unwrap_or(f32::NAN));
                units.push(index);
                ends.push(end);
            }
        }
        let inputs = Tensor::from_vec(values, (units.len(), sensors, window), &Device::Cpu)?;
        Ok(Self { inputs, remaining, units, ends })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// The remaining lives, cut off at `cap`.
    ///
    /// # Errors
    /// [`Error::Parameter`] where one is not known.
    pub fn targets(&self, cap: f32) -> Result<Vec<f32>> {
        if self.remaining.iter().any(|remaining| remaining.is_nan()) {
            let reason = "the remaining lives of these engines are not known; a table of one's own needs the column \
                          `rul`, or engines that ran to failure";
            return Err(Error::parameter("data", reason));
        }
        Ok(self.remaining.iter().map(|remaining| remaining.min(cap)).collect())
    }

    /// Those at `places`, in that order.
    pub fn select(&self, places: &[usize]) -> Result<Self> {
        let index = Tensor::new(places.iter().map(|place| *place as u32).collect::<Vec<_>>(), &Device::Cpu)?;
        Ok(Self {
            inputs: self.inputs.index_select(&index, 0)?,
            remaining: places.iter().map(|&place| self.remaining[place]).collect(),
            units: places.iter().map(|&place| self.units[place]).collect(),
            ends: places.iter().map(|&place| self.ends[place]).collect(),
        })
    }
}

/// Refuses units that are shorter than what a network learns from.
fn check_lengths(fleet: &Fleet, preparation: &Preparation) -> Result<()> {
    let Preparation { window, shortest, .. } = *preparation;
    let short = fleet.shorter_than(shortest);
    if short.is_empty() {
        return Ok(());
    }
    let few = if shortest == window { String::new() } else { format!("the {shortest} that are needed for ") };
    let reason = format!(
        "engines of {} have fewer cycles than {few}the window of {window}: {}; train with a shorter --window, \
         or leave these engines out",
        fleet.name,
        some_of(&short)
    );
    Err(Error::parameter("window", reason))
}

/// The first of the units with their cycles, and how many more there are.
fn some_of(units: &[&Unit]) -> String {
    let names: Vec<String> = units.iter().map(|unit| format!("{} ({})", unit.name, unit.cycles.len())).collect();
    let more = names.len().saturating_sub(5);
    let first = names[..names.len() - more].join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

/// What is to be said of units with fewer cycles than any that a network has learnt from: how many there are, and what stands
/// where they have no cycles. Nothing where there are none.
pub fn short_units(fleet: &Fleet, preparation: &Preparation) -> Option<String> {
    let short = fleet.shorter_than(preparation.shortest);
    (!short.is_empty()).then(|| {
        format!(
            "{} of {} machines of {} have fewer cycles than the {} that the network has learnt from: {}; the mean of their first {EARLY} \
             stands for what their windows of {} lack",
            short.len(),
            fleet.units.len(),
            fleet.name,
            preparation.shortest,
            some_of(&short),
            preparation.window
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PreparationOptions;

    fn fleet(lengths: &[usize]) -> Fleet {
        let unit = |(index, &length): (usize, &usize)| Unit {
            name: (index + 1).to_string(),
            cycles: (1..=length as u32).collect(),
            settings: Vec::new(),
            readings: (0..length).flat_map(|cycle| [cycle as f32, 100.0 - cycle as f32]).collect(),
            end: Some(10.0),
            fault: None,
        };
        let units = lengths.iter().enumerate().map(unit).collect();
        Fleet { name: "test".into(), settings: Vec::new(), sensors: vec!["up".into(), "down".into()], units }
    }

    fn preparation(fleet: &Fleet) -> Preparation {
        let options = PreparationOptions { window: 4, cap: 12.0, ..PreparationOptions::default() };
        Preparation::fit(fleet, &options).unwrap()
    }

    #[test]
    fn windows_hold_their_cycles_in_order_and_know_what_remains() {
        let fleet = fleet(&[6, 4]);
        let preparation = preparation(&fleet);
        let all = Windows::all(&fleet, &preparation, 1).unwrap();
        assert_eq!((all.units.as_slice(), all.ends.as_slice()), (&[0, 0, 0, 1][..], &[5, 4, 3, 3][..]));
        assert_eq!(all.remaining, [10.0, 11.0, 12.0, 10.0]);
        let rows = all.inputs.get(1).unwrap().to_vec2::<f32>().unwrap();
        let Preparation { conditions, .. } = &preparation;
        for (t, value) in rows[0].iter().enumerate() {
            let expected = ((t + 1) as f64 - conditions[0].mean[0]) / conditions[0].std[0];
            assert!((f64::from(*value) - expected).abs() < 1e-6);
        }
        assert!(rows[1][0] > rows[1][3]);
        assert_eq!(Windows::last(&fleet, &preparation).unwrap().ends, [5, 3]);
        assert_eq!(Windows::first(&fleet, &preparation, 2).unwrap().ends, [3, 4, 3]);
        assert_eq!(Windows::all(&fleet, &preparation, 2).unwrap().ends, [5, 3, 3]);
        assert_eq!(all.targets(10.5).unwrap(), [10.0, 10.5, 10.5, 10.0]);
        assert_eq!(all.select(&[3, 0]).unwrap().units, [1, 0]);
    }

    #[test]
    fn machines_shorter_than_the_window_are_named() {
        let long = fleet(&[6, 4]);
        let short = fleet(&[6, 3]);
        let error = Windows::all(&short, &preparation(&long), 1).unwrap_err().to_string();
        assert!(error.contains("window of 4: 2 (3);"), "{error}");
        let padded = Preparation { shortest: 3, ..preparation(&long) };
        let windows = Windows::all(&short, &padded, 1).unwrap();
        assert_eq!(windows.ends, [5, 4, 3, 2, 2]);
        let rows = windows.inputs.get(4).unwrap().to_vec2::<f32>().unwrap();
        let whole = windows.inputs.get(2).unwrap().to_vec2::<f32>().unwrap();
        // Both machines read the same at the same age; the mean of what there is stands in front.
        let mean = whole[0][..3].iter().sum::<f32>() / 3.0;
        assert!((rows[0][0] - mean).abs() < 1e-6);
        assert_eq!(rows[0][1..], whole[0][..3]);
        assert_eq!(Windows::first(&short, &padded, 1).unwrap().ends, [3, 2]);
        // What is judged may be shorter than what was learnt from: the same is put in front, and it is said.
        let whole = Preparation { shortest: 4, ..padded.clone() };
        let last = |preparation: &Preparation| Windows::last(&short, preparation).unwrap().inputs.get(1).unwrap();
        assert_eq!(last(&whole).to_vec2::<f32>().unwrap(), last(&padded).to_vec2::<f32>().unwrap());
        assert_eq!(Windows::course(&short, &whole, 1).unwrap().ends, [5, 4, 3, 2]);
        let said = short_units(&short, &whole).unwrap();
        assert!(
            said.starts_with("1 of 2 machines of test have fewer cycles than the 4 ") && said.contains(": 2 (3);"),
            "{said}"
        );
        assert_eq!(short_units(&short, &padded), None);
        assert!(Windows::all(&long, &preparation(&long), 0).is_err());
    }
}
