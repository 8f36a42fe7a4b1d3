//! Operators that pick values by their places.

use super::attribute::integer;
use super::symbol::{Extent, Symbol, TRIALS};
use super::writer::OnnxWriter;
use crate::onnx::proto;
use crate::onnx::tensor::element;
use faithful_core::Result;

impl OnnxWriter {
    /// The rows of axis `axis` at `index`.
    pub(super) fn gather(&mut self, x: &Symbol, axis: usize, index: &[usize]) -> Symbol {
        let mut shape = x.shape.clone();
        shape[axis] = [index.len(); TRIALS];
        let numbers: Vec<i64> = index.iter().map(|&place| place as i64).collect();
        let index = self.list(&numbers);
        self.node("Gather", &[x, &index], vec![integer("axis", axis as i64)], shape)
    }

    /// `ArgMax`, or `ArgMin` where `lowest` says so.
    pub(crate) fn place_of_highest(
        &mut self,
        x: &Symbol,
        axis: usize,
        [keep, last, lowest]: [bool; 3],
        shape: &[Extent],
    ) -> Symbol {
        let attributes = vec![
            integer("axis", axis as i64),
            integer("keepdims", i64::from(keep)),
            integer("select_last_index", i64::from(last)),
        ];
        self.node(if lowest { "ArgMin" } else { "ArgMax" }, &[x], attributes, shape.to_vec())
    }

    /// 1 at the first highest place of `axis`, which has `size` places, and 0 elsewhere.
    ///
    /// # Errors
    /// None are expected.
    pub fn first_highest(&mut self, x: &Symbol, axis: usize, size: usize) -> Result<Symbol> {
        let mut shape = x.shape.clone();
        shape[axis] = [1; TRIALS];
        let place = self.place_of_highest(x, axis, [true, false, false], &shape);
        self.one_hot(&place, axis, size)
    }

    /// 1 where `axis`, which has `size` places, has the number `place`, and 0 elsewhere; `place` has size 1 there.
    ///
    /// # Errors
    /// None are expected.
    pub fn one_hot(&mut self, place: &Symbol, axis: usize, size: usize) -> Result<Symbol> {
        let mut dims = vec![1; place.shape.len()];
        dims[axis] = size;
        let all: Vec<i64> = (0..size as i64).collect();
        let all = self.whole(&dims, &all);
        let hits = self.binary("Equal", place, &all)?;
        Ok(self.as_number(&hits))
    }

    /// `GatherElements`: what `x` has along `axis` at `places`, numbers of the result's shape.
    pub(crate) fn gather_elements(&mut self, x: &Symbol, places: &Symbol, axis: usize) -> Symbol {
        let whole = self.cast(places, element::INT64);
        self.node("GatherElements", &[x, &whole], vec![integer("axis", axis as i64)], places.shape().to_vec())
    }

    /// The sum of what `g` holds for each place of `x` along `axis`: the gradient of [`gather_elements`](Self::gather_elements).
    ///
    /// # Errors
    /// Where the axis has no known size.
    pub(crate) fn scatter_sum(&mut self, x: &Symbol, places: &Symbol, g: &Symbol, axis: usize) -> Result<Symbol> {
        let size = self.size(x.shape()[axis])?;
        let mut apart = places.shape().to_vec();
        apart.insert(axis + 1, [1; TRIALS]);
        let places = self.reshape(places, &apart)?;
        let (zero, whole) = (self.number(0.0), self.number(size as f64));
        // Negative places count from the end.
        let negative = self.binary("Less", &places, &zero)?;
        let counted = self.add(&places, &whole)?;
        let places = self.choose(&negative, &counted, &places)?;
        let places = self.cast(&places, element::INT64);
        let hot = self.one_hot(&places, axis + 1, size)?;
        let g = self.reshape(g, &apart)?;
        let sent = self.mul(&g, &hot)?;
        Ok(self.reduce("ReduceSum", &sent, &[axis], false))
    }

    /// The places that `TopK` gives, sorted.
    pub(crate) fn places_of_best(
        &mut self,
        x: &Symbol,
        axis: usize,
        count: usize,
        lowest: bool,
        shape: &[Extent],
    ) -> Symbol {
        let count = self.list(&[count as i64]);
        let attributes = vec![integer("axis", axis as i64), integer("largest", i64::from(!lowest))];
        let name = self.name_of("TopK");
        let [values, places] = ["values", "places"].map(|output| self.unique(&format!("{name}/{output}")));
        self.nodes.push(proto::Node {
            input: vec![x.name().to_owned(), count.name().to_owned()],
            output: vec![values, places.clone()],
            name,
            op_type: "TopK".into(),
            attribute: attributes,
            domain: String::new(),
            metadata_props: Vec::new(),
        });
        Symbol { name: places, shape: shape.to_vec() }
    }
}
