//! Photos and their preprocessing, and synthetic scenes of which everything is known.
//!
//! [`read_photo`] decodes, [`preprocess`] makes a network's input of a photo and says where it lies on it
//! ([`Placement`]); [`draw_scene`] draws pictures with textured objects, their exact [`Mask`]s and clutter. What a
//! network needs of its photos is `faithful_core::Preprocessing`; this crate knows no networks.
//!
//! ```
//! use candle_core::Device;
//! use faithful_core::{Preprocessing, Stream};
//! use faithful_data::{SceneSpec, draw_scene, preprocess};
//!
//! let scene = draw_scene(&SceneSpec::default(), &mut Stream::new(7, "docs").draw(0))?;
//! let seen = preprocess(&scene.picture, &Preprocessing::default(), &Device::Cpu)?;
//! assert_eq!(seen.tensor.dims(), [1, 3, 224, 224]);
//! assert_eq!(seen.placement.photo, [96, 96]);
//! # Ok::<(), faithful_core::Error>(())
//! ```

mod bands;
mod batch;
mod draw;
mod listing;
mod mask;
mod nifti;
mod paint;
mod photo;
mod picture;
mod planted;
mod preprocess;
mod resample;
mod scene;
mod shape;
mod texture;
mod tiff;
mod volume;

pub use bands::{Bands, Seen, decode_input, read_input};
pub use batch::{photo_tensor, scene_tensor};
pub use listing::{PHOTO_ENDINGS, class_words, list_photos};
pub use mask::{BoundingBox, Mask};
pub use photo::{Decoding, decode_photo, read_photo, read_photo_bytes, write_picture};
pub use picture::Picture;
pub use planted::{MARK_CLASSES, MarkClass, PlantedScene, draw_planted};
pub use preprocess::{Placement, Preprocessed, picture_tensor, preprocess, preprocess_unresized};
pub use resample::resize_picture;
pub use scene::{Object, SCENE_CLASSES, Scene, SceneClass, SceneSpec, draw_scene, draw_scene_of};
pub use shape::Shape;
pub use texture::Texture;
pub use volume::Slices;
