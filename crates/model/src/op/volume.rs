//! Operations on volumes `(N, C, slices, rows, columns)`, built from those on images: the slices that a window covers
//! become channels, or a window's axes are taken one after the other.

use super::Composition;
use super::shape::windows;
use crate::export::reverse::{Window, convolution, transposed_convolution};
use crate::export::{Backward, Extent, OnnxWriter, Symbol, counts, window_attributes, write_layer};
use candle_core::{Result, Tensor};
use faithful_core::BackwardRule;
use faithful_tensor::{Conv, PadMode, Pool, avg_pool2d, conv_transpose2d, conv2d, gather, max_pool2d, pad};
use std::sync::Arc;

/// A window's geometry over slices, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window3 {
    pub(crate) kernel: [usize; 3],
    pub(crate) stride: [usize; 3],
    pub(crate) dilation: [usize; 3],
    /// Before and after each axis.
    pub(crate) padding: [[usize; 2]; 3],
}

impl Window3 {
    /// The last two axes as `[top, left, bottom, right]`.
    fn plane_padding(&self) -> [usize; 4] {
        let [_, [top, bottom], [left, right]] = self.padding;
        [top, left, bottom, right]
    }

    /// As ONNX's attributes.
    fn attributes(&self, groups: usize) -> Vec<crate::onnx::proto::Attribute> {
        let padding: Vec<usize> = (0..2).flat_map(|side| self.padding.map(|pads| pads[side])).collect();
        window_attributes(&self.stride, &padding, &self.dilation, groups)
    }

    fn of_groups(&self, groups: usize) -> Window {
        let (stride, dilation) = (self.stride.to_vec(), self.dilation.to_vec());
        Window { stride, dilation, padding: self.padding.to_vec(), groups }
    }

    fn sizes(&self, x: &[usize], ceil: bool) -> std::result::Result<[usize; 3], String> {
        let mut sizes = [0; 3];
        for (axis, size) in sizes.iter_mut().enumerate() {
            let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
            *size = windows(x[axis + 2], kernel, stride, dilation, self.padding[axis], ceil)
                .ok_or_else(|| format!("room for a window of {:?}", self.kernel))?;
        }
        Ok(sizes)
    }
}

/// A three-dimensional convolution; weight `(O, C / groups, kernel …)`.
#[derive(Clone, Debug)]
pub(crate) struct Conv3d {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
    pub(crate) window: Window3,
    pub(crate) groups: usize,
}

impl Composition for Conv3d {
    fn kind(&self) -> &'static str {
        "conv3d"
    }

    fn weights(&self) -> Vec<&Tensor> {
        std::iter::once(&self.weight).chain(&self.bias).collect()
    }

    fn with_weights(&self, weights: Vec<Tensor>) -> Arc<dyn Composition> {
        let mut weights = weights.into_iter();
        let weight = weights.next().unwrap_or_else(|| self.weight.clone());
        Arc::new(Self { weight, bias: weights.next(), ..self.clone() })
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        let (x, w) = (operands[0], self.weight.dims());
        let channels = w.get(1).and_then(|own| own.checked_mul(self.groups));
        let fits = w.len() == 5 && self.groups > 0 && !w.contains(&0) && w[0].is_multiple_of(self.groups);
        if !fits || x.len() != 5 || Some(x[1]) != channels {
            return Err(format!("(N, {}, slices, rows, columns)", channels.unwrap_or(0)));
        }
        if self.bias.as_ref().is_some_and(|bias| bias.dims() != [w[0]]) {
            return Err(format!("a bias of {} numbers", w[0]));
        }
        let [depth, height, width] = self.window.sizes(x, false)?;
        Ok(vec![x[0], w[0], depth, height, width])
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        let Window3 { kernel, stride, dilation, padding } = self.window;
        let around = padding[0].map(|cells| cells as isize);
        let x = pad(operands[0], &[[0; 2], [0; 2], around, [0; 2], [0; 2]], PadMode::Constant(0.))?;
        let (n, c, d, h, w) = x.dims5()?;
        let depth = windows(d, kernel[0], stride[0], dilation[0], [0, 0], false).unwrap_or(0);
        let taps = |slice: usize| (0..kernel[0]).map(move |tap| slice * stride[0] + tap * dilation[0]);
        let index: Vec<usize> = (0..depth).flat_map(taps).collect();
        // Each slice of the result sees its slices of the volume as channels, a group's beside each other.
        let x = gather(&x, 2, &index)?.reshape((n, c, depth, kernel[0], h * w))?;
        let x = x.permute((0, 2, 1, 3, 4))?.contiguous()?.reshape((n * depth, c * kernel[0], h, w))?;
        let (outputs, own, ..) = self.weight.dims5()?;
        let weight = self.weight.reshape((outputs, own * kernel[0], kernel[1], kernel[2]))?;
        let conv = Conv {
            stride: [stride[1], stride[2]],
            padding: self.window.plane_padding(),
            dilation: [dilation[1], dilation[2]],
            groups: self.groups,
        };
        let y = conv2d(&x, &weight, self.bias.as_ref(), &conv)?;
        let (_, _, h, w) = y.dims4()?;
        let y = y.reshape((n, depth, outputs, h * w))?.permute((0, 2, 1, 3))?.contiguous()?;
        y.reshape((n, outputs, depth, h, w))
    }

    fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    fn is_convolution(&self) -> bool {
        true
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], shape: &[Extent]) -> faithful_core::Result<Symbol> {
        let attributes = self.window.attributes(self.groups);
        let name = writer.name_of("Conv");
        write_layer(writer, &name, "Conv", operands[0], &self.weight, self.bias.as_ref(), attributes, shape.to_vec())
    }

    fn write_gradient(&self, writer: &mut OnnxWriter, of: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        let window = self.window.of_groups(self.groups);
        Ok(vec![Some(convolution(writer, of.g, &self.weight, &window, of.operands[0])?)])
    }
}

