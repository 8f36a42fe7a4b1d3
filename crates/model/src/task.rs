//! Segmentation and detection networks as classifiers: one score per class, which can be explained.

use crate::cells::{count_from_cells, in_pixels};
use crate::dense::{Background, Given, Said, before_activation};
use crate::head::Head;
use crate::onnx::{BOXES_AND_SCORES, CENTRES_AND_SCORES, SEVERAL};
use crate::{BoxCoding, BoxOrder, Dense, DenseForm, Graph, NodeId, Op};
use faithful_core::{Error, Probabilities, Result, suggest};
use faithful_tensor::{Activation, Binary, Reduction, Unary};

/// What a network's output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A number per class.
    Classification,
    /// A number per class and place, `(N, K, H, W)` or `(N, H, W, K)`.
    Segmentation,
    /// Boxes, as YOLO has them: `(N, 4 + K, M)` or `(N, M, 4 + K)`, four numbers of the box before a number per class;
    /// or `(N, M, 5 + K)`, where a fifth says whether there is anything. Or as SSD, `RetinaNet` and DETR have them, in two outputs:
    /// `(N, M, 4)` and `(N, M, K)`.
    Detection,
}

impl Task {
    /// Every task with its name in configuration files.
    pub const ALL: [(&'static str, Self); 3] = [
        ("classification", Self::Classification),
        ("segmentation", Self::Segmentation),
        ("detection", Self::Detection),
    ];

    /// The task called `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, task)| *task).ok_or_else(|| {
            let suggestions = suggest(name, Self::ALL.map(|(known, _)| known));
            Error::UnknownName { kind: "task", name: name.into(), suggestions }
        })
    }
}

/// A network as a classifier.
pub(crate) struct Classifier {
    pub(crate) graph: Graph,
    pub(crate) probabilities: Probabilities,
    pub(crate) task: Task,
    /// What it is made of.
    pub(crate) dense: Dense,
    /// Which of the classes that the file gives is that of no object, and is left out.
    pub(crate) background: Option<Background>,
    /// What was found of it.
    pub(crate) note: Option<&'static str>,
}

/// The most classes that a detector has where no labels say how many.
const MOST_CLASSES: usize = 2000;

impl Graph {
    /// This network with one score per class, where its output is a map of classes or a list of boxes; `None` where it
    /// is a classifier. `said` is what is known of it; `asked` is the user's word.
    ///
    /// A class's score in a segmentation is the mean of its values over the whole input, counted where it wins, above
    /// the least of all classes there; of a class that wins nowhere, how far it is below the winners (both as numbers
    /// that are not explained: gradients are the class's own). In a detection it is that of its best box.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the output does not have the form that was asked for.
    pub(crate) fn as_classifier(&self, said: Said<'_>, asked: Option<Task>) -> Result<Option<Classifier>> {
        let dense = self.dense_output();
        let labels = said.labels.len();
        if let Some(slots) = self.slots(dense) {
            return match asked {
                None | Some(Task::Detection) => self.detection_in_two(slots, said).map(Some),
                Some(_) => Ok(None),
            };
        }
        let shape = self.layers[dense.0].shape.clone();
        let task = match (asked, shape.as_slice()) {
            (Some(task), _) => task,
            (None, &[first, height, width]) if (height * width > 1 && first * height > 1) => Task::Segmentation,
            (None, &[a, b]) if labels > 0 && detector(a, b, labels).is_some() => Task::Detection,
            _ => return Ok(None),
        };
        match (task, shape.as_slice()) {
            (Task::Classification, _) => Ok(None),
            (Task::Segmentation, &[a, b, c]) => {
                let last = a != labels && (c == labels || self.ends_channels_last(dense));
                let classes = if last { c } else { a };
                let order = last.then(|| vec![0, 3, 1, 2]);
                self.segmentation(dense, classes, order.as_deref(), a * b * c / classes.max(1), labels).map(Some)
            }
            (Task::Detection, &[a, b]) => {
                let of_labels = if labels > 0 { detector(a, b, labels) } else { None };
                let form = of_labels.or_else(|| (labels == 0).then(|| likely_detector(a, b)).flatten());
                let form = form.ok_or_else(|| {
                    let reason = format!(
                        "the output has the shape {shape:?}, which is no list of boxes with 4 numbers and {labels} \
                         classes each; `labels` must name every class"
                    );
                    Error::parameter("task", reason)
                })?;
                self.detection(dense, form, said).map(Some)
            }
            (task, _) => {
                let needed =
                    if task == Task::Segmentation { "(classes, rows, columns)" } else { "(4 + classes, boxes)" };
                let reason = format!("the output has the shape {shape:?}; {needed} is needed for this task");
                Err(Error::parameter("task", reason))
            }
        }
    }

