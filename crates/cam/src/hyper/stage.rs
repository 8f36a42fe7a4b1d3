//! Part I: how large neighbourhoods are, and how many sizes of them there are (thesis, 4.8.3).

use candle_core::{DType, Tensor};
use faithful_core::{Error, Result};

/// How the stages follow from the base map. Each number may be given instead.
#[derive(Clone, Debug, PartialEq)]
pub struct StageParameters {
    /// From which share of its maximum on a place of the base map is highly activated; 0.5.
    pub activated: f64,
    /// The side `K_0` of the first stage's neighbourhoods as a share of the input's side, in place of the one
    /// that the highly activated area gives.
    pub first: Option<f64>,
    /// The smallest intersection over union that the last stage's box may have with the first one's, both around one
    /// centre; 1/16, which a side halved twice has: three stages.
    pub overlap: f64,
    /// The number of stages, in place of the one that the overlap allows; none at all with 0.
    pub count: Option<usize>,
}

impl Default for StageParameters {
    fn default() -> Self {
        Self { activated: 0.5, first: None, overlap: 1.0 / 16.0, count: None }
    }
}

/// One stage: neighbourhoods of one size, all over the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The neighbourhood's sides `[height, width]` in pixels.
    pub side: [usize; 2],
    /// How far one neighbourhood is from the next, in pixels down and across; the last of a row may be nearer.
    pub stride: [usize; 2],
    /// Where they start: rows, and columns, in pixels. Every row goes with every column.
    pub starts: [Vec<usize>; 2],
}

impl Stage {
    /// The upper left corners `[row, column]` of all neighbourhoods in scan order.
    pub fn corners(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        let [rows, columns] = &self.starts;
        rows.iter().flat_map(move |&row| columns.iter().map(move |&column| [row, column]))
    }
}

/// The stages of an explanation and what they follow from.
#[derive(Clone, Debug, PartialEq)]
pub struct StagePlan {
    /// The inflate region `IR` per axis: input size over map size (Eq. 62).
    pub inflate: [f64; 2],
    /// The area of the base map's highly activated places, in pixels.
    pub activated_area: f64,
    /// From the largest neighbourhoods to the smallest.
    pub stages: Vec<Stage>,
}

/// Part I of Hyper Expected Grad-CAM: the stages that a base map `(1, h, w)` asks for on an input of `size`
/// `[height, width]` (Buono and Åkesson 2023, 4.8.3; Eq. 62).
///
/// The side of the highly activated area, the square root of its share of the input, is `K_0` as a share of both
/// sides: a neighbourhood has the input's aspect ratio. Stage `i` has `K_0 / 2^i`, for as long as the box around the
/// same centre still overlaps the first one's enough and is larger than one inflate region. In pixels, sides are the
/// nearest multiple of the inflate region; the stride is half a side, likewise. A side that ends between two
/// pixels is rounded up. A base map that is zero everywhere has no such area and no stages.
///
/// # Errors
/// [`Error::Parameter`] for shares outside `(0, 1]`, [`Error::Shape`] for another map.
pub fn plan_stages(base: &Tensor, size: [usize; 2], parameters: &StageParameters) -> Result<StagePlan> {
    let StageParameters { activated, first, overlap, count } = parameters;
    for (name, share) in [("activated", activated), ("overlap", overlap), ("first", &first.unwrap_or(1.0))] {
        if !(*share > 0.0 && *share <= 1.0) {
            return Err(Error::parameter(name, format!("{share} is outside (0, 1]")));
        }
    }
    let [1, height, width] = *base.dims() else {
        return Err(Error::shape("the base map", "(1, h, w)", base.dims()));
    };
    let inflate = [size[0] as f64 / height as f64, size[1] as f64 / width as f64];
    let values: Vec<f64> = base.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let highest = values.iter().copied().fold(0.0, f64::max);
    let places = values.iter().filter(|value| highest > 0.0 && **value >= activated * highest).count();
    let activated_area = places as f64 * inflate[0] * inflate[1];
    let mut plan = StagePlan { inflate, activated_area, stages: Vec::new() };
    let share = first.unwrap_or_else(|| (places as f64 / (height * width) as f64).sqrt());
    if share == 0.0 {
        return Ok(plan);
    }
    // Concentric boxes with sides in the ratio 2^-i overlap by 4^-i.
    let allowed = count.unwrap_or_else(|| 1 + (1.0 / overlap).log(4.0).floor() as usize);
    for halvings in 0..allowed {
        let side = share / 2f64.powi(halvings as i32);
        let cells = [(side * height as f64).round(), (side * width as f64).round()];
        // A neighbourhood of one place is no neighbourhood: its explanation would be a single number.
        let stage = Stage::new(size, inflate, [cells[0].max(1.0) as usize, cells[1].max(1.0) as usize]);
        let too_small = cells.iter().any(|&cells| cells < 2.0) && count.is_none();
        if too_small || plan.stages.last().is_some_and(|last| last.side == stage.side) {
            break;
        }
        plan.stages.push(stage);
    }
    Ok(plan)
}

