//! Photos and their preprocessing, and synthetic scenes of which everything is known.

mod draw;
mod mask;
mod paint;
mod photo;
mod picture;
mod preprocess;
mod resample;
mod scene;
mod shape;
mod texture;

pub use mask::{BoundingBox, Mask};
pub use photo::{Decoding, decode_photo, read_photo, write_picture};
pub use picture::Picture;
pub use preprocess::{Placement, Preprocessed, picture_tensor, preprocess, preprocess_unresized};
pub use resample::resize_picture;
pub use scene::{Object, SCENE_CLASSES, Scene, SceneClass, SceneSpec, draw_scene, draw_scene_of};
pub use shape::Shape;
pub use texture::Texture;
