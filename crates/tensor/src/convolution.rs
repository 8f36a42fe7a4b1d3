use crate::composed::{self, has_kernels};
use crate::fast;
use crate::function::{Backward, Elements, Real, Value, attach, by_type, is_half_on_cpu, widen, widen_optional};
use crate::im2col;
use candle_core::{DType, Result, Tensor, bail};
use faithful_kernel::Conv;
use std::ops::Range;

/// `x` `(N, C, H, W)` with `weight` `(O, C / groups, kh, kw)` and `bias` `(O,)`, as `PyTorch`'s `conv2d`.
///
/// `y[n, o, i, j] = bias[o] + sum over c, u, v of weight[o, c, u, v] * x[n, c, i * stride + u * dilation - top, …]`,
/// with zeros outside, of size `floor((H + top + bottom - dilation * (kh - 1) - 1) / stride) + 1`. The gradient of the
/// kernel and of the bias is computed only where they are tracked themselves.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Conv, conv2d};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[[[1f32, 2., 3.], [4., 5., 6.], [7., 8., 9.]]]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[[[1f32, 0.], [0., 1.]]]], &Device::Cpu)?;
/// let y = conv2d(&x, &weight, None, &Conv::default())?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [6., 8., 12., 14.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where shapes do not fit, a stride or dilation is zero, or the window is larger than the padded input.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: &Conv) -> Result<Tensor> {
    let geometry = Geometry::of_input(x, weight, conv)?;
    check_bias("conv2d", bias, geometry.outputs)?;
    if is_half_on_cpu(x) {
        let bias = widen_optional(bias)?;
        return conv2d(&widen(x)?, &widen(weight)?, bias.as_ref(), conv)?.to_dtype(x.dtype());
    }
    if !has_kernels(x) {
        return composed::convolution::conv2d(x, weight, bias, geometry);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let value = by_type!(x, cpu_forward(&x, &weight, bias.as_ref(), &geometry))?;
    let mut arguments = vec![&x, &weight];
    arguments.extend(bias.as_ref());
    attach("conv2d", &arguments, value, move |backward| {
        let gradient = backward.gradient;
        Ok(vec![
            wanted(backward, 0, |[_, weight]| by_type!(gradient, cpu_input_gradient(gradient, weight, &geometry)))?,
            wanted(backward, 1, |[x, _]| by_type!(gradient, cpu_weight_gradient(x, gradient, &geometry)))?,
            bias_gradient(backward)?,
        ])
    })
}

/// `x` `(N, C, T)` with `weight` `(O, C / groups, k)`; of `conv` only the width entries count.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Conv, conv1d};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[[1f32, 2., 3., 4.]]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[[-1f32, 1.]]], &Device::Cpu)?;
/// let y = conv1d(&x, &weight, None, &Conv { dilation: [1, 2], ..Conv::default() })?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [2., 2.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`conv2d`].
pub fn conv1d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: &Conv) -> Result<Tensor> {
    if x.rank() != 3 || weight.rank() != 3 {
        bail!("conv1d: expected x (N, C, T) and weight (O, C / groups, k), got {:?} and {:?}", x.dims(), weight.dims());
    }
    let [_, left, _, right] = conv.padding;
    let flat = Conv {
        stride: [1, conv.stride[1]],
        padding: [0, left, 0, right],
        dilation: [1, conv.dilation[1]],
        groups: conv.groups,
    };
    conv2d(&x.unsqueeze(2)?, &weight.unsqueeze(2)?, bias, &flat)?.squeeze(2)
}

