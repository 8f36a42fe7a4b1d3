//! Boxes that count from the cells of grids, as YOLOX's usual export leaves them.

use crate::head::Head;
use crate::{Graph, NodeId, Op};
use candle_core::{Device, Tensor};
use faithful_core::Result;
use faithful_tensor::{Activation, Binary, Unary};

/// The pixels between two cells of each grid, one after the other.
const STRIDES: [usize; 3] = [8, 16, 32];

/// Whether the boxes of the output `dense` count from the cells of grids: there is one per cell, with what a convolution gives for it.
pub(crate) fn count_from_cells(graph: &Graph, dense: NodeId, boxes: usize) -> bool {
    let [_, height, width] = *graph.nominal_input() else { return false };
    grids(height, width).iter().map(|[rows, columns, _]| rows * columns).sum::<usize>() == boxes && is_raw(graph, dense)
}

/// Rows, columns and stride of each grid.
fn grids(height: usize, width: usize) -> [[usize; 3]; 3] {
    STRIDES.map(|stride| [height / stride, width / stride, stride])
}

/// Whether only convolutions, what moves their values, and sigmoids make a node.
fn is_raw(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    match node.op {
        Op::Conv2d { .. } => true,
        Op::Transpose(_) | Op::Concat { .. } | Op::Reshape(_) | Op::Flatten { .. } | Op::Identity => {
            !node.inputs.is_empty() && node.inputs.iter().all(|&input| is_raw(graph, input))
        }
        Op::Activation(Activation::Sigmoid) => node.inputs.iter().all(|&input| is_raw(graph, input)),
        _ => false,
    }
}

/// Such boxes `(N, M, 4)` with the middle and the size in the input's pixels: the middle is `(cell + shift) * stride`, the size
/// `exp(size) * stride` (Ge et al. 2021, the authors' `decode_outputs`).
pub(crate) fn in_pixels(head: &mut Head<'_>, boxes: NodeId) -> Result<NodeId> {
    let [_, height, width] = *head.graph.nominal_input() else { return Ok(boxes) };
    let (mut cells, mut strides) = (Vec::new(), Vec::new());
    for [rows, columns, stride] in grids(height, width) {
        for place in 0..rows * columns {
            cells.extend([(place % columns * stride) as f64, (place / columns * stride) as f64]);
            strides.extend([stride as f64; 2]);
        }
    }
    let graph = head.graph;
    let mut constant = |name: &str, values: Vec<f64>| -> Result<NodeId> {
        let count = values.len() / 2;
        let tensor = Tensor::from_vec(values, (count, 2), &Device::Cpu)?;
        Ok(head.add(name, Op::Constant(tensor.to_dtype(graph.dtype)?.to_device(&graph.device)?), &[]))
    };
    let (cells, strides) = (constant("cells", cells)?, constant("strides", strides)?);
    let shift = head.columns("shift", boxes, 0, 2);
    let shift = head.add("scaled", Op::Binary(Binary::Mul), &[shift, strides]);
    let middle = head.add("middle", Op::Binary(Binary::Add), &[shift, cells]);
    let size = head.columns("size", boxes, 2, 4);
    let size = head.add("factor", Op::Unary(Unary::Exp), &[size]);
    let size = head.add("extent", Op::Binary(Binary::Mul), &[size, strides]);
    Ok(head.add("pixels", Op::Concat { axis: 2 }, &[middle, size]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::Said;
    use crate::{Dim, GraphBuilder};
    use candle_core::DType;
    use faithful_core::Network;
    use faithful_tensor::Conv;

    /// A detection of two classes on 32 x 64 pixels, which gives every cell the same numbers; `decoded` moves the boxes already.
    fn detection(decoded: bool) -> Graph {
        let mut b = GraphBuilder::new(&[3, 32, 64]);
        let numbers = [0.25_f32, 0.5, 2_f32.ln(), 0.0, 1.0, 2.0, -1.0];
        let mut grids = Vec::new();
        for stride in STRIDES {
            let weight = Tensor::zeros((7, 3, stride, stride), DType::F32, &Device::Cpu).unwrap();
            let bias = Some(Tensor::new(&numbers, &Device::Cpu).unwrap());
            let conv = Conv { stride: [stride; 2], ..Conv::default() };
            let cells = b.add(format!("grid{stride}"), Op::Conv2d { weight, bias, conv }, &[b.input()]);
            let flat = Op::Reshape(vec![Dim::Batch, Dim::Fixed(7), Dim::Rest]);
            grids.push(b.add(format!("flat{stride}"), flat, &[cells]));
        }
        let all = b.add("all", Op::Concat { axis: 2 }, &grids);
        let mut last = b.add("rows", Op::Transpose(vec![0, 2, 1]), &[all]);
        if decoded {
            last = b.add("moved", Op::Binary(Binary::Mul), &[last, last]);
        }
        b.finish(last).unwrap()
    }

    #[test]
    fn boxes_are_brought_from_cells_to_pixels() {
        let labels = ["one".to_owned(), "two".to_owned()];
        let said = Said { labels: &labels, ..Said::default() };
        let found = detection(false).as_classifier(said, None).unwrap().unwrap();
        assert!(found.note.is_some_and(|note| note.contains("YOLOX")));
        let input = Tensor::zeros((1, 3, 32, 64), DType::F32, &Device::Cpu).unwrap();
        let boxes: Vec<f32> = found.dense.graph.evaluate(&input, &[]).unwrap().0.get(0).unwrap().to_vec1().unwrap();
        // 4 x 8, 2 x 4 and 1 x 2 cells: the second of the second row; the last but one grid's last; the last of all.
        for (place, stride, column, row) in [(9, 8.0, 1.0, 1.0), (39, 16.0, 3.0, 1.0), (41, 32.0, 1.0, 0.0)] {
            let wanted = [(column + 0.25) * stride, (row + 0.5) * stride, 2.0 * stride, stride];
            let found = &boxes[4 * place..4 * place + 4];
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{place}: {found:?} for {wanted:?}");
        }
        let decoded = detection(true).as_classifier(said, None).unwrap().unwrap();
        assert_eq!(decoded.note, None);
        let said = Said { boxes: Some(crate::BoxCoding::from_name("cxcywh").unwrap()), ..said };
        assert_eq!(detection(false).as_classifier(said, None).unwrap().unwrap().note, None);
    }
}
