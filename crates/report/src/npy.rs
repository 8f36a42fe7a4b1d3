use crate::Map;
use faithful_core::{Error, Result};

const MAGIC: &[u8] = b"\x93NUMPY";

/// A map as the bytes of a `.npy` file: little-endian f32 of shape `(H, W)`, for `numpy.load`.
pub fn encode_npy(map: &Map) -> Vec<u8> {
    let shape = format!("({}, {})", map.height(), map.width());
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // The values start at a multiple of 64 bytes; the header ends with a newline (NumPy's format, version 1.0).
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + header.len() + 4 * map.values().len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    map.values().iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes
}

/// Reads what [`encode_npy`] writes, and other two-dimensional `.npy` files of little-endian f32 or f64 in C order.
///
/// # Errors
/// [`Error::Format`] that says what the file has instead.
pub fn decode_npy(bytes: &[u8]) -> Result<Map> {
    let (header, values) = split(bytes).ok_or_else(|| Error::format("npy", "not a whole .npy file"))?;
    let field = |name: &str| {
        let rest = header.split_once(&format!("'{name}'"))?.1.trim_start().strip_prefix(':')?;
        Some(rest.trim_start())
    };
    let missing = |name: &str| Error::format("npy", format!("its header has no `{name}`: {header}"));
    if !field("fortran_order").ok_or_else(|| missing("fortran_order"))?.starts_with("False") {
        return Err(Error::format("npy", "it is in Fortran order; save it with numpy.ascontiguousarray"));
    }
    let kind = field("descr").and_then(|rest| rest.strip_prefix('\'')).and_then(|rest| rest.split_once('\''));
    let (kind, _) = kind.ok_or_else(|| missing("descr"))?;
    let shape = field("shape").and_then(|rest| rest.strip_prefix('(')).and_then(|rest| rest.split_once(')'));
    let (shape, _) = shape.ok_or_else(|| missing("shape"))?;
    let sides: Vec<usize> = shape.split(',').filter_map(|side| side.trim().parse().ok()).collect();
    let &[height, width] = sides.as_slice() else {
        return Err(Error::format("npy", format!("its shape is ({shape}); a map is (H, W)")));
    };
    let values: Vec<f32> = match kind {
        "<f4" => decode(values, f32::from_le_bytes),
        "<f8" => decode(values, |bytes| f64::from_le_bytes(bytes) as f32),
        _ => return Err(Error::format("npy", format!("its type is {kind}; a map is <f4 or <f8"))),
    };
    if height.checked_mul(width) != Some(values.len()) {
        let reason = format!("{} values where the header promises {height} x {width}", values.len());
        return Err(Error::format("npy", reason));
    }
    Map::new(height, width, values)
}

/// The header's text and the bytes behind it.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
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

fn decode<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| value(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_numpys() {
        let bytes = encode_npy(&Map::new(2, 3, vec![0.0, 1.0, -2.5, 3.0, f32::MAX, 0.1]).unwrap());
        // numpy.save of the same array gives this header.
        let mut expected =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".to_vec();
        expected.resize(127, b' ');
        expected.push(b'\n');
        assert_eq!(bytes[..128], expected);
        assert_eq!(bytes[128..][..12], [0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]);
        assert_eq!(bytes.len(), 128 + 24);
    }

    #[test]
    fn what_is_written_is_read() {
        for (height, width) in [(1, 1), (3, 5), (224, 1), (100, 1000)] {
            let values = (0..height * width).map(|v| v as f32 * 0.37 - 3.0).collect();
            let map = Map::new(height, width, values).unwrap();
            assert_eq!(decode_npy(&encode_npy(&map)).unwrap(), map);
        }
    }

    #[test]
    fn other_files_are_refused_in_words() {
        let good = encode_npy(&Map::new(2, 2, vec![1.0; 4]).unwrap());
        for length in 0..good.len() {
            assert!(matches!(decode_npy(&good[..length]), Err(Error::Format { .. })), "{length} bytes");
        }
        let replace = |from: &str, to: &str| {
            let text: String = good.iter().map(|&byte| byte as char).collect();
            let bytes: Vec<u8> = text.replace(from, to).chars().map(|c| c as u8).collect();
            decode_npy(&bytes).unwrap_err().to_string()
        };
        assert!(replace("<f4", "<i4").contains("<i4"));
        assert!(replace("False", "True ").contains("Fortran"));
        assert!(replace("(2, 2)", "(4,)  ").contains("(4,)"));
        assert!(replace("(2, 2)", "(9, 9)").contains("9 x 9"));
    }
}
