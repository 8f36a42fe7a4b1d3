//! Which of a file's inputs and outputs count.

use super::tensor::element;
use super::value::{Integers, Value};
use super::{BOXES_AND_SCORES, CENTRES_AND_SCORES, proto};
use crate::op::shape::elements;
use candle_core::{Device, Tensor};
use faithful_core::{Error, Result};
use std::collections::BTreeMap;

fn declared(value: &proto::ValueInfo) -> Option<&proto::TensorType> {
    value.r#type.as_ref()?.tensor.as_ref()
}

/// The outputs that can be explained: tensors of floating-point numbers, or of what the file does not say. The number
/// of the best class, and the maps of classifiers that are no networks, are none.
pub(super) fn outputs(file: &proto::Graph) -> Vec<&str> {
    let is_scores = |value: &&proto::ValueInfo| match &value.r#type {
        None => true,
        Some(_) => declared(value).is_some_and(|kind| element::is_float(kind.element) || kind.element == 0),
    };
    let scores: Vec<&str> = file.output.iter().filter(is_scores).map(|value| value.name.as_str()).collect();
    // Where none is, what is wrong with the first is said when it is read.
    if scores.is_empty() { file.output.iter().map(|value| value.name.as_str()).collect() } else { scores }
}

/// The output that was asked for, by its name or its number among all; the first of `outputs` unless one was.
pub(super) fn output<'a>(file: &'a proto::Graph, outputs: &[&'a str], wanted: Option<&'a str>) -> Result<&'a str> {
    let none = || Error::format("ONNX model", "its graph has no output");
    let Some(wanted) = wanted else { return outputs.first().copied().ok_or_else(none) };
    let made = |node: &proto::Node| node.output.iter().any(|name| name == wanted);
    let all: Vec<&str> = file.output.iter().map(|value| value.name.as_str()).collect();
    if !wanted.is_empty() && (all.contains(&wanted) || file.node.iter().any(made)) {
        return Ok(wanted);
    }
    let numbered = wanted.parse::<usize>().ok().and_then(|number| all.get(number).copied());
    numbered.ok_or_else(|| {
        // There are few: all are said.
        let reason = format!("the file has no output `{wanted}`; it has {}", quoted(&all));
        Error::parameter("output", reason)
    })
}

/// The outputs that the network gives: the one that was asked for, or several by commas; unless any was, the first, or the boxes
/// and the classes of a detection.
pub(super) fn chosen<'a>(file: &'a proto::Graph, outputs: &[&'a str], wanted: Option<&'a str>) -> Result<Vec<&'a str>> {
    match wanted {
        None => match boxes_and_classes(file, outputs) {
            Some(pair) => Ok(pair.to_vec()),
            None => Ok(vec![output(file, outputs, None)?]),
        },
        Some(text) => match output(file, outputs, Some(text)) {
            Ok(one) => Ok(vec![one]),
            Err(error) if !text.contains(',') => Err(error),
            Err(_) => text.split(',').map(|part| output(file, outputs, Some(part.trim()))).collect(),
        },
    }
}

/// The outputs `(N, M, 4)` and `(N, M, K)`, where a file has one of each, as far as it says their sizes, and the first is called after
/// boxes.
fn boxes_and_classes<'a>(file: &'a proto::Graph, outputs: &[&'a str]) -> Option<[&'a str; 2]> {
    let sizes = |name: &str| {
        let value = file.output.iter().find(|value| value.name == name)?;
        let shape = declared(value)?.shape.as_ref()?;
        let sizes: Vec<Option<i64>> = shape.dim.iter().map(|dim| dim.value.filter(|size| *size > 0)).collect();
        if let [_, rows, columns] = *sizes.as_slice() { Some((rows, columns)) } else { None }
    };
    let lists: Vec<(&str, Option<i64>, Option<i64>)> =
        outputs.iter().filter_map(|name| sizes(name).map(|(rows, columns)| (*name, rows, columns))).collect();
    let agree = |one: Option<i64>, other: Option<i64>| one.is_none() || other.is_none() || one == other;
    let is_boxes = |name: &str, columns| agree(columns, Some(4)) && name.to_lowercase().contains("box");
    let [first, second] = *lists.as_slice() else { return None };
    let (boxes, classes) = match (is_boxes(first.0, first.2), is_boxes(second.0, second.2)) {
        (true, false) => (first, second),
        (false, true) => (second, first),
        _ => return None,
    };
    agree(boxes.1, classes.1).then_some([boxes.0, classes.0])
}