    /// The outputs that it gives, one after the other, by name and with their shapes without the batch.
    pub(crate) fn parts(&self) -> Vec<(String, Vec<usize>)> {
        let before_rows = |row: NodeId| match self.node(row).op {
            Op::Flatten { axis: 1 } => self.node(row).inputs[0],
            _ => row,
        };
        let named = |row: NodeId| {
            let name = self.node(row).name.strip_suffix("/rows").unwrap_or(&self.node(row).name);
            (name.to_owned(), self.layers[before_rows(row).0].shape.clone())
        };
        let last = self.node(self.output);
        if matches!(last.op, Op::Concat { axis: 1 })
            && [SEVERAL, BOXES_AND_SCORES, CENTRES_AND_SCORES].contains(&last.name.as_str())
        {
            return last.inputs.iter().copied().map(named).collect();
        }
        vec![named(self.output)]
    }

    /// The boxes and the classes of a network that gives them apart; `None` where it gives one output.
    fn slots(&self, output: NodeId) -> Option<Slots> {
        let node = self.node(output);
        let by_centres = node.name == CENTRES_AND_SCORES;
        let suppressed = by_centres || node.name == BOXES_AND_SCORES;
        let [first, second] = *node.inputs.as_slice() else { return None };
        if !(suppressed || node.name == SEVERAL) || !matches!(node.op, Op::Concat { axis: 1 }) {
            return None;
        }
        let pair = [first, second].map(|row| match self.node(row).op {
            Op::Flatten { axis: 1 } => self.node(row).inputs[0],
            _ => row,
        });
        let shape = |node: NodeId| self.layers[node.0].shape.as_slice();
        let named = |node: NodeId| self.node(node).name.to_lowercase().contains("box");
        let is_boxes = |node: NodeId| matches!(shape(node), [_, 4]);
        let swap = match (is_boxes(pair[0]), is_boxes(pair[1])) {
            (true, true) => named(pair[1]) && !named(pair[0]),
            (first, _) => !first,
        };
        let [boxes, classes] = if swap { [pair[1], pair[0]] } else { pair };
        match (shape(boxes), shape(classes)) {
            (&[m, 4], &[k, n]) if suppressed && m == n => {
                Some(Slots { boxes, classes, turned: true, count: k, suppressed, by_centres })
            }
            (&[m, 4], &[n, k]) if m == n => {
                Some(Slots { boxes, classes, turned: false, count: k, suppressed, by_centres })
            }
            (&[m, 4], &[k, n]) if m == n => {
                Some(Slots { boxes, classes, turned: true, count: k, suppressed, by_centres })
            }
            _ => None,
        }
    }

    /// The node of the output before it was flattened to rows.
    fn dense_output(&self) -> NodeId {
        let mut node = self.output;
        loop {
            match self.node(node).op {
                Op::Identity => node = self.node(node).inputs[0],
                Op::Flatten { axis: 1 } => {
                    node = self.node(node).inputs[0];
                    while let Op::Identity = self.node(node).op {
                        node = self.node(node).inputs[0];
                    }
                    return node;
                }
                _ => return node,
            }
        }
    }

