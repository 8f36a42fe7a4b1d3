use crate::Map;
use faithful_core::{Array, Error, Result};

/// A map as the bytes of a `.npy` file: little-endian f32 of shape `(H, W)`, for `numpy.load`.
pub fn encode_npy(map: &Map) -> Vec<u8> {
    encode(&format!("({}, {})", map.height(), map.width()), map.values().iter())
}

/// The maps of a volume's slices, of one size, as the bytes of a `.npy` file of shape `(slices, H, W)`.
pub fn encode_npy_slices(maps: &[Map]) -> Vec<u8> {
    let [height, width] = maps.first().map_or([0; 2], |map| [map.height(), map.width()]);
    encode(&format!("({}, {height}, {width})", maps.len()), maps.iter().flat_map(Map::values))
}

fn encode<'a>(shape: &str, values: impl Iterator<Item = &'a f32>) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    // The values start at a multiple of 64 bytes; the header ends with a newline (NumPy's format, version 1.0).
    let unpadded = Array::MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut bytes = Vec::with_capacity(Array::MAGIC.len() + 4 + header.len() + 4 * values.size_hint().0);
    bytes.extend_from_slice(Array::MAGIC);
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    values.for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes
}

/// Reads what [`encode_npy`] writes, and other two-dimensional `.npy` files of numbers.
///
/// # Errors
/// [`Error::Format`] that says what the file has instead.
pub fn decode_npy(bytes: &[u8]) -> Result<Map> {
    let Array { shape, values, .. } = Array::decode(bytes)?;
    let &[height, width] = shape.as_slice() else {
        return Err(Error::format("npy", format!("its shape is {shape:?}; a map is (H, W)")));
    };
    Map::new(height, width, values)
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
        assert!(replace("<f4", "<c8").contains("<c8"));
        assert!(replace("(2, 2)", "(4,)  ").contains("[4]"));
        assert!(replace("(2, 2)", "(9, 9)").contains("9 x 9"));
    }
}
