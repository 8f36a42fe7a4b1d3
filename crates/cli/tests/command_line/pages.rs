//! Pages as their readers use them, in a real browser.

use super::browser::Tab;
use super::comparison::compared;
use super::support::Place;
use faithful_page::{
    Cell, Chart, Column, Detail, Encoded, Fold, Gallery, Grid, Group, Guess, HeatMap, Overlay, Page, Photo, Section,
    Series, Table, View,
};
use faithful_report::image::{Rgb, RgbImage};
use faithful_report::{Colormap, Map, Region, Scale};
use serde_json::{Value, json};
use std::time::Instant;

/// The first map of the first photo.
pub(crate) const MAP: &str = ".photo:nth-of-type(1) .map:nth-child(2) canvas";
pub(crate) const PHOTO: &str = ".photo:nth-of-type(1) .map:nth-child(1) canvas";
pub(crate) const READING: &str = "document.querySelector('.photo .map:nth-child(2) .reading b').textContent";

/// Scrolls to a canvas and waits until everything on it is painted.
pub(crate) fn shown(tab: &mut Tab, selector: &str) {
    tab.until(&format!("document.querySelector({})", json!(selector)));
    tab.eval(&format!("document.querySelector({}).scrollIntoView({{ block: 'center' }})", json!(selector)));
    tab.until(&format!("document.querySelector({}).dataset.state === 'drawn'", json!(selector)));
    tab.settle();
}

pub(crate) fn near(found: [i32; 4], expected: [u8; 3], what: &str) {
    let far = (0..3).map(|c| (found[c] - i32::from(expected[c])).abs()).max().unwrap_or(0);
    assert!(far <= 8 && found[3] == 255, "{what}: {found:?}, expected {expected:?}");
}

pub(crate) fn blend(photo: [u8; 3], color: [u8; 3], opacity: f32) -> [u8; 3] {
    [0, 1, 2].map(|c| (f32::from(photo[c]) * (1.0 - opacity) + f32::from(color[c]) * opacity).round() as u8)
}

/// A photo of one colour with its left half seen by the network, and a map that rises to the right.
fn simple(photo: &str, class: &str) -> Photo {
    let picture = RgbImage::from_pixel(60, 40, Rgb([200, 120, 40]));
    let map = Map::new(1, 3, vec![0.0, 1.0, 2.0]).unwrap();
    let grid = Grid::new(&map, &Scale::default(), Detail::default()).unwrap();
    let guess = Guess { class: 3, label: class.into(), probability: 0.75 };
    Photo {
        name: photo.into(),
        size: [60, 40],
        region: Region { left: 0.0, top: 0.0, width: 30.0, height: 40.0 },
        picture: Encoded::picture(&picture, 640).unwrap(),
        top: vec![guess.clone()],
        plain: false,
        views: vec![View {
            class: guess,
            maps: vec![Overlay::new(Ok(grid)), Overlay::new(Err(format!("{class} failed")))],
        }],
        remark: None,
    }
}

fn gallery(photos: Vec<Photo>) -> Gallery {
    let column = |name: &str| Column { name: name.into(), note: None };
    Gallery { columns: vec![column("first"), column("second")], photos, ..Gallery::default() }
}

