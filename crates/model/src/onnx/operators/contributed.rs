//! ONNX Runtime's own operators (`com.microsoft`), as its optimiser and its quantiser write them.

use super::{Operator, attention, normalization, quantised, scalar};
use crate::Op;
use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::Value;
use faithful_core::Result;
use faithful_tensor::{Activation, Binary};

/// The reader of the operator called `name`; `None` where it is not supported.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "FusedConv" => fused_conv,
        "FusedGemm" => fused_gemm,
        "FusedMatMul" => fused_matmul,
        "Gelu" | "BiasGelu" | "FastGelu" => gelu,
        "QuickGelu" => super::activation::swish,
        "BiasAdd" => bias_add,
        "BiasSoftmax" => bias_softmax,
        "LayerNormalization" => normalization::layer,
        "SimplifiedLayerNormalization" => normalization::root_mean_square,
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => skip_layer,
        "MultiHeadAttention" => attention::multi_head,
        "Attention" => attention::packed,
        "RotaryEmbedding" => return None,
        "QuantizeLinear" => quantised::quantize,
        "DequantizeLinear" => quantised::dequantize,
        "QLinearConv"
        | "QLinearMatMul"
        | "QLinearAdd"
        | "QLinearMul"
        | "QLinearSigmoid"
        | "QLinearLeakyRelu"
        | "QLinearSoftmax"
        | "QLinearAveragePool"
        | "QLinearGlobalAveragePool"
        | "QLinearConcat"
        | "QGemm" => quantised::linear,
        "MatMulIntegerToFloat" | "DynamicQuantizeMatMul" => quantised::product_to_float,
        "DynamicQuantizeLSTM" => quantised::lstm,
        "Trilu" => super::triangle::triangle,
        _ => return None,
    })
}

/// The activation that `activation` names, with its parameters in the order of its attributes.
fn fused(call: &Call, parameters: &[f32]) -> Result<Option<Op>> {
    let number = |place: usize, default: f64| parameters.get(place).map_or(default, |&value| f64::from(value));
    let kind = match call.text("activation", "").as_str() {
        "" => return Ok(None),
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu { slope: number(0, 0.01) },
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "HardSigmoid" => Activation::HardSigmoid { alpha: number(0, 0.2), beta: number(1, 0.5) },
        "HardSwish" => Activation::HardSwish,
        "Elu" => Activation::Elu { alpha: number(0, 1.0) },
        "Softplus" => Activation::Softplus,
        "Softsign" => Activation::Softsign,
        "Clip" => {
            let (low, high) = (number(0, f64::NEG_INFINITY), number(1, f64::INFINITY));
            if low > high || low.is_nan() || high.is_nan() {
                return Err(call.damaged(format!("bounds {low} and {high}")));
            }
            Activation::Clip { low, high }
        }
        other => return Err(call.unsupported(format!("the activation {other}"))),
    };
    Ok(Some(Op::Activation(kind)))
}

/// `activation(y)` under the operator's name, `y` made by `make` under the name it is given.
fn activated(
    importer: &mut Importer,
    call: &Call,
    parameters: &[f32],
    make: impl FnOnce(&mut Importer, &str) -> Result<Value>,
) -> Result<Vec<Value>> {
    let Some(activation) = fused(call, parameters)? else { return Ok(vec![make(importer, &call.name)?]) };
    let y = make(importer, &format!("{}/{}", call.name, call.node.op_type))?;
    Ok(vec![importer.emit(&call.name, activation, &[y])?])
}

fn fused_conv(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let operands: Vec<Value> = (0..3).map(|index| call.operand(index)).collect();
    let parameters = call.floats("activation_params").unwrap_or_default();
    activated(importer, call, parameters, |importer, name| match call.operand(3) {
        Value::Absent => super::run(importer, call, "Conv", name, operands),
        sum => {
            let y = super::run(importer, call, "Conv", &format!("{}/conv", call.name), operands)?;
            importer.emit(name, Op::Binary(Binary::Add), &[y, sum])
        }
    })
}

fn fused_gemm(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let named = ["activation_alpha", "activation_beta", "activation_gamma"];
    let parameters: Vec<f32> =
        named.iter().map_while(|name| call.optional_float(name)).map(|value| value as f32).collect();
    let operands = call.operands.clone();
    activated(importer, call, &parameters, |importer, name| super::run(importer, call, "Gemm", name, operands))
}

