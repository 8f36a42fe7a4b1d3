use super::convert_weights;
use crate::architecture::random_file;
use crate::{ARCHITECTURES, architecture};
use safetensors::SafeTensors;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/goldens/torch").join(name)
}

/// What becomes of these bytes: the safetensors, or the error.
fn converted(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("in.pth"), folder.path().join("out.safetensors"));
    fs::write(&from, bytes).unwrap();
    match convert_weights(&from, &to, None) {
        Ok(_) => Ok(fs::read(&to).unwrap()),
        Err(error) => {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
            let text = error.to_string();
            Err(text.strip_prefix(&format!("{}: ", from.display())).unwrap_or(&text).to_owned())
        }
    }
}

#[test]
fn every_format_of_torch_save_gives_the_bits_that_torch_reads() {
    let expected = fs::read(golden("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    for name in ["zip.pth", "stream.pth", "training.pth", "expected.safetensors"] {
        let bytes = converted(&fs::read(golden(name)).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (tensor, view) in expected.tensors() {
            let other = found.tensor(&tensor).unwrap();
            assert_eq!((other.dtype(), other.shape()), (view.dtype(), view.shape()), "{name}: {tensor}");
            assert!(other.data() == view.data(), "{name}: {tensor}");
        }
    }
}

#[test]
fn what_is_no_state_dictionary_is_refused_in_words() {
    let module = fs::read(golden("module.pth")).unwrap();
    let cases: [(&[u8], &str); 6] = [
        (&module, "a whole object, torch.nn.modules.linear.Linear; save the state"),
        (b"", "neither a checkpoint"),
        (b"<!DOCTYPE html><html>", "neither a checkpoint"),
        (b"\x80\x04N.", "a pickle that torch.save did not write"),
        (&[&[b'a'; 257][..], b"ustar", &[0; 300]].concat(), "a tar file"),
        (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "without data.pkl"),
    ];
    for (bytes, word) in cases {
        let error = converted(bytes).unwrap_err();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn damage_ends_in_an_error_or_in_tensors() {
    let read = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        super::file::tensors("damaged", &mut file).map(drop)
    };
    for name in ["zip.pth", "stream.pth"] {
        let whole = fs::read(golden(name)).unwrap();
        assert!(read(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{name} cut to {length}");
        }
        for place in 0..whole.len() {
            for pattern in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] ^= pattern;
                // An error or other numbers, but no panic.
                drop(read(&bytes));
            }
        }
    }
}

/// The stream as PyTorch wrote it from Python 2, put together by hand: strings of bytes, pairs as the ordered dictionary's
/// argument, and the first way to describe tensors.
fn stream(root: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    bytes.extend(b"\x80\x02}q\x01U\x0dlittle_endianq\x02\x88s.");
    bytes.extend([b"\x80\x02", root, b"."].concat());
    bytes.extend(b"\x80\x02](");
    for (key, _) in storages {
        bytes.extend([b"U", &[key.len() as u8][..], key.as_bytes()].concat());
    }
    bytes.extend(b"e.");
    for (_, values) in storages {
        bytes.extend((values.len() as u64).to_le_bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}

/// A tensor of shape `(rows, 2)` in the storage `key`.
fn tensor(key: &str, rows: u8) -> Vec<u8> {
    let storage = [b"((U\x07storagectorch\nFloatStorage\nU", &[key.len() as u8][..], key.as_bytes()].concat();
    let described = [b"U\x06cuda:0K\x06NtQK\x00K", &[rows][..], b"K\x02\x86K\x02K\x01\x86t"].concat();
    [b"ctorch._utils\n_rebuild_tensor\n", &storage[..], &described, b"R"].concat()
}

#[test]
fn checkpoints_of_python_2_are_read() {
    let pairs = [b"ccollections\nOrderedDict\n(](](U\x06weight", &tensor("94", 2)[..], b"ee"].concat();
    let root = [&pairs[..], b"tR"].concat();
    let bytes = converted(&stream(&root, &[("94", &[1.0, 2.0, 3.0, 4.0])])).unwrap();
    let found = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(found.tensor("weight").unwrap().shape(), [2, 2]);
    assert_eq!(found.tensor("weight").unwrap().data()[12..], 4.0_f32.to_le_bytes());

    let short = converted(&stream(&root, &[("94", &[1.0, 2.0, 3.0])])).unwrap_err();
    assert_eq!(short, "`weight` reaches behind its storage of 12 bytes");
    let absent = converted(&stream(&root, &[])).unwrap_err();
    assert_eq!(absent, "the values of `weight` are missing");
}

#[test]
fn small_pickles_do_not_become_large() {
    // Each line would double or nest something; all of it is held once.
    let attacks: [Vec<u8>; 5] = [
        [b"]q\x00".to_vec(), b"h\x00h\x00\x86q\x00".repeat(100_000)].concat(),
        [b"N".to_vec(), b"\x85".repeat(1_000_000)].concat(),
        b"X\xff\xff\xff\xfftext".to_vec(),
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7ftext".to_vec(),
        [b"(".repeat(1000), b"t".repeat(1000), b"tttt".to_vec()].concat(),
    ];
    for attack in attacks {
        assert!(converted(&stream(&attack, &[])).is_err());
    }
    // One number, repeated a million times.
    let storage = b"(U\x07storagectorch\nFloatStorage\nU\x011U\x03cpuK\x01NtQ";
    let root = [
        b"}U\x01w",
        &b"ctorch._utils\n_rebuild_tensor_v2\n("[..],
        storage,
        b"K\x00J\x40\x42\x0f\x00\x85K\x00\x85\x89NtRs",
    ]
    .concat();
    let error = converted(&stream(&root, &[("1", &[1.0])])).unwrap_err();
    assert!(error.contains("far more than the file"), "{error}");
}

#[test]
fn another_architectures_tensors_are_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("in"), folder.path().join("out.safetensors"));
    let squeezenet = architecture("squeezenet1_1").unwrap();
    fs::write(&from, random_file("squeezenet1_1", 10)).unwrap();
    let other = ARCHITECTURES.iter().find(|other| other.name == "mobilenet_v2").unwrap();
    let error = convert_weights(&from, &to, Some(other)).unwrap_err().to_string();
    assert!(error.contains("these are not mobilenet_v2's weights"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let converted = convert_weights(&from, &to, Some(squeezenet)).unwrap();
    assert_eq!((converted.format, converted.tensors), ("safetensors", 52));
}
