//! The graph that a [`SeriesNetwork`] is.

use super::SeriesNetwork;
use crate::{Graph, GraphBuilder, NodeId, Op};
use candle_core::Tensor;
use faithful_core::{Error, Result};
use faithful_tensor::{Activation, Conv, Pool, Recurrent};
use std::collections::HashMap;

impl SeriesNetwork {
    /// The network with these tensors, by the names of [`SeriesNetwork::parameters`]; others may be among them.
    ///
    /// # Errors
    /// [`Error::Format`] lists the tensors that are missing or misshapen.
    pub fn graph(&self, tensors: &HashMap<String, Tensor>) -> Result<Graph> {
        self.check()?;
        let wrong: Vec<String> = self
            .parameters()
            .iter()
            .filter_map(|(name, shape)| match tensors.get(name) {
                None => Some(format!("`{name}` {shape:?} is missing")),
                Some(got) if got.dims() != shape => Some(format!("`{name}` is {:?}, must be {shape:?}", got.dims())),
                Some(_) => None,
            })
            .collect();
        if !wrong.is_empty() {
            return Err(Error::format("weights", format!("they do not fit the network: {}", wrong.join(", "))));
        }
        let tensor = |name: &str| tensors[name].clone();
        let mut builder = GraphBuilder::with_input("series", &[self.sensors, self.window]);
        let like = tensor(&format!("{}output.weight", self.prefix(0)));
        let read = self.with_trends(&mut builder, &like)?;
        let heads: Vec<Head> = (0..self.members)
            .flat_map(|member| (0..self.kernels.len()).map(move |place| (member, place)))
            .map(|(member, place)| Head { name: format!("{}heads.{place}", self.prefix(member)), place, member })
            .collect();
        let maps: Vec<NodeId> = heads.iter().map(|head| self.convolutions(&mut builder, head, read, &tensor)).collect();
        let features = builder.add(Self::TARGET, Op::Concat { axis: 1 }, &maps);
        let said: Vec<NodeId> = heads
            .chunks(self.kernels.len())
            .enumerate()
            .map(|(member, heads)| {
                let prefix = self.prefix(member);
                let states: Vec<NodeId> =
                    heads.iter().map(|head| self.recurrence(&mut builder, head, features, &tensor)).collect();
                let x = builder.add(format!("{prefix}states"), Op::Concat { axis: 1 }, &states);
                let x = builder.add(format!("{prefix}dropout"), Op::Identity, &[x]);
                let x = linear(&mut builder, format!("{prefix}dense"), x, &tensor);
                let x = builder.add(format!("{prefix}dense.relu"), Op::Activation(Activation::Relu), &[x]);
                linear(&mut builder, format!("{prefix}output"), x, &tensor)
            })
            .collect();
        let x = builder.add(Self::MEMBERS, Op::Concat { axis: 1 }, &said);
        let weight = Tensor::full(self.scale / self.members as f32, (1, self.members), like.device())?;
        let mean = Op::Linear { weight: weight.to_dtype(like.dtype())?, bias: None };
        let x = builder.add("rul", mean, &[x]);
        builder.finish(x)
    }

    /// The input, with its exponential means beside it where there are some; constants are like `like`.
    fn with_trends(&self, builder: &mut GraphBuilder, like: &Tensor) -> Result<NodeId> {
        let input = builder.input();
        if self.trends.is_empty() {
            return Ok(input);
        }
        let mut series = vec![input];
        for (place, &share) in self.trends.iter().enumerate() {
            // Column `t` weighs the times up to `t`.
            let mut weights = vec![0.0; self.window * self.window];
            for time in 0..self.window {
                let all: Vec<f32> = (0..=time).map(|from| (1.0 - share).powi((time - from) as i32)).collect();
                let sum: f32 = all.iter().sum();
                for (from, weight) in all.into_iter().enumerate() {
                    weights[from * self.window + time] = weight / sum;
                }
            }
            let weights = Tensor::from_vec(weights, (self.window, self.window), like.device())?;
            let weights = Op::Constant(weights.to_dtype(like.dtype())?);
            let weights = builder.add(format!("trend{place}.weights"), weights, &[]);
            series.push(builder.add(format!("trend{place}"), Op::MatMul, &[input, weights]));
        }
        Ok(builder.add("trends", Op::Concat { axis: 1 }, &series))
    }

    fn convolutions(
        &self,
        builder: &mut GraphBuilder,
        head: &Head,
        input: NodeId,
        tensor: &dyn Fn(&str) -> Tensor,
    ) -> NodeId {
        let width = self.kernels[head.place] / 2;
        let conv = Conv { padding: [0, width, 0, width], ..Conv::default() };
        (1..=2).fold(input, |x, place| {
            let name = format!("{}.conv{place}", head.name);
            let (weight, bias) = (tensor(&format!("{name}.weight")), tensor(&format!("{name}.bias")));
            let x = builder.add(name, Op::Conv1d { weight, bias: Some(bias), conv }, &[x]);
            builder.add(format!("{}.relu{place}", head.name), Op::Activation(Activation::Relu), &[x])
        })
    }

    /// From all heads' features to one head's states of all times: what declines slowly shows in their differences.
    fn recurrence(
        &self,
        builder: &mut GraphBuilder,
        head: &Head,
        features: NodeId,
        tensor: &dyn Fn(&str) -> Tensor,
    ) -> NodeId {
        let mut add =
            |name: String, op: Op, inputs: &[NodeId]| builder.add(format!("{}.{name}", head.name), op, inputs);
        let first = (head.member * self.kernels.len() + head.place) * self.channels;
        let own = Op::Slice { axis: 1, start: first, end: Some(first + self.channels), step: 1 };
        let mut x = add("features".into(), own, &[features]);
        if self.pool > 1 {
            let pool = Pool { kernel: [1, self.pool], stride: [1, self.pool], ..Pool::default() };
            x = add("flat".into(), Op::Unsqueeze(vec![2]), &[x]);
            x = add("pool".into(), Op::MaxPool2d(pool), &[x]);
            x = add("series".into(), Op::Squeeze(vec![2]), &[x]);
        }
        x = add("steps".into(), Op::Transpose(vec![0, 2, 1]), &[x]);
        for layer in 0..self.layers {
            x = add(format!("dropout{layer}"), Op::Identity, &[x]);
            let mut ways = Vec::new();
            for (direction, way) in self.directions() {
                let of = |part: &str| tensor(&format!("{}.lstm.{part}_l{layer}{way}", head.name));
                let weights = Recurrent {
                    input_weight: of("weight_ih"),
                    hidden_weight: of("weight_hh"),
                    input_bias: Some(of("bias_ih")),
                    hidden_bias: None,
                };
                let name = format!("lstm.l{layer}{way}");
                ways.push(add(name, Op::Lstm { weights, direction: *direction }, &[x]));
            }
            x = add(format!("lstm.l{layer}.states"), Op::Concat { axis: 2 }, &ways);
        }
        add("states".into(), Op::Flatten { axis: 1 }, &[x])
    }
}

/// A head of a member.
struct Head {
    name: String,
    /// Which of its member's heads it is.
    place: usize,
    member: usize,
}

fn linear(builder: &mut GraphBuilder, name: String, x: NodeId, tensor: &dyn Fn(&str) -> Tensor) -> NodeId {
    let (weight, bias) = (tensor(&format!("{name}.weight")), tensor(&format!("{name}.bias")));
    builder.add(name, Op::Linear { weight, bias: Some(bias) }, &[x])
}
