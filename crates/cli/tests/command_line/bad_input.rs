use super::support::{Place, fixture, name};
use faithful_report::image::{self, ImageFormat, RgbImage};
use std::io::Cursor;

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| [x as u8, y as u8, (x * y) as u8].into());
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// The start of a grey PNG that claims to be of that size.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
    chunk.extend([8, 0, 0, 0, 0]);
    // PNG's checksum (CRC-32), bit by bit.
    let checksum = !chunk.iter().fold(!0u32, |checksum, byte| {
        (0..8).fold(checksum ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    });
    [
        b"\x89PNG\r\n\x1a\n".as_slice(),
        &13u32.to_be_bytes(),
        &chunk,
        &checksum.to_be_bytes(),
        &0u32.to_be_bytes(),
        b"IDAT",
    ]
    .concat()
}

#[test]
fn photos_that_are_none_are_named_with_the_reason() {
    let place = Place::new();
    let whole = jpeg(64, 48);
    let cases: [(&str, &[u8], &str); 5] = [
        ("truncated.jpg", &whole[..whole.len() / 2], "truncated"),
        ("empty.png", b"", "empty"),
        ("text.png", b"Dear reader, this is no picture.", "Dear reader"),
        ("huge.png", &png_header(20_000, 20_000), "20000 x 20000"),
        ("noise.jpg", &[0x5a; 100], "not a photo"),
    ];
    for (file, bytes, word) in cases {
        let path = place.file(file, bytes);
        place.run(&["explain", name(&path)]).refused(1, &[file, word]);
        place.run(&["predict", name(&path)]).refused(1, &[file, word]);
    }
    // Its decoder panics; of that nothing is said but the reason.
    let seed = fixture("../fuzz/seeds/photo/decoder-panics.jpg");
    place.run(&["explain", name(&seed)]).refused(1, &["decoder-panics.jpg: damaged or unusual JPEG (757 bytes)"]);
    place.run(&["explain", "absent.jpg"]).refused(1, &["absent.jpg", "No such file"]);
    std::fs::create_dir(place.path("nothing")).unwrap();
    place.run(&["explain", "nothing"]).refused(1, &["nothing", "no photos"]);
    assert_eq!(place.names("faithful-out"), [""; 0]);
}

#[test]
fn unusual_photos_are_explained() {
    let place = Place::new();
    let tiny = place.path("tiny.png");
    RgbImage::from_pixel(1, 1, [200, 10, 30].into()).save(&tiny).unwrap();
    let mut paths = vec![tiny];
    for unusual in ["cmyk.jpg", "grey16.png", "grey16.tiff", "alpha.png", "grey_alpha.png", "palette.png", "colour.gif"]
    {
        paths.push(fixture("goldens/data/photos").join(unusual));
    }
    let mut arguments = vec!["explain", "--method", "grad-cam", "--json", "-q"];
    arguments.extend(paths.iter().map(|path| name(path)));
    let objects = place.run(&arguments).objects();
    assert_eq!(objects.len(), paths.len());
    for (object, path) in objects.iter().zip(&paths) {
        let overlay = image::open(place.path(object["files"]["overlay"].as_str().unwrap())).unwrap();
        let photo = image::open(path).unwrap();
        assert_eq!((overlay.width(), overlay.height()), (photo.width(), photo.height()), "{}", path.display());
    }
}

#[test]
fn one_bad_photo_does_not_stop_the_others() {
    let place = Place::new();
    place.scene("photos/a.png", 0);
    place.file("photos/b.png", b"no picture");
    place.scene("photos/c.png", 1);
    let ran = place.run(&["explain", "photos", "absent.png", "--method", "grad-cam", "--json"]);
    assert_eq!(ran.code(), 1);
    let objects = ran.lines_as_json();
    assert_eq!(objects.len(), 4);
    let failed: Vec<_> = objects.iter().filter(|object| object["error"].is_string()).collect();
    assert_eq!(failed.len(), 2);
    assert!(failed.iter().any(|object| object["image"] == "photos/b.png"));
    assert_eq!(place.names("faithful-out").len(), 4);
    let stderr = ran.stderr();
    assert!(stderr.contains("photos/b.png") && stderr.contains("absent.png") && stderr.contains("2 of 4"), "{stderr}");
    // `--quiet` keeps the errors and leaves out the rest.
    let quiet = place.run(&["explain", "photos", "--method", "grad-cam", "-q"]);
    assert_eq!(quiet.stderr().lines().count(), 1);
    assert!(quiet.stdout().contains("photos/a.png") && quiet.stdout().contains("photos/c.png"));
}

#[test]
fn unknown_names_lead_to_known_ones() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    let refused = |more: &[&str], words: &[&str]| {
        place.run(&[&["explain", name(&photo)], more].concat()).refused(2, words);
    };
    refused(&["--method", "gradcam"], &["no method `gradcam`", "`grad-cam`"]);
    refused(&["--method", "layer-cam", "--gradient", "expceted"], &["`expected`"]);
    refused(&["--layer", "features.99"], &["no layer `features.99`", "the default is `", "faithful model layers"]);
    refused(&["--class", "strped disc"], &["no class `strped disc`", "`striped disc`"]);
    refused(&["--class", "4711"], &["4711", "outside 0.."]);
    refused(&["--model", "vgg61"], &["no model `vgg61`", "`vgg16`", "faithful model list"]);
    refused(&["--model", "vgg16"], &["vgg16", "not on this machine"]);
    refused(&["--model", "net.pth"], &["export the model to ONNX"]);
    refused(&["--colormap", "rainbow"], &["no colour map `rainbow`"]);
    refused(&["--score", "loss"], &["`logit`"]);
    refused(&["--stop", "soon"], &["`delta:0.01`"]);
    refused(&["--opacity", "1.5"], &["1.5"]);
    assert_eq!(place.names("faithful-out"), [""; 0]);
}

#[test]
fn damaged_models_are_refused() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    let onnx = place.file("broken.onnx", b"\x08\x07\x12\x0bnot a model at all, really");
    let weights = place.file("broken.safetensors", &[7; 64]);
    let weights = format!("resnet18:{}", name(&weights));
    for model in [name(&onnx), &weights, "absent.onnx", "vgg16:absent.safetensors"] {
        place.run(&["explain", name(&photo), "--model", model]).refused(1, &[model.rsplit(':').next().unwrap()]);
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_before_any_work() {
    let place = Place::new();
    let photo = place.scene("scene.png", 0);
    place.file("taken", b"a file");
    for out in ["taken", "taken/below"] {
        // The model does not exist either; that the folder is named shows which was looked at first.
        let ran = place.run(&["explain", name(&photo), "--out", out, "--model", "absent.onnx"]);
        ran.refused(1, &["cannot write", out, "--out"]);
    }
}
