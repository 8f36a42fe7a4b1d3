/// A pattern of two inks over the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Texture {
    /// Parallel bands.
    Stripes,
    /// Round dots on a staggered lattice.
    Dots,
    /// A chessboard.
    Checks,
    /// Small cells, each by chance in one ink or the other.
    Speckles,
    /// Bands around the centre.
    Rings,
    /// Thin lines in two directions.
    Grid,
    /// Bands that run in zigzag.
    Zigzag,
}

impl Texture {
    /// All patterns.
    pub const ALL: [Self; 7] =
        [Self::Stripes, Self::Dots, Self::Checks, Self::Speckles, Self::Rings, Self::Grid, Self::Zigzag];

    /// Whether the point, in units of the pattern's period, has the second ink; `salt` chooses the speckles.
    ///
    /// Only sums, products, square roots, rounding and comparisons: the same answer on every platform.
    pub(crate) fn second_ink(self, u: f32, v: f32, salt: u32) -> bool {
        match self {
            Self::Stripes => fraction(u) < 0.5,
            Self::Dots => {
                let shift = if v.floor() as i32 & 1 == 0 { 0.0 } else { 0.5 };
                let (x, y) = (fraction(u + shift) - 0.5, fraction(v) - 0.5);
                x * x + y * y < 0.105
            }
            Self::Checks => ((1.5 * u).floor() as i32 + (1.5 * v).floor() as i32) & 1 == 0,
            Self::Speckles => hash((2.5 * u).floor() as i32, (2.5 * v).floor() as i32, salt) & 0xff < 100,
            Self::Rings => fraction((u * u + v * v).sqrt()) < 0.5,
            Self::Grid => fraction(u) < 0.3 || fraction(v) < 0.3,
            Self::Zigzag => fraction(u + 0.6 * (2.0 * fraction(0.6 * v) - 1.0).abs()) < 0.5,
        }
    }
}

fn fraction(x: f32) -> f32 {
    x - x.floor()
}

/// A well-mixed number for a cell (the finaliser of `MurmurHash3`).
pub(crate) fn hash(x: i32, y: i32, salt: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77) ^ salt;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_inks_have_a_fair_share_of_every_pattern() {
        for texture in Texture::ALL {
            let mut second = 0;
            for row in 0..200 {
                for column in 0..200 {
                    let (u, v) = (column as f32 / 20.0 - 5.0, row as f32 / 20.0 - 5.0);
                    second += i32::from(texture.second_ink(u, v, 7));
                }
            }
            let share = f64::from(second) / 40_000.0;
            assert!((0.3..0.7).contains(&share), "{texture:?}: {share}");
        }
    }
}
