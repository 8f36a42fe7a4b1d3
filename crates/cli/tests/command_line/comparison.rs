//! The page of `compare` as its readers use it, in a real browser.

use super::browser::Tab;
use super::pages::{MAP, PHOTO, READING, blend, near, shown};
use super::support::{Place, fixture, name};
use faithful_report::decode_npy;
use faithful_report::image;
use serde_json::json;

/// The page of two scenes by three methods, in a browser that has opened it.
pub(crate) fn compared(place: &Place) -> Option<Tab> {
    let mut tab = Tab::new()?;
    let photos = ["speckled-ring_striped-crescent.png", "dotted-star.png"].map(|file| fixture("scenes").join(file));
    let [first, second] = [0, 1].map(|i| name(&photos[i]));
    let methods = "grad-cam,layer-cam,gradient-times-input";
    let arguments = [
        "compare",
        first,
        second,
        "--methods",
        methods,
        "--class",
        "top2",
        "--steps",
        "8",
        "--out",
        "page.html",
        "--json",
    ];
    let line = &place.run(&arguments).objects()[0];
    assert_eq!((&line["photos"], &line["failed"]), (&json!(2), &json!(0)));
    tab.open_file(&place.path("page.html"));
    shown(&mut tab, MAP);
    Some(tab)
}

