//! Segmentation and detection networks in one order of outputs, whatever their file's: what a region or a box is read from.

use crate::head::Head;
use crate::{Dim, Graph, NodeId, Op};
use faithful_core::{Error, LayerId, Network, Probabilities, Result, suggest};
use faithful_tensor::{Activation, Binary, Unary};

/// A segmentation or a detection network, whose outputs `(N, K)` lie as [`DenseForm`] says.
#[derive(Clone, Debug)]
pub struct Dense {
    /// The network.
    pub graph: Graph,
    /// What its outputs are.
    pub form: DenseForm,
    /// The layer that has a class row per place: `(N, K, h, w)` or `(N, M, K)`.
    classes: LayerId,
}

/// What the outputs of a [`Dense`] network are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenseForm {
    /// A logit per class and place: `(K, h, w)`.
    Segmentation {
        /// How many classes.
        classes: usize,
        /// How logits become probabilities.
        probabilities: Probabilities,
    },
    /// The boxes `(M, 4)`; the log-odds of each class at each box `(M, K)`; and where the network says apart whether there is
    /// anything, the log-odds of each class alone `(M, K)` and those of anything `(M, 1)`.
    Detection {
        /// How many classes, the background not among them.
        classes: usize,
        /// Whether the network says apart whether there is anything.
        objectness: bool,
        /// What the four numbers of a box are.
        coding: BoxCoding,
    },
}

/// What the four numbers of a box are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxCoding {
    /// Their order.
    pub order: BoxOrder,
    /// Whether they are shares of the input's width and height; otherwise they are its pixels.
    pub normalised: bool,
}

/// The order of the four numbers of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxOrder {
    /// Left, top, right, bottom.
    Corners,
    /// Top, left, bottom, right, as `TensorFlow` has them.
    CornersDown,
    /// The middle's column and row, width, height.
    Centre,
}

impl BoxCoding {
    /// Every coding with its name in configuration files.
    pub const ALL: [(&'static str, Self); 6] = [
        ("xyxy", Self { order: BoxOrder::Corners, normalised: false }),
        ("yxyx", Self { order: BoxOrder::CornersDown, normalised: false }),
        ("cxcywh", Self { order: BoxOrder::Centre, normalised: false }),
        ("xyxyn", Self { order: BoxOrder::Corners, normalised: true }),
        ("yxyxn", Self { order: BoxOrder::CornersDown, normalised: true }),
        ("cxcywhn", Self { order: BoxOrder::Centre, normalised: true }),
    ];

    /// The coding called `name`; those that end in `n` are normalised.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, coding)| *coding).ok_or_else(|| {
            let suggestions = suggest(name, Self::ALL.map(|(known, _)| known));
            Error::UnknownName { kind: "boxes", name: name.into(), suggestions }
        })
    }

    /// Left, top, right and bottom of a box, in pixels of an input of `[height, width]`.
    ///
    /// ```
    /// use faithful_model::BoxCoding;
    /// let coding = BoxCoding::from_name("cxcywhn")?;
    /// assert_eq!(coding.corners([0.5, 0.5, 0.25, 0.5], [100, 200]), [75.0, 25.0, 125.0, 75.0]);
    /// # Ok::<(), faithful_core::Error>(())
    /// ```
    pub fn corners(self, [a, b, c, d]: [f64; 4], [height, width]: [usize; 2]) -> [f64; 4] {
        let [left, top, right, bottom] = match self.order {
            BoxOrder::Corners => [a, b, c, d],
            BoxOrder::CornersDown => [b, a, d, c],
            BoxOrder::Centre => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
        };
        let [x, y] = if self.normalised { [width as f64, height as f64] } else { [1.0, 1.0] };
        [left * x, top * y, right * x, bottom * y]
    }

    /// How the four numbers make one side of a box, in the unit that they have: `left`, `top`, `right` or `bottom` by 0 to 3.
    pub fn side(self, side: usize) -> Vec<(usize, f64)> {
        match (self.order, side) {
            (BoxOrder::Corners, side) => vec![(side, 1.0)],
            (BoxOrder::CornersDown, side) => vec![([1, 0, 3, 2][side % 4], 1.0)],
            (BoxOrder::Centre, side) => {
                let axis = side % 2;
                vec![(axis, 1.0), (axis + 2, if side < 2 { -0.5 } else { 0.5 })]
            }
        }
    }
}

impl Dense {
    /// The rows and columns where it gives classes, for an input of shape `(…)`: of a detection, `[M, 1]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for an input that the network does not take.
    pub fn places(&self, input: &[usize]) -> Result<[usize; 2]> {
        let shape: Vec<usize> = std::iter::once(1).chain(input.iter().copied()).collect();
        match (self.form, self.graph.shapes(&shape)?[self.classes.0].as_slice()) {
            (DenseForm::Segmentation { .. }, &[_, _, height, width]) => Ok([height, width]),
            (DenseForm::Detection { .. }, &[_, boxes, _]) => Ok([boxes, 1]),
            (_, other) => Err(Error::shape("the network's classes", "those of its usual input", other)),
        }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        match self.form {
            DenseForm::Segmentation { classes, .. } | DenseForm::Detection { classes, .. } => classes,
        }
    }

    /// The network of `head`, whose rows are these parts one after the other; `classes` is the part with the classes.
    pub(crate) fn of(mut head: Head<'_>, parts: &[NodeId], classes: NodeId, form: DenseForm) -> Result<Self> {
        let named = head.nodes[classes.0].name.clone();
        let graph = head.graph;
        let rows: Vec<NodeId> = parts.iter().map(|&part| head.add("row", Op::Flatten { axis: 1 }, &[part])).collect();
        let last = if let [one] = *rows { one } else { head.add("rows", Op::Concat { axis: 1 }, &rows) };
        let graph = graph.ending_in(head.nodes, last)?;
        let classes = graph.layer(&named)?;
        Ok(Self { graph, form, classes })
    }
}

