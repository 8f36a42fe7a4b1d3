//! Thrift's compact protocol, as far as it takes to see whether what it announces can be there: lists have no more elements
//! than bytes follow, and structures do not nest without end.

/// What a field or an element holds, as the protocol numbers it.
pub(crate) const INTEGER: [u8; 3] = [4, 5, 6];
pub(crate) const LIST: u8 = 9;
pub(crate) const STRUCTURE: u8 = 12;

/// Structures and lists within each other, at most.
const DEPTH: usize = 32;

/// A walk through bytes. What it gives is `None` as soon as the bytes are invalid.
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Through a structure: `each` gets the number and the kind of every field, and reads its value or skips it.
    pub(crate) fn fields(&mut self, mut each: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut field = 0;
        loop {
            let head = self.byte()?;
            let (step, kind) = (head >> 4, head & 0x0f);
            if kind == 0 {
                return Some(());
            }
            field = if step == 0 { self.integer()? } else { i64::wrapping_add(field, step.into()) };
            each(self, field, kind)?;
        }
    }

    /// The number of a list's elements and their kind; the elements follow.
    pub(crate) fn list(&mut self) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.natural()?,
            count => u64::from(count),
        };
        // Every element is a byte at least.
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len())?;
        Some((count, head & 0x0f))
    }

    /// A signed integer.
    pub(crate) fn integer(&mut self) -> Option<i64> {
        let zigzag = self.natural()?;
        Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// Past a field's value.
    pub(crate) fn skip(&mut self, kind: u8) -> Option<()> {
        match kind {
            // A field's truth is in its head.
            1 | 2 => Some(()),
            _ => self.skip_element(kind),
        }
    }

    /// Past an element of a list.
    fn skip_element(&mut self, kind: u8) -> Option<()> {
        if self.depth == DEPTH {
            return None;
        }
        self.depth += 1;
        match kind {
            // In a list they are a byte by the specification, and nothing to the library. Parquet has none in what is walked here.
            1 | 2 => return None,
            3 => self.bytes(1)?,
            4..=6 => self.natural().map(drop)?,
            7 => self.bytes(8)?,
            8 => {
                let count = self.natural()?;
                self.bytes(usize::try_from(count).ok()?)?;
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind))?;
            }
            11 => self.skip_map()?,
            STRUCTURE => self.fields(|walk, _, kind| walk.skip(kind))?,
            13 => self.bytes(16)?,
            _ => return None,
        }
        self.depth -= 1;
        Some(())
    }

    fn skip_map(&mut self) -> Option<()> {
        let count = self.natural()?;
        if count == 0 {
            return Some(());
        }
        let kinds = self.byte()?;
        (count <= self.rest.len() as u64).then_some(())?;
        (0..count).try_for_each(|_| {
            self.skip_element(kinds >> 4)?;
            self.skip_element(kinds & 0x0f)
        })
    }

    fn natural(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn bytes(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure with one field, its number 1.
    fn with_field(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[0x10 | kind], value, &[0]].concat()
    }

    fn walked(bytes: &[u8]) -> Option<Vec<(i64, u8)>> {
        let (mut walk, mut seen) = (Walk::new(bytes), Vec::new());
        walk.fields(|walk, field, kind| {
            seen.push((field, kind));
            walk.skip(kind)
        })?;
        walk.rest().is_empty().then_some(seen)
    }

    #[test]
    fn every_kind_is_passed() {
        let kinds: [(u8, &[u8]); 11] = [
            (1, &[]),
            (2, &[]),
            (3, &[9]),
            (5, &[0x80, 1]),
            (7, &[0; 8]),
            (8, &[2, b'a', b'b']),
            (9, &[0x23, 1, 2]),
            (10, &[0x15, 0x80, 1]),
            (11, &[0]),
            (11, &[1, 0x83, 1, b'k', 5]),
            (12, &[0x15, 2, 0]),
        ];
        for (kind, value) in kinds {
            assert_eq!(walked(&with_field(kind, value)), Some(vec![(1, kind)]), "{kind} {value:?}");
        }
        // Fields by steps, and by numbers of their own.
        assert_eq!(walked(&[0x25, 2, 0x15, 2, 0x05, 0x10, 2, 0]), Some(vec![(2, 5), (3, 5), (8, 5)]));
    }

    #[test]
    fn integers_have_their_signs() {
        let read = |bytes: &[u8]| Walk::new(bytes).integer();
        assert_eq!([read(&[0]), read(&[1]), read(&[2]), read(&[0xac, 2])], [0, -1, 1, 150].map(Some));
        assert_eq!(read(&[&[0xff; 9][..], &[1]].concat()), Some(i64::MIN));
        assert_eq!([read(&[0xff; 20]), read(&[0x80]), read(&[])], [None; 3]);
    }

    #[test]
    fn what_cannot_be_there_is_refused() {
        // Two thousand million numbers, a map of as many, a text longer than its bytes, a kind that is none, truths in a list.
        let many = [0xff, 0xff, 0xff, 0xff, 7];
        let cases: [(u8, Vec<u8>); 5] = [
            (9, [&[0xf5][..], &many, &[0; 40]].concat()),
            (11, [&many[..], &[0x55], &[0; 40]].concat()),
            (8, vec![100, 1, 2]),
            (14, vec![1]),
            (9, vec![0x31, 1, 2, 1]),
        ];
        for (kind, value) in cases {
            assert_eq!(walked(&with_field(kind, &value)), None, "{kind}");
        }
        let nested = [vec![0x1c; 100_000], vec![0; 100_001]].concat();
        assert_eq!(walked(&nested), None);
        assert!(walked(&[vec![0x1c; 20], vec![0; 21]].concat()).is_some());
    }
}
