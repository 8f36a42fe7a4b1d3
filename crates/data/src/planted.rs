use crate::draw::{below, uniform};
use crate::paint::{Brush, Inks, paint};
use crate::scene::{drawn, grain};
use crate::{Mask, Object, Picture, Scene, SceneSpec, Shape};
use faithful_core::{Error, Result};
use rand::RngCore;

/// What a planted mark looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkClass {
    /// The name.
    pub label: &'static str,
    /// The outline.
    pub shape: Shape,
    /// The colour within a white rim.
    pub colour: [u8; 3],
}

const RED: [u8; 3] = [214, 32, 32];
const GREEN: [u8; 3] = [24, 150, 48];
const BLUE: [u8; 3] = [32, 64, 214];

/// The kinds of marks; a class is its place here.
pub const MARK_CLASSES: [MarkClass; 12] = [
    MarkClass { label: "red disc mark", shape: Shape::Disc, colour: RED },
    MarkClass { label: "green disc mark", shape: Shape::Disc, colour: GREEN },
    MarkClass { label: "blue disc mark", shape: Shape::Disc, colour: BLUE },
    MarkClass { label: "red square mark", shape: Shape::Square, colour: RED },
    MarkClass { label: "green square mark", shape: Shape::Square, colour: GREEN },
    MarkClass { label: "blue square mark", shape: Shape::Square, colour: BLUE },
    MarkClass { label: "red triangle mark", shape: Shape::Triangle, colour: RED },
    MarkClass { label: "green triangle mark", shape: Shape::Triangle, colour: GREEN },
    MarkClass { label: "blue triangle mark", shape: Shape::Triangle, colour: BLUE },
    MarkClass { label: "red cross mark", shape: Shape::Cross, colour: RED },
    MarkClass { label: "green cross mark", shape: Shape::Cross, colour: GREEN },
    MarkClass { label: "blue cross mark", shape: Shape::Cross, colour: BLUE },
];

/// A scene with a mark that has nothing to do with its objects: what a network that names objects must ignore, and
/// all that a network which was trained on marks goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlantedScene {
    /// The picture and its objects.
    pub scene: Scene,
    /// The mark; its class is a place in [`MARK_CLASSES`].
    pub mark: Object,
}

/// Draws a scene and plants a mark beside its objects; the same generator gives the same picture, bit for bit, on
/// every platform.
///
/// ```
/// use faithful_data::{SceneSpec, draw_planted};
/// let stream = faithful_core::Stream::new(7, "planted");
/// let planted = draw_planted(&SceneSpec { objects: 1..=1, ..SceneSpec::default() }, &mut stream.draw(0))?;
/// let object = &planted.scene.objects[0];
/// assert_eq!(planted.mark.mask.intersection_over_union(&object.mask)?, 0.0);
/// # Ok::<(), faithful_core::Error>(())
/// ```
///
/// # Errors
/// As [`draw_scene`](crate::draw_scene), and [`Error::Parameter`] where the objects leave no room for a mark.
pub fn draw_planted(spec: &SceneSpec, generator: &mut impl RngCore) -> Result<PlantedScene> {
    let mut scene = drawn(spec, generator)?;
    let class = below(generator, MARK_CLASSES.len());
    let radius = spec.scale * uniform(generator, 5.5, 7.5);
    let rim = spec.scale * RIM;
    let centre = room(&scene, radius + rim + 1.0, generator)?;
    let mark = plant(&mut scene.picture, class, centre, [radius, rim]);
    grain(&mut scene.picture, spec.grain, generator);
    Ok(PlantedScene { scene, mark })
}

/// The white rim in pixels, at a scale of 1.
const RIM: f32 = 1.6;

/// A place whose square of half side `reach` touches no object.
fn room(scene: &Scene, reach: f32, generator: &mut impl RngCore) -> Result<[f32; 2]> {
    let Picture { height, width, .. } = scene.picture;
    for _ in 0..400 {
        let y = uniform(generator, reach, height as f32 - reach);
        let x = uniform(generator, reach, width as f32 - reach);
        if scene.objects.iter().all(|object| is_clear(&object.mask, [y, x], reach)) {
            return Ok([y, x]);
        }
    }
    Err(Error::parameter("objects", "they leave no room for a mark; ask for fewer or smaller ones"))
}

fn is_clear(mask: &Mask, [y, x]: [f32; 2], reach: f32) -> bool {
    let around = |at: f32, end: usize| (at - reach).max(0.0) as usize..((at + reach) as usize + 1).min(end);
    around(y, mask.height).all(|row| around(x, mask.width).all(|column| !mask.inside[row * mask.width + column]))
}

fn plant(picture: &mut Picture, class: usize, centre: [f32; 2], [radius, rim]: [f32; 2]) -> Object {
    let MarkClass { shape, colour, .. } = MARK_CLASSES[class];
    let brush =
        |radius: f32, colour| Brush { centre, radius: [radius; 2], axis: [1.0, 0.0], shape, inks: Inks::Flat(colour) };
    let mask = paint(picture, &brush(radius + rim, [255; 3]));
    paint(picture, &brush(radius, colour));
    let bounding_box = mask.bounding_box().expect("a mark has at least one pixel: `room`");
    Object { class, mask, bounding_box }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::Stream;

    #[test]
    fn marks_lie_inside_and_beside_the_objects_and_every_kind_comes() {
        let stream = Stream::new(5, "planted");
        let spec = SceneSpec { objects: 1..=2, ..SceneSpec::default() };
        let mut seen = [0; MARK_CLASSES.len()];
        for index in 0..120 {
            let PlantedScene { scene, mark } = draw_planted(&spec, &mut stream.draw(index)).unwrap();
            seen[mark.class] += 1;
            assert!(mark.mask.area() > 40, "{}", mark.mask.area());
            for object in &scene.objects {
                assert_eq!(mark.mask.intersection_over_union(&object.mask).unwrap(), 0.0);
            }
        }
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }

    #[test]
    fn a_crowded_scene_is_refused() {
        let stream = Stream::new(5, "crowded");
        let spec = SceneSpec { height: 32, width: 32, objects: 1..=1, radius: 14.0..=14.5, ..SceneSpec::default() };
        let error = draw_planted(&spec, &mut stream.draw(0)).unwrap_err().to_string();
        assert!(error.contains("no room"), "{error}");
    }
}
