//! What Parquet's structures are made of, by the numbers of their fields.
//!
//! The library reads a field by its number and believes that it holds what the specification says, whatever the file says
//! that it holds; where the two differ it goes on in the middle of something else. Here such a file is refused.

use crate::thrift::{INTEGER, LIST, STRUCTURE, Walk};

/// What a field holds.
pub(crate) enum Shape {
    Truth,
    Byte,
    Integer,
    Double,
    Bytes,
    List(&'static Shape),
    Structure(Fields),
}

/// The fields of a structure, by their numbers. Others may stand there, and are skipped.
pub(crate) type Fields = &'static [(i64, Shape)];

use Shape::{Byte, Bytes, Double, Integer, List, Structure, Truth};

const STATISTICS: Fields =
    &[(1, Bytes), (2, Bytes), (3, Integer), (4, Integer), (5, Bytes), (6, Bytes), (7, Truth), (8, Truth), (9, Integer)];
const TIME: Fields = &[(1, Truth), (2, Structure(&[(1, Structure(&[])), (2, Structure(&[])), (3, Structure(&[]))]))];
const LOGICAL_TYPE: Fields = &[
    (1, Structure(&[])),
    (2, Structure(&[])),
    (3, Structure(&[])),
    (4, Structure(&[])),
    (5, Structure(&[(1, Integer), (2, Integer)])),
    (6, Structure(&[])),
    (7, Structure(TIME)),
    (8, Structure(TIME)),
    (10, Structure(&[(1, Byte), (2, Truth)])),
    (11, Structure(&[])),
    (12, Structure(&[])),
    (13, Structure(&[])),
    (14, Structure(&[])),
    (15, Structure(&[])),
    (16, Structure(&[(1, Byte)])),
    (17, Structure(&[(1, Bytes)])),
    (18, Structure(&[(1, Bytes), (2, Integer)])),
];
const SCHEMA_ELEMENT: Shape = Structure(&[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Bytes),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Integer),
    (9, Integer),
    (10, Structure(LOGICAL_TYPE)),
]);
const KEY_VALUE: Shape = Structure(&[(1, Bytes), (2, Bytes)]);
const BOX: Fields =
    &[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)];
const COLUMN: Fields = &[
    (1, Integer),
    (2, List(&Integer)),
    (3, List(&Bytes)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, List(&KEY_VALUE)),
    (9, Integer),
    (10, Integer),
    (11, Integer),
    (12, Structure(STATISTICS)),
    (13, List(&Structure(&[(1, Integer), (2, Integer), (3, Integer)]))),
    (14, Integer),
    (15, Integer),
    (16, Structure(&[(1, Integer), (2, List(&Integer)), (3, List(&Integer))])),
    (17, Structure(&[(1, Structure(BOX)), (2, List(&Integer))])),
];
const ENCRYPTION: Fields = &[(1, Bytes), (2, Bytes), (3, Truth)];
const COLUMN_CHUNK: Shape = Structure(&[
    (1, Bytes),
    (2, Integer),
    (3, Structure(COLUMN)),
    (4, Integer),
    (5, Integer),
    (6, Integer),
    (7, Integer),
    (8, Structure(&[(1, Structure(&[])), (2, Structure(&[(1, List(&Bytes)), (2, Bytes)]))])),
    (9, Bytes),
]);
const ROW_GROUP: Shape = Structure(&[
    (1, List(&COLUMN_CHUNK)),
    (2, Integer),
    (3, Integer),
    (4, List(&Structure(&[(1, Integer), (2, Truth), (3, Truth)]))),
    (5, Integer),
    (6, Integer),
    (7, Integer),
]);

/// The footer.
pub(crate) const FOOTER: Fields = &[
    (1, Integer),
    (2, List(&SCHEMA_ELEMENT)),
    (3, Integer),
    (4, List(&ROW_GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Bytes),
    (7, List(&Structure(&[(1, Structure(&[])), (2, Structure(&[]))]))),
    (8, Structure(&[(1, Structure(ENCRYPTION)), (2, Structure(ENCRYPTION))])),
    (9, Bytes),
];

/// The head of a page.
pub(crate) const PAGE_HEAD: Fields = &[
    (1, Integer),
    (2, Integer),
    (3, Integer),
    (4, Integer),
    (5, Structure(&[(1, Integer), (2, Integer), (3, Integer), (4, Integer), (5, Structure(STATISTICS))])),
    (6, Structure(&[])),
    (7, Structure(&[(1, Integer), (2, Integer), (3, Truth)])),
    (
        8,
        Structure(&[
            (1, Integer),
            (2, Integer),
            (3, Integer),
            (4, Integer),
            (5, Integer),
            (6, Integer),
            (7, Truth),
            (8, Structure(STATISTICS)),
        ]),
    ),
];

impl Walk<'_> {
    /// Through a structure, each of whose fields holds what it should.
    pub(crate) fn structure(&mut self, fields: Fields) -> Option<()> {
        self.fields(|walk, field, kind| match fields.iter().find(|(known, _)| *known == field) {
            Some((_, shape)) => walk.holds(kind, shape),
            None => walk.skip(kind),
        })
    }

    /// Past a value of that kind, which must be what `shape` says.
    fn holds(&mut self, kind: u8, shape: &Shape) -> Option<()> {
        match (shape, kind) {
            (Truth, 1 | 2) | (Byte, 3) | (Double, 7) | (Bytes, 8) => self.skip(kind),
            (Integer, kind) if INTEGER.contains(&kind) => self.skip(kind),
            (List(shape), LIST) => {
                let (count, kind) = self.list()?;
                // A list of truths would have a byte for each, and there is none.
                (0..count).try_for_each(|_| self.holds(kind, shape))
            }
            (Structure(fields), STRUCTURE) => self.structure(fields),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8], fields: Fields) -> bool {
        let mut walk = Walk::new(bytes);
        walk.structure(fields).is_some() && walk.rest().is_empty()
    }

    #[test]
    fn a_field_holds_what_the_specification_says() {
        // Sizes, and a dictionary of two values that is not sorted; a field that nobody knows is skipped.
        assert!(whole(&[0x15, 4, 0x15, 22, 0x15, 24, 0x4c, 0x15, 4, 0x15, 0, 0x12, 0, 0], PAGE_HEAD));
        assert!(whole(&[0x15, 4, 0xf8, 2, b'a', b'b', 0], PAGE_HEAD));
        // A size that is a truth, whose byte belongs to what follows; a dictionary that is a number; a text as a list.
        assert!(!whole(&[0x15, 4, 0x12, 0x15, 24, 0], PAGE_HEAD));
        assert!(!whole(&[0x15, 4, 0x65, 2, 0], PAGE_HEAD));
        assert!(!whole(&[0x69, 0x13, 1, 0], FOOTER));
        // A list of structures with a number in it, and an empty list of whatever kind.
        assert!(!whole(&[0x29, 0x15, 2, 0], FOOTER) && whole(&[0x29, 0, 0], FOOTER) && whole(&[0x29, 0x05, 0], FOOTER));
    }
}
