//! What the file says of its input, and the ways in which a file can be read by it.

use super::batch::Lead;
use super::import::{FREE, Importer};
use super::proto;
use super::tensor::element;
use crate::onnx::OnnxOptions;
use crate::{NodeId, Op};
use faithful_core::{Error, Result};

/// A way to read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Shapes follow a batch of any size.
    Free,
    /// Shapes are as the file writes them, and the batch is put before the whole.
    AsWritten(Lead),
}

impl Way {
    /// The two sizes of the batch for which shapes are inferred.
    pub(super) fn batches(self) -> [usize; 2] {
        match self {
            Self::Free => FREE,
            Self::AsWritten(Lead::Batch(size)) => [size; 2],
            Self::AsWritten(Lead::Own) => [1; 2],
        }
    }
}

/// The file's input.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    /// Its axes, the batch included, each with its size where the file fixes it; `None` where the file has no shape.
    sizes: Option<Vec<Option<usize>>>,
    /// The channels that the first layer takes, and whether the file has them last.
    channels: Option<(usize, bool)>,
    /// Whether it is of whole numbers: pixels as they are.
    pub(super) of_bytes: bool,
}

/// Pictures have one, three or four channels.
fn is_channels(size: Option<&Option<usize>>) -> bool {
    matches!(size, Some(Some(1 | 3 | 4)))
}

impl<'a> Input<'a> {
    /// What `file` says of its input `input`.
    pub(super) fn of(input: &'a proto::ValueInfo, file: &proto::Graph) -> Result<Self> {
        let what = || format!("input `{}`", input.name);
        let declared = input.r#type.as_ref().and_then(|kind| kind.tensor.as_ref());
        let declared = declared.ok_or_else(|| Error::format(what(), "it is no tensor"))?;
        let is_read = element::is_float(declared.element) || element::is_whole(declared.element);
        if !is_read && declared.element != 0 {
            let reason = format!("{} is not of numbers (element type {})", what(), declared.element);
            return Err(Error::Unsupported(vec![reason]));
        }
        let size =
            |dim: &proto::Dimension| dim.value.filter(|&size| size > 0).and_then(|size| usize::try_from(size).ok());
        let sizes: Option<Vec<_>> = declared.shape.as_ref().map(|shape| shape.dim.iter().map(size).collect());
        // Some writers have no shape where others have one without axes.
        let sizes = sizes.filter(|sizes| !sizes.is_empty());
        let of_bytes = element::is_whole(declared.element);
        Ok(Self { name: &input.name, sizes, channels: first_layer(&input.name, file), of_bytes })
    }

    /// Whether the file leaves the sizes of its places free.
    pub(super) fn is_free(&self) -> bool {
        self.sizes.as_ref().is_none_or(|sizes| sizes.iter().skip(1).any(Option::is_none))
    }

    /// The ways to read the file, the likeliest first; `vector` where its output is declared with one axis.
    pub(super) fn ways(&self, vector: bool) -> Vec<Way> {
        let sizes = self.sizes.as_deref().unwrap_or_default();
        let mut ways = match sizes.first() {
            Some(Some(1)) => vec![Way::AsWritten(Lead::Batch(1))],
            Some(Some(batch)) => vec![Way::Free, Way::AsWritten(Lead::Batch(*batch))],
            _ => vec![Way::Free, Way::AsWritten(Lead::Batch(1))],
        };
        // A picture alone; its number of channels may look like a batch.
        if sizes.len() == 3 && (is_channels(sizes.first()) || is_channels(sizes.last())) {
            let place = if vector && sizes[0] != Some(1) { 0 } else { ways.len() };
            ways.insert(place, Way::AsWritten(Lead::Own));
        }
        ways
    }

