//! A stored tensor becomes a value: floating-point numbers as `f32`, integers and booleans as [`Integers`].

use super::external::External;
use super::proto;
use super::value::{Integers, Value};
use crate::op::shape::elements;
use candle_core::{Device, Tensor};
use faithful_core::{Error, Result};
use half::{bf16, f16};

/// ONNX's numbers for element types.
pub(crate) mod element {
    pub(crate) const FLOAT: i32 = 1;
    pub(crate) const UINT8: i32 = 2;
    pub(crate) const INT8: i32 = 3;
    pub(crate) const UINT16: i32 = 4;
    pub(crate) const INT16: i32 = 5;
    pub(crate) const INT32: i32 = 6;
    pub(crate) const INT64: i32 = 7;
    pub(crate) const BOOL: i32 = 9;
    pub(crate) const FLOAT16: i32 = 10;
    pub(crate) const DOUBLE: i32 = 11;
    pub(crate) const UINT32: i32 = 12;
    pub(crate) const UINT64: i32 = 13;
    pub(crate) const BFLOAT16: i32 = 16;
    pub(crate) const UINT4: i32 = 21;
    pub(crate) const INT4: i32 = 22;

    /// How many bits an element takes where it is stored; none for types that are not read.
    pub(crate) fn bits(number: i32) -> Option<u64> {
        match number {
            UINT8 | INT8 | BOOL => Some(8),
            UINT16 | INT16 | FLOAT16 | BFLOAT16 => Some(16),
            FLOAT | INT32 | UINT32 => Some(32),
            INT64 | UINT64 | DOUBLE => Some(64),
            _ => None,
        }
    }

    /// Whether the type is one of floating-point numbers.
    pub(crate) fn is_float(number: i32) -> bool {
        matches!(number, FLOAT | FLOAT16 | DOUBLE | BFLOAT16)
    }

    /// Whether the type is one of whole numbers that pixels are given in.
    pub(crate) fn is_whole(number: i32) -> bool {
        matches!(number, UINT8 | INT32 | INT64)
    }
}

