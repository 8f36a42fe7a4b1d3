//! What a name in an ONNX graph stands for while it is read.

use crate::NodeId;
use candle_core::Tensor;

/// The value of one name.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A node of the graph that is being built: it depends on the input.
    Node(NodeId),
    /// Floating-point numbers that do not depend on the input.
    Constant(Tensor),
    /// Integers or booleans: shapes, axes, indices. They may depend on the size of the batch.
    Integers(Integers),
    /// An optional operand that is left out.
    Absent,
    /// The result of an operation that is not supported.
    Unknown,
}

/// An array of integers or booleans in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Integers {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<Size>,
}

impl Integers {
    pub(super) fn known(shape: Vec<usize>, values: Vec<i64>) -> Self {
        Self { shape, values: values.into_iter().map(Size::from).collect() }
    }

    pub(super) fn scalar(value: Size) -> Self {
        Self { shape: Vec::new(), values: vec![value] }
    }

    pub(super) fn list(values: Vec<Size>) -> Self {
        Self { shape: vec![values.len()], values }
    }

    /// The values, where none depends on the batch.
    pub(super) fn fixed(&self) -> Option<Vec<i64>> {
        self.values.iter().map(|size| size.fixed()).collect()
    }
}

/// An integer that may grow with the batch: `constant + batches * N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) constant: i64,
    pub(super) batches: i64,
}

impl From<i64> for Size {
    fn from(constant: i64) -> Self {
        Self { constant, batches: 0 }
    }
}

impl Size {
    /// The number, where it does not depend on the batch.
    pub(super) fn fixed(self) -> Option<i64> {
        (self.batches == 0).then_some(self.constant)
    }

    pub(super) fn add(self, other: Self) -> Option<Self> {
        Some(Self {
            constant: self.constant.checked_add(other.constant)?,
            batches: self.batches.checked_add(other.batches)?,
        })
    }

    pub(super) fn negated(self) -> Option<Self> {
        Some(Self { constant: self.constant.checked_neg()?, batches: self.batches.checked_neg()? })
    }

    /// The product, where it is still linear in the batch.
    pub(super) fn multiply(self, other: Self) -> Option<Self> {
        let (size, factor) = match (self.fixed(), other.fixed()) {
            (_, Some(factor)) => (self, factor),
            (Some(factor), _) => (other, factor),
            _ => return None,
        };
        Some(Self { constant: size.constant.checked_mul(factor)?, batches: size.batches.checked_mul(factor)? })
    }

    /// The quotient rounded to zero, where it is still linear in the batch.
    pub(super) fn divide(self, other: Self) -> Option<Self> {
        if self == other && self.batches != 0 {
            return Some(Self::from(1));
        }
        // A multiple of the batch over a multiple of the batch.
        if self.constant == 0 && other.constant == 0 && other.batches != 0 && self.batches % other.batches == 0 {
            return self.batches.checked_div(other.batches).map(Self::from);
        }
        let divisor = other.fixed()?;
        if let Some(number) = self.fixed() {
            number.checked_div(divisor).map(Self::from)
        } else {
            let exact = divisor != 0 && self.constant % divisor == 0 && self.batches % divisor == 0;
            exact.then(|| Self { constant: self.constant / divisor, batches: self.batches / divisor })
        }
    }

    /// Whether one is less than the other, equal or greater; a large batch decides where the batch matters.
    pub(super) fn order(self, other: Self) -> std::cmp::Ordering {
        (self.batches, self.constant).cmp(&(other.batches, other.constant))
    }
}
