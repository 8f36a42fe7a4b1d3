use crate::draw::{below, chance, direction, uniform};
use crate::paint::{Brush, Inks, background, colour, paint};
use crate::{BoundingBox, Mask, Picture, Shape, Texture};
use faithful_core::{Error, Result};
use rand::RngCore;
use std::ops::RangeInclusive;

/// What a labelled object looks like: neither shape nor texture alone tells the class, and the colours tell nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SceneClass {
    /// The name.
    pub label: &'static str,
    /// The outline.
    pub shape: Shape,
    /// The pattern.
    pub texture: Texture,
}

/// The classes of the scenes; a class is its place here.
pub const SCENE_CLASSES: [SceneClass; 12] = [
    SceneClass { label: "striped disc", shape: Shape::Disc, texture: Texture::Stripes },
    SceneClass { label: "dotted disc", shape: Shape::Disc, texture: Texture::Dots },
    SceneClass { label: "bullseye", shape: Shape::Disc, texture: Texture::Rings },
    SceneClass { label: "striped square", shape: Shape::Square, texture: Texture::Stripes },
    SceneClass { label: "checkered square", shape: Shape::Square, texture: Texture::Checks },
    SceneClass { label: "dotted triangle", shape: Shape::Triangle, texture: Texture::Dots },
    SceneClass { label: "checkered triangle", shape: Shape::Triangle, texture: Texture::Checks },
    SceneClass { label: "speckled ring", shape: Shape::Ring, texture: Texture::Speckles },
    SceneClass { label: "dotted star", shape: Shape::Star, texture: Texture::Dots },
    SceneClass { label: "gridded cross", shape: Shape::Cross, texture: Texture::Grid },
    SceneClass { label: "striped crescent", shape: Shape::Crescent, texture: Texture::Stripes },
    SceneClass { label: "zigzag heart", shape: Shape::Heart, texture: Texture::Zigzag },
];

/// How scenes are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneSpec {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// How many labelled objects; they never overlap.
    pub objects: RangeInclusive<usize>,
    /// At most so many different classes among them.
    pub classes: usize,
    /// The objects' radius in pixels; crowded scenes have smaller ones, down to 0.7 of the lower end.
    pub radius: RangeInclusive<f32>,
    /// How many pieces of clutter without a label lie below the objects: lines, blobs, flat shapes without a texture,
    /// scraps of a texture without a shape.
    pub distractors: RangeInclusive<usize>,
    /// The amplitude of the grain, in grey levels of 255.
    pub grain: u8,
    /// How large the details are that have no size of their own: a texture's period is 5.5 to 7.5 pixels times this, and so
    /// are the clutter's lines and the planted marks.
    pub scale: f32,
}

impl Default for SceneSpec {
    fn default() -> Self {
        Self {
            height: 96,
            width: 96,
            objects: 1..=3,
            classes: 2,
            radius: 14.0..=21.0,
            distractors: 1..=5,
            grain: 12,
            scale: 1.0,
        }
    }
}

impl SceneSpec {
    /// The default scenes in finer resolution: `side` by `side` pixels, objects and their details enlarged with them.
    ///
    /// ```
    /// use faithful_data::SceneSpec;
    /// assert_eq!(SceneSpec::sized(96), SceneSpec::default());
    /// assert_eq!(SceneSpec::sized(192).radius, 28.0..=42.0);
    /// ```
    pub fn sized(side: usize) -> Self {
        Self { height: side, width: side, ..Self::default() }.enlarged(side as f32 / 96.0)
    }

    /// The default scenes as large as the shorter side of a network's input, `[height, width]`.
    pub fn for_input([height, width]: [usize; 2]) -> Self {
        Self::sized(height.min(width))
    }

    /// With objects and details `by` times as large.
    pub fn enlarged(self, by: f32) -> Self {
        Self { radius: by * self.radius.start()..=by * self.radius.end(), scale: by * self.scale, ..self }
    }
}

/// A labelled object of a scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its place in [`SCENE_CLASSES`].
    pub class: usize,
    /// Its pixels: those of which at least half is covered.
    pub mask: Mask,
    /// The box around them.
    pub bounding_box: BoundingBox,
}

/// A drawn picture of which everything is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// The picture.
    pub picture: Picture,
    /// Its labelled objects.
    pub objects: Vec<Object>,
}