    fn ends_channels_last(&self, node: NodeId) -> bool {
        matches!(&self.node(node).op, Op::Transpose(order) if order == &[0, 2, 3, 1])
    }

    fn segmentation(
        &self,
        dense: NodeId,
        classes: usize,
        order: Option<&[usize]>,
        places: usize,
        labels: usize,
    ) -> Result<Classifier> {
        let class_axis = if order.is_some() { 3 } else { 1 };
        let node = self.node(dense);
        let (probabilities, source) = match &node.op {
            Op::Softmax { axis, .. } if *axis == class_axis => (Probabilities::Softmax, node.inputs[0]),
            Op::Activation(Activation::Sigmoid) => (Probabilities::Sigmoid, node.inputs[0]),
            _ => (if classes == 1 { Probabilities::Sigmoid } else { Probabilities::Softmax }, dense),
        };
        let mut head = Head::new(self);
        let mut x = source;
        if let Some(order) = order {
            x = head.add("turned", Op::Transpose(order.to_vec()), &[x]);
        }
        // One value per place: what is there, and with two labels, what is not.
        let mut map = x;
        if classes == 1 && labels == 2 {
            let minus = head.add("minus", Op::Unary(Unary::Neg), &[map]);
            map = head.add("both", Op::Concat { axis: 1 }, &[minus, map]);
        } else if order.is_none() {
            map = head.add("map", Op::Identity, &[map]);
        }
        let form =
            DenseForm::Segmentation { classes: if labels == 2 { classes.max(2) } else { classes }, probabilities };
        let dense = Dense::of(head.clone(), &[map], map, form)?;
        x = head.places(x, classes, places);
        if classes == 1 {
            let minus = head.add("minus", Op::Unary(Unary::Neg), &[x]);
            x = head.add("both", Op::Concat { axis: 1 }, &[minus, x]);
        }
        let reduced = |axis, reduction| Op::Reduce { axes: vec![axis], keep: true, reduction };
        let highest = head.add("highest", reduced(1, Reduction::Max), &[x]);
        let lowest = head.add("lowest", reduced(1, Reduction::Min), &[x]);
        let below = head.add("below", Op::Binary(Binary::Sub), &[x, highest]);
        let sign = head.add("sign", Op::Unary(Unary::Sign), &[below]);
        let one = head.constant("one", 1.0)?;
        let wins = head.add("wins", Op::Binary(Binary::Add), &[sign, one]);
        let anywhere = head.add("anywhere", reduced(2, Reduction::Max), &[wins]);
        let nowhere = head.add("nowhere", Op::Binary(Binary::Sub), &[one, anywhere]);
        let lowest = head.detached("lowest", lowest)?;
        let highest = head.detached("highest", highest)?;
        let above = head.add("above", Op::Binary(Binary::Sub), &[x, lowest]);
        let won = head.add("won", Op::Binary(Binary::Mul), &[above, wins]);
        let beaten = head.add("beaten", Op::Binary(Binary::Sub), &[x, highest]);
        let lost = head.add("lost", Op::Binary(Binary::Mul), &[beaten, nowhere]);
        let both = head.add("counted", Op::Binary(Binary::Add), &[won, lost]);
        let mean = Op::Reduce { axes: vec![2], keep: false, reduction: Reduction::Mean };
        let mut output = head.add("classes", mean, &[both]);
        if classes == 1 && labels != 2 {
            output = head.add("class", Op::Slice { axis: 1, start: 1, end: Some(2), step: 1 }, &[output]);
        }
        let graph = self.ending_in(head.nodes, output)?;
        Ok(Classifier { graph, probabilities, task: Task::Segmentation, dense, background: None, note: None })
    }