#[test]
fn a_comparison_shows_the_maps_that_explain_writes() {
    let place = Place::new();
    let Some(mut tab) = compared(&place) else { return };
    // The same photo by `explain`, which draws and writes its map in another way.
    let photo = fixture("scenes/speckled-ring_striped-crescent.png");
    place.run(&["explain", name(&photo), "--method", "grad-cam", "--out", "maps", "--json"]).objects();
    let stem = "maps/speckled-ring_striped-crescent.grad-cam";
    let drawn = image::open(place.path(&format!("{stem}.png"))).unwrap().to_rgb8();
    let map = decode_npy(&std::fs::read(place.path(&format!("{stem}.npy"))).unwrap()).unwrap();
    let side = f64::from(drawn.width());
    for (x, y) in [(23u32, 28u32), (112, 112), (140, 47), (20, 210), (198, 198)] {
        let found = tab.pixel(MAP, (f64::from(x) + 0.5) / side, (f64::from(y) + 0.5) / side);
        near(found, drawn.get_pixel(x, y).0, &format!("at {x}, {y}"));
    }
    // The number under the pointer is the map's; without interpolation, the cell's own.
    tab.click("[data-tool='smooth'] label:nth-child(2)");
    for (row, column) in [(0, 0), (map.height() / 2, map.width() / 2), (map.height() - 1, map.width() - 1)] {
        let share = |at: usize, of: usize| (at as f64 + 0.5) / of as f64;
        let at = tab.place_in(MAP, share(column, map.width()), share(row, map.height()));
        tab.move_to(at);
        tab.settle();
        let read = tab.text(READING);
        let (number, value): (f64, f64) = (read.parse().unwrap(), map.values()[row * map.width() + column].into());
        assert!(
            (number - value).abs() <= value.abs() * 0.01 + 1e-4,
            "{read} at {row}, {column} of a map that has {value}"
        );
    }
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn every_control_of_a_comparison_does_what_it_says() {
    let place = Place::new();
    let Some(mut tab) = compared(&place) else { return };
    tab.screenshot("compare");
    let at = (0.31, 0.72);
    let pixel = |tab: &mut Tab, selector: &str| tab.pixel(selector, at.0, at.1);
    let photo = pixel(&mut tab, PHOTO);
    let photo = [0, 1, 2].map(|c| photo[c] as u8);

    tab.set("[data-tool='opacity']", "0");
    near(pixel(&mut tab, MAP), photo, "no opacity shows the photo");
    assert_eq!(
        tab.text("document.querySelector('[data-tool=opacity]').closest('.tool').querySelector('output').textContent"),
        "0%"
    );
    tab.set("[data-tool='opacity']", "100");
    let viridis = pixel(&mut tab, MAP);
    tab.set("[data-tool='colormap']", "grey");
    let grey = pixel(&mut tab, MAP);
    assert!(grey[0] == grey[1] && grey[1] == grey[2], "{grey:?}");
    assert_ne!(viridis, grey);
    tab.set("[data-tool='opacity']", "50");
    near(pixel(&mut tab, MAP), blend(photo, [0, 1, 2].map(|c| grey[c] as u8), 0.5), "half the map, half the photo");
    tab.set("[data-tool='threshold']", "100");
    near(pixel(&mut tab, MAP), photo, "what is below the threshold shows the photo");
    tab.set("[data-tool='threshold']", "0");
    // Signed maps keep their own colours and say so by their scale.
    let scale = |tab: &mut Tab, column: u32| {
        tab.text(&format!(
            "getComputedStyle(document.querySelector('.photo .map:nth-child({column}) .scale i')).backgroundImage"
        ))
    };
    assert_ne!(scale(&mut tab, 2), scale(&mut tab, 4));

    // Cells are blocks of one colour, interpolated maps are not.
    tab.set("[data-tool='opacity']", "100");
    let colors = "(() => { const c = document.querySelector(\".photo:nth-of-type(1) .map:nth-child(2) canvas\"); \
                  const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer); return new Set(d).size; })()";
    let smooth = tab.number(colors);
    tab.click("[data-tool='smooth'] label:nth-child(2)");
    tab.settle();
    let cells = tab.number(colors);
    assert!(cells < smooth && cells <= 256.0, "{cells} colours of cells, {smooth} interpolated");
    tab.click("[data-tool='smooth'] label:nth-child(1)");
    tab.set("[data-tool='opacity']", "55");

    // All maps of a photo zoom together, by button, wheel and key; dragging moves them.
    let before: Vec<_> =
        (1..=4).map(|i| pixel(&mut tab, &format!(".photo:nth-of-type(1) .map:nth-child({i}) canvas"))).collect();
    tab.click(".photo .zoom button:nth-of-type(2)");
    tab.click(".photo .zoom button:nth-of-type(2)");
    tab.settle();
    assert_eq!(tab.text("document.querySelector('.photo .zoom output').textContent"), "256%");
    let after: Vec<_> =
        (1..=4).map(|i| pixel(&mut tab, &format!(".photo:nth-of-type(1) .map:nth-child({i}) canvas"))).collect();
    assert!(before.iter().zip(&after).all(|(a, b)| a != b), "{before:?} {after:?}");
    tab.eval("document.querySelector('.photo .map:nth-child(2) canvas').focus()");
    tab.key("0");
    assert_eq!(tab.text("document.querySelector('.photo .zoom output').textContent"), "100%");
    let middle = tab.place(MAP);
    tab.call(
        "Input.dispatchMouseEvent",
        &json!({ "type": "mouseWheel", "x": middle[0], "y": middle[1], "deltaX": 0, "deltaY": -200, "modifiers": 2 }),
    );
    tab.until("document.querySelector('.photo .zoom output').textContent !== '100%'");
    tab.key("0");

    // The keyboard reads values aloud.
    tab.key("ArrowRight");
    tab.key("ArrowDown");
    let heard = tab.text("document.querySelector('.photo [role=status]').textContent");
    assert!(heard.contains("grad-cam") && heard.contains("layer-cam"), "{heard}");
    tab.key("Escape");

    // Classes stand side by side: on one scale where that is asked for.
    assert_eq!(tab.number("document.querySelectorAll('.photo:nth-of-type(1) .ofclass').length"), 2.0);
    let scales = "JSON.stringify([...document.querySelectorAll('.photo:nth-of-type(1) .map:nth-child(2) .scale')].map((s) => s.textContent))";
    let own: Vec<String> = serde_json::from_str(&tab.text(scales)).unwrap();
    tab.click(".photo [data-tool='scale'] label:nth-child(2)");
    let one: Vec<String> = serde_json::from_str(&tab.text(scales)).unwrap();
    assert!(own != one && one[0] == one[1], "{own:?} {one:?}");

    // Another class has other maps, another name and other curves.
    let label = |tab: &mut Tab| tab.text(&format!("document.querySelector('{MAP}').getAttribute('aria-label')"));
    let first = label(&mut tab);
    tab.click(".photo [data-tool='class'] label:nth-child(2)");
    shown(&mut tab, MAP);
    assert_ne!(first, label(&mut tab));
    assert_eq!(tab.number("document.querySelectorAll('.photo:nth-of-type(1) .map').length"), 4.0);
    let measures = tab.text("document.querySelector('.photo .measures').textContent");
    assert!(measures.contains("insertion") && measures.contains("deletion"), "{measures}");
    // A curve tells its values where the pointer is.
    let curve = tab.place(".photo .map:nth-child(2) .curve svg");
    tab.move_to(curve);
    tab.settle();
    let read = tab.text(READING);
    assert!(read.contains("insertion") && read.contains("deletion"), "{read}");

    // Dark is dark, light is light.
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = tab.text(ground);
    tab.click(".theme");
    let dark = tab.text(ground);
    assert_ne!(light, dark);
    tab.accessible();
    tab.screenshot("compare-dark");
    tab.click(".theme");
    assert_eq!(tab.text(ground), light);
    tab.accessible();
    tab.media("prefers-color-scheme", "dark");
    tab.size(390, 844);
    tab.open_file(&place.path("page.html"));
    assert_eq!(tab.number("document.documentElement.scrollWidth"), 390.0, "nothing sticks out of a phone");
    tab.accessible();
    tab.screenshot("compare-phone");
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[test]
fn a_real_file_with_a_hostile_name_and_a_folder_that_is_none() {
    let place = Place::new();
    let Some(mut tab) = Tab::new() else { return };
    let hostile = "a<img src=x onerror=document.title='taken'>&\"'.png";
    place.scene(hostile, 0);
    place.run(&["compare", hostile, "--methods", "grad-cam", "--steps", "0", "--out", "sub/p.html"]).stdout();
    tab.open_file(&place.path("sub/p.html"));
    shown(&mut tab, MAP);
    assert_eq!(tab.text("document.querySelector('h1').textContent"), hostile);
    assert_eq!(tab.problems(), Vec::<String>::new());
}
