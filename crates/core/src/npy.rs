use crate::{Error, Result};

/// A NumPy array's numbers, rows last.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its axes.
    pub shape: Vec<usize>,
    /// Its values in C order.
    pub values: Vec<f32>,
    /// The largest value of its type, where that is of whole numbers without a sign (255 for bytes); else `None`.
    pub largest: Option<f32>,
}

impl Array {
    /// What an `.npy` file begins with.
    pub const MAGIC: &'static [u8] = b"\x93NUMPY";

    /// Reads an `.npy` file (format 1 to 3) of numbers of any size and byte order.
    ///
    /// # Errors
    /// [`Error::Format`] that says what the file has instead, called `npy`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong = |reason: String| Error::format("npy", reason);
        let (header, body) = split(bytes).ok_or_else(|| wrong("not a whole .npy file".into()))?;
        let field = |name: &str| {
            let rest = header.split_once(&format!("'{name}'"))?.1.trim_start().strip_prefix(':')?;
            Some(rest.trim_start())
        };
        let missing = |name: &str| wrong(format!("its header has no `{name}`: {header}"));
        let columns_first = field("fortran_order").ok_or_else(|| missing("fortran_order"))?.starts_with("True");
        let kind = field("descr").and_then(|rest| rest.strip_prefix('\'')).and_then(|rest| rest.split_once('\''));
        let (kind, _) = kind.ok_or_else(|| missing("descr"))?;
        let shape = field("shape").and_then(|rest| rest.strip_prefix('(')).and_then(|rest| rest.split_once(')'));
        let (shape, _) = shape.ok_or_else(|| missing("shape"))?;
        let sides = shape.split(',').map(str::trim).filter(|side| !side.is_empty());
        let shape: Vec<usize> = sides
            .map(|side| side.parse().map_err(|_| wrong(format!("its shape is ({shape})"))))
            .collect::<Result<_>>()?;
        let (values, largest) = numbers(kind, body).ok_or_else(|| {
            wrong(format!(
                "its type is {kind}; whole numbers, <f2, <f4 and <f8 are read: save it with astype('float32')"
            ))
        })?;
        let promised = shape.iter().try_fold(1_usize, |all, &side| all.checked_mul(side));
        if promised != Some(values.len()) {
            let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
            let reason = format!("{} values where the header promises {}", values.len(), sizes.join(" x "));
            return Err(wrong(reason));
        }
        let values = if columns_first { rows_last(&shape, &values) } else { values };
        Ok(Self { shape, values, largest })
    }
}

/// The header's text and the bytes behind it.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(Array::MAGIC)?;
    let (&[major, _], rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = if major == 1 {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (header, values) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, values))
}

/// The numbers of a type such as `<f4`, and the type's largest where it is unsigned.
fn numbers(kind: &str, bytes: &[u8]) -> Option<(Vec<f32>, Option<f32>)> {
    let (order, kind) = kind.split_at_checked(1)?;
    let swapped = order == ">";
    if !["<", ">", "|", "="].contains(&order) {
        return None;
    }
    let read = |value: fn([u8; 8]) -> f32, size: usize| {
        let one = |chunk: &[u8]| {
            let mut all = [0; 8];
            all[..size].copy_from_slice(chunk);
            if swapped {
                all[..size].reverse();
            }
            value(all)
        };
        bytes.chunks_exact(size).map(one).collect::<Vec<f32>>()
    };
    Some(match kind {
        "b1" => (read(|b| f32::from(b[0]), 1), Some(1.0)),
        "u1" => (read(|b| f32::from(b[0]), 1), Some(255.0)),
        "u2" => (read(|b| f32::from(u16::from_le_bytes([b[0], b[1]])), 2), Some(65_535.0)),
        "u4" => (read(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32, 4), None),
        "i1" => (read(|b| f32::from(b[0].cast_signed()), 1), None),
        "i2" => (read(|b| f32::from(i16::from_le_bytes([b[0], b[1]])), 2), None),
        "i4" => (read(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32, 4), None),
        "i8" => (read(|b| i64::from_le_bytes(b) as f32, 8), None),
        "u8" => (read(|b| u64::from_le_bytes(b) as f32, 8), None),
        "f2" => (read(|b| half(u16::from_le_bytes([b[0], b[1]])), 2), None),
        "f4" => (read(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]), 4), None),
        "f8" => (read(|b| f64::from_le_bytes(b) as f32, 8), None),
        _ => return None,
    })
}

/// A half-precision number (IEEE 754 binary16).
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

/// Values that lie with the first axis running fastest, with the last axis running fastest.
fn rows_last(shape: &[usize], values: &[f32]) -> Vec<f32> {
    let mut steps = vec![1; shape.len()];
    for axis in 1..shape.len() {
        steps[axis] = steps[axis - 1] * shape[axis - 1];
    }
    let mut place = vec![0; shape.len()];
    let mut turned = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        turned.push(values[place.iter().zip(&steps).map(|(at, step)| at * step).sum::<usize>()]);
        for axis in (0..shape.len()).rev() {
            place[axis] += 1;
            if place[axis] < shape[axis] {
                break;
            }
            place[axis] = 0;
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(descr: &str, order: &str, shape: &str, body: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = Array::MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn numbers_of_every_kind_are_read() {
        let of = |kind: &str, body: &[u8]| Array::decode(&file(kind, "False", "(2,)", body)).unwrap();
        assert_eq!(of("|u1", &[7, 255]), Array { shape: vec![2], values: vec![7.0, 255.0], largest: Some(255.0) });
        assert_eq!(of("|i1", &[255, 3]).values, [-1.0, 3.0]);
        assert_eq!(of(">u2", &[1, 0, 0, 2]).values, [256.0, 2.0]);
        assert_eq!(of("<i4", &[254, 255, 255, 255, 1, 0, 0, 0]).values, [-2.0, 1.0]);
        // 1.5 and the smallest positive half: numpy.float16(1.5).tobytes() is 00 3e.
        assert_eq!(of("<f2", &[0, 0x3e, 1, 0]).values, [1.5, 2f32.powi(-24)]);
        assert_eq!(of(">f4", &[0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0]).values, [1.0, -2.0]);
        let both: Vec<u8> = [0.25f64, -3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(of("<f8", &both).values, [0.25, -3.0]);
    }

    #[test]
    fn columns_may_come_first() {
        // numpy.asfortranarray([[0, 1, 2], [3, 4, 5]]) stores 0 3 1 4 2 5.
        let array = Array::decode(&file("|u1", "True", "(2, 3)", &[0, 3, 1, 4, 2, 5])).unwrap();
        assert_eq!(array.values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn other_files_are_refused_in_words() {
        let good = file("<f4", "False", "(1, 1)", &[0; 4]);
        for length in 0..good.len() {
            assert!(matches!(Array::decode(&good[..length]), Err(Error::Format { .. })), "{length} bytes");
        }
        let refused = |file: Vec<u8>| Array::decode(&file).unwrap_err().to_string();
        assert!(refused(file("<c8", "False", "(1,)", &[0; 8])).contains("<c8"));
        assert!(refused(file("<f4", "False", "(x,)", &[0; 8])).contains("(x,)"));
        let large = format!("({}, {})", usize::MAX, usize::MAX);
        assert!(refused(file("<f4", "False", &large, &[0; 8])).contains("promises"));
    }
}
