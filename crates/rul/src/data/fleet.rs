use faithful_core::{Digest, Error, Result, Stream};
use rand::seq::SliceRandom;
use std::collections::HashSet;

/// Machines of one kind and what their sensors said, cycle by cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// Where it comes from: `train_FD001`, a file's name.
    pub name: String,
    /// The names of the operational settings.
    pub settings: Vec<String>,
    /// The names of the sensors.
    pub sensors: Vec<String>,
    /// The machines.
    pub units: Vec<Unit>,
}

/// One machine's series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unit {
    /// Its number or name.
    pub name: String,
    /// The cycles in order.
    pub cycles: Vec<u32>,
    /// The operational settings, cycle by cycle.
    pub settings: Vec<f32>,
    /// The readings of all sensors, cycle by cycle.
    pub readings: Vec<f32>,
    /// The remaining useful life after the last cycle, in cycles, where it is known; 0 for a machine that ran to failure.
    pub end: Option<f32>,
    /// Why it failed, where that is known.
    pub fault: Option<String>,
}

impl Unit {
    /// The remaining useful life after the cycle at `place`, where it is known.
    pub fn remaining(&self, place: usize) -> Option<f32> {
        let last = *self.cycles.last()?;
        self.end.map(|end| end + (last - self.cycles[place]) as f32)
    }
}

impl Fleet {
    /// What tells these machines and every number of theirs from any others.
    pub(crate) fn digest(&self) -> String {
        let numbers =
            |values: &[f32]| values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect::<Vec<u8>>();
        let mut digest = Digest::new();
        for names in [&self.settings, &self.sensors] {
            digest.add(names.len().to_le_bytes());
            for name in names {
                digest.add(name);
            }
        }
        for Unit { name, cycles, settings, readings, end, fault } in &self.units {
            digest.add(name);
            digest.add(cycles.iter().flat_map(|cycle| cycle.to_le_bytes()).collect::<Vec<u8>>());
            digest.add(numbers(settings));
            digest.add(numbers(readings));
            digest.add(end.map_or(Vec::new(), |end| end.to_bits().to_le_bytes().to_vec()));
            digest.add([u8::from(fault.is_some())]);
            digest.add(fault.as_deref().unwrap_or_default());
        }
        digest.finish()
    }

    /// The same kind of machines, and none of them.
    #[must_use]
    pub fn without_units(&self) -> Self {
        let Self { name, settings, sensors, .. } = self;
        Self { name: name.clone(), settings: settings.clone(), sensors: sensors.clone(), units: Vec::new() }
    }

    /// The same machines with their last `cycles` rows at most.
    #[must_use]
    pub fn latest(mut self, cycles: usize) -> Self {
        for unit in &mut self.units {
            let gone = unit.cycles.len().saturating_sub(cycles);
            unit.cycles.drain(..gone);
            unit.settings.drain(..gone * self.settings.len());
            unit.readings.drain(..gone * self.sensors.len());
        }
        self
    }

    /// The same machines with a row for every cycle: cycles that are missing between others get the settings of the one before and
    /// no readings (NaN). Where more than `most` are missing in a row, a machine begins behind the gap. And how many cycles each
    /// machine lacked, or had before such a gap.
    #[must_use]
    pub fn regular(self, most: u32) -> (Self, Vec<u32>) {
        let (settings, sensors) = (self.settings.len(), self.sensors.len());
        let (units, lacking) = self.units.into_iter().map(|unit| regular(unit, settings, sensors, most)).unzip();
        (Self { units, ..self }, lacking)
    }