impl Stage {
    /// The stage of neighbourhoods of `cells` inflate regions.
    fn new(size: [usize; 2], inflate: [f64; 2], cells: [usize; 2]) -> Self {
        let axis = |axis: usize| {
            // Rounded up, but not for the last bit of a product: starts that are rounded leave no gap then.
            let pixels = |cells: usize| ((cells as f64 * inflate[axis] - 1e-9).ceil() as usize).clamp(1, size[axis]);
            let side = pixels(cells[axis]);
            let step = (cells[axis] / 2).max(1);
            let last = size[axis] - side;
            // Every step moves on by a pixel at least, so there are fewer steps than pixels.
            let advance = (step as f64 * inflate[axis]).max(1.0);
            let mut starts: Vec<usize> = (0..=last)
                .map(|place| (place as f64 * advance).round() as usize)
                .take_while(|&start| start < last)
                .collect();
            // The last one ends where the input ends.
            starts.push(last);
            (side, pixels(step), starts)
        };
        let ((high, down, rows), (wide, across, columns)) = (axis(0), axis(1));
        Self { side: [high, wide], stride: [down, across], starts: [rows, columns] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn base(height: usize, width: usize, high: impl Fn(usize, usize) -> bool) -> Tensor {
        let values: Vec<f32> =
            (0..height * width).map(|i| if high(i / width, i % width) { 1.0 } else { 0.2 }).collect();
        Tensor::from_vec(values, (1, height, width), &Device::Cpu).unwrap()
    }

    #[test]
    fn sides_halve_in_multiples_of_the_inflate_region() {
        // 16 of 64 places: half the side.
        let plan = plan_stages(&base(8, 8, |row, column| row < 4 && column < 4), [64, 64], &StageParameters::default());
        let plan = plan.unwrap();
        assert_eq!((plan.inflate, plan.activated_area), ([8.0, 8.0], 16.0 * 64.0));
        let sides: Vec<_> = plan.stages.iter().map(|stage| (stage.side, stage.stride)).collect();
        assert_eq!(sides, [([32, 32], [16, 16]), ([16, 16], [8, 8])]);
        assert_eq!(plan.stages[0].starts, [vec![0, 16, 32], vec![0, 16, 32]]);
        assert_eq!(plan.stages[0].corners().nth(5), Some([16, 32]));
    }

    #[test]
    fn fifty_thousand_pixels_have_three_stages() {
        let everything = StageParameters { first: Some(0.5), ..StageParameters::default() };
        let plan = plan_stages(&base(16, 16, |_, _| true), [224, 224], &everything).unwrap();
        assert_eq!(plan.stages.iter().map(|stage| stage.side[0]).collect::<Vec<_>>(), [112, 56, 28]);
    }

    #[test]
    fn the_aspect_ratio_is_the_inputs() {
        let wide = StageParameters { first: Some(0.5), count: Some(1), ..StageParameters::default() };
        let plan = plan_stages(&base(4, 8, |_, _| true), [64, 128], &wide).unwrap();
        assert_eq!(plan.stages[0].side, [32, 64]);
        // 33 x 57 pixels on 2 x 4 places: the regions fall between pixels.
        let odd = plan_stages(&base(2, 4, |_, _| true), [33, 57], &wide).unwrap();
        assert_eq!(odd.inflate, [16.5, 14.25]);
        assert_eq!(odd.stages[0].side, [17, 29]);
        assert_eq!(odd.stages[0].starts, [vec![0, 16], vec![0, 14, 28]]);
    }

    #[test]
    fn every_pixel_is_covered_and_nothing_lies_outside() {
        for (size, cells) in [([33, 57], [2, 4]), ([1, 40], [1, 5]), ([224, 298], [7, 10])] {
            for count in 0..4 {
                let parameters = StageParameters { first: Some(0.6), count: Some(count), ..StageParameters::default() };
                let plan = plan_stages(&base(cells[0], cells[1], |_, _| true), size, &parameters).unwrap();
                for stage in &plan.stages {
                    for axis in 0..2 {
                        let covered = |pixel: usize| {
                            stage.starts[axis].iter().any(|&start| (start..start + stage.side[axis]).contains(&pixel))
                        };
                        assert!((0..size[axis]).all(covered), "{size:?} {stage:?}");
                        assert!(stage.starts[axis].iter().all(|start| start + stage.side[axis] <= size[axis]));
                    }
                }
            }
        }
    }

    #[test]
    fn a_zero_map_has_no_stages_and_wrong_shares_are_refused() {
        let zero = Tensor::zeros((1, 4, 4), DType::F32, &Device::Cpu).unwrap();
        let plan = plan_stages(&zero, [32, 32], &StageParameters::default()).unwrap();
        assert!(plan.stages.is_empty() && plan.activated_area == 0.0);
        let wrong = StageParameters { overlap: 0.0, ..StageParameters::default() };
        assert!(plan_stages(&zero, [32, 32], &wrong).is_err());
        assert!(plan_stages(&zero.squeeze(0).unwrap(), [32, 32], &StageParameters::default()).is_err());
    }
}