    /// Appends the input, and behind it a transposition where the file has channels last.
    pub(super) fn declare(&self, importer: &mut Importer, way: Way, options: &OnnxOptions) -> Result<NodeId> {
        let batched = way != Way::AsWritten(Lead::Own);
        let own = self.sizes.as_ref().and_then(|sizes| sizes.get(usize::from(batched)..));
        if way == Way::Free {
            let batch = self.sizes.as_ref().and_then(|sizes| *sizes.first()?);
            importer.fixed_batch = batch.map(|batch| batch as i64);
        }
        let (shape, last) = self.shape(own, options)?;
        let node = importer.input(self.name, &shape, batched)?;
        if !last {
            return Ok(node);
        }
        let order = if batched { vec![0, 2, 3, 1] } else { vec![1, 2, 0] };
        importer.push(&format!("{}/channels-last", self.name), Op::Transpose(order), vec![node])
    }

    /// One input's shape, channels first, and whether the file has them last.
    fn shape(&self, own: Option<&[Option<usize>]>, options: &OnnxOptions) -> Result<(Vec<usize>, bool)> {
        let what = || format!("input `{}`", self.name);
        let last = match (own, self.channels) {
            (Some([first, _, third]), _) if first.is_some() || third.is_some() => {
                is_channels(Some(third)) && !is_channels(Some(first))
            }
            (_, Some((_, last))) => last,
            _ => false,
        };
        match (&options.input_shape, own) {
            (Some(given), Some(own)) if given.len() != own.len() => {
                return Err(Error::shape(what(), format!("{} axes without the batch", own.len()), given));
            }
            (Some(given), _) => return Ok((given.clone(), last)),
            _ => {}
        }
        let free = [None; 3];
        let own = match own {
            Some(own) => own,
            None if self.channels.is_some() || options.free_size.is_some() => &free,
            None => {
                let reason = "the file does not say its shape; --input-size says it of a picture";
                return Err(Error::format(what(), reason));
            }
        };
        let sizes: Option<Vec<usize>> = own.iter().copied().collect();
        match (sizes, own) {
            (Some(sizes), &[_, _, _]) if last => Ok((vec![sizes[2], sizes[0], sizes[1]], true)),
            (Some(sizes), _) => Ok((sizes, false)),
            (None, [first, second, third]) => {
                let (c, h, w) = if last { (third, first, second) } else { (first, second, third) };
                let [height, width] = options.free_size.unwrap_or([224, 224]);
                let channels = c.or(self.channels.map(|(channels, _)| channels)).unwrap_or(3);
                Ok((vec![channels, h.unwrap_or(height), w.unwrap_or(width)], last))
            }
            _ => Err(Error::format(what(), "its size is free; give the input shape")),
        }
    }
}

/// The channels that the first convolution of pictures takes, and whether a transposition brings them to the front.
fn first_layer(input: &str, file: &proto::Graph) -> Option<(usize, bool)> {
    let mut name = input;
    let mut last = false;
    // What stands before it is a few operations that prepare the picture.
    for _ in 0..16 {
        let reads = |node: &&proto::Node| node.op_type != "Shape" && node.input.iter().any(|operand| operand == name);
        let node = file.node.iter().find(reads)?;
        let integers = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.ints.as_slice());
        match node.op_type.as_str() {
            "Conv" => {
                let weight = file.initializer.iter().find(|tensor| Some(&tensor.name) == node.input.get(1))?;
                let groups = node.attribute.iter().find(|a| a.name == "group").map_or(1, |a| a.i);
                let [_, channels, _, _] = *weight.dims.as_slice() else { return None };
                let channels = usize::try_from(channels.checked_mul(groups)?).ok()?;
                return Some((channels, last));
            }
            "Transpose" if integers("perm") == Some(&[0, 3, 1, 2]) => last = true,
            "Add" | "Sub" | "Mul" | "Div" | "Cast" | "Identity" | "BatchNormalization" | "Pad" | "Clip" => {}
            _ => return None,
        }
        name = node.output.first()?;
    }
    None
}