impl Scene {
    /// The classes that are present, each once, in order.
    pub fn classes(&self) -> Vec<usize> {
        let mut classes: Vec<usize> = self.objects.iter().map(|object| object.class).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// The pixels of all objects of a class; an empty mask where it is absent.
    pub fn mask_of(&self, class: usize) -> Mask {
        let mut all = Mask::empty(self.picture.height, self.picture.width);
        for object in self.objects.iter().filter(|object| object.class == class) {
            all.inside.iter_mut().zip(&object.mask.inside).for_each(|(all, &inside)| *all |= inside);
        }
        all
    }
}

/// Draws a scene; the same generator gives the same scene, bit for bit, on every platform.
///
/// ```
/// use faithful_data::{SceneSpec, draw_scene};
/// let stream = faithful_core::Stream::new(7, "scenes");
/// let scene = draw_scene(&SceneSpec::default(), &mut stream.draw(0))?;
/// assert_eq!((scene.picture.height, scene.picture.width), (96, 96));
/// assert!((1..=3).contains(&scene.objects.len()));
/// # Ok::<(), faithful_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] where the specification cannot be met: empty ranges, objects that do not fit.
pub fn draw_scene(spec: &SceneSpec, generator: &mut impl RngCore) -> Result<Scene> {
    let mut scene = drawn(spec, generator)?;
    grain(&mut scene.picture, spec.grain, generator);
    Ok(scene)
}

/// A scene without its grain.
pub(crate) fn drawn(spec: &SceneSpec, generator: &mut impl RngCore) -> Result<Scene> {
    let count_is_sound = !spec.objects.is_empty() && *spec.objects.end() <= MOST;
    if !count_is_sound {
        return Err(Error::parameter("objects", format!("{:?} is no range within 0..={MOST}", spec.objects)));
    }
    let count = spec.objects.start() + below(generator, spec.objects.end() - spec.objects.start() + 1);
    if count > 0 && spec.classes == 0 {
        return Err(Error::parameter("classes", "objects need at least one class"));
    }
    let mut palette: Vec<usize> = Vec::new();
    for _ in 0..spec.classes.min(count) {
        palette.push(below(generator, SCENE_CLASSES.len()));
    }
    let classes: Vec<usize> = (0..count)
        .map(|i| if i < palette.len() { palette[i] } else { palette[below(generator, palette.len())] })
        .collect();
    drawn_of(spec, &classes, generator)
}

/// Draws a scene with one object of each of these classes (a class may come twice); `spec.objects` and
/// `spec.classes` do not matter.
///
/// # Errors
/// As [`draw_scene`], and [`Error::Parameter`] for a class that does not exist.
pub fn draw_scene_of(spec: &SceneSpec, classes: &[usize], generator: &mut impl RngCore) -> Result<Scene> {
    let mut scene = drawn_of(spec, classes, generator)?;
    grain(&mut scene.picture, spec.grain, generator);
    Ok(scene)
}

fn drawn_of(spec: &SceneSpec, classes: &[usize], generator: &mut impl RngCore) -> Result<Scene> {
    check(spec)?;
    if let Some(class) = classes.iter().find(|&&class| class >= SCENE_CLASSES.len()) {
        let reason = format!("{class} is outside 0..{}, the scenes' classes", SCENE_CLASSES.len());
        return Err(Error::parameter("class", reason));
    }
    let mut picture = background(spec.height, spec.width, generator);
    let pieces = spec.distractors.start() + below(generator, spec.distractors.end() - spec.distractors.start() + 1);
    for _ in 0..pieces {
        distractor(&mut picture, spec, generator);
    }
    let places = place(spec, classes.len(), generator)?;
    let objects = classes
        .iter()
        .zip(places)
        .map(|(&class, (centre, radius))| {
            let SceneClass { shape, texture, .. } = SCENE_CLASSES[class];
            let brush = Brush {
                centre,
                radius: [radius, radius],
                // Up to 33 degrees either way: a square stays a square, and a triangle stands.
                axis: direction(generator, 0.3),
                shape,
                inks: textured(texture, spec.scale, generator),
            };
            let mask = paint(&mut picture, &brush);
            let bounding_box = mask.bounding_box().expect("an object has at least one pixel: `check`, `place`");
            Object { class, mask, bounding_box }
        })
        .collect();
    Ok(Scene { picture, objects })
}

/// More objects or pieces of clutter than this are a mistake.
const MOST: usize = 10_000;

fn check(spec: &SceneSpec) -> Result<()> {
    if spec.height < 8 || spec.width < 8 || spec.height.saturating_mul(spec.width) > 1 << 26 {
        let reason = format!("{}x{} is outside 8x8 to 64 million pixels", spec.width, spec.height);
        return Err(Error::parameter("scene size", reason));
    }
    let distractors_are_sound = !spec.distractors.is_empty() && *spec.distractors.end() <= MOST;
    if !distractors_are_sound {
        return Err(Error::parameter("distractors", format!("{:?} is no range within 0..={MOST}", spec.distractors)));
    }
    let (low, high) = (*spec.radius.start(), *spec.radius.end());
    if !(low >= 3.0 && low <= high && high.is_finite()) {
        return Err(Error::parameter("radius", format!("{low}..={high} is no range above 3 pixels")));
    }
    if !(spec.scale > 0.0 && spec.scale <= 1e3) {
        return Err(Error::parameter("scale", format!("{} is outside 0 to 1000", spec.scale)));
    }
    Ok(())
}

/// Centres and radii of discs that neither overlap nor leave the picture.
fn place(spec: &SceneSpec, count: usize, generator: &mut impl RngCore) -> Result<Vec<([f32; 2], f32)>> {
    // A layout that leaves no room is started again, with smaller objects each time.
    for attempt in 0..24 {
        let scale = 1.0 - 0.3 * attempt as f32 / 23.0;
        let mut places: Vec<([f32; 2], f32)> = Vec::with_capacity(count);
        'object: for _ in 0..count {
            for _ in 0..16 {
                let radius = scale * uniform(generator, *spec.radius.start(), *spec.radius.end());
                let margin = radius + 1.0;
                if 2.0 * margin > spec.height.min(spec.width) as f32 {
                    continue;
                }
                let y = uniform(generator, margin, spec.height as f32 - margin);
                let x = uniform(generator, margin, spec.width as f32 - margin);
                let free = places.iter().all(|([other_y, other_x], other)| {
                    let (dy, dx, apart) = (y - other_y, x - other_x, radius + other + 2.0);
                    dy * dy + dx * dx >= apart * apart
                });
                if free {
                    places.push(([y, x], radius));
                    continue 'object;
                }
            }
            break;
        }
        if places.len() == count {
            return Ok(places);
        }
    }
    let reason = format!(
        "{count} of radius {} to {} do not fit a scene of {}x{}",
        spec.radius.start(),
        spec.radius.end(),
        spec.width,
        spec.height
    );
    Err(Error::parameter("objects", reason))
}

