/// An outline, in a frame where its centre is the origin and it fits the unit disc; `y` points down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The unit disc.
    Disc,
    /// An upright square.
    Square,
    /// A triangle that stands on a side.
    Triangle,
    /// A disc with a hole of half its radius.
    Ring,
    /// A star of five points.
    Star,
    /// A plus sign with thick arms.
    Cross,
    /// A disc that another has bitten into.
    Crescent,
    /// A heart.
    Heart,
}

impl Shape {
    /// All outlines.
    pub const ALL: [Self; 8] =
        [Self::Disc, Self::Square, Self::Triangle, Self::Ring, Self::Star, Self::Cross, Self::Crescent, Self::Heart];

    /// Whether the point is inside.
    ///
    /// Only sums, products and comparisons: the same answer on every platform.
    pub(crate) fn contains(self, x: f32, y: f32) -> bool {
        let square = x * x + y * y;
        match self {
            Self::Disc => square <= 1.0,
            Self::Square => x.abs().max(y.abs()) <= 0.84,
            Self::Triangle => y <= 0.6 && y >= -1.0 + 1.75 * x.abs(),
            Self::Ring => (0.25..=1.0).contains(&square),
            Self::Star => in_star(x, y),
            Self::Cross => x.abs().min(y.abs()) <= 0.33 && x.abs().max(y.abs()) <= 0.95,
            Self::Crescent => square <= 1.0 && (x - 0.5) * (x - 0.5) + y * y > 0.6,
            Self::Heart => {
                // The sextic heart (x² + y² - 1)³ = x² y³, moved and scaled into the unit disc.
                let (x, y) = (1.3 * x, -1.3 * y + 0.1);
                let body = x * x + y * y - 1.0;
                body * body * body <= x * x * y * y * y
            }
        }
    }
}

/// A pentagram is where a point lies inside at least four of the five half planes that its lines bound.
fn in_star(x: f32, y: f32) -> bool {
    // Unit normals of the five lines: straight down (72 degrees apart from there).
    const NORMALS: [[f32; 2]; 5] = [
        [0.0, -1.0],
        [0.951_056_5, -0.309_017],
        [0.587_785_25, 0.809_017],
        [-0.587_785_25, 0.809_017],
        [-0.951_056_5, -0.309_017],
    ];
    // The lines' distance from the centre is cos(72°) of the points' radius; a little more makes the star stout.
    NORMALS.iter().filter(|[a, b]| a * x + b * y <= 0.34).count() >= 4 && x * x + y * y <= 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_fills_a_good_part_of_the_unit_disc_and_nothing_outside() {
        for shape in Shape::ALL {
            let mut area = 0;
            for row in -120..=120 {
                for column in -120..=120 {
                    let (x, y) = (column as f32 / 100.0, row as f32 / 100.0);
                    if shape.contains(x, y) {
                        area += 1;
                        assert!(x * x + y * y <= 1.42, "{shape:?} reaches ({x}, {y})");
                    }
                }
            }
            let part = f64::from(area) / 31416.0;
            assert!((0.3..=1.001).contains(&part), "{shape:?} covers {part} of the disc");
        }
    }

    #[test]
    fn landmarks() {
        assert!(!Shape::Ring.contains(0.0, 0.0) && Shape::Ring.contains(0.75, 0.0));
        assert!(Shape::Star.contains(0.0, -0.95) && !Shape::Star.contains(0.0, 0.95));
        assert!(Shape::Triangle.contains(0.0, -0.95) && !Shape::Triangle.contains(0.0, 0.7));
        assert!(Shape::Crescent.contains(-0.9, 0.0) && !Shape::Crescent.contains(0.5, 0.0));
        assert!(Shape::Cross.contains(0.9, 0.0) && !Shape::Cross.contains(0.6, 0.6));
        // The heart's notch is above, its point below.
        assert!(
            !Shape::Heart.contains(0.0, -0.8) && Shape::Heart.contains(0.4, -0.6) && Shape::Heart.contains(0.0, 0.8)
        );
    }
}