/// `x` `(N, C, H, W)` with `weight` `(C, O / groups, kh, kw)`, as `PyTorch`'s `conv_transpose2d`;
/// `output_padding` is `[height, width]`.
///
/// The gradient of [`conv2d`] with respect to its input, of size
/// `(H - 1) * stride - top - bottom + dilation * (kh - 1) + output_padding + 1`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use faithful_tensor::{Conv, conv_transpose2d};
/// # fn main() -> candle_core::Result<()> {
/// let x = Tensor::new(&[[[[1f32, 2.]]]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[[[1f32, 10., 100.]]]], &Device::Cpu)?;
/// let conv = Conv { stride: [1, 2], ..Conv::default() };
/// let y = conv_transpose2d(&x, &weight, None, &conv, [0, 0])?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1., 10., 102., 20., 200.]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where shapes do not fit, a stride or dilation is zero, `output_padding` is as large as both, or nothing is left
/// after cropping the padding.
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    conv: &Conv,
    output_padding: [usize; 2],
) -> Result<Tensor> {
    let geometry = Geometry::of_result(x, weight, conv, output_padding)?;
    check_bias("conv_transpose2d", bias, geometry.channels)?;
    if is_half_on_cpu(x) {
        let bias = widen_optional(bias)?;
        let wide = conv_transpose2d(&widen(x)?, &widen(weight)?, bias.as_ref(), conv, output_padding)?;
        return wide.to_dtype(x.dtype());
    }
    let y = if has_kernels(x) {
        let (x, weight) = (x.contiguous()?, weight.contiguous()?);
        let value = by_type!(x, cpu_input_gradient_value(&x, &weight, &geometry))?;
        attach("conv_transpose2d", &[&x, &weight], value, move |backward| {
            let gradient = backward.gradient;
            Ok(vec![
                wanted(backward, 0, |[_, weight]| {
                    Ok(by_type!(gradient, cpu_forward(gradient, weight, None, &geometry))?.into_tensor())
                })?,
                wanted(backward, 1, |[x, _]| by_type!(gradient, cpu_weight_gradient(gradient, x, &geometry)))?,
            ])
        })?
    } else {
        composed::convolution::conv_transpose2d(x, weight, geometry)?
    };
    match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
        None => Ok(y),
    }
}

/// The one place where a convolution is computed on the CPU: `x`, `weight` and `bias` are contiguous.
fn cpu_forward<T: Real>(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, geometry: &Geometry) -> Result<Value> {
    let (x, weight) = (Elements::of(x)?, Elements::of(weight)?);
    let bias = bias.map(Elements::of).transpose()?;
    if T::DTYPE == DType::F32 {
        let bias = bias.as_ref().map(Elements::slice::<f32>).transpose()?;
        if let Some(y) = fast::forward(x.slice()?, weight.slice()?, bias, geometry)? {
            return Ok(Value::new(y, geometry.result_shape()));
        }
    }
    let bias = bias.as_ref().map(Elements::slice::<T>).transpose()?;
    let y = im2col::forward(x.slice::<T>()?, weight.slice::<T>()?, bias, geometry);
    Ok(Value::new(y, geometry.result_shape()))
}

/// The one place where a convolution's input gradient, and so a transposed convolution, is computed on the CPU.
fn cpu_input_gradient_value<T: Real>(gradient: &Tensor, weight: &Tensor, geometry: &Geometry) -> Result<Value> {
    let (gradient, weight) = (Elements::of(gradient)?, Elements::of(weight)?);
    if T::DTYPE == DType::F32
        && let Some(dx) = fast::input_gradient(gradient.slice()?, weight.slice()?, geometry)?
    {
        return Ok(Value::new(dx, geometry.input_shape()));
    }
    let dx = im2col::input_gradient(gradient.slice::<T>()?, weight.slice::<T>()?, geometry);
    Ok(Value::new(dx, geometry.input_shape()))
}

fn cpu_input_gradient<T: Real>(gradient: &Tensor, weight: &Tensor, geometry: &Geometry) -> Result<Tensor> {
    Ok(cpu_input_gradient_value::<T>(gradient, weight, geometry)?.into_tensor())
}

fn cpu_weight_gradient<T: Real>(x: &Tensor, gradient: &Tensor, geometry: &Geometry) -> Result<Tensor> {
    let (x, gradient) = (Elements::of(x)?, Elements::of(gradient)?);
    let dw = im2col::weight_gradient(x.slice::<T>()?, gradient.slice::<T>()?, geometry);
    Ok(Value::new(dw, geometry.weight_shape()).into_tensor())
}