fn textured(texture: Texture, scale: f32, generator: &mut impl RngCore) -> Inks {
    let first = colour(generator);
    // Two inks must be told apart also without colour, or the texture would not be seen.
    let second = loop {
        let second = colour(generator);
        if luminance(first).abs_diff(luminance(second)) >= 70 {
            break second;
        }
    };
    Inks::Textured {
        texture,
        first,
        second,
        period: scale * uniform(generator, 5.5, 7.5),
        phase: match texture {
            // Rings are centred on the object; the lattice of any other pattern starts anywhere.
            Texture::Rings => [0.0, 0.0],
            _ => [uniform(generator, 0.0, 1.0), uniform(generator, 0.0, 1.0)],
        },
        axis: direction(generator, 1.0),
        salt: generator.next_u32(),
    }
}

fn luminance([red, green, blue]: [u8; 3]) -> u32 {
    (299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue)) / 1000
}

/// Clutter that shares colours, textures and outlines with the objects, but never a texture within an outline.
fn distractor(picture: &mut Picture, spec: &SceneSpec, generator: &mut impl RngCore) {
    let centre = [uniform(generator, 0.0, spec.height as f32), uniform(generator, 0.0, spec.width as f32)];
    let axis = direction(generator, 1.0);
    let size = 0.5 * (spec.radius.start() + spec.radius.end());
    let brush = match below(generator, 4) {
        // A line.
        0 => {
            let radius = [spec.scale * uniform(generator, 0.6, 1.6), size * uniform(generator, 0.8, 3.0)];
            Brush { centre, radius, axis, shape: Shape::Square, inks: Inks::Flat(colour(generator)) }
        }
        // A blob.
        1 => {
            let radius = [size * uniform(generator, 0.2, 0.7), size * uniform(generator, 0.2, 0.7)];
            Brush { centre, radius, axis, shape: Shape::Disc, inks: Inks::Flat(colour(generator)) }
        }
        // A shape without a texture.
        2 => {
            let radius = size * uniform(generator, 0.5, 1.0);
            let shape = Shape::ALL[below(generator, Shape::ALL.len())];
            Brush {
                centre,
                radius: [radius, radius],
                axis: direction(generator, 0.3),
                shape,
                inks: Inks::Flat(colour(generator)),
            }
        }
        // A scrap of a texture: long and thin, as no object is.
        _ => {
            let radius = [size * uniform(generator, 0.2, 0.35), size * uniform(generator, 0.5, 1.0)];
            let shape = if chance(generator, 0.5) { Shape::Square } else { Shape::Disc };
            let texture = Texture::ALL[below(generator, Texture::ALL.len())];
            Brush { centre, radius, axis, shape, inks: textured(texture, spec.scale, generator) }
        }
    };
    paint(picture, &brush);
}

