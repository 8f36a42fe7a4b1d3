//! `Einsum`: the equation is read once, and becomes transpositions, products and sums.

use crate::onnx::call::Call;
use crate::onnx::import::Importer;
use crate::onnx::value::{Size, Value};
use crate::{Dim, Op};
use faithful_core::Result;
use faithful_tensor::{Binary, Reduction};

/// A letter, or one of the axes that `...` stands for, counted from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Dots(usize),
    Letter(char),
}

/// A value whose axes have labels.
#[derive(Clone)]
struct Term {
    value: Value,
    labels: Vec<Label>,
}

/// No operand has more axes.
const MOST_AXES: usize = 16;

pub(super) fn einsum(importer: &mut Importer, call: &Call) -> Result<Vec<Value>> {
    let equation: String = call.text("equation", "").chars().filter(|letter| !letter.is_whitespace()).collect();
    let (inputs, output) = match equation.split_once("->") {
        Some((inputs, output)) => (inputs, Some(output)),
        None => (equation.as_str(), None),
    };
    let parts: Vec<&str> = inputs.split(',').collect();
    if parts.len() != call.operands.len() || parts.len() > 64 {
        return Err(call.damaged(format!("the equation `{equation}` for {} operands", call.operands.len())));
    }
    let mut terms = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let value = call.required(index)?;
        let rank = importer.rank(&value)?;
        let labels = labels(part, Some(rank)).ok_or_else(|| {
            call.damaged(format!("`{part}` of the equation `{equation}` for an operand of {rank} axes"))
        })?;
        terms.push(Term { value, labels });
    }
    let mut all: Vec<Label> = terms.iter().flat_map(|term| term.labels.iter().copied()).collect();
    let once = |label: &&Label| all.iter().filter(|other| other == label).count() == 1;
    let dots = all.iter().filter_map(|label| if let Label::Dots(place) = label { Some(place + 1) } else { None }).max();
    let wanted: Vec<Label> = if let Some(output) = output {
        let leading = (0..dots.unwrap_or(0)).rev().map(Label::Dots);
        let (before, behind) = output.split_once("...").unwrap_or((output, ""));
        let letters = |text: &str| -> Vec<Label> { text.chars().map(Label::Letter).collect() };
        let spread = if output.contains("...") { leading.collect() } else { Vec::new() };
        [letters(before), spread, letters(behind)].concat()
    } else {
        // Without a result, the letters that stand once, in the alphabet's order.
        let mut letters: Vec<Label> =
            all.iter().filter(|label| matches!(label, Label::Letter(_))).filter(once).copied().collect();
        letters.sort_unstable();
        (0..dots.unwrap_or(0)).rev().map(Label::Dots).chain(letters).collect()
    };
    let twice = wanted.iter().enumerate().any(|(place, label)| wanted[..place].contains(label));
    if twice || wanted.iter().any(|label| !all.contains(label)) {
        return Err(call.damaged(format!("the result of the equation `{equation}`")));
    }
    all.clear();
    let mut whole: Option<Term> = None;
    for place in 0..terms.len() {
        let own = diagonal(importer, call, terms[place].clone())?;
        let later =
            |label: &Label| wanted.contains(label) || terms[place + 1..].iter().any(|t| t.labels.contains(label));
        whole = Some(match whole {
            None => own,
            Some(before) => product(importer, call, before, own, &later)?,
        });
    }
    let Some(whole) = whole else { return Err(call.damaged("no operands")) };
    let whole = summed(importer, call, whole, &|label| wanted.contains(label))?;
    let order = places(&wanted, &whole.labels);
    let op = if order.is_sorted() { Op::Identity } else { Op::Transpose(order) };
    Ok(vec![importer.emit(&call.name, op, &[whole.value])?])
}

/// The labels of an operand of `rank` axes.
fn labels(text: &str, rank: Option<usize>) -> Option<Vec<Label>> {
    let (before, behind) = text.split_once("...").unwrap_or((text, ""));
    let letters = |text: &str| -> Option<Vec<Label>> {
        text.chars().map(|letter| letter.is_ascii_alphabetic().then_some(Label::Letter(letter))).collect()
    };
    let (before, behind) = (letters(before)?, letters(behind)?);
    let rank = rank.filter(|&rank| rank <= MOST_AXES)?;
    let spread = rank.checked_sub(before.len() + behind.len())?;
    if spread > 0 && !text.contains("...") {
        return None;
    }
    Some([before, (0..spread).rev().map(Label::Dots).collect(), behind].concat())
}