/// A transposed three-dimensional convolution; weight `(C, O / groups, kernel …)`.
#[derive(Clone, Debug)]
pub(crate) struct ConvTranspose3d {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
    pub(crate) window: Window3,
    pub(crate) groups: usize,
    pub(crate) output_padding: [usize; 3],
}

impl ConvTranspose3d {
    fn size(&self, axis: usize, cells: usize) -> Option<usize> {
        let Window3 { kernel, stride, dilation, padding } = &self.window;
        let reach = (cells.checked_sub(1)?).checked_mul(stride[axis])?;
        let whole = dilation[axis].checked_mul(kernel[axis] - 1)?.checked_add(reach)?;
        let whole = whole.checked_add(self.output_padding[axis])?.checked_add(1)?;
        whole.checked_sub(padding[axis][0].checked_add(padding[axis][1])?).filter(|&size| size > 0)
    }
}

impl Composition for ConvTranspose3d {
    fn kind(&self) -> &'static str {
        "conv-transpose3d"
    }

    fn weights(&self) -> Vec<&Tensor> {
        std::iter::once(&self.weight).chain(&self.bias).collect()
    }

    fn with_weights(&self, weights: Vec<Tensor>) -> Arc<dyn Composition> {
        let mut weights = weights.into_iter();
        let weight = weights.next().unwrap_or_else(|| self.weight.clone());
        Arc::new(Self { weight, bias: weights.next(), ..self.clone() })
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        let (x, w) = (operands[0], self.weight.dims());
        let fits = w.len() == 5 && self.groups > 0 && !w.contains(&0) && w[0].is_multiple_of(self.groups);
        if !fits || x.len() != 5 || x[1] != w[0] {
            return Err(format!("(N, {}, slices, rows, columns)", w.first().copied().unwrap_or(0)));
        }
        let outputs = w[1].checked_mul(self.groups).ok_or("a countable size")?;
        if self.bias.as_ref().is_some_and(|bias| bias.dims() != [outputs]) {
            return Err(format!("a bias of {outputs} numbers"));
        }
        let size = |axis: usize| self.size(axis, x[axis + 2]).ok_or("a larger volume: the result has no cells");
        Ok(vec![x[0], outputs, size(0)?, size(1)?, size(2)?])
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        let Window3 { kernel, stride, dilation, padding } = self.window;
        let (n, c, d, h, w) = operands[0].dims5()?;
        // Each slice in its plane first: as many results as the kernel has slices …
        let x = operands[0].permute((0, 2, 1, 3, 4))?.contiguous()?.reshape((n * d, c, h, w))?;
        let (_, own, ..) = self.weight.dims5()?;
        let weight = self.weight.reshape((c, own * kernel[0], kernel[1], kernel[2]))?;
        let plane = Conv {
            stride: [stride[1], stride[2]],
            padding: self.window.plane_padding(),
            dilation: [dilation[1], dilation[2]],
            groups: self.groups,
        };
        let y = conv_transpose2d(&x, &weight, None, &plane, [self.output_padding[1], self.output_padding[2]])?;
        let (_, channels, h, w) = y.dims4()?;
        let outputs = channels / kernel[0];
        let y = y.reshape((n, d, channels, h * w))?.permute((0, 2, 1, 3))?.contiguous()?;
        // … which then are added up at the slices where they belong.
        let taps = Tensor::eye(kernel[0], y.dtype(), y.device())?.repeat((outputs, 1))?;
        let along = Conv {
            stride: [stride[0], 1],
            padding: [padding[0][0], 0, padding[0][1], 0],
            dilation: [dilation[0], 1],
            groups: outputs,
        };
        let taps = taps.reshape((channels, 1, kernel[0], 1))?;
        let y = conv_transpose2d(&y, &taps, self.bias.as_ref(), &along, [self.output_padding[0], 0])?;
        let depth = y.dim(2)?;
        y.reshape((n, outputs, depth, h, w))
    }

    fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    fn is_convolution(&self) -> bool {
        true
    }

    fn write(&self, writer: &mut OnnxWriter, operands: &[&Symbol], shape: &[Extent]) -> faithful_core::Result<Symbol> {
        let mut attributes = self.window.attributes(self.groups);
        attributes.push(counts("output_padding", &self.output_padding));
        let (name, bias) = (writer.name_of("ConvTranspose"), self.bias.as_ref());
        write_layer(writer, &name, "ConvTranspose", operands[0], &self.weight, bias, attributes, shape.to_vec())
    }

    fn write_gradient(&self, writer: &mut OnnxWriter, of: &Backward<'_>) -> faithful_core::Result<Vec<Option<Symbol>>> {
        let window = self.window.of_groups(self.groups);
        Ok(vec![Some(transposed_convolution(writer, of.g, &self.weight, &window, of.operands[0])?)])
    }
}