pub(crate) fn grain(picture: &mut Picture, amplitude: u8, generator: &mut impl RngCore) {
    if amplitude == 0 {
        return;
    }
    let mut noise = vec![0; picture.pixels.len()];
    generator.fill_bytes(&mut noise);
    for (value, noise) in picture.pixels.iter_mut().zip(noise) {
        let shift = (i32::from(noise) - 128) * i32::from(amplitude) / 128;
        *value = (i32::from(*value) + shift).clamp(0, 255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::Stream;

    #[test]
    fn scenes_are_the_same_everywhere() {
        let stream = Stream::new(11, "scene");
        let mut sum = 0xcbf2_9ce4_8422_2325_u64;
        for index in 0..8 {
            let scene = draw_scene(&SceneSpec::default(), &mut stream.draw(index)).unwrap();
            for byte in scene.picture.pixels {
                sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        // Pinned: another value means that every scene, and the shipped model's accuracy, has changed.
        assert_eq!(sum, PINNED);
    }

    const PINNED: u64 = 4_559_991_534_183_358_908;

    #[test]
    fn objects_keep_apart_and_inside() {
        let stream = Stream::new(3, "scene");
        let spec = SceneSpec { objects: 3..=3, ..SceneSpec::default() };
        for index in 0..40 {
            let scene = draw_scene(&spec, &mut stream.draw(index)).unwrap();
            assert_eq!(scene.objects.len(), 3);
            assert!((1..=2).contains(&scene.classes().len()));
            for (i, object) in scene.objects.iter().enumerate() {
                assert_eq!(object.mask.bounding_box(), Some(object.bounding_box));
                assert!(object.mask.area() > 100, "{}", object.mask.area());
                for other in &scene.objects[..i] {
                    assert_eq!(object.mask.intersection_over_union(&other.mask).unwrap(), 0.0);
                }
            }
            let all: usize = scene.classes().iter().map(|&class| scene.mask_of(class).area()).sum();
            assert_eq!(all, scene.objects.iter().map(|object| object.mask.area()).sum::<usize>());
        }
    }

    #[test]
    fn asked_classes_come() {
        let stream = Stream::new(3, "pair");
        let scene = draw_scene_of(&SceneSpec::default(), &[8, 2], &mut stream.draw(0)).unwrap();
        assert_eq!(scene.objects.iter().map(|object| object.class).collect::<Vec<_>>(), [8, 2]);
        assert_eq!(scene.classes(), [2, 8]);
    }

    #[test]
    fn impossible_scenes_are_refused() {
        let mut generator = Stream::new(0, "").draw(0);
        let default = SceneSpec::default;
        for (spec, says) in [
            (SceneSpec { objects: 40..=40, ..default() }, "do not fit"),
            (SceneSpec { height: 0, ..default() }, "scene size"),
            (SceneSpec { width: usize::MAX, ..default() }, "scene size"),
            (SceneSpec { radius: 5.0..=f32::NAN, ..default() }, "radius"),
            #[allow(clippy::reversed_empty_ranges)] // The empty range is the point.
            (SceneSpec { distractors: 3..=2, ..default() }, "distractors"),
            (SceneSpec { classes: 0, ..default() }, "classes"),
            (SceneSpec { scale: f32::NAN, ..default() }, "scale"),
        ] {
            let error = draw_scene(&spec, &mut generator).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(draw_scene_of(&default(), &[12], &mut generator).is_err());
    }
}
