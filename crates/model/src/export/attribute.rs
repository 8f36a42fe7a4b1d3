//! Attributes of ONNX's nodes.

use crate::onnx::proto::Attribute;

const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const INTS: i32 = 7;

pub(super) fn integer(name: &str, value: i64) -> Attribute {
    Attribute { name: name.into(), i: value, r#type: INT, ..Attribute::default() }
}

pub(super) fn float(name: &str, value: f64) -> Attribute {
    Attribute { name: name.into(), f: value as f32, r#type: FLOAT, ..Attribute::default() }
}

pub(super) fn text(name: &str, value: &str) -> Attribute {
    Attribute { name: name.into(), s: value.into(), r#type: STRING, ..Attribute::default() }
}

pub(super) fn integers(name: &str, values: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: values.to_vec(), r#type: INTS, ..Attribute::default() }
}

/// Sizes as an attribute.
pub(crate) fn counts(name: &str, values: &[usize]) -> Attribute {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    integers(name, &values)
}
