//! One operator's operands and attributes.

use super::order::label;
use super::proto;
use super::value::{Integers, Value};
use candle_core::Tensor;
use faithful_core::{Error, Result};

/// An operator as it stands in the file, with the values of its operands.
pub(super) struct Call<'a> {
    pub(super) node: &'a proto::Node,
    /// The layer's name.
    pub(super) name: String,
    pub(super) operands: Vec<Value>,
    /// Whether anything reads the outputs.
    pub(super) read: Vec<bool>,
    /// The version of the operator set.
    pub(super) opset: i64,
}

impl Call<'_> {
    /// The same operator, to be read with other operands or another name.
    pub(super) fn again(&self) -> Call<'_> {
        Call {
            node: self.node,
            name: self.name.clone(),
            operands: self.operands.clone(),
            read: self.read.clone(),
            opset: self.opset,
        }
    }

    /// Operand `index`, [`Value::Absent`] where it is left out.
    pub(super) fn operand(&self, index: usize) -> Value {
        self.operands.get(index).cloned().unwrap_or(Value::Absent)
    }

    /// Operand `index`, which must be there.
    pub(super) fn required(&self, index: usize) -> Result<Value> {
        match self.operand(index) {
            Value::Absent => Err(self.damaged(format!("operand {index} is missing"))),
            value => Ok(value),
        }
    }

    /// Operand `index` as weights; `None` where it is left out.
    pub(super) fn optional_weight(&self, index: usize) -> Result<Option<Tensor>> {
        match self.operand(index) {
            Value::Absent => Ok(None),
            Value::Constant(tensor) => Ok(Some(tensor)),
            Value::Integers(_) => Err(self.damaged(format!("operand {index} holds integers instead of floats"))),
            Value::Node(_) | Value::Unknown => {
                Err(self.unsupported(format!("operand {index} depends on the input; it must be constant")))
            }
        }
    }

    /// Operand `index` as weights.
    pub(super) fn weight(&self, index: usize) -> Result<Tensor> {
        self.optional_weight(index)?.ok_or_else(|| self.damaged(format!("operand {index} is missing")))
    }

    /// Operand `index` as integers that may depend on the batch; `None` where it is left out.
    pub(super) fn optional_integers(&self, index: usize) -> Result<Option<Integers>> {
        match self.operand(index) {
            Value::Absent => Ok(None),
            Value::Integers(integers) => Ok(Some(integers)),
            Value::Constant(_) => Err(self.damaged(format!("operand {index} holds floats instead of integers"))),
            Value::Node(_) | Value::Unknown => {
                Err(self.unsupported(format!("operand {index} depends on the input's values; it must be constant")))
            }
        }
    }

    /// Operand `index` as integers that do not depend on the batch; `None` where it is left out.
    pub(super) fn optional_fixed(&self, index: usize) -> Result<Option<Vec<i64>>> {
        let Some(integers) = self.optional_integers(index)? else { return Ok(None) };
        let fixed = integers.fixed();
        fixed.map(Some).ok_or_else(|| self.unsupported(format!("operand {index} depends on the size of the batch")))
    }

    /// What older versions have as the attribute `name` and newer ones as operand `index`.
    pub(super) fn fixed_or_attribute(&self, index: usize, name: &str) -> Result<Option<Vec<i64>>> {
        match self.optional_fixed(index)? {
            Some(values) => Ok(Some(values)),
            None => Ok(self.integers(name).map(<[i64]>::to_vec)),
        }
    }

    fn attribute(&self, name: &str) -> Option<&proto::Attribute> {
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }

    /// The tensor attribute `name`.
    pub(super) fn tensor(&self, name: &str) -> Option<&proto::Tensor> {
        self.attribute(name)?.t.as_ref()
    }

    /// The graph attribute `name`.
    pub(super) fn graph(&self, name: &str) -> Option<&proto::Graph> {
        self.attribute(name)?.g.as_ref()
    }

    /// The integer attribute `name`, or `default`.
    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    /// The integer attribute `name` where it is there.
    pub(super) fn optional_integer(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|attribute| attribute.i)
    }

    /// The attribute `name` with several integers.
    pub(super) fn integers(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// The attribute `name` with several floats.
    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|attribute| attribute.floats.as_slice())
    }

    /// The float attribute `name` where it is there.
    pub(super) fn optional_float(&self, name: &str) -> Option<f64> {
        self.attribute(name).map(|attribute| f64::from(attribute.f))
    }

    /// The float attribute `name`, or `default`.
    pub(super) fn float(&self, name: &str, default: f64) -> f64 {
        self.optional_float(name).unwrap_or(default)
    }

    /// The text attribute `name`, or `default`.
    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.attribute(name).map_or_else(|| default.into(), |a| String::from_utf8_lossy(&a.s).into_owned())
    }

    /// The attribute `name` with several texts.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let texts = &self.attribute(name)?.strings;
        Some(texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
    }

    /// Whether something reads output `index`.
    pub(super) fn gives(&self, index: usize) -> bool {
        self.read.get(index).copied().unwrap_or(false)
    }

    /// `axis` counted from the front among `rank`.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let counted = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        counted
            .and_then(|axis| usize::try_from(axis).ok())
            .filter(|&axis| axis < rank)
            .ok_or_else(|| self.damaged(format!("axis {axis} does not exist among {rank}")))
    }

    /// The axes counted from the front, sorted.
    pub(super) fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        let mut counted: Vec<usize> = axes.iter().map(|&axis| self.axis(axis, rank)).collect::<Result<_>>()?;
        counted.sort_unstable();
        counted.dedup();
        Ok(counted)
    }

    /// The file contradicts the standard.
    pub(super) fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::format(format!("{} (node `{}`)", self.node.op_type, label(self.node)), reason)
    }

    /// The file uses a feature that is not implemented.
    pub(super) fn unsupported(&self, reason: impl std::fmt::Display) -> Error {
        Error::Unsupported(vec![format!("{} (node `{}`): {reason}", self.node.op_type, label(self.node))])
    }
}