/// A maximum or mean over windows of a volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool3d {
    pub(crate) window: Window3,
    pub(crate) ceil: bool,
    pub(crate) count_padding: bool,
    /// The mean instead of the maximum.
    pub(crate) mean: bool,
}

impl Composition for Pool3d {
    fn kind(&self) -> &'static str {
        if self.mean { "avg-pool3d" } else { "max-pool3d" }
    }

    fn weights(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    fn with_weights(&self, _: Vec<Tensor>) -> Arc<dyn Composition> {
        Arc::new(*self)
    }

    fn shape(&self, operands: &[&[usize]]) -> std::result::Result<Vec<usize>, String> {
        let &[n, c, ..] = operands[0] else { return Err("(N, C, slices, rows, columns)".into()) };
        if operands[0].len() != 5 {
            return Err("(N, C, slices, rows, columns)".into());
        }
        let [depth, height, width] = self.window.sizes(operands[0], self.ceil)?;
        Ok(vec![n, c, depth, height, width])
    }

    fn evaluate(&self, operands: &[&Tensor], _: BackwardRule) -> Result<Tensor> {
        let Window3 { kernel, stride, dilation, padding } = self.window;
        let pool = |x: &Tensor, pool: &Pool| if self.mean { avg_pool2d(x, pool) } else { max_pool2d(x, pool) };
        let (n, c, d, h, w) = operands[0].dims5()?;
        let plane = Pool {
            kernel: [kernel[1], kernel[2]],
            stride: [stride[1], stride[2]],
            padding: self.window.plane_padding(),
            dilation: [dilation[1], dilation[2]],
            ceil: self.ceil,
            count_padding: self.count_padding,
        };
        // A window's maximum is that of its slices' maxima, and so is its mean: each slice counts as many cells.
        let y = pool(&operands[0].reshape((n, c * d, h, w))?, &plane)?;
        let (_, _, h, w) = y.dims4()?;
        let along = Pool {
            kernel: [kernel[0], 1],
            stride: [stride[0], 1],
            padding: [padding[0][0], 0, padding[0][1], 0],
            dilation: [dilation[0], 1],
            ceil: self.ceil,
            count_padding: self.count_padding,
        };
        let y = pool(&y.reshape((n, c, d, h * w))?, &along)?;
        let depth = y.dim(2)?;
        y.reshape((n, c, depth, h, w))
    }
}
