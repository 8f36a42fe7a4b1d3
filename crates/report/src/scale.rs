use crate::Map;
use faithful_core::{Error, Result};

/// How raw values become display values from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Symmetric about zero, which becomes 0.5; otherwise the lowest value becomes 0 and the highest 1.
    pub signed: bool,
    /// The share of values, in percent, that keeps its order: above 50 and at most 100. At 99 the highest percent (and,
    /// unless signed, the lowest) is clamped, so that one bright pixel does not make the rest of the map dark.
    pub percentile: f64,
    /// The raw values that become 0 and 1, whatever the map's own are: one scale for several maps. The values between them
    /// decide where this is `None`.
    pub range: Option<[f32; 2]>,
}

impl Default for Scale {
    fn default() -> Self {
        Self { signed: false, percentile: 100.0, range: None }
    }
}

impl Scale {
    /// The same scale for all of `maps`: its range is that of their values together.
    ///
    /// # Errors
    /// As [`rescale`], and [`Error::Shape`] for no map.
    pub fn over(self, maps: &[Map]) -> Result<Self> {
        let values: Vec<f32> = maps.iter().flat_map(|map| map.values().iter().copied()).collect();
        let together = rescale(&Map::new(1, values.len(), values)?, &self)?;
        Ok(Self { range: Some([together.low, together.high]), ..self })
    }
}

/// A map rescaled for display.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled {
    /// Values from 0 to 1.
    pub map: Map,
    /// The raw value that is shown as 0.
    pub low: f32,
    /// The raw value that is shown as 1.
    pub high: f32,
    /// Whether 0.5 stands for zero.
    pub signed: bool,
    /// What a reader of the picture must know: that the map is constant.
    pub note: Option<String>,
}

/// Rescales a raw map for display.
///
/// A constant map has nothing to show: all its values become 0 (0.5 where signed), with a note that says so.
///
/// # Errors
/// [`Error::NotFinite`] for NaN or infinity, [`Error::Parameter`] for a percentile outside 50 to 100.
pub fn rescale(map: &Map, scale: &Scale) -> Result<Scaled> {
    if !(scale.percentile > 50.0 && scale.percentile <= 100.0) {
        return Err(Error::parameter("percentile", format!("{} is not above 50 and at most 100", scale.percentile)));
    }
    if let Some(place) = map.values().iter().position(|value| !value.is_finite()) {
        let place = format!("row {}, column {}", place / map.width(), place % map.width());
        return Err(Error::NotFinite { what: "map".into(), place: Some(place) });
    }
    let (low, high) = scale.range.map_or_else(|| limits(map.values(), scale), |[low, high]| (low, high));
    // Differences are taken in f64: two finite f32 may be further apart than f32 can say.
    let extent = f64::from(high) - f64::from(low);
    let flat = extent <= 0.0;
    let display = |value: f32| match (flat, scale.signed) {
        (true, true) => 0.5,
        (true, false) => 0.0,
        _ => ((f64::from(value) - f64::from(low)) / extent).clamp(0.0, 1.0) as f32,
    };
    let values: Vec<f32> = map.values().iter().map(|&value| display(value)).collect();
    let note = flat.then(|| match low {
        0.0 => "the map is zero everywhere: nothing the method looks at moves the score".to_owned(),
        _ => format!("the map is {low} everywhere: no place stands out"),
    });
    Ok(Scaled { map: Map::new(map.height(), map.width(), values)?, low, high, signed: scale.signed, note })
}

fn limits(values: &[f32], scale: &Scale) -> (f32, f32) {
    let share = scale.percentile / 100.0;
    let mut sorted: Vec<f32> = values.iter().map(|&v| if scale.signed { v.abs() } else { v }).collect();
    sorted.sort_by(f32::total_cmp);
    // More than half of the values may share one value (a ReLU's zeros): then a percentile says nothing about the
    // others, and the whole range is shown.
    let robust = (quantile(&sorted, 1.0 - share), quantile(&sorted, share));
    let whole = (sorted[0], sorted[sorted.len() - 1]);
    if scale.signed {
        let most = if robust.1 > 0.0 { robust.1 } else { whole.1 };
        return (-most, most);
    }
    if robust.1 > robust.0 { robust } else { whole }
}

/// The value below which `share` of the sorted values lie, interpolated linearly between neighbours.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    (f64::from(below) + (f64::from(above) - f64::from(below)) * place.fract()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(values: &[f32], scale: Scale) -> Scaled {
        rescale(&Map::new(1, values.len(), values.to_vec()).unwrap(), &scale).unwrap()
    }

    #[test]
    fn smallest_becomes_zero_and_largest_one() {
        let result = scaled(&[-2.0, 0.0, 6.0], Scale::default());
        assert_eq!(result.map.values(), [0.0, 0.25, 1.0]);
        assert_eq!((result.low, result.high, result.note), (-2.0, 6.0, None));
    }

    #[test]
    fn signed_maps_keep_zero_in_the_middle() {
        let result = scaled(&[-1.0, 0.0, 4.0], Scale { signed: true, ..Scale::default() });
        assert_eq!(result.map.values(), [0.375, 0.5, 1.0]);
        assert_eq!((result.low, result.high), (-4.0, 4.0));
    }

    #[test]
    fn one_bright_pixel_does_not_darken_the_rest() {
        let mut values: Vec<f32> = (0..=100).map(|v| v as f32).collect();
        values[100] = 1e6;
        let result = scaled(&values, Scale { percentile: 99.0, ..Scale::default() });
        assert_eq!((result.low, result.high), (1.0, 99.0));
        assert_eq!(result.map.values()[50], 0.5);
        assert_eq!(result.map.values()[100], 1.0);
    }

    #[test]
    fn a_sparse_map_is_shown_whole_where_its_percentiles_meet() {
        let mut values = vec![0.0; 1000];
        values[3] = 5.0;
        for signed in [false, true] {
            let result = scaled(&values, Scale { signed, percentile: 95.0, ..Scale::default() });
            assert_eq!((result.high, result.map.values()[3]), (5.0, 1.0));
            assert_eq!(result.note, None);
        }
    }

    #[test]
    fn constant_maps_are_low_and_say_so() {
        let zero = scaled(&[0.0; 4], Scale::default());
        assert_eq!(zero.map.values(), [0.0; 4]);
        assert!(zero.note.unwrap().contains("zero everywhere"));
        let constant = scaled(&[2.5; 4], Scale::default());
        assert_eq!(constant.map.values(), [0.0; 4]);
        assert!(constant.note.unwrap().contains("2.5 everywhere"));
        let signed = scaled(&[0.0; 4], Scale { signed: true, ..Scale::default() });
        assert_eq!(signed.map.values(), [0.5; 4]);
        assert!(signed.note.is_some());
    }

    #[test]
    fn extreme_values_do_not_overflow() {
        let result = scaled(&[f32::MIN, 0.0, f32::MAX], Scale::default());
        assert_eq!(result.map.values(), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn refuses_what_is_not_a_number() {
        let map = Map::new(2, 2, vec![0.0, 1.0, f32::NAN, 0.0]).unwrap();
        let error = rescale(&map, &Scale::default()).unwrap_err().to_string();
        assert!(error.contains("row 1, column 0"), "{error}");
        let map = Map::new(1, 1, vec![0.0]).unwrap();
        for percentile in [50.0, 100.5, f64::NAN] {
            assert!(rescale(&map, &Scale { percentile, ..Scale::default() }).is_err());
        }
    }
}
