//! Where the places of a layer's map lie on the input: strides, windows and paddings, followed from the input on.

use crate::op::ResizeTo;
use crate::{Graph, Node, NodeId, Op};
use faithful_core::Grid;
use faithful_tensor::CoordinateRule;

/// One axis of a value along one axis of the input: the centre of place `i` is `first + stride * i` pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    /// 0 down, 1 across.
    of: usize,
    first: f64,
    stride: f64,
}

impl Axis {
    /// After windows of `kernel` taps, `dilation` apart, of which the first begins `padding` before the input.
    fn windowed(self, kernel: usize, dilation: usize, stride: usize, padding: usize) -> Self {
        let centre = (dilation * kernel.saturating_sub(1)) as f64 / 2.0 - padding as f64;
        Self { first: self.first + self.stride * centre, stride: self.stride * stride as f64, ..self }
    }

    /// Where place `i` is the place `start + step * i` of before.
    fn moved(self, start: f64, step: f64) -> Self {
        Self { first: self.first + self.stride * start, stride: self.stride * step, ..self }
    }
}

/// The axes of a value, the batch included; none where an axis is no axis of the input.
type Axes = Vec<Option<Axis>>;

/// The grid of a node's value `(N, C, h, w)`, for a network of images; none where an operation on the way moves places in a way
/// that is no grid.
pub(crate) fn of(graph: &Graph, node: NodeId) -> Option<Grid> {
    let dims = graph.input_shape.len();
    if dims != 3 || node.0 >= graph.nodes.len() {
        return None;
    }
    let start = |of: usize| Some(Axis { of, first: 0.0, stride: 1.0 });
    let mut all: Vec<Axes> = Vec::with_capacity(node.0 + 1);
    for (index, one) in graph.nodes[..=node.0].iter().enumerate() {
        let axes = match one.op {
            Op::Input => vec![None, None, start(0), start(1)],
            Op::Constant(_) => Vec::new(),
            _ => behind(graph, one, index, &all).unwrap_or_default(),
        };
        all.push(axes);
    }
    match all.pop()?.as_slice() {
        [_, _, Some(down), Some(across)] if (down.of, across.of) == (0, 1) => {
            Some(Grid { first: [down.first, across.first], stride: [down.stride, across.stride] })
        }
        _ => None,
    }
}

/// The axes of a node's value from those of its operands.
fn behind(graph: &Graph, node: &Node, index: usize, all: &[Axes]) -> Option<Axes> {
    let operand = all.get(node.inputs.first()?.0)?;
    let spatial = |change: &dyn Fn(usize, Axis) -> Axis| -> Option<Axes> {
        let [batch, channels, down, across] = *operand.as_slice() else { return None };
        Some(vec![batch, channels, down.map(|axis| change(0, axis)), across.map(|axis| change(1, axis))])
    };
    let shape = |place: usize| graph.layers.get(place).map(|layer| layer.shape.as_slice());
    match &node.op {
        Op::Conv2d { weight, conv, .. } => {
            let taps = [weight.dim(2).ok()?, weight.dim(3).ok()?];
            spatial(&|axis, of| of.windowed(taps[axis], conv.dilation[axis], conv.stride[axis], conv.padding[axis]))
        }
        Op::MaxPool2d(pool) | Op::AvgPool2d(pool) => spatial(&|axis, of| {
            of.windowed(pool.kernel[axis], pool.dilation[axis], pool.stride[axis], pool.padding[axis])
        }),
        Op::ConvTranspose2d { weight, conv, .. } => {
            let taps = [weight.dim(2).ok()?, weight.dim(3).ok()?];
            spatial(&|axis, of| {
                let centre = (conv.dilation[axis] * taps[axis].saturating_sub(1)) as f64 / 2.0;
                let step = 1.0 / conv.stride[axis].max(1) as f64;
                of.moved((conv.padding[axis] as f64 - centre) * step, step)
            })
        }
        Op::AdaptiveAvgPool2d(size) | Op::AdaptiveMaxPool2d(size) => {
            let &[_, height, width] = shape(node.inputs[0].0)? else { return None };
            let ratios = [height as f64 / size[0].max(1) as f64, width as f64 / size[1].max(1) as f64];
            spatial(&|axis, of| of.moved((ratios[axis] - 1.0) / 2.0, ratios[axis]))
        }
        Op::Resize { size, rules } => {
            let (&[_, height, width], &[_, high, wide]) = (shape(node.inputs[0].0)?, shape(index)?) else {
                return None;
            };
            let ratios = match size {
                ResizeTo::Scale(scale) => scale.map(|scale| 1.0 / scale),
                ResizeTo::Size(_) => [height as f64 / high.max(1) as f64, width as f64 / wide.max(1) as f64],
            };
            match rules.coordinates {
                CoordinateRule::HalfPixel => spatial(&|axis, of| of.moved((ratios[axis] - 1.0) / 2.0, ratios[axis])),
                CoordinateRule::Asymmetric => spatial(&|axis, of| of.moved(0.0, ratios[axis])),
                _ => None,
            }
        }
        Op::Pad { pads, .. } => {
            let moved = operand.iter().zip(pads).map(|(axis, pad)| axis.map(|axis| axis.moved(-(pad[0] as f64), 1.0)));
            (pads.len() == operand.len()).then(|| moved.collect())
        }
        Op::Slice { axis, start, step, .. } => {
            let mut axes = operand.clone();
            let place = axes.get_mut(*axis)?;
            *place = place.filter(|_| *step > 0).map(|axis| axis.moved(*start as f64, *step as f64));
            Some(axes)
        }
        Op::Transpose(order) => order.iter().map(|&axis| operand.get(axis).copied()).collect(),
        // A sum or a concatenation of branches lies where they lie on average; they differ by padding alone.
        Op::Concat { .. } | Op::Binary(_) => together(node, index, all, graph),
        // Whatever keeps its operand's shape works place by place, or leaves places where they are.
        _ => (shape(index)? == shape(node.inputs[0].0)?).then(|| operand.clone()),
    }
}

