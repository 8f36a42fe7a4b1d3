//! How a function with its own gradient becomes one of candle's operations.
//!
//! An operation computes its value first, without tracking, and then hands it to [`attach`] together with the
//! function that pulls a gradient back. Where nothing is tracked no node is made at all.

use candle_core::backend::BackendStorage;
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Storage, StorageRef,
    Tensor, WithDType, bail,
};
pub(crate) use faithful_kernel::Real;
use std::sync::{Mutex, PoisonError};

/// Calls a generic kernel with the type of `$tensor`'s elements.
macro_rules! by_type {
    ($tensor:expr, $kernel:ident ( $($argument:expr),* $(,)? )) => {
        match $tensor.dtype() {
            candle_core::DType::F32 => $kernel::<f32>($($argument),*),
            candle_core::DType::F64 => $kernel::<f64>($($argument),*),
            other => candle_core::bail!("elements of type {other:?} are not supported; convert them to f32"),
        }
    };
}
pub(crate) use by_type;

/// Whether `x` lies on the CPU in half precision, which our kernels compute in `f32`.
pub(crate) fn is_half_on_cpu(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F16 | DType::BF16)
}

/// `x` in `f32`; the gradient comes back in `x`'s own type.
pub(crate) fn widen(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(DType::F32)
}

/// [`widen`] for an operand that may be missing.
pub(crate) fn widen_optional(x: Option<&Tensor>) -> Result<Option<Tensor>> {
    x.map(widen).transpose()
}

/// A contiguous tensor's elements on the CPU.
pub(crate) struct Elements<'a> {
    storage: StorageRef<'a>,
    range: (usize, usize),
}

impl<'a> Elements<'a> {
    pub(crate) fn of(x: &'a Tensor) -> Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        let Some(range) = layout.contiguous_offsets() else { bail!("elements of a tensor that is not contiguous") };
        Ok(Self { storage, range })
    }

    pub(crate) fn slice<T: WithDType>(&self) -> Result<&[T]> {
        match &*self.storage {
            Storage::Cpu(storage) => Ok(&T::cpu_storage_as_slice(storage)?[self.range.0..self.range.1]),
            _ => bail!("elements of a tensor that is not on the CPU"),
        }
    }
}

/// A result before it is a tensor.
pub(crate) enum Value {
    Cpu(CpuStorage, Shape),
    Device(Tensor),
}

impl Value {
    pub(crate) fn new<T: WithDType>(elements: Vec<T>, shape: impl Into<Shape>) -> Self {
        Self::Cpu(T::to_cpu_storage_owned(elements), shape.into())
    }

    /// The value as a tensor that is not tracked.
    pub(crate) fn into_tensor(self) -> Tensor {
        match self {
            Self::Cpu(storage, shape) => Tensor::from_storage(Storage::Cpu(storage), shape, BackpropOp::none(), false),
            Self::Device(tensor) => tensor.detach(),
        }
    }
}

/// What a gradient is pulled back through. Everything is detached, and the gradient is contiguous.
pub(crate) struct Backward<'a> {
    pub(crate) arguments: &'a [Tensor],
    /// Which of the arguments are tracked; the gradients of others are not asked for.
    pub(crate) wanted: &'a [bool],
    pub(crate) result: &'a Tensor,
    pub(crate) gradient: &'a Tensor,
}

/// One gradient per argument; `None` where it was not wanted or is zero.
type Gradients = Vec<Option<Tensor>>;
type VectorJacobianProducts = dyn Fn(&Backward) -> Result<Gradients> + Send + Sync;

/// Makes `value` a function of `arguments` (one to three) whose gradient is `vjp`.
pub(crate) fn attach(
    name: &'static str,
    arguments: &[&Tensor],
    value: Value,
    vjp: impl Fn(&Backward) -> Result<Gradients> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !arguments.iter().any(|argument| argument.track_op()) {
        return Ok(value.into_tensor());
    }
    let attached = Attached { name, value: Mutex::new(Some(value)), vjp: Box::new(vjp) };
    match arguments {
        [a] => a.apply_op1(attached),
        [a, b] => a.apply_op2(b, attached),
        [a, b, c] => a.apply_op3(b, c, attached),
        _ => bail!("{name}: {} arguments, expected one to three", arguments.len()),
    }
}

/// `x` as all that its storage holds, from the start: a copy of the storage does not repack it.
fn packed(x: &Tensor) -> Result<Tensor> {
    let whole = x.is_contiguous() && x.layout().start_offset() == 0;
    if whole { Ok(x.clone()) } else { x.force_contiguous() }
}

struct Attached {
    name: &'static str,
    /// Taken when candle asks for it, once, while it makes the node.
    value: Mutex<Option<Value>>,
    vjp: Box<VectorJacobianProducts>,
}

impl Attached {
    fn take(&self) -> Result<Value> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| candle_core::Error::Msg(format!("{}: the value was already taken", self.name)))
    }

    fn cpu(&self) -> Result<(CpuStorage, Shape)> {
        match self.take()? {
            Value::Cpu(storage, shape) => Ok((storage, shape)),
            Value::Device(tensor) => {
                let tensor = packed(&tensor)?;
                let (storage, layout) = tensor.storage_and_layout();
                match &*storage {
                    Storage::Cpu(storage) => Ok((storage.try_clone(layout)?, tensor.shape().clone())),
                    _ => bail!("{}: the value is on another device than the arguments", self.name),
                }
            }
        }
    }

    fn cuda(&self) -> Result<(CudaStorage, Shape)> {
        let Value::Device(tensor) = self.take()? else { bail!("{}: the value is not on the GPU", self.name) };
        let tensor = packed(&tensor)?;
        let (storage, layout) = tensor.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, tensor.shape().clone())),
            _ => bail!("{}: the value is on another device than the arguments", self.name),
        }
    }

    fn backward(&self, arguments: &[&Tensor], result: &Tensor, gradient: &Tensor) -> Result<Gradients> {
        let wanted: Vec<bool> = arguments.iter().map(|argument| argument.track_op()).collect();
        let detached: Vec<Tensor> = arguments.iter().map(|argument| argument.detach()).collect();
        // A sum's gradient arrives broadcast, a transposition's permuted.
        let gradient = gradient.detach().contiguous()?;
        let mut gradients = (self.vjp)(&Backward {
            arguments: &detached,
            wanted: &wanted,
            result: &result.detach(),
            gradient: &gradient,
        })?;
        for ((slot, wanted), argument) in gradients.iter_mut().zip(&wanted).zip(&detached) {
            // candle panics where a tracked argument gets no gradient.
            if slot.is_none() && *wanted {
                *slot = Some(argument.zeros_like()?);
            }
        }
        Ok(gradients)
    }
}

fn next(gradients: &mut impl Iterator<Item = Option<Tensor>>) -> Option<Tensor> {
    gradients.next().flatten()
}

impl CustomOp1 for Attached {
    fn name(&self) -> &'static str {
        self.name
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }
    fn bwd(&self, a: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(next(&mut self.backward(&[a], result, gradient)?.into_iter()))
    }
}

impl CustomOp2 for Attached {
    fn name(&self) -> &'static str {
        self.name
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }
    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }
    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.backward(&[a, b], result, gradient)?.into_iter();
        Ok((next(&mut gradients), next(&mut gradients)))
    }
}

impl CustomOp3 for Attached {
    fn name(&self) -> &'static str {
        self.name
    }
    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }
    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.backward(&[a, b, c], result, gradient)?.into_iter();
        Ok((next(&mut gradients), next(&mut gradients), next(&mut gradients)))
    }
}