#[test]
fn what_the_network_never_saw_is_grey_and_can_be_left_out() {
    let place = Place::new();
    let Some(mut tab) = Tab::new() else { return };
    let mut page = Page::new("t");
    page.push(Section::gallery(None, gallery(vec![simple("a.png", "heron")])));
    tab.open_file(&place.file("page.html", page.html().as_bytes()));
    shown(&mut tab, MAP);
    let high = Colormap::Viridis.color(1.0);
    near(tab.pixel(MAP, 0.48, 0.5), blend([200, 120, 40], high, 0.55), "the highest cell");
    let unseen = tab.pixel(MAP, 0.9, 0.5);
    assert!((unseen[0] - unseen[1]).abs() < 3 && (unseen[1] - unseen[2]).abs() < 3 && unseen[0] < 90, "{unseen:?}");
    let at = tab.place_in(MAP, 0.9, 0.5);
    tab.move_to(at);
    tab.settle();
    assert_eq!(tab.text(READING), "not seen by the network");
    assert_eq!(tab.text("document.querySelector('.missing').textContent"), "heron failed");
    tab.click("[data-tool='frame'] label:nth-child(2)");
    tab.settle();
    near(tab.pixel(MAP, 0.95, 0.5), blend([200, 120, 40], high, 0.55), "the region fills the canvas");
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn hostile_names_and_labels_are_shown_as_they_are() {
    let place = Place::new();
    let Some(mut tab) = Tab::new() else { return };
    let hostile =
        "<script>document.title='taken'</script>\"'></script><img src=x onerror=\"document.title='taken'\"><!--";
    let mut page = Page::new(hostile);
    page.lede(hostile);
    page.fact(hostile, hostile);
    page.push(Section::gallery(Some(hostile), gallery(vec![simple(hostile, hostile)])).note(hostile));
    let group = Group {
        title: hostile.into(),
        note: Some(hostile.into()),
        photos: vec![0],
        captions: vec![hostile.into()],
        column: 0,
    };
    page.push(Section::gallery(
        Some(hostile),
        Gallery { groups: vec![group], ..gallery(vec![simple(hostile, hostile)]) },
    ));
    let mut table = Table::new(&[hostile, hostile]);
    table.row(vec![hostile.into(), Cell { small: Some(hostile.into()), ..hostile.into() }]);
    page.push(Section::table(hostile, table));
    let chart = Chart {
        summary: Some(hostile.into()),
        x_name: hostile.into(),
        series: vec![Series::line(hostile, vec![0.0, 1.0], vec![0.0, 1.0])],
        ..Chart::new(hostile)
    };
    page.push(Section::charts(hostile, vec![chart]));
    page.push(Section::text(hostile, vec![hostile.into()], Some(hostile.into())));
    tab.open_file(&place.file("page.html", page.html().as_bytes()));
    shown(&mut tab, MAP);
    tab.click(".tile");
    tab.settle();
    assert_eq!(tab.text("document.title"), hostile);
    assert_eq!(tab.text("document.querySelector('h1').textContent"), hostile);
    assert_eq!(tab.text("document.querySelector('.photo h3').textContent"), hostile);
    assert_eq!(tab.number("document.querySelectorAll('img').length"), 0.0);
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn charts_heat_maps_and_tables_can_be_read() {
    let place = Place::new();
    let Some(mut tab) = Tab::new() else { return };
    let mut page = Page::new("Engine 24");
    let x: Vec<f64> = (1..=50).map(f64::from).collect();
    let y: Vec<f64> = x.iter().map(|x| 50.0 - x).collect();
    let chart = Chart {
        x_name: "cycle".into(),
        y_name: "cycles left".into(),
        series: vec![
            Series::line("true", x.clone(), y.clone()),
            Series::dashed("predicted", x.clone(), y.iter().map(|y| y * 0.5).collect()),
        ],
        ..Chart::new("Remaining life")
    };
    let dots = Chart {
        diagonal: true,
        series: vec![Series::dots("engines", vec![1.0, 2.0], vec![1.5, 1.0])],
        ..Chart::new("Fleet")
    };
    page.push(Section::charts("Course", vec![chart, dots]));
    let values: Vec<f32> = (0..3 * 20).map(|i| (i / 20) as f32 * 100.0 + (i % 20) as f32).collect();
    let grid = Grid::new(&Map::new(3, 20, values).unwrap(), &Scale::default(), Detail::default()).unwrap();
    page.push(Section::heat_maps(
        "Sensors",
        vec![HeatMap {
            title: "Attribution".into(),
            rows: ["T24", "T30", "T50"].map(String::from).to_vec(),
            x_name: "cycle".into(),
            columns: [31.0, 50.0],
            grid,
            summary: Some("T50 has the most".into()),
        }],
    ));
    let mut table = Table::new(&["engine", "error"]);
    for (engine, error) in [("b", 2.0), ("a", 10.0), ("c", -1.0)] {
        table.row(vec![engine.into(), error.into()]);
    }
    page.push(Section::table("Fleet summary", table));
    tab.open_file(&place.file("page.html", page.html().as_bytes()));

    let at = tab.place_in(".chart svg", 0.5, 0.5);
    tab.move_to(at);
    tab.settle();
    let read = tab.text("document.querySelector('.chart .legend').textContent");
    assert!(read.contains("true2") && read.contains("at cycle 2"), "{read}");
    tab.click(".chart summary");
    tab.until("document.querySelectorAll('.chart details tbody tr').length === 11");
    // The canvas has a pixel per value.
    assert_eq!(
        tab.eval("(() => { const c = document.querySelector('.heat canvas'); return [c.width, c.height]; })()"),
        json!([20, 3])
    );
    let top = tab.pixel(".heat canvas", 0.0, 0.0);
    near(top, Colormap::Viridis.color(0.0), "the lowest value");
    let at = tab.place_in(".heat canvas", 0.975, 0.84);
    tab.move_to(at);
    let read = tab.text("document.querySelector('.heat .reading').textContent");
    assert_eq!(read, "219 T50, cycle 50.0");
    let engines = "[...document.querySelectorAll('section:last-of-type tbody th, .scroll tbody th')].map((th) => th.textContent).filter((t) => t.length === 1).join('')";
    assert_eq!(tab.text(engines), "bac");
    tab.click("table[data-sort] th:nth-child(2) button");
    assert_eq!(tab.text(engines), "cba", "by number, not by letter");
    tab.click("table[data-sort] th:nth-child(1) button");
    assert_eq!(tab.text(engines), "abc");
    tab.accessible();
    tab.screenshot("charts");
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn tiles_open_their_photo_and_keys_go_through_the_page_in_order() {
    let place = Place::new();
    let Some(mut tab) = Tab::new() else { return };
    let photos: Vec<Photo> =
        (0..14).map(|i| simple(&format!("p{i:02}.png"), if i % 2 == 0 { "heron" } else { "crane" })).collect();
    let group = |title: &str, photos: Vec<usize>| Group { title: title.into(), photos, ..Group::default() };
    let groups = vec![group("best", (0..7).collect()), group("worst", (7..14).collect())];
    let mut page = Page::new("wall");
    page.push(Section::gallery(
        Some("Photos"),
        Gallery { groups, group_name: Some("Which".into()), ..gallery(photos) },
    ));
    tab.open_file(&place.file("page.html", page.html().as_bytes()));
    shown(&mut tab, ".tile canvas");
    tab.accessible();
    tab.set("[data-tool='group']", "1");
    assert_eq!(tab.number("document.querySelectorAll('.group:not([hidden])').length"), 1.0);
    tab.set("[data-tool='group']", "all");
    tab.set("[data-tool='find']", "crane");
    assert_eq!(tab.number("document.querySelectorAll('.wall li:not([hidden])').length"), 7.0);
    tab.set("[data-tool='find']", "");
    let width = "document.querySelector('.tile').getBoundingClientRect().width";
    let before = tab.number(width);
    tab.set("[data-tool='tile']", "100");
    assert!(tab.number(width) > before);
    tab.eval("document.querySelector('.tile').focus()");
    tab.key("Enter");
    tab.until("document.querySelector('dialog').open");
    let title = "document.querySelector('dialog h2').textContent";
    assert_eq!(tab.text(title), "p00.png");
    tab.accessible();
    tab.click("dialog .close button:nth-child(2)");
    assert_eq!(tab.text(title), "p01.png");
    tab.key("Escape");
    tab.until("!document.querySelector('dialog').open");
    assert_eq!(tab.text("document.activeElement.className"), "tile", "the focus comes back");
    // Tab goes forward through the document, and what has the focus shows it.
    tab.eval("(document.activeElement.blur(), window.scrollTo(0, 0), document.querySelector('.skip').focus())");
    for _ in 0..12 {
        tab.eval("window.last = document.activeElement");
        tab.key("Tab");
        let forward =
            "Boolean(window.last.compareDocumentPosition(document.activeElement) & Node.DOCUMENT_POSITION_FOLLOWING)";
        assert_eq!(
            tab.eval(forward),
            Value::Bool(true),
            "{}",
            tab.text("document.activeElement.outerHTML.slice(0, 90)")
        );
    }
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn a_thousand_photos_stay_small_and_answer_at_once() {
    let place = Place::new();
    let mut photos = Vec::new();
    let detail = Detail::for_maps(3000);
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 65536.0
    };
    // As hard to pack as photos are: noise over a slope; maps with noise as gradients have it. Few differ, to keep this test short:
    // what a page of a thousand different ones weighs is in docs/results/pages.md.
    let few: Vec<(RgbImage, Vec<Grid>)> = (0..8)
        .map(|_| {
            let picture = RgbImage::from_fn(288, 216, |x, y| {
                Rgb([(x + y) as u8 / 2, (random() * 60.0) as u8 + y as u8 / 2, x as u8 / 2])
            });
            let grids = [7, 64, 224].map(|side| {
                let values = (0..side * side).map(|_| random()).collect();
                Grid::new(&Map::new(side, side, values).unwrap(), &Scale::default(), detail).unwrap()
            });
            (picture, grids.to_vec())
        })
        .collect();
    let encoded: Vec<Encoded> =
        few.iter().map(|(picture, _)| Encoded::picture(picture, Encoded::longest_of(1000)).unwrap()).collect();
    for i in 0..1000 {
        let mut photo = simple(&format!("photo {i:04}"), "heron");
        photo.picture = encoded[i % 8].clone();
        photo.views[0].maps = few[i % 8].1.iter().map(|grid| Overlay::new(Ok(grid.clone()))).collect();
        photos.push(photo);
    }
    let column = |name: &str| Column { name: name.into(), note: None };
    let columns = ["a", "b", "c"].map(column).to_vec();
    let mut page = Page::new("1000 photos");
    page.push(Section::gallery(None, Gallery { columns, photos, ..Gallery::default() }));
    let html = page.html();
    assert!(html.len() < 4_000_000, "equal photos and maps are kept once: {}", html.len());
    let Some(mut tab) = Tab::new() else { return };
    tab.open_file(&place.file("page.html", html.as_bytes()));
    shown(&mut tab, MAP);
    let begin = Instant::now();
    for value in ["10", "90", "40"] {
        tab.set("[data-tool='opacity']", value);
    }
    // No assertion on speed; the number is for who runs this by hand.
    eprintln!("a page of 1,000 photos: {:.1} ms per control", begin.elapsed().as_secs_f64() * 1e3 / 3.0);
    // Photos that are far away hold no pixels, and the last is built when one goes there.
    assert!(
        tab.number(
            "[...document.querySelectorAll('canvas.view')].filter((c) => c.width > 300 || c.dataset.state).length"
        ) < 60.0
    );
    tab.eval("window.scrollTo(0, document.body.scrollHeight)");
    let last = ".photo:nth-of-type(1000) .map:nth-child(3) canvas";
    tab.until(&format!("document.querySelector('{last}')"));
    shown(&mut tab, last);
    tab.until(&format!("document.querySelector('{MAP}').width === 0"));
    // On paper stands what can be drawn, and that the rest is left out.
    let pdf = tab.paper("thousand");
    assert!(pdf.windows(15).any(|at| at == b"/Subtype /Image"));
    let note = tab.text("document.querySelector('.onpaper').textContent");
    let left = note.split(' ').next().and_then(|count| count.parse::<u32>().ok());
    assert!(left.is_some_and(|left| (900..1000).contains(&left)), "{note}");
    assert_eq!(tab.problems(), Vec::<String>::new());
}

/// What is wrong with the page on paper: controls, maps without their scale, pictures that a sheet's end would cut.
const ON_PAPER: &str = r"(() => {
  const seen = (e) => e.checkVisibility();
  const faults = [...document.querySelectorAll('button:not(.tile):not(th button), select, input:not([type=radio]), .reading')]
    .filter(seen).map((e) => `a control: ${e.outerHTML.slice(0, 80)}`);
  for (const canvas of [...document.querySelectorAll('canvas.view, .tile canvas')].filter(seen)) {
    if (canvas.dataset.state !== 'drawn') faults.push('an empty picture');
    const box = canvas.closest('.map, .tile');
    const scale = box.querySelector('.scale');
    const map = !canvas.matches('.map:first-child canvas');
    if (map && !(scale && seen(scale) && getComputedStyle(scale.querySelector('i')).backgroundImage !== 'none')) faults.push('a map without its scale');
    let whole = false;
    for (let e = canvas; e; e = e.parentElement) if (getComputedStyle(e).breakInside === 'avoid') whole = true;
    if (!whole) faults.push('a picture that can be cut');
  }
  return faults;
})()";

#[test]
fn paper_has_every_picture_whole_with_its_scale_and_no_controls() {
    let place = Place::new();
    let Some(mut tab) = compared(&place) else { return };
    // Sheets, and pictures on them; what is out of view has been drawn too.
    let count = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).filter(|at| *at == what).count();
    let idle = "[...document.querySelectorAll('canvas.view, .tile canvas')].every((c) => c.dataset.state === 'drawn')";
    tab.until(idle);
    let pdf = tab.paper("compare");
    assert!(pdf.starts_with(b"%PDF") && count(&pdf, b"/Subtype /Image") >= 8, "two photos and six maps");
    tab.medium("print");
    assert_eq!(tab.eval(ON_PAPER), json!([]));
    // Of the classes the one that is shown.
    let classes = "[...document.querySelectorAll('.photo:first-child [data-tool=class] label')].filter((l) => l.checkVisibility()).length";
    assert_eq!(tab.number(classes), 1.0);
    assert!(tab.number("document.documentElement.scrollWidth") <= 1280.0);
    tab.medium("");

    // Tiles of walls far below.
    let photos: Vec<Photo> = (0..30).map(|i| simple(&format!("p{i:02}.png"), "heron")).collect();
    let group = |title: &str| Group { title: title.into(), photos: (0..30).collect(), ..Group::default() };
    let mut page = Page::new("wall");
    let groups = ["one", "two", "three"].map(group).to_vec();
    page.push(Section::gallery(Some("Photos"), Gallery { groups, ..gallery(photos) }));
    tab.open_file(&place.file("wall.html", page.html().as_bytes()));
    tab.until(idle);
    let pdf = tab.paper("wall");
    assert!(count(&pdf, b"/Type /Page\n") >= 2, "{}", pdf.len());
    tab.medium("print");
    assert_eq!(tab.eval(ON_PAPER), json!([]));
    assert_eq!(tab.number("[...document.querySelectorAll('.tile')].filter((t) => t.checkVisibility()).length"), 90.0);
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn numbers_that_are_no_probabilities_stand_as_they_are() {
    let place = Place::new();
    let Some(mut tab) = Tab::new() else { return };
    let share = |plain| {
        let mut page = Page::new("t");
        page.push(Section::gallery(None, gallery(vec![Photo { plain, ..simple("a.png", "cosine to b.png") }])));
        page.html()
    };
    let row = "document.querySelector('.guesses li').textContent";
    tab.open_file(&place.file("share.html", share(false).as_bytes()));
    assert_eq!(tab.text(row), "cosine to b.png75.0%");
    tab.open_file(&place.file("plain.html", share(true).as_bytes()));
    assert_eq!(tab.text(row), "cosine to b.png0.750");
    assert_eq!(tab.number("document.querySelectorAll('.guesses svg').length"), 0.0, "it has no bar");
    tab.accessible();
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn folded_sections_are_found_by_a_word_and_opened_by_a_link() {
    let place = Place::new();
    let Some(mut tab) = Tab::new() else { return };
    let mut page = Page::new("fleet");
    let mut table = Table::new(&["machine", "cycles"]);
    for i in 0..20 {
        let name = format!("pump {i}");
        table.row(vec![Cell { link: Some(format!("m{i}")), ..name.into() }, f64::from(i).into()]);
    }
    page.push(Section::table("Errors", table));
    for i in 0..20 {
        let chart = Chart { series: vec![Series::line("s", vec![0.0, 1.0], vec![0.0, 1.0])], ..Chart::new("Life") };
        let fault = if i % 2 == 0 { "seal" } else { "bearing" };
        let fold = if i == 0 { Fold::Open } else { Fold::Closed };
        page.push(Section::charts(&format!("Pump {i}, {fault}"), vec![chart]).anchor(format!("m{i}")).folded(fold));
    }
    tab.open_file(&place.file("page.html", page.html().as_bytes()));
    let open = "document.querySelectorAll('.folded > details[open]').length";
    assert_eq!(tab.number(open), 1.0);
    tab.accessible();
    tab.click("a[href='#at-m7']");
    tab.until("document.querySelector('#at-m7 > details').open");
    tab.until("document.querySelector('#at-m7 svg.plot').clientWidth > 200 && document.querySelector('#at-m7 svg.plot').viewBox.baseVal.width > 200");
    let find = ".folds [data-tool='filter']";
    tab.set(find, "bearing");
    assert_eq!(tab.number("document.querySelectorAll('.folded:not([hidden])').length"), 10.0);
    assert!(tab.text("document.querySelector('.folds output').textContent").contains("10 of 20"));
    tab.set(find, "");
    tab.set(".find [data-tool='filter']", "pump 1");
    assert_eq!(tab.number("document.querySelectorAll('tbody tr:not([hidden])').length"), 11.0);
    tab.click(".folds button:nth-of-type(1)");
    assert_eq!(tab.number(open), 20.0);
    tab.screenshot("folded");
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn a_network_is_drawn_as_boxes_that_say_how_to_explain_there() {
    let place = Place::new();
    place.run(&["model", "info", "--html", "net.html"]).stdout();
    place.run(&["model", "info", "--html", "net.txt"]).refused(2, &["a page is HTML"]);
    let Some(mut tab) = Tab::new() else { return };
    tab.open_file(&place.path("net.html"));
    let told = "document.querySelector('.told').textContent";
    assert!(tab.text(told).contains("features.14"), "the default target is looked at first");
    tab.accessible();
    tab.click("[aria-label^='features.9,']");
    let read = tab.text(told);
    assert!(read.contains("32 × 24 × 24") && read.contains("--layer features.9"), "{read}");
    tab.key("ArrowUp");
    assert!(tab.text("document.activeElement.getAttribute('aria-label')").starts_with("features.8,"));
    tab.set("[data-tool='layer']", "features.1");
    assert!(tab.text(told).contains("8 × 96 × 96"));
    tab.screenshot("network");
    tab.size(390, 844);
    assert_eq!(tab.number("document.documentElement.scrollWidth"), 390.0, "nothing sticks out of a phone");
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn levels_stand_side_by_side_and_auto_is_what_explain_chooses() {
    let place = Place::new();
    place.scene("a.png", 0);
    let ran = place.run(&["compare", "a.png", "--methods", "auto,gradient", "--levels", "2", "--steps", "0"]);
    assert!(ran.stdout().contains("faithful-out/compare.html") || ran.stdout().contains("compare.html"));
    assert!(ran.stderr().contains("`layer-cam.expected` is chosen"), "{}", ran.stderr());
    let html = std::fs::read_to_string(place.path("faithful-out/compare.html")).unwrap();
    for column in ["layer-cam.expected at features.9", "layer-cam.expected at features.14", "\"gradient\""] {
        assert!(html.contains(column), "{column}");
    }
    let both = place.run(&["compare", "a.png", "--levels", "2", "--layer", "features.9"]);
    assert!(both.code() == 2 && both.stderr().contains("--layer"), "{}", both.stderr());
    let evaluate = [
        "evaluate",
        "--images",
        "scenes",
        "--samples",
        "2",
        "--methods",
        "auto,grad-cam",
        "--metrics",
        "drop",
        "--out",
        "run",
    ];
    let ran = place.run(&evaluate);
    assert!(ran.stdout().contains("layer-cam.expected") && ran.stdout().contains("grad-cam"), "{}", ran.stdout());
}

#[test]
fn bad_input_makes_no_page() {
    let place = Place::new();
    place.scene("a.png", 0);
    place.file("broken.jpg", b"\xff\xd8 not a photo");
    place.run(&["compare", "a.png", "--methods", "gradcam", "--out", "p.html"]).refused(2, &["`grad-cam`"]);
    place.run(&["compare", "a.png", "--percentile", "20", "--out", "p.html"]).refused(2, &["percentile"]);
    place.run(&["compare", "a.png", "--class", "hreon", "--out", "p.html"]).refused(2, &["no class"]);
    std::fs::create_dir(place.path("folder")).unwrap();
    place.run(&["compare", "a.png", "--out", "folder"]).refused(2, &["is a folder"]);
    place.run(&["report", "absent", "--out", "p.html"]).refused(1, &["manifest.json"]);
    place.run(&["atlas", "--class", "bullseye", "--images", "absent", "--out", "p.html"]).refused(1, &["absent"]);
    place.run(&["atlas", "--class", "top2", "--images", "scenes", "--out", "p.html"]).refused(2, &["not one class"]);
    assert!(!place.path("p.html").exists());
    // A photo that cannot be read does not take the others with it.
    let ran =
        place.run(&["compare", "a.png", "broken.jpg", "--methods", "grad-cam", "--steps", "0", "--out", "p.html"]);
    assert_eq!(ran.code(), 1, "{}", ran.stderr());
    assert!(ran.stderr().contains("broken.jpg") && place.path("p.html").exists());
}

#[test]
fn an_atlas_sorts_photos_by_probability_and_shows_every_layer() {
    let place = Place::new();
    let arguments = [
        "atlas",
        "--class",
        "bullseye",
        "--images",
        "scenes",
        "--samples",
        "6",
        "--count",
        "4",
        "--least",
        "0",
        "--method",
        "layer-cam",
        "--out",
        "atlas.html",
        "--json",
    ];
    let line = &place.run(&arguments).objects()[0];
    assert_eq!((&line["photos"], &line["failed"]), (&json!(4), &json!(0)));
    let Some(mut tab) = Tab::new() else { return };
    tab.open_file(&place.path("atlas.html"));
    shown(&mut tab, ".tile canvas");
    assert_eq!(tab.number("document.querySelectorAll('.group').length"), 4.0);
    let order = tab
        .eval("[...document.querySelectorAll('.group:first-of-type .under b')].map((b) => parseFloat(b.textContent.replace('< ', '')))");
    let order: Vec<f64> = order.as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect();
    assert!(order.windows(2).all(|pair| pair[0] >= pair[1]) && order.len() == 4, "{order:?}");
    tab.accessible();
    tab.screenshot("atlas");
    tab.click(".tile");
    shown(&mut tab, "dialog .map:nth-child(5) canvas");
    tab.screenshot("atlas-open");
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn a_report_shows_a_run_with_its_photos_failures_and_command() {
    let place = Place::new();
    for index in 0..5 {
        place.scene(&format!("photos/scene {index}.png"), index);
    }
    place.file("photos/broken <i>.png", b"\x89PNG\r\n\x1a\nnot");
    let metrics = "insertion,deletion,ins-del,drop";
    let ran = place.run(&[
        "evaluate",
        "--images",
        "photos",
        "--methods",
        "grad-cam,layer-cam",
        "--metrics",
        metrics,
        "--steps",
        "10",
        "--out",
        "run",
    ]);
    assert_eq!(ran.code(), 1, "the broken photo: {}", ran.stderr());
    let line = &place
        .run(&["report", "run", "--against", "grad-cam", "--photos", "2", "--out", "report.html", "--json"])
        .objects()[0];
    assert_eq!(line["images"], 5);
    let table = place.run(&["table", "run", "--format", "json"]).stdout();
    let table: Value = serde_json::from_str(&table).unwrap();
    let Some(mut tab) = Tab::new() else { return };
    tab.open_file(&place.path("report.html"));
    shown(&mut tab, ".tile canvas");
    // Every mean of the table is on the page.
    let shown_means = tab.eval(
        "[...document.querySelectorAll('section:first-of-type td[data-value]')].map((td) => Number(td.dataset.value))",
    );
    let shown_means: Vec<f64> = shown_means.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let means = table
        .to_string()
        .split("\"mean\":")
        .skip(1)
        .map(|rest| rest.split([',', '}']).next().unwrap().parse::<f64>().unwrap())
        .collect::<Vec<_>>();
    assert!(
        means.len() == 8 && means.iter().all(|mean| shown_means.iter().any(|shown| (shown - mean).abs() < 1e-9)),
        "{means:?} {shown_means:?}"
    );
    assert_eq!(tab.number("document.querySelectorAll('.chart').length"), 2.0);
    assert_eq!(tab.number("document.querySelectorAll('.group').length"), 4.0);
    let text = tab.text("document.querySelector('main').textContent");
    for words in ["broken <i>.png", "evaluate --images photos", "grad-cam: best", "layer-cam: worst", "mastersthesis"] {
        assert!(text.contains(words), "{words}");
    }
    tab.accessible();
    tab.screenshot("report");
    tab.click(".tile");
    shown(&mut tab, "dialog .map:nth-child(3) canvas");
    // The measured values stand under the maps that were made again.
    let measures = tab.text("document.querySelector('dialog .measures').textContent");
    assert!(measures.contains("ins-del"), "{measures}");
    tab.screenshot("report-open");
    assert_eq!(tab.problems(), Vec::<String>::new());

    // Without its photos the report names them.
    std::fs::rename(place.path("photos"), place.path("elsewhere")).unwrap();
    let ran = place.run(&["report", "run", "--out", "bare.html"]);
    assert!(ran.code() == 0 && ran.stderr().contains("no photos"), "{}", ran.stderr());
    assert!(std::fs::read_to_string(place.path("bare.html")).unwrap().contains("scene 3.png"));
    let ran = place.run(&["report", "run", "--images", "elsewhere", "--out", "again.html", "--json"]);
    assert!(ran.objects()[0]["bytes"].as_u64().unwrap() > 60_000, "{}", ran.stderr());
}

#[test]
fn an_atlas_leaves_out_photos_that_do_not_show_the_class_and_says_where_none_does() {
    let place = Place::new();
    let atlas = |least: &str, class: &str| {
        let options = ["--images", "scenes", "--samples", "6", "--method", "grad-cam", "--json", "--out", "atlas.html"];
        place.run(&[&["atlas", "--class", class, "--least", least][..], &options].concat())
    };
    let some = atlas("0.1", "dotted triangle").objects().remove(0);
    assert!((1..6).contains(&some["photos"].as_u64().unwrap()), "{some}");
    assert_eq!(some["warning"], json!(null));
    // Of each resolution the last layer, behind its activation.
    let page = std::fs::read_to_string(place.path("atlas.html")).unwrap();
    for layer in ["features.1", "features.4", "features.9", "features.14"] {
        assert!(page.contains(&format!("\"{layer}\"")), "{layer}");
    }
    assert!(!page.contains("features.13") && page.contains("one cell per 8 pixels"));
    // None of these scenes has a bullseye: the nearest are shown, and it is said.
    let ran = atlas("0.1", "bullseye");
    assert!(ran.stderr().contains("no photo shows bullseye"), "{}", ran.stderr());
    let none = ran.objects().remove(0);
    assert_eq!(none["photos"], json!(6));
    assert!(none["warning"].as_str().unwrap().starts_with("no photo shows bullseye: the highest probability is 0."));
    assert!(std::fs::read_to_string(place.path("atlas.html")).unwrap().contains("No photo shows bullseye"));
    let all = atlas("0", "bullseye").objects().remove(0);
    assert_eq!((&all["photos"], &all["warning"]), (&json!(6), &json!(null)));
    atlas("1.5", "bullseye").refused(2, &["no probability"]);
}