/// `compute` of the first two arguments, if the gradient of argument `index` is wanted.
pub(crate) fn wanted(
    backward: &Backward,
    index: usize,
    compute: impl Fn([&Tensor; 2]) -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    if !backward.wanted[index] {
        return Ok(None);
    }
    compute([&backward.arguments[0], &backward.arguments[1]]).map(Some)
}

/// The sum over batch and space, where there is a bias that wants it.
pub(crate) fn bias_gradient(backward: &Backward) -> Result<Option<Tensor>> {
    match backward.wanted.get(2) {
        // Space first and by itself: candle's sum over several axes at once goes element by element.
        Some(true) => backward.gradient.flatten_from(2)?.sum(2)?.sum(0).map(Some),
        _ => Ok(None),
    }
}

fn check_bias(name: &str, bias: Option<&Tensor>, outputs: usize) -> Result<()> {
    match bias {
        Some(bias) if bias.dims() != [outputs] => {
            bail!("{name}: expected a bias of shape [{outputs}], got {:?}", bias.dims())
        }
        _ => Ok(()),
    }
}

/// All sizes of one convolution, checked against each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) outputs: usize,
    pub(crate) size: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) result: [usize; 2],
    pub(crate) conv: Conv,
}

impl Geometry {
    pub(crate) fn of_input(x: &Tensor, weight: &Tensor, conv: &Conv) -> Result<Self> {
        let (&[batch, channels, h, w], &[outputs, per_group, kh, kw]) = (x.dims(), weight.dims()) else {
            bail!(
                "conv2d: expected x (N, C, H, W) and weight (O, C / groups, kh, kw), got {:?} and {:?}",
                x.dims(),
                weight.dims()
            )
        };
        check("conv2d", conv, [kh, kw])?;
        let groups = conv.groups;
        if channels % groups != 0 || per_group != channels / groups || outputs % groups != 0 {
            bail!(
                "conv2d: x has {channels} channels and weight is {:?}; with {groups} groups weight must be (O, {}, kh, kw) \
                 with O a multiple of {groups}",
                weight.dims(),
                channels / groups
            );
        }
        let mut result = [0; 2];
        for (axis, result) in result.iter_mut().enumerate() {
            let window = (weight.dims()[axis + 2] - 1) * conv.dilation[axis] + 1;
            let padded = x.dims()[axis + 2] + conv.padding[axis] + conv.padding[axis + 2];
            let Some(room) = padded.checked_sub(window) else {
                bail!(
                    "conv2d: the window (kernel {:?}, dilation {:?}) is larger than the padded input {:?} with padding {:?}",
                    [kh, kw],
                    conv.dilation,
                    x.dims(),
                    conv.padding
                )
            };
            *result = room / conv.stride[axis] + 1;
        }
        Ok(Self { batch, channels, outputs, size: [h, w], kernel: [kh, kw], result, conv: *conv })
    }

    /// The geometry of the convolution whose input gradient this is: `x` is its result's gradient.
    pub(crate) fn of_result(x: &Tensor, weight: &Tensor, conv: &Conv, output_padding: [usize; 2]) -> Result<Self> {
        let (&[batch, outputs, h, w], &[inputs, per_group, kh, kw]) = (x.dims(), weight.dims()) else {
            bail!(
                "conv_transpose2d: expected x (N, C, H, W) and weight (C, O / groups, kh, kw), got {:?} and {:?}",
                x.dims(),
                weight.dims()
            )
        };
        check("conv_transpose2d", conv, [kh, kw])?;
        if inputs != outputs || outputs % conv.groups != 0 || h == 0 || w == 0 {
            bail!(
                "conv_transpose2d: x {:?} and weight {:?} with {} groups do not fit: weight must be (C, O / groups, kh, kw), \
                 C a multiple of the groups, and x not empty",
                x.dims(),
                weight.dims(),
                conv.groups
            );
        }
        let mut size = [0; 2];
        for (axis, size) in size.iter_mut().enumerate() {
            let (stride, dilation, extra) = (conv.stride[axis], conv.dilation[axis], output_padding[axis]);
            if extra >= stride.max(dilation) {
                bail!("conv_transpose2d: output padding {output_padding:?} must be below the stride or the dilation");
            }
            let full = (x.dims()[axis + 2] - 1) * stride + dilation * (weight.dims()[axis + 2] - 1) + extra + 1;
            match full.checked_sub(conv.padding[axis] + conv.padding[axis + 2]) {
                None | Some(0) => bail!(
                    "conv_transpose2d: padding {:?} leaves nothing of {full} pixels (x {:?}, kernel {:?})",
                    conv.padding,
                    x.dims(),
                    [kh, kw]
                ),
                Some(left) => *size = left,
            }
        }
        let channels = per_group * conv.groups;
        Ok(Self { batch, channels, outputs, size, kernel: [kh, kw], result: [h, w], conv: *conv })
    }