/// What a file's classes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// Before a softmax.
    BeforeSoftmax,
    /// Before a sigmoid, or log-odds in another way.
    LogOdds,
    /// Probabilities.
    Probabilities,
}

/// What the user or the JSON beside the file says of a detection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) labels: &'a [String],
    pub(crate) boxes: Option<BoxCoding>,
    pub(crate) background: Option<Background>,
    pub(crate) activation: Option<Probabilities>,
}

/// Which class of a detection is that of no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Background {
    None,
    First,
    Last,
}

impl Background {
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("none", Self::None), ("first", Self::First), ("last", Self::Last)];

    /// The one called `name`.
    pub(crate) fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, one)| *one).ok_or_else(|| {
            let suggestions = suggest(name, Self::ALL.map(|(known, _)| known));
            Error::UnknownName { kind: "background", name: name.into(), suggestions }
        })
    }

    /// The one that labels name.
    pub(crate) fn of_labels(labels: &[String]) -> Option<Self> {
        let is_none = |name: &String| {
            ["background", "__background__", "no object", "no-object"].contains(&name.to_lowercase().as_str())
        };
        if labels.first().is_some_and(is_none) {
            return Some(Self::First);
        }
        labels.last().is_some_and(is_none).then_some(Self::Last)
    }
}

/// The values of which a node's were made by moving them about, and by what they become probabilities: the node itself, where
/// nothing is known.
pub(crate) fn before_activation(graph: &Graph, node: NodeId) -> (NodeId, Vec<Op>, Option<Given>) {
    let (mut at, mut moved, mut cut) = (node, Vec::new(), false);
    loop {
        let here = graph.node(at);
        match &here.op {
            Op::Identity => {}
            Op::Transpose(_) => moved.push(here.op.clone()),
            Op::Slice { .. } => cut = true,
            // Of a softmax that lost its background, the probabilities are known and the logits are not.
            Op::Softmax { .. } if cut => return (node, Vec::new(), Some(Given::Probabilities)),
            Op::Activation(Activation::Sigmoid) if cut => return (node, Vec::new(), Some(Given::Probabilities)),
            Op::Softmax { .. } => {
                moved.reverse();
                return (here.inputs[0], moved, Some(Given::BeforeSoftmax));
            }
            Op::Activation(Activation::Sigmoid) => {
                moved.reverse();
                return (here.inputs[0], moved, Some(Given::LogOdds));
            }
            _ => return (node, Vec::new(), None),
        }
        at = here.inputs[0];
    }
}

impl Head<'_> {
    /// Log-odds `log p - log(1 - p)`, of values `(N, M, K)`. A probability counts as one of 10^-6 to 1 - 10^-6.
    pub(crate) fn log_odds(&mut self, values: NodeId, given: Given) -> Result<NodeId> {
        let (log, probability) = match given {
            Given::LogOdds => return Ok(values),
            Given::BeforeSoftmax => {
                let log = self.add("log-probabilities", Op::Softmax { axis: 2, log: true }, &[values]);
                (log, self.add("probabilities", Op::Softmax { axis: 2, log: false }, &[values]))
            }
            Given::Probabilities => {
                let inside = self.clipped("inside", values);
                (self.add("log-probabilities", Op::Unary(Unary::Log), &[inside]), inside)
            }
        };
        let one = self.constant("one", 1.0)?;
        let rest = self.add("rest", Op::Binary(Binary::Sub), &[one, probability]);
        let rest = self.clipped("rest/inside", rest);
        let rest = self.add("rest/log", Op::Unary(Unary::Log), &[rest]);
        Ok(self.add("log-odds", Op::Binary(Binary::Sub), &[log, rest]))
    }

    fn clipped(&mut self, name: &str, values: NodeId) -> NodeId {
        self.add(name, Op::Activation(Activation::Clip { low: 1e-6, high: 1.0 - 1e-6 }), &[values])
    }

    /// A part of the last axis of `(N, M, C)`.
    pub(crate) fn columns(&mut self, name: &str, values: NodeId, start: usize, end: usize) -> NodeId {
        self.add(name, Op::Slice { axis: 2, start, end: Some(end), step: 1 }, &[values])
    }

    /// `(N, K, P)` of a map of classes `(N, K, h, w)`.
    pub(crate) fn places(&mut self, map: NodeId, classes: usize, places: usize) -> NodeId {
        self.add("places", Op::Reshape(vec![Dim::Batch, Dim::Fixed(classes), Dim::Fixed(places)]), &[map])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_have_names_and_their_sides_are_their_corners() {
        for (name, coding) in BoxCoding::ALL {
            assert_eq!(BoxCoding::from_name(name).unwrap(), coding);
            let numbers = [0.25, 0.5, 0.75, 0.875];
            let corners = coding.corners(numbers, [1, 1]);
            for (side, corner) in corners.into_iter().enumerate() {
                let sum: f64 = coding.side(side).iter().map(|(index, weight)| numbers[*index] * weight).sum();
                assert!((sum - corner).abs() < 1e-12, "{name} {side}");
            }
        }
        assert!(BoxCoding::from_name("xyxx").unwrap_err().to_string().contains("`xyxy`"));
        assert_eq!(Background::of_labels(&["__background__".into(), "cat".into()]), Some(Background::First));
        assert_eq!(Background::of_labels(&["cat".into(), "no object".into()]), Some(Background::Last));
    }
}