    fn detection(&self, dense: NodeId, form: Form, said: Said<'_>) -> Result<Classifier> {
        let mut head = Head::new(self);
        let axis = if form.boxes_first { 2 } else { 1 };
        // Where the classes are joined to the boxes at the end, their logits may be before an activation.
        let joined = self.node(dense);
        let logits = match (&joined.op, joined.inputs.last()) {
            (Op::Concat { axis: own }, Some(&last))
                if *own == axis
                    && form.before == 4
                    && self.layers[last.0].shape.get(axis - 1) == Some(&form.classes) =>
            {
                let (from, moved, given) = before_activation(self, last);
                given.map(|given| (moved.into_iter().fold(from, |node, op| head.add("moved", op, &[node])), given))
            }
            _ => None,
        };
        let rows = head.boxes_first(dense, !form.boxes_first);
        let mut boxes = head.columns("boxes", rows, 0, 4);
        let [first_axis, second_axis] = [0, 1].map(|axis| self.layers[dense.0].shape.get(axis).copied().unwrap_or(0));
        let count = if form.boxes_first { first_axis } else { second_axis };
        let from_cells = said.boxes.is_none() && form.before == 5 && count_from_cells(self, dense, count);
        if from_cells {
            boxes = in_pixels(&mut head, boxes)?;
        }
        let (first, end) = (form.before, form.before + form.classes);
        let mut parts = vec![boxes];
        let scores = if let Some((logits, given)) = logits {
            let logits = head.boxes_first(logits, !form.boxes_first);
            head.log_odds(logits, given)?
        } else {
            let mut scores = head.columns("scores", rows, first, end);
            if form.before == 5 {
                let something = head.columns("something", rows, 4, 5);
                let alone = head.log_odds(scores, Given::Probabilities)?;
                let objectness = head.log_odds(something, Given::Probabilities)?;
                parts.extend([alone, objectness]);
                scores = head.add("joint", Op::Binary(Binary::Mul), &[scores, something]);
                scores = head.log_odds(scores, Given::Probabilities)?;
            }
            scores
        };
        parts.insert(1, scores);
        let coding = said.boxes.unwrap_or(BoxCoding { order: BoxOrder::Centre, normalised: false });
        let form = DenseForm::Detection { classes: form.classes, objectness: form.before == 5, coding };
        let note = from_cells
            .then_some("the boxes count from the cells of grids, as YOLOX leaves them, and are brought to pixels");
        Ok(Classifier { note, ..self.best_boxes(head, &parts, form, None)? })
    }

    /// A detection that gives boxes and classes apart.
    fn detection_in_two(&self, slots: Slots, said: Said<'_>) -> Result<Classifier> {
        let (from, moved, found) = before_activation(self, slots.classes);
        let labels = said.labels.len();
        let one_more = labels > 0 && slots.count == labels + 1;
        let given = match (found, said.activation) {
            (Some(found), _) => found,
            (None, Some(Probabilities::Unchanged)) => Given::Probabilities,
            (None, _) if slots.suppressed => Given::Probabilities,
            (None, Some(Probabilities::Softmax)) => Given::BeforeSoftmax,
            (None, Some(Probabilities::Sigmoid)) => Given::LogOdds,
            (None, None) if one_more || matches!(said.background, Some(Background::First | Background::Last)) => {
                Given::BeforeSoftmax
            }
            (None, None) => Given::LogOdds,
        };
        let rows = self.layers[slots.boxes.0].shape.first().copied().unwrap_or(0);
        // Where one of many takes all, the class of no object is one of them: first over anchors, last over queries.
        let usual = if rows > MOST_QUERIES { Background::First } else { Background::Last };
        let background = match (said.background, Background::of_labels(said.labels).filter(|_| slots.count == labels)) {
            (Some(said), _) => said,
            (None, Some(named)) => named,
            (None, None) if one_more || (labels == 0 && given == Given::BeforeSoftmax) => usual,
            (None, None) => Background::None,
        };
        let mut head = Head::new(self);
        let classes = moved.into_iter().fold(from, |node, op| head.add("moved", op, &[node]));
        let classes = head.boxes_first(classes, slots.turned);
        let mut scores = head.log_odds(classes, given)?;
        let classes = slots.count - usize::from(background != Background::None);
        if classes == 0 {
            return Err(Error::parameter("task", "the only class of the detection is that of no object"));
        }
        let start = usize::from(background == Background::First);
        scores = if background == Background::None {
            head.add("objects", Op::Identity, &[scores])
        } else {
            head.columns("objects", scores, start, start + classes)
        };
        let ends_in_sigmoid = before_activation(self, slots.boxes).2 == Some(Given::LogOdds);
        let by_centres = ends_in_sigmoid || slots.by_centres;
        let order = if by_centres { BoxOrder::Centre } else { BoxOrder::Corners };
        let coding = said.boxes.unwrap_or(BoxCoding { order, normalised: ends_in_sigmoid });
        let form = DenseForm::Detection { classes, objectness: false, coding };
        let background = Some(background).filter(|background| *background != Background::None);
        self.best_boxes(head, &[slots.boxes, scores], form, background)
    }

