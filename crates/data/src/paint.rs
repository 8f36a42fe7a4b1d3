use crate::draw::{below, direction, uniform};
use crate::texture::hash;
use crate::{Mask, Picture, Shape, Texture};
use rand::RngCore;

/// A shape in its place, and what fills it.
pub(crate) struct Brush {
    /// `[y, x]` in pixels; pixel centres are at halves.
    pub(crate) centre: [f32; 2],
    /// The unit disc's extent along the shape's own `[x, y]` axes, in pixels.
    pub(crate) radius: [f32; 2],
    /// The direction of the shape's own x axis in the picture.
    pub(crate) axis: [f32; 2],
    pub(crate) shape: Shape,
    pub(crate) inks: Inks,
}

/// What fills a shape.
pub(crate) enum Inks {
    Flat([u8; 3]),
    Textured {
        texture: Texture,
        first: [u8; 3],
        second: [u8; 3],
        /// In pixels.
        period: f32,
        /// In periods.
        phase: [f32; 2],
        axis: [f32; 2],
        salt: u32,
    },
}

impl Inks {
    fn at(&self, dy: f32, dx: f32) -> [u8; 3] {
        match *self {
            Self::Flat(colour) => colour,
            Self::Textured { texture, first, second, period, phase, axis, salt } => {
                let [u, v] = turn(dy, dx, axis);
                if texture.second_ink(u / period + phase[0], v / period + phase[1], salt) { second } else { first }
            }
        }
    }
}

fn turn(dy: f32, dx: f32, [cos, sin]: [f32; 2]) -> [f32; 2] {
    [cos * dx + sin * dy, cos * dy - sin * dx]
}

/// Paints with four samples per pixel and returns the pixels of which at least two samples are covered.
pub(crate) fn paint(picture: &mut Picture, brush: &Brush) -> Mask {
    let mut mask = Mask::empty(picture.height, picture.width);
    let [y, x] = brush.centre;
    // Shapes may reach a little beyond the unit disc at their corners.
    let reach = 1.2 * brush.radius[0].max(brush.radius[1]) + 1.0;
    let rows = (y - reach).max(0.0) as usize..((y + reach).max(0.0) as usize + 1).min(picture.height);
    for row in rows {
        let columns = (x - reach).max(0.0) as usize..((x + reach).max(0.0) as usize + 1).min(picture.width);
        for column in columns {
            let mut sum = [0_u32; 3];
            let mut covered = 0;
            for (down, right) in [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)] {
                let (dy, dx) = (row as f32 + down - y, column as f32 + right - x);
                let [own_x, own_y] = turn(dy, dx, brush.axis);
                if brush.shape.contains(own_x / brush.radius[0], own_y / brush.radius[1]) {
                    covered += 1;
                    for (sum, value) in sum.iter_mut().zip(brush.inks.at(dy, dx)) {
                        *sum += u32::from(value);
                    }
                }
            }
            if covered > 0 {
                let below = picture.at(row, column);
                let blended = [0, 1, 2].map(|c| ((sum[c] + (4 - covered) * u32::from(below[c]) + 2) / 4) as u8);
                picture.set(row, column, blended);
                mask.inside[row * picture.width + column] = covered >= 2;
            }
        }
    }
    mask
}

/// A vivid, dark or light colour, at random.
pub(crate) fn colour(generator: &mut impl RngCore) -> [u8; 3] {
    // One channel high, one low, one anywhere: a saturated hue.
    let mut channels =
        [uniform(generator, 190.0, 255.0), uniform(generator, 0.0, 70.0), uniform(generator, 0.0, 255.0)];
    channels.swap(2, below(generator, 3));
    channels.swap(1, below(generator, 2));
    let (towards, amount) = match below(generator, 3) {
        0 => (0.0, uniform(generator, 0.3, 0.75)),
        1 => (255.0, uniform(generator, 0.3, 0.75)),
        _ => (128.0, uniform(generator, 0.0, 0.2)),
    };
    channels.map(|channel| (channel + (towards - channel) * amount) as u8)
}

/// A gradient between two muted colours with soft, large clouds.
pub(crate) fn background(height: usize, width: usize, generator: &mut impl RngCore) -> Picture {
    let mut muted = || colour(generator).map(|channel| 0.45 * f32::from(channel) + 70.0);
    let (from, to) = (muted(), muted());
    let [cos, sin] = direction(generator, 1.0);
    let cloud = uniform(generator, 12.0, 40.0);
    let amplitude = uniform(generator, 0.0, 30.0);
    let salt = generator.next_u32();
    let length = (height as f32 * sin.abs() + width as f32 * cos.abs()).max(1.0);
    let mut picture = Picture::filled(height, width, [0; 3]);
    for row in 0..height {
        for column in 0..width {
            let along = (column as f32 - width as f32 / 2.0) * cos + (row as f32 - height as f32 / 2.0) * sin;
            let t = along / length + 0.5;
            let shade = amplitude * (clouds(row as f32 / cloud, column as f32 / cloud, salt) - 0.5);
            let colour = [0, 1, 2].map(|c| (from[c] + (to[c] - from[c]) * t + shade).clamp(0.0, 255.0) as u8);
            picture.set(row, column, colour);
        }
    }
    picture
}

/// Value noise in `[0, 1]`: random numbers at whole coordinates, smoothly interpolated.
fn clouds(y: f32, x: f32, salt: u32) -> f32 {
    let (row, column) = (y.floor(), x.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (down, right) = (ease(y - row), ease(x - column));
    let (row, column) = (row as i32, column as i32);
    let corner = |dy, dx| (hash(row + dy, column + dx, salt) >> 8) as f32 / 16_777_216.0;
    let top = corner(0, 0) + (corner(0, 1) - corner(0, 0)) * right;
    let bottom = corner(1, 0) + (corner(1, 1) - corner(1, 0)) * right;
    top + (bottom - top) * down
}