    pub(crate) fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    pub(crate) fn result_pixels(&self) -> usize {
        self.result[0] * self.result[1]
    }

    pub(crate) fn channels_per_group(&self) -> usize {
        self.channels / self.conv.groups
    }

    pub(crate) fn outputs_per_group(&self) -> usize {
        self.outputs / self.conv.groups
    }

    /// The elements of one output's kernel.
    pub(crate) fn taps(&self) -> usize {
        self.channels_per_group() * self.kernel[0] * self.kernel[1]
    }

    pub(crate) fn is_depthwise(&self) -> bool {
        self.channels_per_group() == 1
    }

    /// Whether every window is one pixel, so that the input is its own matrix of windows.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.conv.stride == [1, 1] && self.conv.padding == [0; 4]
    }

    pub(crate) fn input_shape(&self) -> (usize, usize, usize, usize) {
        (self.batch, self.channels, self.size[0], self.size[1])
    }

    pub(crate) fn result_shape(&self) -> (usize, usize, usize, usize) {
        (self.batch, self.outputs, self.result[0], self.result[1])
    }

    pub(crate) fn weight_shape(&self) -> (usize, usize, usize, usize) {
        (self.outputs, self.channels_per_group(), self.kernel[0], self.kernel[1])
    }

    pub(crate) fn group_of_x<'a, T>(&self, x: &'a [T], image: usize, group: usize) -> &'a [T] {
        let size = self.channels_per_group() * self.pixels();
        &x[(image * self.conv.groups + group) * size..][..size]
    }

    pub(crate) fn group_of_result<'a, T>(&self, y: &'a [T], image: usize, group: usize) -> &'a [T] {
        let size = self.outputs_per_group() * self.result_pixels();
        &y[(image * self.conv.groups + group) * size..][..size]
    }

    pub(crate) fn group_of_weight<'a, T>(&self, weight: &'a [T], group: usize) -> &'a [T] {
        let size = self.outputs_per_group() * self.taps();
        &weight[group * size..][..size]
    }

    /// The input row that tap `ky` sees at result row `oy`; `None` in the padding.
    pub(crate) fn row(&self, oy: usize, ky: usize) -> Option<usize> {
        let padded = oy * self.conv.stride[0] + ky * self.conv.dilation[0];
        padded.checked_sub(self.conv.padding[0]).filter(|&row| row < self.size[0])
    }

    /// The result columns at which tap `kx` sees the input and not the padding.
    pub(crate) fn valid_columns(&self, kx: usize) -> Range<usize> {
        let (stride, offset, left) = (self.conv.stride[1], kx * self.conv.dilation[1], self.conv.padding[1]);
        let start = left.saturating_sub(offset).div_ceil(stride);
        let end = (self.size[1] + left).saturating_sub(offset).div_ceil(stride).min(self.result[1]);
        start..end.max(start)
    }

    /// The input column that tap `kx` sees at result column `ox`, one of [`Geometry::valid_columns`].
    pub(crate) fn column(&self, ox: usize, kx: usize) -> usize {
        ox * self.conv.stride[1] + kx * self.conv.dilation[1] - self.conv.padding[1]
    }
}

fn check(name: &str, conv: &Conv, kernel: [usize; 2]) -> Result<()> {
    if conv.stride.contains(&0) || conv.dilation.contains(&0) || conv.groups == 0 || kernel.contains(&0) {
        bail!("{name}: stride, dilation, groups and kernel must be at least 1, got {conv:?} with kernel {kernel:?}");
    }
    Ok(())
}