    /// A detection whose parts are in order: the classes, second, `(N, M, K)`, each by its best box.
    fn best_boxes(
        &self,
        mut head: Head<'_>,
        parts: &[NodeId],
        form: DenseForm,
        background: Option<Background>,
    ) -> Result<Classifier> {
        let dense = Dense::of(head.clone(), parts, parts[1], form)?;
        let best = Op::Reduce { axes: vec![1], keep: false, reduction: Reduction::Max };
        let output = head.add("classes", best, &[parts[1]]);
        let graph = self.ending_in(head.nodes, output)?;
        Ok(Classifier {
            graph,
            probabilities: Probabilities::Sigmoid,
            task: Task::Detection,
            dense,
            background,
            note: None,
        })
    }
}

impl Head<'_> {
    /// `(N, M, C)`, of values that are turned where `turned`.
    fn boxes_first(&mut self, values: NodeId, turned: bool) -> NodeId {
        if turned { self.add("turned", Op::Transpose(vec![0, 2, 1]), &[values]) } else { values }
    }
}

/// More boxes than any decoder has queries.
const MOST_QUERIES: usize = 1200;

/// The boxes `(N, M, 4)` and the classes `(N, M, K)` of a network that gives them apart.
#[derive(Clone, Copy)]
struct Slots {
    boxes: NodeId,
    classes: NodeId,
    /// Whether the classes are `(N, K, M)`.
    turned: bool,
    count: usize,
    /// Whether they are what a suppression of boxes took.
    suppressed: bool,
    /// Whether that takes boxes by their middles.
    by_centres: bool,
}

/// How a list of boxes is laid out.
#[derive(Clone, Copy)]
struct Form {
    classes: usize,
    /// How many numbers stand before the classes': 4, or 5.
    before: usize,
    /// Whether the boxes' axis comes first.
    boxes_first: bool,
}

/// The form of an output `(a, b)` whose classes' number is known.
fn detector(a: usize, b: usize, classes: usize) -> Option<Form> {
    let of = |before, boxes_first| Some(Form { classes, before, boxes_first });
    // A list of boxes is longer than one box is wide, unless the other reading does not fit at all.
    match (a, b) {
        (a, b) if a == classes + 4 && (b != classes + 4 || b >= a) && b > 1 => of(4, false),
        (a, b) if b == classes + 4 && a > 1 => of(4, true),
        (a, b) if b == classes + 5 && a > 1 => of(5, true),
        (a, b) if a == classes + 5 && b > 1 => of(5, false),
        _ => None,
    }
}

