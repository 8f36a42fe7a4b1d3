//! Photos that are none, or not whole: one clear error each, never a panic.

use faithful_data::{Decoding, Picture, decode_photo, read_photo};
use std::path::PathBuf;

fn photos() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/goldens/data/photos")
}

fn refusal(bytes: &[u8]) -> String {
    decode_photo("photo", bytes, &Decoding::default()).unwrap_err().to_string()
}

#[test]
fn what_is_no_photo_is_said_to_be_none() {
    assert_eq!(refusal(b""), "photo: the file is empty (0 bytes)");
    let text = refusal(b"Dear all,\nthe photo is attached.");
    assert!(text.starts_with("photo: not a photo: it starts with the text `Dear all, the photo is"), "{text}");
    assert!(refusal(&[0, 1, 2, 3, 250, 251]).contains("its first bytes are no format's"));
    assert!(refusal(b"\0\0\0\x18ftypheic\0\0\0\0").contains("HEIC"));
    assert!(refusal(b"\x89PNG\r\n\x1a\n").contains("PNG"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.png");
    std::fs::write(&path, "not a picture at all").unwrap();
    let error = read_photo(&path, &Decoding::default()).unwrap_err().to_string();
    assert!(error.contains("letter.png: not a photo"), "{error}");
    let error = read_photo(&folder.path().join("absent.png"), &Decoding::default()).unwrap_err().to_string();
    assert!(error.contains("absent.png: No such file"), "{error}");
    assert!(read_photo(folder.path(), &Decoding::default()).is_err());
}

#[test]
fn a_truncated_photo_is_an_error_wherever_it_ends() {
    for entry in std::fs::read_dir(photos()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let whole = std::fs::read(&path).unwrap();
        // A palette's or a strip's end may be the file's: the last bytes of some formats carry no pixels.
        let trailer = if name.ends_with("tiff") { whole.len() / 2 } else { 32 };
        let mut accepted = Vec::new();
        for length in (0..whole.len() - trailer).step_by(7) {
            match decode_photo(&name, &whole[..length], &Decoding::default()) {
                Ok(_) => accepted.push(length),
                Err(error) => assert!(error.to_string().starts_with(&name), "{error}"),
            }
        }
        assert_eq!(accepted, [0_usize; 0], "{name} of {} bytes", whole.len());
    }
}

#[test]
fn truncation_is_called_by_its_name() {
    for name in
        ["colour.jpg", "progressive.jpg", "colour.png", "colour.gif", "colour.bmp", "lossless.webp", "lossy.webp"]
    {
        let whole = std::fs::read(photos().join(name)).unwrap();
        let error = refusal(&whole[..whole.len() * 2 / 3]);
        assert!(error.contains("truncated"), "{name}: {error}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    for entry in std::fs::read_dir(photos()).unwrap() {
        let path = entry.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        for round in 0..60_usize {
            let mut bytes = whole.clone();
            // Positions and values from a Weyl sequence: spread over the file, the headers most of all.
            for hit in 0..=round % 3 {
                let at =
                    (round * 40_503 + hit * 7_919) % if round % 2 == 0 { bytes.len() } else { bytes.len().min(64) };
                bytes[at] ^= (round * 37 + hit * 11 + 1) as u8;
            }
            let _ = decode_photo("photo", &bytes, &Decoding::default());
        }
    }
}

#[test]
fn huge_photos_are_refused_before_their_pixels_are_read() {
    // A PNG header that announces 20,000 x 20,000 pixels.
    let whole = std::fs::read(photos().join("colour.png")).unwrap();
    let mut header = b"IHDR".to_vec();
    header.extend(20_000_u32.to_be_bytes());
    header.extend(20_000_u32.to_be_bytes());
    header.extend(&whole[24..29]);
    let mut bytes = whole[..12].to_vec();
    bytes.extend(&header);
    bytes.extend(checksum(&header).to_be_bytes());
    bytes.extend(&whole[33..]);
    let error = refusal(&bytes);
    assert!(error.contains("20000 x 20000 pixels are 400.0 million, more than the limit of 150.0 million"), "{error}");
    let small = Decoding { pixels: 100, ..Decoding::default() };
    assert!(decode_photo("photo", &whole, &small).unwrap_err().to_string().contains("limit"));
    // Within a raised limit, the lie comes out as a truncated file.
    let raised = Decoding { pixels: 400_000_000, ..Decoding::default() };
    assert!(decode_photo("photo", &bytes, &raised).is_err());
}

/// PNG's CRC-32.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[test]
fn a_photo_of_one_pixel_is_a_photo() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dot.png");
    faithful_data::write_picture(&path, &Picture::filled(1, 1, [1, 2, 3])).unwrap();
    assert_eq!(read_photo(&path, &Decoding::default()).unwrap(), Picture::filled(1, 1, [1, 2, 3]));
}
