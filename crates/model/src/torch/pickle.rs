//! Python's pickles as data. Nothing is called or imported: what a pickle would call becomes [`Object::Call`].
//!
//! candle's reader was not taken: it copies what a pickle refers to (a few hundred bytes can ask for all memory), panics
//! on damaged arguments and on the number that the older format of `torch.save` begins with, and knows no strings of
//! Python 2. Here every object is held once, and each byte read makes at most one.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// A value: small ones as they are, the others as a place in [`Pickle::objects`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Object(usize),
}

#[derive(Debug)]
pub(super) enum Object {
    Text(String),
    /// Bytes, and integers too long for 64 bits: nothing here needs them.
    Bytes,
    /// Tuples, lists and sets.
    Sequence(Vec<Value>),
    Dictionary(Vec<(Value, Value)>),
    /// A class or function by module and name.
    Global(String, String),
    /// What a function would return for these arguments.
    Call(Value, Value),
    /// What is stored outside the pickle, under this identifier.
    Persistent(Value),
}

/// What was read.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) objects: Vec<Object>,
    pub(super) root: Value,
}

/// A reader that knows how far it is.
pub(super) struct Counted<R> {
    reader: R,
    pub(super) position: u64,
}

impl<R: BufRead> Counted<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, position: 0 }
    }

    fn array<const COUNT: usize>(&mut self) -> io::Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.reader.read_exact(&mut bytes)?;
        self.position += COUNT as u64;
        Ok(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// So many bytes; no more memory is taken than there are bytes.
    fn bytes(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(count).read_to_end(&mut bytes)? as u64;
        self.position += read;
        if read < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
        self.position += bytes.len() as u64;
        if bytes.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// No module and class is called as long.
const LONGEST_LINE: u64 = 1 << 12;

/// Reads one pickle; behind it, `input` stands at the byte after it. The error is what is wrong with it, in words.
pub(super) fn read<R: BufRead>(input: &mut Counted<R>) -> Result<Pickle, String> {
    let mut machine = Machine { objects: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        let operation = input.byte().map_err(|error| words(&error))?;
        if operation == b'.' {
            let root = machine.pop()?;
            return Ok(Pickle { objects: machine.objects, root });
        }
        machine.step(operation, input)?;
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "its pickle is cut off".into(),
        io::ErrorKind::InvalidData => "its pickle has a name that is no text".into(),
        _ => format!("its pickle cannot be read: {error}"),
    }
}

/// The machine that pickles are programs of.
struct Machine {
    objects: Vec<Object>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl Machine {
    fn step<R: BufRead>(&mut self, operation: u8, input: &mut Counted<R>) -> Result<(), String> {
        let failed = |error: io::Error| words(&error);
        match operation {
            // The protocol, and frames, which say only how much to read ahead.
            0x80 => drop(input.byte().map_err(failed)?),
            0x95 => drop(input.array::<8>().map_err(failed)?),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => {
                let value = input.byte().map_err(failed)?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(input.array().map_err(failed)?);
                self.stack.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(input.array().map_err(failed)?);
                self.stack.push(Value::Int(value.into()));
            }
            b'G' => {
                input.array::<8>().map_err(failed)?;
                self.stack.push(Value::Float);
            }
            0x8a | 0x8b => {
                let count = length(operation == 0x8a, input)?;
                let bytes = input.bytes(count).map_err(failed)?;
                match integer(&bytes) {
                    Some(value) => self.stack.push(Value::Int(value)),
                    None => self.push(Object::Bytes),
                }
            }
            // Texts of Python 3 (X, short, long), and strings of Python 2 (T, U).
            b'X' | 0x8c | 0x8d | b'T' | b'U' => {
                let count = match operation {
                    0x8d => u64::from_le_bytes(input.array().map_err(failed)?),
                    _ => length(matches!(operation, 0x8c | b'U'), input)?,
                };
                let bytes = input.bytes(count).map_err(failed)?;
                let object = String::from_utf8(bytes).map_or(Object::Bytes, Object::Text);
                self.push(object);
            }
            b'B' | b'C' | 0x8e => {
                let count = match operation {
                    0x8e => u64::from_le_bytes(input.array().map_err(failed)?),
                    _ => length(operation == b'C', input)?,
                };
                input.bytes(count).map_err(failed)?;
                self.push(Object::Bytes);
            }
            b'c' => {
                let (module, name) = (input.line().map_err(failed)?, input.line().map_err(failed)?);
                self.push(Object::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) = (self.text(module), self.text(name)) else {
                    return Err("its pickle names a class by no text".into());
                };
                self.push(Object::Global(module, name));
            }
            b'q' | b'r' | 0x94 => {
                let place = match operation {
                    b'q' => input.byte().map_err(failed)?.into(),
                    b'r' => u32::from_le_bytes(input.array().map_err(failed)?),
                    _ => self.memo.len() as u32,
                };
                let value = *self.stack.last().ok_or(UNDERFLOW)?;
                self.memo.insert(place, value);
            }
            b'h' | b'j' => {
                let place = match operation {
                    b'h' => input.byte().map_err(failed)?.into(),
                    _ => u32::from_le_bytes(input.array().map_err(failed)?),
                };
                let value = *self.memo.get(&place).ok_or("its pickle refers to nothing")?;
                self.stack.push(value);
            }
            b'(' => self.marks.push(self.stack.len()),
            b')' | b']' | 0x8f => self.push(Object::Sequence(Vec::new())),
            b'}' => self.push(Object::Dictionary(Vec::new())),
            b't' | b'l' | 0x91 => {
                let values = self.marked()?;
                self.push(Object::Sequence(values));
            }
            0x85..=0x87 => {
                let count = usize::from(operation - 0x84);
                let start = self.stack.len().checked_sub(count).ok_or(UNDERFLOW)?;
                let values = self.stack.split_off(start);
                self.push(Object::Sequence(values));
            }
            b'd' => {
                let values = self.marked()?;
                self.push(Object::Dictionary(pairs(&values)));
            }
            b'a' => {
                let value = self.pop()?;
                self.extend(vec![value])?;
            }
            b'e' | 0x90 => {
                let values = self.marked()?;
                self.extend(values)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(vec![key, value])?;
            }
            b'u' => {
                let values = self.marked()?;
                self.extend(values)?;
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments);
            }
            // The state of an object: of an ordered dictionary its metadata, of anything else nothing that is needed.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let identifier = self.pop()?;
                self.push(Object::Persistent(identifier));
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.marked()?),
            b'2' => {
                let value = *self.stack.last().ok_or(UNDERFLOW)?;
                self.stack.push(value);
            }
            other => return Err(format!("its pickle has the unknown operation {other:#04x}")),
        }
        Ok(())
    }

    fn push(&mut self, object: Object) {
        self.stack.push(Value::Object(self.objects.len()));
        self.objects.push(object);
    }

    fn pop(&mut self) -> Result<Value, String> {
        // Nothing may be taken from below a mark.
        if self.marks.last().is_some_and(|mark| *mark >= self.stack.len()) {
            return Err(UNDERFLOW.into());
        }
        self.stack.pop().ok_or_else(|| UNDERFLOW.into())
    }

    fn marked(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("its pickle ends a list that did not begin")?;
        if mark > self.stack.len() {
            return Err(UNDERFLOW.into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn text(&self, value: Value) -> Option<String> {
        match value {
            Value::Object(place) => match &self.objects[place] {
                Object::Text(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Adds to the list or dictionary on top of the stack. Classes of one's own may be both; what is added to them is lost.
    fn extend(&mut self, values: Vec<Value>) -> Result<(), String> {
        let Value::Object(place) = *self.stack.last().ok_or(UNDERFLOW)? else {
            return Err("its pickle adds to something that holds nothing".into());
        };
        match &mut self.objects[place] {
            Object::Sequence(all) => all.extend(values),
            Object::Dictionary(all) => all.extend(pairs(&values)),
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self, function: Value, arguments: Value) {
        let is_dictionary = match function {
            Value::Object(place) => matches!(&self.objects[place], Object::Global(module, name)
                if module == "collections" && (name == "OrderedDict" || name == "defaultdict")),
            _ => false,
        };
        if !is_dictionary {
            return self.push(Object::Call(function, arguments));
        }
        // Python 2 gives an ordered dictionary's pairs as its argument, Python 3 adds them afterwards. They are moved, not
        // copied: an argument that is used again and again must not make more of them than were read.
        let list = match self.sequence(arguments) {
            [list] => *list,
            _ => Value::None,
        };
        let listed = match list {
            Value::Object(place) => match &mut self.objects[place] {
                Object::Sequence(values) => std::mem::take(values),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let pair = |value: &Value| match self.sequence(*value) {
            [key, value] => Some((*key, *value)),
            _ => None,
        };
        let entries = listed.iter().filter_map(pair).collect();
        self.push(Object::Dictionary(entries));
    }

    fn sequence(&self, value: Value) -> &[Value] {
        match value {
            Value::Object(place) => match &self.objects[place] {
                Object::Sequence(values) => values,
                _ => &[],
            },
            _ => &[],
        }
    }
}

/// A length of one byte, or of four.
fn length<R: BufRead>(short: bool, input: &mut Counted<R>) -> Result<u64, String> {
    let read = |input: &mut Counted<R>| {
        Ok(if short { input.byte()?.into() } else { u32::from_le_bytes(input.array()?).into() })
    };
    read(input).map_err(|error: io::Error| words(&error))
}

const UNDERFLOW: &str = "its pickle takes from an empty stack";

fn pairs(values: &[Value]) -> Vec<(Value, Value)> {
    values.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// A little-endian integer in two's complement, if it has no more than 64 bits.
fn integer(bytes: &[u8]) -> Option<i64> {
    let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [fill; 8];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

impl Pickle {
    pub(super) fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(place) => self.objects.get(place),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::Sequence(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn dictionary(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.object(value)? {
            Object::Dictionary(entries) => Some(entries),
            _ => None,
        }
    }

    /// The name of the function that would be called, with its module, and its arguments.
    pub(super) fn call(&self, value: Value) -> Option<(&str, &str, &[Value])> {
        match self.object(value)? {
            Object::Call(function, arguments) => match self.object(*function)? {
                Object::Global(module, name) => Some((module, name, self.sequence(*arguments)?)),
                _ => None,
            },
            _ => None,
        }
    }
}
