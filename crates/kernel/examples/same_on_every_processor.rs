//! A dense layer by every instruction set of this processor, beside the sum that it stands for.

use candle_core::Result;
use faithful_kernel::{Isa, linear};

fn main() -> Result<()> {
    let [rows, inputs, outputs] = [3, 1000, 7];
    let number = |seed: usize| ((seed * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
    let x: Vec<f32> = (0..rows * inputs).map(number).collect();
    let weight: Vec<f32> = (0..outputs * inputs).map(|place| number(place + 99_991)).collect();
    let plain = |row: usize, output: usize| -> f64 {
        let pairs = x[row * inputs..][..inputs].iter().zip(&weight[output * inputs..][..inputs]);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    for isa in Isa::available() {
        let mut found = vec![0.0; rows * outputs];
        linear(isa, &x, &weight, None, (f32::NEG_INFINITY, f32::INFINITY), [rows, inputs, outputs], &mut found)?;
        let error = (0..rows * outputs)
            .map(|place| (f64::from(found[place]) - plain(place / outputs, place % outputs)).abs())
            .fold(0.0, f64::max);
        println!("{isa:?}: at most {error:.1e} from the sum in f64");
        assert!(error < 1e-3);
    }
    Ok(())
}
