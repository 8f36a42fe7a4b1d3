//! Columns of a table, as programs see them.

use std::sync::Arc;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// Numbers of 64 bits.
    Double,
    /// Whole numbers from 0 on, of 32 bits.
    Unsigned32,
    /// Whole numbers from 0 on, of 64 bits.
    Unsigned64,
    /// Lists of numbers of 64 bits.
    Doubles,
    /// Other numbers, of any width, and truth values as 0 and 1; they are read, and not written.
    Number,
    /// Points of time and days, which are read as texts such as `2026-03-01T06:00:00`, and not written.
    Time,
}

/// A column's name and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether cells may be missing.
    pub nullable: bool,
}

impl Field {
    /// A column of that name.
    pub fn new(name: impl Into<String>, kind: Kind, nullable: bool) -> Self {
        Self { name: name.into(), kind, nullable }
    }
}

/// The cells of a column; what is missing is `None`.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Of [`Kind::Text`] and [`Kind::Time`].
    Texts(Vec<Option<String>>),
    /// Of [`Kind::Double`] and [`Kind::Number`].
    Numbers(Vec<Option<f64>>),
    /// Of [`Kind::Unsigned32`] and [`Kind::Unsigned64`].
    Whole(Vec<Option<u64>>),
    /// Of [`Kind::Doubles`]; a number that is missing in a list is NaN.
    Lists(Vec<Option<Vec<f64>>>),
}

impl Cells {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(cells) => cells.len(),
            Self::Numbers(cells) => cells.len(),
            Self::Whole(cells) => cells.len(),
            Self::Lists(cells) => cells.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Some rows of a table, column by column in the order of its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The table's columns.
    pub fields: Arc<[Field]>,
    /// How many rows.
    pub count: usize,
    /// The cells of each column.
    pub columns: Vec<Cells>,
}