/// Where each of `wanted` stands among `labels`.
fn places(wanted: &[Label], labels: &[Label]) -> Vec<usize> {
    wanted.iter().filter_map(|label| labels.iter().position(|own| own == label)).collect()
}

fn step(importer: &mut Importer, call: &Call, part: &str, op: Op, operands: &[Value]) -> Result<Value> {
    let nothing = match &op {
        Op::Transpose(order) => order.is_sorted(),
        Op::Unsqueeze(axes) | Op::Squeeze(axes) => axes.is_empty(),
        Op::Reduce { axes, .. } => axes.is_empty(),
        _ => false,
    };
    match operands {
        [one] if nothing => Ok(one.clone()),
        _ => importer.emit(&format!("{}/{part}", call.name), op, operands),
    }
}

/// A label that stands twice walks along the diagonal of its axes.
fn diagonal(importer: &mut Importer, call: &Call, mut term: Term) -> Result<Term> {
    while let Some((first, second)) = repeated(&term.labels) {
        let sizes = importer.sizes(&term.value)?;
        let fixed = |axis: usize| sizes[axis].fixed().and_then(|size| usize::try_from(size).ok());
        let size = fixed(first).filter(|_| fixed(first) == fixed(second));
        let size = size.ok_or_else(|| call.unsupported("a diagonal of unequal axes or along the batch"))?;
        let others: Vec<usize> = (0..term.labels.len()).filter(|axis| *axis != first && *axis != second).collect();
        let order = others.iter().copied().chain([first, second]).collect();
        let turned = step(importer, call, "turned", Op::Transpose(order), &[term.value])?;
        let dims = (0..others.len()).map(Dim::Same).chain([Dim::Fixed(size.saturating_mul(size))]).collect();
        let flat = step(importer, call, "flat", Op::Reshape(dims), &[turned])?;
        let index = (0..size).map(|place| place * (size + 1)).collect();
        let value = step(importer, call, "diagonal", Op::Gather { axis: others.len(), index }, &[flat])?;
        let labels = others.iter().map(|&axis| term.labels[axis]).chain([term.labels[first]]).collect();
        term = Term { value, labels };
    }
    Ok(term)
}

fn repeated(labels: &[Label]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|second| labels[..second].iter().position(|l| *l == labels[second]).map(|f| (f, second)))
}

/// The sum over the labels that are not `kept`.
fn summed(importer: &mut Importer, call: &Call, term: Term, kept: &dyn Fn(&Label) -> bool) -> Result<Term> {
    let axes: Vec<usize> = (0..term.labels.len()).filter(|&axis| !kept(&term.labels[axis])).collect();
    let sizes = importer.sizes(&term.value)?;
    if axes.iter().any(|&axis| sizes[axis].batches != 0) {
        return Err(call.unsupported("a sum over the batch"));
    }
    let labels = term.labels.iter().copied().filter(|label| kept(label)).collect();
    let op = Op::Reduce { axes, keep: false, reduction: Reduction::Sum };
    let value = step(importer, call, "sum", op, &[term.value])?;
    Ok(Term { value, labels })
}

