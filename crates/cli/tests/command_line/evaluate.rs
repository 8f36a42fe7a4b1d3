use super::support::{Place, fixture, name};
use std::process::Stdio;
use std::time::{Duration, Instant};

const METHODS: &str = "grad-cam,expected-grad-cam";
const METRICS: &str = "insertion,deletion,drop@30,sparseness,energy";

fn arguments<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["evaluate", "--images", "scenes", "--samples", "4", "--methods", METHODS, "--metrics", METRICS];
    all.extend(["--steps", "6", "--draws", "4", "--seed", "3", "--out", out]);
    all.extend(more);
    all
}

/// The values of a run, to the last bit: a table's decimals are the shortest that read back the same.
fn values(place: &Place, out: &str) -> String {
    let ran = place.run(&["table", out, "--format", "csv"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    ran.stdout()
}

#[test]
fn a_run_measures_every_method_and_prints_its_table() {
    let place = Place::new();
    let ran = place.run(&arguments("run", &[]));
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    for word in ["grad-cam", "expected-grad-cam", "insertion ↑", "drop@30 ↓", "energy ↑", "4 images"] {
        assert!(ran.stdout().contains(word), "`{word}` is not in {}", ran.stdout());
    }
    assert_eq!(
        place.names("run"),
        [".lock-1-of-1", "command.json", "images.json", "manifest.json", "parts", "rows-1-of-1.parquet"]
    );
    assert!(place.names("run/parts").is_empty());
    let markdown = place.run(&["table", "run", "--format", "markdown", "--against", "grad-cam"]);
    assert!(markdown.stdout().starts_with("| method |"), "{}", markdown.stdout());
    let object = &place.run(&["table", "run", "--json"]).objects()[0];
    assert_eq!((object["images"].as_u64(), object["values"].as_array().unwrap().len()), (Some(4), 10));
}

#[test]
fn batches_and_shards_change_no_value() {
    let place = Place::new();
    assert_eq!(place.run(&arguments("whole", &[])).code(), 0);
    assert_eq!(place.run(&arguments("small", &["--batch", "3", "--threads", "1"])).code(), 0);
    for shard in ["2/3", "3/3", "1/3"] {
        let ran = place.run(&arguments("shards", &["--shard", shard]));
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
    }
    let slurm = |index: &str| {
        let mut command = place.command(&arguments("slurm", &[]));
        command.env("SLURM_ARRAY_TASK_ID", index).env("SLURM_ARRAY_TASK_COUNT", "2").env("SLURM_ARRAY_TASK_MIN", "1");
        assert!(command.output().unwrap().status.success());
    };
    slurm("1");
    slurm("2");
    let whole = values(&place, "whole");
    for other in ["small", "shards", "slurm"] {
        assert_eq!(values(&place, other), whole, "{other}");
    }
}

#[cfg(unix)]
#[test]
fn killed_at_any_instant_and_resumed_a_run_is_the_same() {
    let place = Place::new();
    let start = Instant::now();
    assert_eq!(place.run(&arguments("whole", &[])).code(), 0);
    let whole_time = start.elapsed();
    let mut killed = 0;
    for attempt in 0..20u32 {
        // Instants over the whole run, in an order that jumps; what is done by then stays done.
        let instant = whole_time.mul_f64(f64::from(attempt * 7 % 20) / 20.0);
        let mut child = place
            .command(&arguments("killed", &["--resume"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(instant.max(Duration::from_millis(5)));
        // SIGKILL: no handler runs.
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
    }
    assert!(killed > 0, "no run was cut short");
    let ran = place.run(&arguments("killed", &["--resume"]));
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
    assert_eq!(values(&place, "killed"), values(&place, "whole"));
}

#[test]
fn a_broken_photo_is_a_row_with_its_reason_and_the_others_are_measured() {
    let place = Place::new();
    place.scene("photos/a.png", 0);
    place.scene("photos/deeper/b.png", 1);
    place.file("photos/broken.png", b"no picture");
    let ran = place.run(&[
        "evaluate",
        "--images",
        "photos",
        "--methods",
        "grad-cam",
        "--metrics",
        "sparseness",
        "--out",
        "run",
    ]);
    assert_eq!(ran.code(), 1, "{}", ran.stderr());
    assert!(ran.stderr().contains("broken.png"), "{}", ran.stderr());
    assert!(ran.stdout().contains("2 images"), "{}", ran.stdout());
}

#[test]
fn a_run_is_not_mixed_with_another() {
    let place = Place::new();
    assert_eq!(place.run(&arguments("run", &[])).code(), 0);
    place.run(&arguments("run", &[])).refused(2, &["run", "resume"]);
    let mut other = arguments("run", &["--resume"]);
    let seed = other.iter().position(|argument| *argument == "3").unwrap();
    other[seed] = "4";
    place.run(&other).refused(2, &["seed is 4 now and was 3"]);
    let before = values(&place, "run");
    assert_eq!(place.run(&arguments("run", &["--resume"])).code(), 0);
    assert_eq!(values(&place, "run"), before);
    // A manifest of another hand is not overwritten: it says what the rows are.
    std::fs::write(place.path("run/manifest.json"), b"{\"version\": \"0.1").unwrap();
    place.run(&["table", "run"]).refused(1, &["manifest.json"]);
    place.run(&arguments("run", &["--resume"])).refused(1, &["manifest.json"]);
}

#[test]
fn mistakes_are_told_before_any_work() {
    let place = Place::new();
    let swapped = |from: &str, to: &'static str| {
        let all = arguments("run", &[]).into_iter().map(|argument| if argument == from { to } else { argument });
        place.run(&all.collect::<Vec<_>>())
    };
    swapped(METHODS, "gradcam").refused(2, &["`grad-cam`"]);
    swapped(METRICS, "insertoin").refused(2, &["`insertion`"]);
    swapped("scenes", "nowhere").refused(1, &["nowhere"]);
    let file = place.file("taken", b"");
    let ran = place.run(&arguments(name(&file), &[]));
    ran.refused(1, &["taken"]);
    place.run(&["table", "nothing"]).refused(1, &["nothing"]);
}

#[test]
fn a_damaged_part_is_named_and_made_again() {
    let place = Place::new();
    assert_eq!(place.run(&arguments("run", &[])).code(), 0);
    let before = values(&place, "run");
    let file = place.path("run/rows-1-of-1.parquet");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let ran = place.run(&["table", "run"]);
    assert_eq!(ran.code(), 1);
    assert!(ran.stderr().contains("rows-1-of-1.parquet"), "{}", ran.stderr());
    assert_eq!(place.run(&arguments("run", &["--resume"])).code(), 0);
    assert_eq!(values(&place, "run"), before);
}

#[test]
fn canvases_and_scores_can_be_chosen_and_every_row_says_them() {
    let place = Place::new();
    let run = |out: &str, more: &[&str]| {
        let ran = place.run(&arguments(out, more));
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
        let table = place.run(&["table", out, "--json"]).objects().remove(0);
        let mean = |metric: &str| {
            let values = table["values"].as_array().unwrap();
            let value = values.iter().find(|value| value["metric"] == metric && value["method"] == "grad-cam");
            value.unwrap()["mean"].as_f64().unwrap()
        };
        [mean("insertion"), mean("deletion"), mean("drop@30")]
    };
    let plain = run("plain", &[]);
    let canvases = run("canvases", &["--insertion-canvas", "mean", "--deletion-canvas", "blur:21:4"]);
    assert!(canvases[0] != plain[0] && canvases[1] != plain[1] && canvases[2] == plain[2], "{canvases:?} {plain:?}");
    // The built-in network's mean colour is grey.
    assert_eq!(run("grey", &["--deletion-canvas", "grey"]), plain);
    let relative = run("relative", &["--relative-curves"]);
    assert!(relative[0] > plain[0] && relative[2] == plain[2], "{relative:?} {plain:?}");
    let logits = run("logits", &["--curve-score", "logit"]);
    assert!(!(0.0..=1.0).contains(&logits[0]) && logits[2] == plain[2], "{logits:?}");
    let manifest = std::fs::read_to_string(place.path("canvases/manifest.json")).unwrap();
    assert!(manifest.contains("own: 6 steps, insertion from mean, deletion to blur:21:4"), "{manifest}");
    // Different protocols make no common table.
    place.run(&["table", "plain", "logits"]).refused(2, &["protocols"]);
    place.run(&arguments("never", &["--deletion-canvas", "gray"])).refused(2, &["grey"]);
    place.run(&arguments("never", &["--insertion-canvas", "blur:4:1"])).refused(2, &["blur:4:1"]);
    if !cfg!(feature = "s3") {
        place.run(&arguments("s3://bucket/run", &[])).refused(2, &["--features s3"]);
    }
}

#[test]
fn the_number_that_is_explained_can_be_chosen() {
    let place = Place::new();
    let energy = |out: &str, more: &[&str]| {
        let mut all = vec!["evaluate", "--images", "scenes", "--samples", "3", "--explain-label", "--out", out];
        all.extend(["--methods", "grad-cam", "--metrics", "energy"]);
        all.extend(more);
        let ran = place.run(&all);
        assert_eq!(ran.code(), 0, "{}", ran.stderr());
        place.run(&["table", out, "--json"]).objects()[0]["values"][0]["mean"].as_f64().unwrap()
    };
    let (logit, probability) = (energy("logit", &[]), energy("probability", &["--score", "probability"]));
    // What speaks for other classes too is no evidence for the probability.
    assert!(logit != probability && probability > 0.0, "{logit} {probability}");
    let manifest = std::fs::read_to_string(place.path("probability/manifest.json")).unwrap();
    assert!(manifest.contains("\"label, its probability\""), "{manifest}");
    let other = ["--score", "probabilty"];
    place.run(&arguments("never", &other)).refused(2, &["`probability`"]);
}

/// On a disk that fills up, what is finished stays; with room again the run goes on to the same values.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_and_finished_rows_survive() {
    let place = Place::new();
    let disk = place.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = |options: &str| {
        let mut command = std::process::Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&disk).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    // Room for the manifest and a few parts; each part takes whole pages.
    if !mount("size=96k") {
        eprintln!("not checked: a small disk can only be mounted by root");
        return;
    }
    let _unmounted = Unmounted(disk.clone());
    let more = ["--metrics", "insertion,deletion", "--samples", "12", "--steps", "150"];
    let arguments = |out: &'static str| {
        let mut all = vec!["evaluate", "--images", "scenes", "--methods", METHODS, "--draws", "4", "--out", out];
        all.extend(more);
        all
    };
    let ran = place.run(&arguments("disk/run"));
    assert_eq!(ran.code(), 1, "{}{}", ran.stdout(), ran.stderr());
    for word in ["the run stopped", "disk/run", "--resume", "space"] {
        assert!(ran.stderr().contains(word), "`{word}` is not in {}", ran.stderr());
    }
    let finished = place.names("disk/run/parts").len();
    assert!(finished > 1, "{finished} parts");
    let table = place.run(&["table", "disk/run", "--json"]);
    assert!(table.objects()[0]["images"].as_u64().unwrap() > 0, "{}", table.stderr());
    assert!(mount("remount,size=8m"));
    assert_eq!(place.run(&[arguments("disk/run"), vec!["--resume"]].concat()).code(), 0);
    assert_eq!(place.run(&arguments("whole")).code(), 0);
    assert_eq!(values(&place, "disk/run"), values(&place, "whole"));
    // Read-only: nothing is begun, what is there is read.
    assert!(mount("remount,ro"));
    place.run(&arguments("disk/other")).refused(1, &["disk/other"]);
    assert_eq!(values(&place, "disk/run"), values(&place, "whole"));
}

#[cfg(target_os = "linux")]
struct Unmounted(std::path::PathBuf);

#[cfg(target_os = "linux")]
impl Drop for Unmounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Whatever a map or a metric depends on is part of the run: with anything else it is neither resumed nor joined by a shard.
#[test]
fn a_run_is_only_resumed_with_everything_that_defines_it() {
    let place = Place::new();
    for index in 0..3 {
        place.scene(&format!("photos/{index}.png"), index);
        place.scene(&format!("typical/{index}.png"), 10 + index);
    }
    let mask = |name: &str, value: u8| {
        use faithful_report::image::{GrayImage, Luma};
        let path = place.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(96, 96, Luma([value])).save(path).unwrap();
    };
    mask("masks/1.png", 255);
    std::fs::copy(fixture("scenes-vgg.safetensors"), place.path("own.safetensors")).unwrap();
    std::fs::copy(fixture("scenes-vgg.json"), place.path("own.json")).unwrap();
    let arguments = |more: &[&str]| {
        let mut all =
            ["evaluate", "--images", "photos", "--methods", "expected-grad-cam", "--metrics", "drop"].to_vec();
        all.extend(["--draws", "2", "--model", "scenes-vgg:own.safetensors", "--baselines", "typical"]);
        all.extend(["--masks", "masks", "--out", "run", "--shard", "1/2"]);
        all.extend(more);
        place.run(&all)
    };
    assert_eq!(arguments(&[]).code(), 0);
    for (more, word) in [
        (&["--mean", "0.4,0.5,0.5", "--std", "0.2,0.2,0.2"][..], "preprocessing is"),
        (&["--resize", "100"], "preprocessing is"),
        (&["--interpolation", "nearest"], "preprocessing is"),
        (&["--max-megapixels", "1"], "preprocessing is"),
        (&["--activation", "sigmoid"], "model is"),
        (&["--draws", "3"], "methods is"),
    ] {
        let more: Vec<&str> = more.to_vec();
        let draws = more.contains(&"--draws");
        let ran = if draws {
            let mut all = ["evaluate", "--images", "photos", "--methods", "expected-grad-cam", "--metrics"].to_vec();
            all.extend(["drop", "--model", "scenes-vgg:own.safetensors", "--baselines", "typical", "--masks", "masks"]);
            all.extend(["--out", "run", "--shard", "2/2"]);
            all.extend(&more);
            place.run(&all)
        } else {
            arguments(&more)
        };
        ran.refused(2, &["run was started otherwise", word]);
    }
    // A file that is replaced under its name, and put back.
    let flipped = |name: &str, words: &[&str]| {
        let path = place.path(name);
        let before = std::fs::read(&path).unwrap();
        let mut bytes = before.clone();
        // The last bit of the last weight; behind a picture's end for photos, which their decoders do not read.
        if name.ends_with("png") {
            bytes.push(0);
        } else {
            *bytes.last_mut().unwrap() ^= 1;
        }
        std::fs::write(&path, bytes).unwrap();
        arguments(&["--resume"]).refused(2, words);
        std::fs::write(&path, before).unwrap();
    };
    flipped("photos/1.png", &["images is", "of the images, 1.png has other bytes"]);
    flipped("masks/1.png", &["images is", "of the images, 1.png has another mask"]);
    flipped("own.safetensors", &["model is"]);
    flipped("typical/2.png", &["baselines is"]);
    let labels = std::fs::read_to_string(place.path("own.json")).unwrap();
    place.file("own.json", labels.replace("dotted star", "starfish").as_bytes());
    arguments(&["--resume"]).refused(2, &["labels is"]);
    place.file("own.json", labels.as_bytes());
    place.scene("photos/3.png", 3);
    arguments(&["--resume"]).refused(2, &["image_count is 4 now and was 3", "3.png is new"]);
    std::fs::remove_file(place.path("photos/3.png")).unwrap();
    let ran = arguments(&["--resume"]);
    assert_eq!(ran.code(), 0, "{}", ran.stderr());
}

/// Started at the same instant with other seeds, one run is begun and the others are told so.
#[test]
fn of_runs_that_start_together_one_has_the_folder() {
    let place = Place::new();
    for round in 0..4 {
        let out = format!("run{round}");
        let seeds = ["1", "2", "3"];
        let start = |seed: &'static str| {
            let mut all = arguments(&out, &[]);
            let at = all.iter().position(|argument| *argument == "3").unwrap();
            all[at] = seed;
            place.command(&all).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = seeds.map(start).into_iter().collect();
        let ended: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let done: Vec<usize> = (0..3).filter(|&place| ended[place].status.success()).collect();
        assert_eq!(done.len(), 1, "{ended:?}");
        let refused = ended.iter().filter(|one| String::from_utf8_lossy(&one.stderr).contains("holds a run already"));
        assert_eq!(refused.count(), 2, "{ended:?}");
        let manifest = std::fs::read_to_string(place.path(&out).join("manifest.json")).unwrap();
        assert!(manifest.contains(&format!("\"seed\": {}", seeds[done[0]])), "{manifest}");
        let mut alone = arguments("alone", &[]);
        let at = alone.iter().position(|argument| *argument == "3").unwrap();
        alone[at] = seeds[done[0]];
        assert_eq!(place.run(&alone).code(), 0);
        assert_eq!(values(&place, &out), values(&place, "alone"));
        std::fs::remove_dir_all(place.path("alone")).unwrap();
    }
}

/// Two processes at the same share would do the same work twice.
#[test]
fn a_share_is_worked_at_by_one_process() {
    let place = Place::new();
    let long = ["--resume", "--samples", "40", "--steps", "400"];
    let first = place.command(&arguments("run", &long)[..]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut first = first.unwrap();
    let begun = Instant::now();
    while !place.path("run/.lock-1-of-1").exists() && begun.elapsed() < Duration::from_mins(1) {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(100));
    let second = place.run(&arguments("run", &long));
    let running = first.try_wait().unwrap().is_none();
    first.kill().unwrap();
    first.wait().unwrap();
    if running {
        second.refused(2, &["another process works at share 1 of 1"]);
    }
}

/// One bit of a run's rows is damage that is found, or makes no difference; and what is found is done again.
#[test]
fn a_flipped_bit_changes_no_table() {
    let place = Place::new();
    let more = ["--metrics", "drop@30,sparseness"];
    let arguments: Vec<&str> = arguments("run", &[])
        .into_iter()
        .map(|argument| if argument == METRICS { more[1] } else { argument })
        .collect();
    assert_eq!(place.run(&arguments).code(), 0);
    let before = values(&place, "run");
    let file = place.path("run/rows-1-of-1.parquet");
    let whole = std::fs::read(&file).unwrap();
    let mut found = 0;
    for place_of in (0..40).map(|one| one * whole.len() * 8 / 40 + one) {
        let mut bytes = whole.clone();
        bytes[place_of / 8] ^= 1 << (place_of % 8);
        std::fs::write(&file, bytes).unwrap();
        let ran = place.run(&["table", "run", "--format", "csv"]);
        if ran.code() == 0 {
            assert_eq!(ran.stdout(), before, "bit {place_of}");
        } else {
            found += 1;
            assert!(ran.stderr().contains("rows-1-of-1.parquet"), "{}", ran.stderr());
        }
    }
    assert!(found > 20, "{found} of 40");
    let resumed = place.run(&[&arguments[..], &["--resume"]].concat());
    assert_eq!(resumed.code(), 0, "{}", resumed.stderr());
    assert_eq!(values(&place, "run"), before);
}

fn planted<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["evaluate", "--images", "planted", "--samples", "6", "--explain-label", "--out", out];
    all.extend(["--methods", "grad-cam,layer-cam,saliency", "--metrics", "drop,sparseness,energy", "-q"]);
    all.extend(more);
    all
}

#[test]
fn an_audit_compares_metrics_with_the_cause_that_was_planted() {
    let place = Place::new();
    assert_eq!(place.run(&planted("objects", &[])).code(), 0);
    assert_eq!(place.run(&planted("marks", &["--model", "marks-vgg"])).code(), 0);
    for run in ["objects", "marks"] {
        let audit = &place.run(&["audit", run, "--json"]).objects()[0];
        assert_eq!(
            (&audit["truth"], audit["methods"].as_u64(), audit["images"].as_u64()),
            (&"energy".into(), Some(3), Some(6))
        );
        let metrics: Vec<&str> =
            audit["metrics"].as_array().unwrap().iter().map(|line| line["metric"].as_str().unwrap()).collect();
        assert!(metrics.len() == 2 && metrics.contains(&"drop") && metrics.contains(&"sparseness"), "{metrics:?}");
    }
    // The same pictures, told by other things.
    assert_ne!(values(&place, "objects"), values(&place, "marks"));
    let text = place.run(&["audit", "objects", "--format", "markdown"]).stdout();
    assert!(text.starts_with("| metric | on one image | of the means |"), "{text}");
    place.run(&["audit", "objects", "--truth", "iou"]).refused(2, &["no metric in this run `iou`"]);
    place.run(&["audit", "objects", "marks"]).refused(2, &["make no common table"]);
    place
        .run(&["evaluate", "--images", "scenes", "--model", "marks-vgg", "--methods", "grad-cam", "--out", "no"])
        .refused(2, &["`scenes` have no marks"]);
}

#[test]
fn runs_of_several_networks_make_a_leaderboard() {
    let place = Place::new();
    assert_eq!(place.run(&planted("objects", &[])).code(), 0);
    assert_eq!(place.run(&planted("marks", &["--model", "marks-vgg"])).code(), 0);
    let board = &place.run(&["report", "objects", "marks", "--out", "board.html", "--json"]).objects()[0];
    assert_eq!((board["tables"].as_array().unwrap().len(), board["metrics"].as_u64()), (2, Some(3)));
    let page = std::fs::read_to_string(place.path("board.html")).unwrap();
    for words in ["mean rank", "scenes-vgg (objects), n = 6", "marks-vgg (marks), n = 6", "energy ↑"] {
        assert!(page.contains(words), "{words}");
    }
    let one = place.run(&["report", "objects", "marks", "--metric", "energy", "--out", "one.html", "--json"]);
    assert_eq!(one.objects()[0]["metrics"].as_u64(), Some(1));
    place
        .run(&["report", "objects", "marks", "--metric", "iou", "--out", "x.html"])
        .refused(2, &["no metric in these runs"]);
}

#[test]
fn masks_lie_as_their_photos_do_and_those_of_no_photo_are_refused_before_the_work() {
    use faithful_report::image::{GrayImage, Luma};
    let place = Place::new();
    place.scene("photos/a/one.png", 0);
    place.scene("photos/b/one.png", 1);
    for (folder, row) in [("masks/a", 40), ("masks/b", 60)] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
        let white = |x: u32, y: u32| Luma([if x < 50 && y < row { 255 } else { 0 }]);
        GrayImage::from_fn(96, 96, white).save(place.path(folder).join("one.png")).unwrap();
    }
    let evaluate = |masks: &str, out: &str| {
        let run =
            ["evaluate", "--images", "photos", "--methods", "grad-cam", "--metrics", "energy", "--out", out, "-q"];
        place.run(&[&run[..], &["--masks", masks]].concat())
    };
    assert_eq!(evaluate("masks", "run").code(), 0, "{}", evaluate("masks", "again").stderr());
    let table: Vec<String> = values(&place, "run").lines().map(str::to_owned).collect();
    assert!(table[1].ends_with(",2"), "both photos have a mask of their own: {table:?}");
    std::fs::rename(place.path("masks/a/one.png"), place.path("masks/other.png")).unwrap();
    std::fs::remove_dir_all(place.path("masks/b")).unwrap();
    evaluate("masks", "none").refused(2, &["masks: none belongs to one of the 2 photos", "`a/one.png`"]);
}