/// The mean of the operands' axes; none of an axis on which their strides differ.
fn together(node: &Node, index: usize, all: &[Axes], graph: &Graph) -> Option<Axes> {
    let rank = graph.layers.get(index)?.shape.len() + 1;
    // A constant or a factor per channel has no axes of the input.
    let full = |input: &&NodeId| all.get(input.0).is_some_and(|axes| axes.len() == rank);
    let operands: Vec<&Axes> = node.inputs.iter().filter(full).filter_map(|input| all.get(input.0)).collect();
    let one = |place: usize| -> Option<Axis> {
        let known: Vec<Axis> = operands.iter().filter_map(|axes| axes[place]).collect();
        let first = known.first()?;
        let alike = known.iter().all(|axis| axis.of == first.of && axis.stride == first.stride);
        let mean = known.iter().map(|axis| axis.first).sum::<f64>() / known.len() as f64;
        alike.then_some(Axis { first: mean, ..*first })
    };
    (!operands.is_empty()).then(|| (0..rank).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GraphBuilder;
    use candle_core::{DType, Device, Tensor};
    use faithful_core::{LayerId, Network};
    use faithful_tensor::{Activation, Conv, Pool};

    fn convolution(stride: usize, padding: [usize; 4]) -> Op {
        let weight = Tensor::ones((1, 1, 3, 3), DType::F32, &Device::Cpu).unwrap();
        Op::Conv2d { weight, bias: None, conv: Conv { stride: [stride; 2], padding, ..Conv::default() } }
    }

    /// The centre of the pixels on which a place depends, found by changing pixels one at a time.
    fn seen(graph: &Graph, layer: LayerId, place: [usize; 2]) -> [f64; 2] {
        let &[_, height, width] = graph.nominal_input() else { panic!("an image") };
        let value = |input: &Tensor| {
            let map = graph.activations(input, &[layer]).unwrap().remove(0);
            map.to_dtype(DType::F64).unwrap().squeeze(0).unwrap().squeeze(0).unwrap().to_vec2::<f64>().unwrap()
                [place[0]][place[1]]
        };
        let base = Tensor::ones((1, 1, height, width), DType::F32, &Device::Cpu).unwrap();
        let before = value(&base);
        let (mut low, mut high) = ([usize::MAX; 2], [0; 2]);
        for row in 0..height {
            for column in 0..width {
                let mut pixels = vec![1f32; height * width];
                pixels[row * width + column] = 9.0;
                let changed = Tensor::from_vec(pixels, (1, 1, height, width), &Device::Cpu).unwrap();
                if (value(&changed) - before).abs() > 1e-6 {
                    for (axis, at) in [row, column].into_iter().enumerate() {
                        low[axis] = low[axis].min(at);
                        high[axis] = high[axis].max(at);
                    }
                }
            }
        }
        [0, 1].map(|axis: usize| (low[axis] + high[axis]) as f64 / 2.0)
    }

    #[test]
    fn the_grid_is_what_the_places_see() {
        let mut builder = GraphBuilder::new(&[1, 29, 33]);
        let x = builder.input();
        let a = builder.add("valid", convolution(2, [0; 4]), &[x]);
        let a = builder.add("relu", Op::Activation(Activation::Relu), &[a]);
        // Unlike padding on both sides, as TensorFlow pads.
        let b = builder.add("uneven", convolution(2, [0, 0, 1, 1]), &[a]);
        let pool = Pool { kernel: [2, 2], stride: [1, 1], ..Pool::default() };
        let c = builder.add("pool", Op::AvgPool2d(pool), &[b]);
        let d = builder.add("same", convolution(1, [1; 4]), &[c]);
        let flat = builder.add("flat", Op::Flatten { axis: 1 }, &[d]);
        let graph = builder.finish(flat).unwrap();
        let layer = |name: &str| graph.layer(name).unwrap();
        assert_eq!(graph.grid(layer("valid")), Some(Grid { first: [1.0; 2], stride: [2.0; 2] }));
        assert_eq!(graph.grid(layer("uneven")), Some(Grid { first: [3.0; 2], stride: [4.0; 2] }));
        assert_eq!(graph.grid(layer("same")), Some(Grid { first: [5.0; 2], stride: [4.0; 2] }));
        assert_eq!(graph.grid(layer("flat")), None);
        for name in ["valid", "relu", "uneven", "pool", "same"] {
            let grid = graph.grid(layer(name)).unwrap();
            let centre = [0, 1].map(|axis: usize| grid.first[axis] + 2.0 * grid.stride[axis]);
            assert_eq!(seen(&graph, layer(name), [2, 2]), centre, "{name}");
        }
    }

    #[test]
    fn branches_lie_where_they_lie_on_average() {
        let mut builder = GraphBuilder::new(&[1, 16, 16]);
        let x = builder.input();
        let a = builder.add("symmetric", convolution(2, [1; 4]), &[x]);
        let b = builder.add("uneven", convolution(2, [0, 0, 1, 1]), &[x]);
        let both = builder.add("both", Op::Concat { axis: 1 }, &[a, b]);
        let graph = builder.finish(both).unwrap();
        let grid = |name: &str| graph.grid(graph.layer(name).unwrap()).unwrap();
        assert_eq!((grid("symmetric").first, grid("uneven").first, grid("both").first), ([0.0; 2], [1.0; 2], [0.5; 2]));
    }
}