/// The product of two terms, summed over what both have and nothing needs `later`.
fn product(
    importer: &mut Importer,
    call: &Call,
    mut a: Term,
    mut b: Term,
    later: &dyn Fn(&Label) -> bool,
) -> Result<Term> {
    // A product with constant weights is a fully connected layer where the weights come second.
    if matches!(b.value, Value::Node(_)) && !matches!(a.value, Value::Node(_)) {
        std::mem::swap(&mut a, &mut b);
    }
    let (in_a, in_b) = (a.labels.clone(), b.labels.clone());
    a = summed(importer, call, a, &|label| later(label) || in_b.contains(label))?;
    b = summed(importer, call, b, &|label| later(label) || in_a.contains(label))?;
    let common = |label: &&Label| b.labels.contains(label);
    let inner: Vec<Label> = a.labels.iter().filter(common).filter(|label| !later(label)).copied().collect();
    if inner.is_empty() {
        return spread_product(importer, call, a, b);
    }
    let rows: Vec<Label> = a.labels.iter().filter(common).filter(|label| later(label)).copied().collect();
    let left: Vec<Label> = a.labels.iter().filter(|label| !b.labels.contains(label)).copied().collect();
    let right: Vec<Label> = b.labels.iter().filter(|label| !a.labels.contains(label)).copied().collect();
    let size_of = |importer: &Importer, term: &Term, label: &Label| -> Result<Size> {
        Ok(importer.sizes(&term.value)?[places(&[*label], &term.labels)[0]])
    };
    if inner.iter().any(|label| size_of(importer, &a, label).is_ok_and(|size| size.batches != 0)) {
        return Err(call.unsupported("a sum over the batch"));
    }
    let left_sizes = left.iter().map(|label| size_of(importer, &a, label)).collect::<Result<Vec<_>>>()?;
    let right_sizes = right.iter().map(|label| size_of(importer, &b, label)).collect::<Result<Vec<_>>>()?;
    // Without common rows, the left axes stay as they are: a matrix product takes any number of them.
    let keep_left = rows.is_empty() && !left.is_empty();
    let first = [rows.clone(), left.clone(), inner.clone()].concat();
    let first = step(importer, call, "left", Op::Transpose(places(&first, &a.labels)), &[a.value])?;
    let first = merged(importer, call, first, [rows.len(), left.len(), inner.len()], keep_left, true)?;
    let second = [rows.clone(), inner.clone(), right.clone()].concat();
    let second = step(importer, call, "right", Op::Transpose(places(&second, &b.labels)), &[b.value])?;
    let second = merged(importer, call, second, [rows.len(), inner.len(), right.len()], false, false)?;
    let name = format!("{}/product", call.name);
    let value = super::run(importer, call, "MatMul", &name, vec![first, second])?;
    // (rows, left, right), with the merged axes apart again.
    let product_sizes = importer.sizes(&value)?;
    let labels = [rows.clone(), left.clone(), right.clone()].concat();
    let leading = if keep_left { left.len() } else { rows.len() };
    let own_left: &[Size] = if keep_left { &[] } else { &left_sizes };
    if (keep_left || left.len() == 1) && right.len() == 1 {
        return Ok(Term { value, labels });
    }
    let goal: Vec<Size> = product_sizes[..leading].iter().chain(own_left).chain(&right_sizes).copied().collect();
    let dims = super::shaping::stored(call, &goal)?;
    let value = step(importer, call, "apart", Op::Reshape(dims), &[value])?;
    Ok(Term { value, labels })
}

/// `value` with axes of three kinds, as many of each as `counts` says, the last two kinds merged to one axis each; with
/// `keep` the middle ones stay apart, and `middle_free` says which of the two may be the batch.
fn merged(
    importer: &mut Importer,
    call: &Call,
    value: Value,
    counts: [usize; 3],
    keep: bool,
    middle_free: bool,
) -> Result<Value> {
    let [rows, middle, last] = counts;
    if (middle == 1 || keep) && last == 1 {
        return Ok(value);
    }
    let sizes = importer.sizes(&value)?;
    let leading = if keep { rows + middle } else { rows };
    let product = |part: &[Size]| part.iter().try_fold(Size::from(1), |product, size| product.multiply(*size));
    let fixed = |part: &[Size]| -> Result<Dim> {
        let size = product(part).and_then(Size::fixed).and_then(|size| usize::try_from(size).ok());
        size.map(Dim::Fixed).ok_or_else(|| call.unsupported("axes that grow with the batch on both sides"))
    };
    let mut dims: Vec<Dim> = (0..leading).map(Dim::Same).collect();
    let middle_part = &sizes[rows..rows + middle];
    let last_part = &sizes[rows + middle..];
    if !keep {
        dims.push(if middle_free { Dim::Rest } else { fixed(middle_part)? });
    }
    dims.push(if middle_free { fixed(last_part)? } else { Dim::Rest });
    step(importer, call, "merged", Op::Reshape(dims), &[value])
}

/// The product of two terms that share no sum: each element with each.
fn spread_product(importer: &mut Importer, call: &Call, a: Term, b: Term) -> Result<Term> {
    let new = b.labels.iter().filter(|label| !a.labels.contains(label)).copied();
    let labels: Vec<Label> = a.labels.iter().copied().chain(new).collect();
    let mut spread = |term: Term| -> Result<Value> {
        let own: Vec<Label> = labels.iter().copied().filter(|label| term.labels.contains(label)).collect();
        let turned = step(importer, call, "turned", Op::Transpose(places(&own, &term.labels)), &[term.value])?;
        let missing = (0..labels.len()).filter(|&axis| !term.labels.contains(&labels[axis])).collect();
        step(importer, call, "spread", Op::Unsqueeze(missing), &[turned])
    };
    let (a, b) = (spread(a)?, spread(b)?);
    let value = importer.emit(&format!("{}/product", call.name), Op::Binary(Binary::Mul), &[a, b])?;
    Ok(Term { value, labels })
}