fn fused_matmul(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if call.integer("transBatchA", 0) != 0 || call.integer("transBatchB", 0) != 0 {
        return Err(call.unsupported("batches behind the rows"));
    }
    let mut side = |index: usize, attribute: &str| -> Result<Value> {
        let x = call.required(index)?;
        let rank = importer.rank(&x)?;
        if call.integer(attribute, 0) == 0 || rank < 2 {
            return Ok(x);
        }
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 2, rank - 1);
        importer.emit(&format!("{}/turned-{index}", call.name), Op::Transpose(order), &[x])
    };
    let (a, b) = (side(0, "transA")?, side(1, "transB")?);
    let alpha = call.float("alpha", 1.0);
    if alpha == 1.0 {
        return Ok(vec![super::run(importer, call, "MatMul", &call.name, vec![a, b])?]);
    }
    let product = super::run(importer, call, "MatMul", &format!("{}/product", call.name), vec![a, b])?;
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Mul), &[product, scalar(alpha)?])?])
}

/// With a bias on the last axis or without; `FastGelu` is the approximation by tanh.
fn gelu(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let fast = call.node.op_type == "FastGelu";
    let mut x = call.required(0)?;
    if !matches!(call.operand(1), Value::Absent) {
        x = importer.emit(&format!("{}/bias", call.name), Op::Binary(Binary::Add), &[x, call.operand(1)])?;
    }
    let kind = if fast { Activation::GeluTanh } else { Activation::Gelu };
    Ok(vec![importer.emit(&call.name, Op::Activation(kind), &[x])?])
}

fn bias_add(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let name = format!("{}/bias", call.name);
    let x = importer.emit(&name, Op::Binary(Binary::Add), &[call.required(0)?, call.required(1)?])?;
    Ok(vec![importer.emit(&call.name, Op::Binary(Binary::Add), &[x, call.required(2)?])?])
}

fn bias_softmax(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    if call.integer("is_inner_broadcast", 1) == 0 {
        return Err(call.unsupported("a bias that is repeated from outside"));
    }
    let (x, bias) = (call.required(0)?, call.required(1)?);
    let rank = importer.rank(&x)?;
    let axis = call.axis(call.integer("axis", 1), rank)?;
    if axis + 1 != rank {
        return Err(call.unsupported("several axes"));
    }
    let sum = importer.emit(&format!("{}/bias", call.name), Op::Binary(Binary::Add), &[x, bias])?;
    Ok(vec![importer.emit(&call.name, Op::Softmax { axis, log: false }, &[sum])?])
}

/// The normalisation of a sum, which is its fourth output.
fn skip_layer(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let simplified = call.node.op_type == "SkipSimplifiedLayerNormalization";
    let name = |part: &str| format!("{}/{part}", call.name);
    let mut sum = importer.emit(&name("sum"), Op::Binary(Binary::Add), &[call.required(0)?, call.required(1)?])?;
    let bias = call.operand(if simplified { 3 } else { 4 });
    if !matches!(bias, Value::Absent) {
        sum = importer.emit(&name("biased"), Op::Binary(Binary::Add), &[sum, bias])?;
    }
    let operands = if simplified {
        vec![sum.clone(), call.required(2)?]
    } else {
        vec![sum.clone(), call.required(2)?, call.operand(3)]
    };
    // Where the file says no epsilon, this operator's is smaller than the normalisation's.
    let mut node = call.node.clone();
    if call.optional_float("epsilon").is_none() {
        let own = crate::onnx::proto::Attribute { name: "epsilon".into(), f: 1e-12, ..Default::default() };
        node.attribute.push(own);
    }
    node.attribute.retain(|own| own.name != "axis");
    let again = Call { node: &node, name: call.name.clone(), operands, read: vec![true], opset: call.opset };
    let y = if simplified {
        normalization::root_mean_square(importer, &again)?
    } else {
        normalization::layer(importer, &again)?
    };
    let y = y.into_iter().next().ok_or_else(|| call.damaged("no operand"))?;
    Ok(vec![y, Value::Absent, Value::Absent, sum])
}
