//! Values looked at in another arrangement than they lie in: turned, cut, reshaped, spread.

use super::memory::{Order, Slot};
use crate::Op;
use faithful_kernel::Strided;

/// Where the elements of a value lie in another one's slot. An axis may be several, each with its size and stride.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    offset: usize,
    axes: Vec<Vec<[usize; 2]>>,
}

impl View {
    /// A slot's own value of these dimensions.
    pub(super) fn of(slot: &Slot, dims: &[usize]) -> Option<Self> {
        let rank = dims.len();
        // The axes of memory, outermost first.
        let order: Vec<usize> = match (slot.order, rank) {
            (_, 0) => return None,
            (Order::Own, _) => (0..rank).collect(),
            (Order::Innermost, 4) => vec![0, 2, 3, 1],
            (Order::Innermost, 3) => vec![0, 2, 1],
            (Order::Innermost, _) => return None,
        };
        let mut axes = vec![Vec::new(); rank];
        let mut stride = 1;
        for (index, &axis) in order.iter().rev().enumerate() {
            axes[axis] = vec![[dims[axis], stride]];
            stride = if index == 0 { slot.pixel } else { stride * dims[axis] };
        }
        let matches = slot.shape.iter().product::<usize>() == dims.iter().product::<usize>()
            && slot.shape[3] == dims[order[rank - 1]];
        matches.then_some(Self { offset: 0, axes })
    }

    /// A value of these dimensions that lies as they say.
    pub(super) fn plain(dims: &[usize]) -> Self {
        let mut stride = 1;
        let mut axes: Vec<_> = dims
            .iter()
            .rev()
            .map(|&size| {
                let axis = vec![[size, stride]];
                stride *= size;
                axis
            })
            .collect();
        axes.reverse();
        Self { offset: 0, axes }
    }

    /// What an operation that only moves values makes of it; none where that has no places of its own.
    pub(super) fn moved(&self, op: &Op, dims: &[usize]) -> Option<Self> {
        match op {
            Op::Identity => Some(self.clone()),
            Op::Reshape(_) | Op::Flatten { .. } | Op::Squeeze(_) | Op::Unsqueeze(_) => self.reshaped(dims),
            Op::Transpose(order) => Some(self.turned(order)),
            Op::Slice { axis, start, step, .. } => {
                self.cut(*axis, *start, usize::try_from(*step).ok().filter(|step| *step > 0)?, dims[*axis])
            }
            Op::Gather { axis, index } => {
                let first = *index.first()?;
                let step = index.get(1).map_or(Some(1), |second| second.checked_sub(first)).filter(|step| *step > 0)?;
                let even = index.iter().enumerate().all(|(i, &place)| place == first + i * step);
                even.then(|| self.cut(*axis, first, step, index.len())).flatten()
            }
            Op::Expand(_) => self.spread(dims),
            _ => None,
        }
    }

    pub(super) fn turned(&self, order: &[usize]) -> Self {
        Self { offset: self.offset, axes: order.iter().map(|&axis| self.axes[axis].clone()).collect() }
    }

    pub(super) fn cut(&self, axis: usize, start: usize, step: usize, count: usize) -> Option<Self> {
        let joined = Strided { offset: 0, axes: self.axes.get(axis)?.clone() }.joined();
        let [size, stride] = match joined.axes[..] {
            [] => [1, 1],
            [one] => one,
            _ => return None,
        };
        if count == 0 || start + (count - 1) * step >= size {
            return None;
        }
        let mut cut = self.clone();
        cut.offset += start * stride;
        cut.axes[axis] = vec![[count, stride * step]];
        Some(cut)
    }

    fn spread(&self, dims: &[usize]) -> Option<Self> {
        let more = dims.len().checked_sub(self.axes.len())?;
        let mut axes = vec![Vec::new(); more];
        axes.extend(self.axes.iter().cloned());
        for (axis, &size) in axes.iter_mut().zip(dims) {
            if axis.iter().map(|part| part[0]).product::<usize>() != size {
                *axis = vec![[size, 0]];
            }
        }
        Some(Self { offset: self.offset, axes })
    }

    fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        let mut parts = self.strided().axes.into_iter().filter(|part| part[0] != 1);
        let mut next = parts.next();
        let mut axes = Vec::new();
        for &size in dims {
            let (mut left, mut axis) = (size, Vec::new());
            while left > 1 {
                let [size, stride] = next?;
                if left.is_multiple_of(size) {
                    axis.push([size, stride]);
                    left /= size;
                    next = parts.next();
                } else if size.is_multiple_of(left) {
                    axis.push([left, stride * (size / left)]);
                    next = Some([size / left, stride]);
                    left = 1;
                } else {
                    return None;
                }
            }
            if size == 0 {
                return None;
            }
            axes.push(axis);
        }
        next.is_none().then_some(Self { offset: self.offset, axes })
    }

    /// All places in order.
    pub(super) fn strided(&self) -> Strided {
        Strided { offset: self.offset, axes: self.axes.iter().flatten().copied().collect() }
    }

    /// The places of matrices in the last two axes; none where an axis of theirs is none in memory.
    pub(super) fn matrices(&self) -> Option<Strided> {
        let (heads, matrix) = self.axes.split_at(self.axes.len().checked_sub(2)?);
        let mut axes: Vec<[usize; 2]> = heads.iter().flatten().copied().collect();
        for axis in matrix {
            let joined = Strided { offset: 0, axes: axis.clone() }.joined();
            axes.push(match joined.axes[..] {
                [] => [1, 1],
                [one] => one,
                _ => return None,
            });
        }
        Some(Strided { offset: self.offset, axes })
    }

    /// Where the elements of a plain value of these dimensions lie in memory that holds this view of it densely; none where the
    /// view leaves some out.
    pub(super) fn inverse(&self, dims: &[usize]) -> Option<Self> {
        let total: usize = dims.iter().product();
        let mut stride = 1;
        let mut parts = Vec::new();
        for [size, from] in self.strided().axes.into_iter().rev().filter(|part| part[0] != 1) {
            parts.push(([size, from], stride));
            stride *= size;
        }
        if self.offset != 0 || stride != total {
            return None;
        }
        parts.sort_by_key(|([_, from], _)| std::cmp::Reverse(*from));
        let mut parts = parts.into_iter().peekable();
        let mut axes = Vec::new();
        let mut own = total;
        for &size in dims {
            own /= size.max(1);
            let mut axis = Vec::new();
            let mut left = size;
            while let Some(&([part, from], to)) = parts.peek() {
                if left == 1 || from < own {
                    break;
                }
                if from * part != own * left {
                    return None;
                }
                axis.push([part, to]);
                left /= part;
                parts.next();
            }
            if left != 1 {
                return None;
            }
            axes.push(axis);
        }
        Some(Self { offset: 0, axes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_out_of_one_linear_layer() {
        // (S, N, 3 E) as torch's attention takes it apart, of what lies as (N, S, 3 E).
        let (n, s, heads, d) = (2, 5, 3, 4);
        let e = heads * d;
        let view = View::plain(&[n, s, 3 * e]).turned(&[1, 0, 2]).reshaped(&[s, n, 3, e]).unwrap();
        let view = view.reshaped(&[1, s, n, 3, e]).unwrap().turned(&[3, 1, 2, 0, 4]).reshaped(&[3, s, n, e]).unwrap();
        let key = view.cut(0, 1, 1, 1).unwrap().reshaped(&[s, n * heads, d]).unwrap().turned(&[1, 0, 2]);
        let key = key.reshaped(&[n, heads, s, d]).unwrap().matrices().unwrap();
        assert_eq!(key, Strided { offset: e, axes: vec![[n, s * 3 * e], [heads, d], [s, 3 * e], [d, 1]] });
    }

    #[test]
    fn what_is_turned_is_turned_back() {
        let dims = [2, 3, 5, 4];
        let view = View::plain(&dims).turned(&[2, 0, 1, 3]).reshaped(&[10, 12]).unwrap();
        let places = view.inverse(&dims).unwrap().matrices().unwrap();
        assert_eq!(places.axes, [[2, 12], [3, 4], [5, 24], [4, 1]]);
        // A dense copy of the view has at each place what the plain value has.
        let there = view.strided();
        for number in 0..120 {
            let dense = places.place(number);
            assert_eq!(there.place(dense), number);
        }
        assert_eq!(View::plain(&dims).cut(1, 0, 1, 2).unwrap().inverse(&dims), None);
    }

    #[test]
    fn what_has_no_places_of_its_own_is_none() {
        let turned = View::plain(&[3, 4]).turned(&[1, 0]);
        assert_eq!(turned.reshaped(&[12]).unwrap().matrices(), None);
        assert_eq!(turned.reshaped(&[5, 2]), None);
        assert!(turned.reshaped(&[2, 6]).is_some());
        assert_eq!(turned.reshaped(&[8, 1]), None);
    }
}
