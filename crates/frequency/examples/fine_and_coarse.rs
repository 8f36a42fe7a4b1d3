//! Splits a map into its fine and its coarse part and puts it together again:
//! `cargo run -p faithful-frequency --example fine_and_coarse`

use candle_core::{Device, Result, Tensor};
use faithful_frequency::{gaussian_blur, gaussian_high_pass, laplacian_pyramid, sigma_of_cutoff};

fn main() -> Result<()> {
    // A broad hill with a fine stripe on it.
    let (height, width) = (56usize, 48usize);
    let value = |row: usize, column: usize| {
        let [y, x] = [row as f32 - 28.0, column as f32 - 24.0];
        (-(x * x + y * y) / 200.0).exp() + if column.is_multiple_of(2) { 0.2 } else { 0.0 }
    };
    let values: Vec<f32> = (0..height * width).map(|place| value(place / width, place % width)).collect();
    let map = Tensor::from_vec(values, (height, width), &Device::Cpu)?;
    let sigma = sigma_of_cutoff(1.0 / 8.0);
    let strength = |part: &Tensor| part.sqr()?.mean_all()?.to_scalar::<f32>();
    println!("coarse {:.4}", strength(&gaussian_blur(&map, sigma)?)?);
    println!("fine   {:.4}", strength(&gaussian_high_pass(&map, sigma)?)?);
    let pyramid = laplacian_pyramid(&map, 3)?;
    for (level, details) in pyramid.details.iter().enumerate() {
        println!("level {level}: {:?}, {:.4}", details.dims(), strength(details)?);
    }
    let lost = (pyramid.reconstruct()? - &map)?.abs()?.max_all()?.to_scalar::<f32>()?;
    println!("together again, off by {lost:.1e}");
    Ok(())
}