/// The form of an output `(a, b)` without labels: the shorter axis is that of a box, where it can be.
fn likely_detector(a: usize, b: usize) -> Option<Form> {
    let is_box = |width: &usize| (5..=4 + MOST_CLASSES).contains(width);
    let width = [a.min(b), a.max(b)].into_iter().find(is_box)?;
    Some(Form { classes: width - 4, before: 4, boxes_first: width == b })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GraphBuilder;
    use candle_core::{Device, Tensor};
    use faithful_core::{Network, Objective, Target};

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("class {class}")).collect()
    }

    fn named(labels: &[String]) -> Said<'_> {
        Said { labels, ..Said::default() }
    }

    /// The scores of an input, and the gradient of class `class` at it.
    fn scored(graph: &Graph, input: &Tensor, class: usize) -> (Vec<f32>, Vec<f32>) {
        let scores = graph.evaluate(input, &[]).unwrap().0.to_vec2().unwrap().remove(0);
        let gradient = Objective::new(graph, &Target::Output(class)).input_gradient(input).unwrap();
        (scores, gradient.flatten_all().unwrap().to_vec1().unwrap())
    }

    fn plain(shape: &[usize], end: &dyn Fn(&mut GraphBuilder, NodeId) -> NodeId) -> Graph {
        let mut builder = GraphBuilder::new(shape);
        let input = builder.input();
        let last = end(&mut builder, input);
        let rows = builder.add("rows", Op::Flatten { axis: 1 }, &[last]);
        builder.finish(rows).unwrap()
    }

    #[test]
    fn a_class_of_a_segmentation_counts_where_it_wins() {
        // Three classes at four places; class 2 wins nowhere.
        let values: [f32; 12] = [5.0, 1.0, 0.0, 2.0, 1.0, 3.0, 4.0, 1.0, 0.0, 2.0, 1.0, 0.5];
        let input = Tensor::from_slice(&values, (1, 3, 2, 2), &Device::Cpu).unwrap();
        let softmax = plain(&[3, 2, 2], &|b, x| b.add("p", Op::Softmax { axis: 1, log: false }, &[x]));
        let raw = plain(&[3, 2, 2], &|b, x| b.add("same", Op::Identity, &[x]));
        for graph in [softmax, raw] {
            let found = graph.as_classifier(named(&names(3)), None).unwrap().unwrap();
            assert_eq!((found.task, found.probabilities), (Task::Segmentation, Probabilities::Softmax));
            // Class 0 wins at places 0 and 3: (5 - 0 + 2 - 0.5) / 4; class 1 at 1 and 2: (3 - 1 + 4 - 0) / 4.
            let (scores, gradient) = scored(&found.graph, &input, 0);
            assert_eq!(scores[..2], [1.625, 1.5]);
            assert_eq!(gradient, [0.25, 0.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
            // Class 2 is 5, 1, 3 and 1.5 below.
            let (scores, gradient) = scored(&found.graph, &input, 2);
            assert_eq!(scores[2], -2.625);
            assert_eq!(gradient, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.25]);
        }
        let graph = plain(&[3, 2, 2], &|b, x| b.add("same", Op::Identity, &[x]));
        assert!(graph.as_classifier(named(&names(3)), Some(Task::Classification)).unwrap().is_none());
        assert!(graph.as_classifier(named(&names(3)), Some(Task::Detection)).is_err());
    }

    #[test]
    fn channels_may_be_last_and_one_mask_is_a_class() {
        let turned = plain(&[3, 2, 2], &|b, x| b.add("turned", Op::Transpose(vec![0, 2, 3, 1]), &[x]));
        let found = turned.as_classifier(named(&names(0)), None).unwrap().unwrap();
        let input = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap().reshape((1, 3, 2, 2)).unwrap();
        assert_eq!(scored(&found.graph, &input, 2).0, [-8.0, -4.0, 8.0]);
        let mask = plain(&[1, 2, 2], &|b, x| b.add("p", Op::Activation(Activation::Sigmoid), &[x]));
        let found = mask.as_classifier(named(&names(0)), None).unwrap().unwrap();
        assert_eq!(found.probabilities, Probabilities::Sigmoid);
        let input = Tensor::new(&[2f32, -1.0, 4.0, -3.0], &Device::Cpu).unwrap().reshape((1, 1, 2, 2)).unwrap();
        let (scores, gradient) = scored(&found.graph, &input, 0);
        assert_eq!((scores.as_slice(), gradient.as_slice()), (&[3.0][..], &[0.25, 0.0, 0.25, 0.0][..]));
        assert_eq!(scored(&mask.as_classifier(named(&names(2)), None).unwrap().unwrap().graph, &input, 0).0.len(), 2);
    }

    #[test]
    fn a_class_of_a_detection_is_its_best_box() {
        // Two classes, three boxes: the four numbers of the boxes, then the classes' logits.
        let values: Vec<f32> = (0..12).map(|v| v as f32).chain([-1.0, 2.0, 0.5, 3.0, -2.0, 1.0]).collect();
        let input = Tensor::from_vec(values, (1, 6, 3), &Device::Cpu).unwrap();
        let yolo = |turned: bool| {
            plain(&[6, 3], &|b, x| {
                let part = |start, end| Op::Slice { axis: 1, start, end: Some(end), step: 1 };
                let boxes = b.add("boxes", part(0, 4), &[x]);
                let classes = b.add("logits", part(4, 6), &[x]);
                let classes = b.add("sigmoid", Op::Activation(Activation::Sigmoid), &[classes]);
                if turned {
                    let boxes = b.add("boxes last", Op::Transpose(vec![0, 2, 1]), &[boxes]);
                    let classes = b.add("classes last", Op::Transpose(vec![0, 2, 1]), &[classes]);
                    return b.add("all", Op::Concat { axis: 2 }, &[boxes, classes]);
                }
                b.add("all", Op::Concat { axis: 1 }, &[boxes, classes])
            })
        };
        let found = yolo(false).as_classifier(named(&names(2)), None).unwrap().unwrap();
        assert_eq!((found.task, found.probabilities), (Task::Detection, Probabilities::Sigmoid));
        let (scores, gradient) = scored(&found.graph, &input, 1);
        assert_eq!(scores, [2.0, 3.0]);
        assert_eq!(gradient.iter().position(|value| *value == 1.0), Some(15));
        assert_eq!(gradient.iter().sum::<f32>(), 1.0);
        assert!(yolo(false).as_classifier(named(&names(0)), None).unwrap().is_none());
        assert!(yolo(false).as_classifier(named(&names(0)), Some(Task::Detection)).is_ok());
        let error = yolo(true).as_classifier(named(&names(9)), Some(Task::Detection)).err().unwrap().to_string();
        assert!(error.contains("9 classes"), "{error}");
        assert_eq!(
            scored(&yolo(true).as_classifier(named(&names(2)), None).unwrap().unwrap().graph, &input, 0).0.len(),
            2
        );
    }

    #[test]
    fn objectness_counts() {
        let values: [f32; 14] = [0.0, 0.0, 0.0, 0.0, 0.5, 0.8, 0.1, 0.0, 0.0, 0.0, 0.0, 1.0, 0.2, 0.9];
        let input = Tensor::from_slice(&values, (1, 2, 7), &Device::Cpu).unwrap();
        let graph = plain(&[2, 7], &|b, x| b.add("same", Op::Identity, &[x]));
        let found = graph.as_classifier(named(&names(2)), None).unwrap().unwrap();
        let scores = scored(&found.graph, &input, 0).0;
        let probabilities = Probabilities::Sigmoid.of(&[f64::from(scores[0]), f64::from(scores[1])]);
        assert!((probabilities[0] - 0.4).abs() < 1e-6 && (probabilities[1] - 0.9).abs() < 1e-6, "{probabilities:?}");
    }
}