/// The boxes and the scores that the first suppression of boxes among these nodes takes, and what they are called together.
pub(super) fn before_suppression<'a>(
    mut nodes: impl Iterator<Item = &'a proto::Node>,
) -> Option<([&'a str; 2], &'static str)> {
    let suppression = nodes.find(|node| node.op_type == "NonMaxSuppression")?;
    let by_centre = |attribute: &proto::Attribute| attribute.name == "center_point_box" && attribute.i == 1;
    let name = if suppression.attribute.iter().any(by_centre) { CENTRES_AND_SCORES } else { BOXES_AND_SCORES };
    match suppression.input.as_slice() {
        [boxes, scores, ..] => Some(([boxes, scores], name)),
        _ => None,
    }
}

/// The one input that is explained, and the values of the others: of `used`, those of `all` inputs that are read.
pub(super) fn inputs<'a>(
    all: &[&'a proto::ValueInfo],
    used: &[&'a proto::ValueInfo],
    values: &BTreeMap<String, Vec<f64>>,
) -> Result<(&'a proto::ValueInfo, Vec<(String, Value)>)> {
    let names: Vec<&str> = used.iter().map(|input| input.name.as_str()).collect();
    let all: Vec<&str> = all.iter().map(|input| input.name.as_str()).collect();
    if let Some(name) = values.keys().find(|name| !all.contains(&name.as_str())) {
        let reason = format!("the file has no input `{name}`; it has {}", quoted(&all));
        return Err(Error::parameter("inputs", reason));
    }
    let (fixed, open): (Vec<_>, Vec<_>) = used.iter().copied().partition(|input| values.contains_key(&input.name));
    let [input] = open.as_slice() else {
        if open.is_empty() && !fixed.is_empty() {
            return Err(Error::parameter(
                "inputs",
                "every input has a value; the one that is explained must have none",
            ));
        }
        // A picture is likelier to be explained than a list of numbers.
        let rank = |input: &proto::ValueInfo| declared(input).and_then(|kind| Some(kind.shape.as_ref()?.dim.len()));
        let picture = open.iter().position(|input| rank(input) >= Some(3)).unwrap_or(0);
        let others = open.iter().enumerate().filter(|(place, _)| *place != picture);
        let others: Vec<String> = others.map(|(_, input)| format!("\"{}\": [numbers]", input.name)).collect();
        let mut reason = format!("a model with {} inputs ({})", names.len(), names.join(", "));
        if !others.is_empty() {
            let way_out = "one is explained; say the values of the others in the JSON beside the model, as";
            reason = format!("{reason}: {way_out} `\"inputs\": {{{}}}`, or name a .npy file there", others.join(", "));
        }
        return Err(Error::Unsupported(vec![reason]));
    };
    let read = |input: &&proto::ValueInfo| Ok((input.name.clone(), value(input, &values[&input.name])?));
    Ok((input, fixed.iter().map(read).collect::<Result<_>>()?))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The value of an input that is fixed: one row's numbers for all rows, or one number for all.
fn value(input: &proto::ValueInfo, numbers: &[f64]) -> Result<Value> {
    let what = || format!("input `{}`", input.name);
    let kind = declared(input).ok_or_else(|| Error::format(what(), "it is no tensor"))?;
    let dims = kind.shape.as_ref().map(|shape| shape.dim.as_slice()).unwrap_or_default();
    let mut shape: Vec<Option<usize>> =
        dims.iter().map(|dim| dim.value.filter(|&size| size > 0).and_then(|size| usize::try_from(size).ok())).collect();
    if let Some(batch @ None) = shape.first_mut() {
        *batch = Some(1);
    }
    // One free size follows from the numbers.
    let known: Vec<usize> = shape.iter().flatten().copied().collect();
    let rest = elements(&known).filter(|count| *count > 0 && numbers.len() > 1).map(|count| numbers.len() / count);
    let shape: Vec<usize> = shape.into_iter().map(|size| size.or(rest).unwrap_or(1)).collect();
    let wrong = || Error::shape(what(), format!("{shape:?}, or one number for all"), &[numbers.len()]);
    let count = elements(&shape).filter(|count| *count <= 1 << 24).ok_or_else(wrong)?;
    let rows = shape.first().copied().unwrap_or(1);
    let all: Vec<f64> = match numbers.len() {
        1 => vec![numbers[0]; count],
        given if given == count => numbers.to_vec(),
        given if given * rows == count => numbers.repeat(rows),
        _ => return Err(wrong()),
    };
    if element::is_float(kind.element) || kind.element == 0 {
        let floats: Vec<f32> = all.iter().map(|&number| number as f32).collect();
        return Ok(Value::Constant(Tensor::from_vec(floats, shape, &Device::Cpu)?));
    }
    Ok(Value::Integers(Integers::known(shape, all.iter().map(|&number| number as i64).collect())))
}