    /// The units of these names, in the order asked for.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn named(&self, names: &[String]) -> Result<Self> {
        let find = |name: &String| {
            let found = self.units.iter().find(|unit| unit.name == *name);
            let known = || Error::unknown("engine", name, self.units.iter().map(|unit| unit.name.as_str()));
            found.cloned().ok_or_else(known)
        };
        Ok(Self { units: names.iter().map(find).collect::<Result<_>>()?, ..self.clone() })
    }

    /// The units with fewer cycles than that.
    pub(crate) fn shorter_than(&self, cycles: usize) -> Vec<&Unit> {
        self.units.iter().filter(|unit| unit.cycles.len() < cycles).collect()
    }

    /// Two fleets with each unit in one of them: about `share` of the units, at least one, in the second.
    ///
    /// Windows of one machine resemble each other, so that machines are held out, never windows.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a share outside `[0, 1)` or where nothing would be left.
    pub fn split(&self, share: f64, stream: &Stream) -> Result<(Self, Self)> {
        if !(0.0..1.0).contains(&share) {
            return Err(Error::parameter("validation", format!("a share of {share} is not from 0 to below 1")));
        }
        let mut order: Vec<usize> = (0..self.units.len()).collect();
        order.shuffle(&mut stream.draw(0));
        let least = usize::from(share > 0.0);
        let count = ((share * order.len() as f64).round() as usize).max(least);
        if count >= order.len() {
            let reason = format!("{} engines are too few to hold {count} of them out", order.len());
            return Err(Error::parameter("validation", reason));
        }
        let held: HashSet<usize> = order[..count].iter().copied().collect();
        let of = |is_held: bool| Self {
            units: (0..self.units.len())
                .filter(|index| held.contains(index) == is_held)
                .map(|index| self.units[index].clone())
                .collect(),
            ..self.clone()
        };
        Ok((of(false), of(true)))
    }

    /// Itself, if it can be worked with: at least one unit, and settings and readings that are whole and finite.
    pub(crate) fn checked(self) -> Result<Self> {
        let refuse = |reason: String| Err(Error::format(&self.name, reason));
        if self.units.is_empty() || self.sensors.is_empty() {
            return refuse("it has no engines or no sensors".into());
        }
        for unit in &self.units {
            let cycles = unit.cycles.len();
            let whole = unit.settings.len() == cycles * self.settings.len()
                && unit.readings.len() == cycles * self.sensors.len()
                && cycles > 0;
            if !whole {
                return refuse(format!("the series of engine {} is not whole", unit.name));
            }
            if !unit.cycles.is_sorted_by(|a, b| a < b) {
                return refuse(format!("the cycles of engine {} do not rise", unit.name));
            }
        }
        Ok(self)
    }
}

/// As [`Fleet::regular`], for one unit.
fn regular(unit: Unit, settings: usize, sensors: usize, most: u32) -> (Unit, u32) {
    let wide = |pair: &[u32]| pair[1] - pair[0] > most.saturating_add(1);
    let first = unit.cycles.windows(2).rposition(wide).map_or(0, |place| place + 1);
    let mut lacking = first as u32;
    let mut own = Unit { name: unit.name, end: unit.end, fault: unit.fault, ..Unit::default() };
    for place in first..unit.cycles.len() {
        let cycle = unit.cycles[place];
        let next = own.cycles.last().map_or(cycle, |before| before + 1);
        lacking += cycle - next;
        for between in next..cycle {
            own.cycles.push(between);
            own.settings.extend_from_slice(&unit.settings[(place - 1) * settings..place * settings]);
            own.readings.extend(std::iter::repeat_n(f32::NAN, sensors));
        }
        own.cycles.push(cycle);
        own.settings.extend_from_slice(&unit.settings[place * settings..(place + 1) * settings]);
        own.readings.extend_from_slice(&unit.readings[place * sensors..(place + 1) * sensors]);
    }
    (own, lacking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_cycles_become_rows_without_readings_and_a_long_gap_a_beginning() {
        let unit = Unit {
            name: "7".into(),
            cycles: vec![1, 2, 30, 31, 34],
            settings: vec![0.0, 1.0, 2.0, 3.0, 4.0],
            readings: vec![10.0, 11.0, 12.0, 13.0, 14.0],
            end: Some(5.0),
            fault: None,
        };
        let names = |name: &str| vec![name.to_owned()];
        let fleet = Fleet { name: "test".into(), settings: names("s"), sensors: names("a"), units: vec![unit] };
        let (regular, lacking) = fleet.clone().regular(10);
        let unit = &regular.units[0];
        assert_eq!((unit.cycles.as_slice(), lacking.as_slice()), (&[30, 31, 32, 33, 34][..], &[4][..]));
        assert_eq!(unit.settings, [2.0, 3.0, 3.0, 3.0, 4.0]);
        assert!(unit.readings[2].is_nan() && unit.readings[4] == 14.0 && unit.end == Some(5.0));
        assert_eq!(fleet.regular(40).0.units[0].cycles.len(), 34);
    }
}
