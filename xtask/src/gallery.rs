use crate::recording;
use crate::shell::{program, root, run};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `gallery` takes.
#[derive(clap::Args)]
pub(crate) struct Gallery {
    /// The `faithful` that draws; by default a release build
    #[arg(long)]
    faithful: Option<PathBuf>,
    /// Chromium, for the pictures of pages
    #[arg(long, default_value = "chromium")]
    chromium: PathBuf,
}

/// A picture of the README: its name, the command that draws it, and what of that command's output it is.
struct Picture {
    name: &'static str,
    command: &'static [&'static str],
    drawn: Drawn,
}

enum Drawn {
    /// A file of the folder of results.
    File(&'static str),
    /// What a browser shows of a page: width and height.
    Page(&'static str, [u32; 2]),
}

const SCENE: &str = "fixtures/scenes/speckled-ring_striped-crescent.png";

/// Two red blocks and a blue one, for the small networks of boxes and places.
const BLOCKS: &str = "fixtures/goldens/outputs/photo.png";

const PICTURES: &[Picture] = &[
    Picture {
        name: "together",
        command: &[
            "explain",
            SCENE,
            "--class",
            "striped crescent,speckled ring",
            "--method",
            "expected-grad-cam",
            "--together",
        ],
        drawn: Drawn::File("speckled-ring_striped-crescent.expected-grad-cam.classes.png"),
    },
    Picture {
        name: "detail",
        command: &["explain", SCENE, "--method", "hyper-expected-grad-cam"],
        drawn: Drawn::File("speckled-ring_striped-crescent.hyper-expected-grad-cam.png"),
    },
    Picture {
        name: "attribution",
        command: &["explain", SCENE, "--method", "expected-gradients"],
        drawn: Drawn::File("speckled-ring_striped-crescent.expected-gradients.png"),
    },
    Picture {
        name: "similarity",
        command: &[
            "explain",
            BLOCKS,
            "--model",
            "fixtures/goldens/outputs/embedding.onnx",
            "--similar-to",
            "fixtures/goldens/outputs/other.png",
        ],
        drawn: Drawn::File("photo.expected-grad-cam.similar-to-other.png"),
    },
    Picture {
        name: "box",
        command: &["explain", BLOCKS, "--model", "fixtures/goldens/outputs/yolo8.onnx", "--detection", "blue"],
        drawn: Drawn::File("photo.layer-cam.detection-blue.png"),
    },
    Picture {
        name: "region",
        command: &[
            "explain",
            BLOCKS,
            "--model",
            "fixtures/goldens/outputs/segmentation.onnx",
            "--region",
            "box:6,6,62,26",
            "--class",
            "red",
        ],
        drawn: Drawn::File("photo.layer-cam.region-box-6-6-62-26.class1.png"),
    },
    Picture {
        name: "pump",
        command: &["rul", "explain", "--engines", "11", "--method", "expected-gradients"],
        drawn: Drawn::File("machine-11.expected-gradients.png"),
    },
    Picture {
        name: "compare",
        command: &[
            "compare",
            SCENE,
            "--class",
            "top2",
            "--methods",
            "grad-cam,expected-grad-cam,hyper-expected-grad-cam",
        ],
        drawn: Drawn::Page("compare.html", [1240, 1180]),
    },
];

/// Draws the README's pictures anew, into docs/images/gallery.
pub(crate) fn draw(arguments: &Gallery) -> Result<()> {
    // The recording runs it in another folder.
    let faithful = std::path::absolute(program(arguments.faithful.as_deref())?)?;
    let work = root().join("target/gallery");
    let goal = root().join("docs/images/gallery");
    std::fs::create_dir_all(&goal).with_context(|| format!("cannot make `{}`", goal.display()))?;
    for picture in PICTURES {
        let folder = work.join(picture.name);
        std::fs::create_dir_all(&folder)?;
        let target = goal.join(format!("{}.png", picture.name));
        let mut command = Command::new(&faithful);
        command.current_dir(root()).args(picture.command);
        match picture.drawn {
            Drawn::File(name) => {
                run(command.arg("--out").arg(&folder))?;
                let drawn = folder.join(name);
                std::fs::copy(&drawn, &target).with_context(|| format!("`{}` was not drawn", drawn.display()))?;
            }
            Drawn::Page(name, size) => {
                let page = folder.join(name);
                run(command.arg("--out").arg(&page))?;
                photograph(&arguments.chromium, &page, size, &target)?;
            }
        }
    }
    recording::record(&faithful, &goal.join("recording.svg"))
}

/// What a browser shows of a page, once its script has drawn everything in view.
///
/// Chromium takes its picture when a page has loaded, which is before pictures are decoded and maps are drawn. The page is therefore
/// shown within another, which waits for an image that comes late.
fn photograph(chromium: &Path, page: &Path, [width, height]: [u32; 2], target: &Path) -> Result<()> {
    let late = std::net::TcpListener::bind(("127.0.0.1", 0)).context("cannot listen for Chromium")?;
    let frame = page.with_extension("frame.html");
    let html = format!(
        "<!doctype html><style>body {{ margin: 0 }} iframe {{ border: 0; width: {width}px; height: {height}px }}</style>\
         <iframe src=\"file://{}\"></iframe><img src=\"http://{}/\" width=\"0\">",
        page.display(),
        late.local_addr()?
    );
    std::fs::write(&frame, html).with_context(|| format!("cannot write `{}`", frame.display()))?;
    std::thread::spawn(move || {
        for stream in late.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::sleep(DRAWN_AFTER);
            // Chromium may be gone by then, with its picture.
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
    });
    let mut command = Command::new(chromium);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    command.arg(format!("--window-size={width},{height}"));
    command.arg(format!("--screenshot={}", target.display()));
    run(command.arg(format!("file://{}", frame.display())))
}

/// When a page has drawn what is in view, generously.
const DRAWN_AFTER: std::time::Duration = std::time::Duration::from_secs(6);