/// Reads `tensor`; data in other files come through `external`.
pub(super) fn read(tensor: &proto::Tensor, external: &External) -> Result<Value> {
    let damaged = |reason: String| Error::format(format!("tensor `{}`", tensor.name), reason);
    let shape: Vec<usize> = tensor
        .dims
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| damaged(format!("it has a negative size: {:?}", tensor.dims))))
        .collect::<Result<_>>()?;
    let count = elements(&shape).ok_or_else(|| damaged(format!("its shape {shape:?} is too large")))?;
    let stored;
    let raw: Option<&[u8]> = if tensor.data_location == 1 {
        stored = external.read(tensor, count)?;
        Some(&stored)
    } else {
        tensor.raw_data.as_deref()
    };
    let check = |length: usize| {
        if length == count {
            return Ok(());
        }
        Err(damaged(format!("it holds {length} values, but its shape {shape:?} needs {count}")))
    };
    let floats = |values: Vec<f32>| -> Result<Value> {
        check(values.len())?;
        Ok(Value::Constant(Tensor::from_vec(values, shape.as_slice(), &Device::Cpu)?))
    };
    let integers = |values: Vec<i64>| -> Result<Value> {
        check(values.len())?;
        Ok(Value::Integers(Integers::known(shape.clone(), values)))
    };
    // Weights of a quantised network: one by one as whole numbers they would take four times the memory.
    let many = count > MOST_BYTES_AS_INTEGERS;
    // `int32_data` holds every type of at most 32 bits that is no `f32`; half-precision as its bits.
    let halves = || tensor.int32_data.iter().map(|&bits| bits as u16);
    let narrow = || tensor.int32_data.iter().map(|&value| i64::from(value)).collect::<Vec<i64>>();
    match (tensor.data_type, raw) {
        (element::FLOAT, Some(raw)) => floats(parts(raw, f32::from_le_bytes, &damaged)?),
        (element::FLOAT, None) => floats(tensor.float_data.clone()),
        (element::DOUBLE, Some(raw)) => floats(parts(raw, |bytes| f64::from_le_bytes(bytes) as f32, &damaged)?),
        (element::DOUBLE, None) => floats(tensor.double_data.iter().map(|&value| value as f32).collect()),
        (element::FLOAT16, Some(raw)) => floats(parts(raw, |bytes| f16::from_le_bytes(bytes).to_f32(), &damaged)?),
        (element::FLOAT16, None) => floats(halves().map(|bits| f16::from_bits(bits).to_f32()).collect()),
        (element::BFLOAT16, Some(raw)) => floats(parts(raw, |bytes| bf16::from_le_bytes(bytes).to_f32(), &damaged)?),
        (element::BFLOAT16, None) => floats(halves().map(|bits| bf16::from_bits(bits).to_f32()).collect()),
        (element::INT64 | element::UINT64, Some(raw)) => integers(parts(raw, i64::from_le_bytes, &damaged)?),
        (element::INT64, None) => integers(tensor.int64_data.clone()),
        (element::UINT64 | element::UINT32, None) => {
            integers(tensor.uint64_data.iter().map(|&value| value as i64).collect())
        }
        (element::UINT32, Some(raw)) => integers(parts(raw, |bytes| i64::from(u32::from_le_bytes(bytes)), &damaged)?),
        (element::INT32, Some(raw)) => integers(parts(raw, |bytes| i64::from(i32::from_le_bytes(bytes)), &damaged)?),
        (element::INT16, Some(raw)) => integers(parts(raw, |bytes| i64::from(i16::from_le_bytes(bytes)), &damaged)?),
        (element::UINT16, Some(raw)) => integers(parts(raw, |bytes| i64::from(u16::from_le_bytes(bytes)), &damaged)?),
        (element::INT8, Some(raw)) if many => floats(parts(raw, |[byte]: [u8; 1]| f32::from(byte as i8), &damaged)?),
        (element::UINT8, Some(raw)) if many => floats(parts(raw, |[byte]: [u8; 1]| f32::from(byte), &damaged)?),
        (element::INT8 | element::UINT8, None) if many => {
            floats(tensor.int32_data.iter().map(|&value| value as f32).collect())
        }
        (element::INT4 | element::UINT4, Some(raw)) => floats(nibbles(raw, count, tensor.data_type)),
        (element::INT4 | element::UINT4, None) => {
            let raw: Vec<u8> = tensor.int32_data.iter().map(|&value| value as u8).collect();
            floats(nibbles(&raw, count, tensor.data_type))
        }
        (element::INT8, Some(raw)) => integers(parts(raw, |bytes| i64::from(i8::from_le_bytes(bytes)), &damaged)?),
        (element::UINT8, Some(raw)) => integers(parts(raw, |[byte]: [u8; 1]| i64::from(byte), &damaged)?),
        (element::BOOL, Some(raw)) => integers(parts(raw, |[byte]: [u8; 1]| i64::from(byte != 0), &damaged)?),
        (element::INT32 | element::INT16 | element::UINT16 | element::INT8 | element::UINT8 | element::BOOL, None) => {
            integers(narrow())
        }
        (other, _) => Err(damaged(format!("its element type {other} is not a float, integer or boolean type"))),
    }
}

/// Up to this many bytes are shapes, axes or indices; more are quantised weights.
const MOST_BYTES_AS_INTEGERS: usize = 1024;

/// `count` numbers of four bits, the lower half of each byte first.
fn nibbles(raw: &[u8], count: usize, kind: i32) -> Vec<f32> {
    let halves = raw.iter().flat_map(|byte| [byte & 15, byte >> 4]);
    let signed = |half: u8| if kind == element::INT4 && half > 7 { f32::from(half) - 16.0 } else { f32::from(half) };
    // The last half of an odd count is padding.
    let padded = raw.len() == count.div_ceil(2);
    halves.map(signed).take(if padded { count } else { usize::MAX }).collect()
}

/// The values that `raw` holds in little-endian order.
fn parts<const N: usize, T>(
    raw: &[u8],
    read: impl Fn([u8; N]) -> T,
    damaged: &dyn Fn(String) -> Error,
) -> Result<Vec<T>> {
    let (values, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(damaged(format!("its {} bytes are not a multiple of {N}", raw.len())));
    }
    Ok(values.iter().map(|&value| read(value)).collect())
}
