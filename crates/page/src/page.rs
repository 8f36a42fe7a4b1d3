use crate::blobs::Blobs;
use crate::escape::{escape, script_json};
use crate::{Chart, Diagram, Gallery, HeatMap, Photo, Table};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use faithful_report::Colormap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

const STYLE: &str = include_str!("../assets/page.css");
const SCRIPTS: [&str; 6] = [
    include_str!("../assets/base.js"),
    include_str!("../assets/chart.js"),
    include_str!("../assets/canvas.js"),
    include_str!("../assets/gallery.js"),
    include_str!("../assets/diagram.js"),
    include_str!("../assets/main.js"),
];

/// A page: a title, sections, and how it was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    title: String,
    lede: Option<String>,
    sections: Vec<Section>,
    facts: Vec<(String, String)>,
}

/// A section of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    title: Option<String>,
    note: Option<String>,
    anchor: Option<String>,
    folded: Option<Fold>,
    bodies: Vec<Body>,
}

/// How a section that can be folded begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// With its title alone.
    Closed,
    /// With everything.
    Open,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Gallery(Gallery),
    Charts(Vec<Chart>),
    Heat(Vec<HeatMap>),
    Diagram(Diagram),
    Table(Table),
    Text { paragraphs: Vec<String>, code: Option<String> },
}

impl Section {
    /// Photos and their maps.
    pub fn gallery(title: Option<&str>, gallery: Gallery) -> Self {
        Self { title: title.map(str::to_owned), ..Self::titled("", Body::Gallery(gallery)) }
    }

    fn titled(title: &str, body: Body) -> Self {
        Self { title: Some(title.into()), note: None, anchor: None, folded: None, bodies: vec![body] }
    }

    /// Charts side by side.
    pub fn charts(title: &str, charts: Vec<Chart>) -> Self {
        Self::titled(title, Body::Charts(charts))
    }

    /// Matrices in colours, one below the other.
    pub fn heat_maps(title: &str, maps: Vec<HeatMap>) -> Self {
        Self::titled(title, Body::Heat(maps))
    }

    /// A network as boxes and arrows.
    pub fn diagram(title: &str, diagram: Diagram) -> Self {
        Self::titled(title, Body::Diagram(diagram))
    }

    /// A table.
    pub fn table(title: &str, table: Table) -> Self {
        Self::titled(title, Body::Table(table))
    }

    /// Paragraphs, and code after them.
    pub fn text(title: &str, paragraphs: Vec<String>, code: Option<String>) -> Self {
        Self::titled(title, Body::Text { paragraphs, code })
    }

    /// What another section holds below what this one holds, under this one's title.
    pub fn and(mut self, other: Self) -> Self {
        self.bodies.extend(other.bodies);
        self
    }

    /// A name that cells of tables may link to; one of its own in a page.
    pub fn anchor(self, name: impl Into<String>) -> Self {
        Self { anchor: Some(name.into()), ..self }
    }

    /// What is under the title can be folded away; several such sections in a row are found by words of their titles.
    pub fn folded(self, fold: Fold) -> Self {
        Self { folded: Some(fold), ..self }
    }

    /// A sentence under the title.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// What a server adds to a page it serves. Unlike everything else of a page it is not escaped: it comes from the
/// program, never from data.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// Markup before the sections.
    pub html: &'a str,
    /// Script after the page's own.
    pub script: &'a str,
    /// Data for that script.
    pub data: Option<&'a Value>,
}

impl Page {
    /// A page without sections.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// The sentence under the title.
    pub fn lede(&mut self, lede: impl Into<String>) {
        self.lede = Some(lede.into());
    }

    /// Adds a section.
    pub fn push(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Adds to how the page was made: `seed` and `7`.
    pub fn fact(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.facts.push((name.into(), value.into()));
    }

    /// The page as one file.
    pub fn html(&self) -> String {
        self.html_with(&Extra::default())
    }

    /// The page with what a server adds to it; it may then connect to where it came from.
    pub fn html_with(&self, extra: &Extra) -> String {
        let mut blobs = Blobs::default();
        let mut parts = Vec::new();
        let mut body = String::new();
        for section in &self.sections {
            section.html(&mut body, &mut parts, &mut blobs);
        }
        let data = json!({ "colormaps": colormaps(), "parts": parts, "extra": extra.data });
        let script = format!("(() => {{\n\"use strict\";\n{}\n{}}})();\n", SCRIPTS.join("\n"), extra.script);
        let mut html = String::with_capacity(blobs.elements.len() + script.len() + (1 << 16));
        let _ = write!(
            html,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
             <meta name=\"generator\" content=\"faithful {}\">\n<title>{}</title>\n\
             <link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#main\">Skip to the content</a>\n<div class=\"page\">\n<header class=\"head\"><div>\
             <h1>{}</h1>{}</div><button class=\"theme\" type=\"button\" aria-label=\"Change between light and dark\" \
             hidden></button></header>\n<noscript><p>Photos and maps are drawn by this page's own script, which your \
             browser has turned off.</p></noscript>\n<main id=\"main\" tabindex=\"-1\">\n{}{body}",
            policy(&script, extra.data.is_some()),
            env!("CARGO_PKG_VERSION"),
            escape(&self.title),
            escape(&self.title),
            self.lede.as_ref().map_or_else(String::new, |lede| format!("<p>{}</p>", escape(lede))),
            extra.html,
        );
        if !self.facts.is_empty() {
            html.push_str("<section class=\"section\"><h2>How this was made</h2><dl class=\"facts\">");
            for (name, value) in &self.facts {
                let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
            }
            html.push_str("</dl></section>\n");
        }
        let _ = write!(
            html,
            "</main>\n<footer class=\"foot\">faithful {}. This page holds everything it shows and asks the network for \
             nothing{}.</footer>\n</div>\n<script type=\"application/json\" id=\"data\">",
            env!("CARGO_PKG_VERSION"),
            if extra.data.is_some() { " but the server it came from" } else { "" },
        );
        html.push_str(&script_json(&data));
        html.push_str("</script>\n");
        html.push_str(&blobs.elements);
        html.push_str("<script>");
        html.push_str(&script);
        html.push_str("</script>\n</body>\n</html>\n");
        html
    }

    /// The content security policy of [`Page::html_with`], for a server to send as a header as well.
    pub fn policy_of(extra: &Extra) -> String {
        let script = format!("(() => {{\n\"use strict\";\n{}\n{}}})();\n", SCRIPTS.join("\n"), extra.script);
        policy(&script, extra.data.is_some())
    }
}

impl Photo {
    /// The photo as a page's script takes it, with all its pictures inside: for a server whose page adds photos.
    pub fn to_json(&self) -> Value {
        let mut blobs = Blobs::inline();
        self.json(&mut blobs)
    }
}

impl Section {
    fn html(&self, html: &mut String, parts: &mut Vec<Value>, blobs: &mut Blobs) {
        let id = self.anchor.as_ref().map_or_else(String::new, |name| format!(" id=\"at-{}\"", escape(name)));
        let (class, details, summary) = match self.folded {
            None => ("section", "", ["", ""]),
            Some(Fold::Closed) => ("section folded", "<details>", ["<summary>", "</summary>"]),
            Some(Fold::Open) => ("section folded", "<details open>", ["<summary>", "</summary>"]),
        };
        let _ = write!(html, "<section class=\"{class}\"{id}>{details}");
        if let Some(title) = &self.title {
            let _ = write!(html, "{}<h2>{}</h2>{}", summary[0], escape(title), summary[1]);
        }
        if let Some(note) = &self.note {
            let _ = write!(html, "<p class=\"note\">{}</p>", escape(note));
        }
        let mut part = |html: &mut String, class: &str, value: Value| {
            let _ = write!(html, "<div class=\"{class}\" data-part=\"{}\"></div>", parts.len());
            parts.push(value);
        };
        for body in &self.bodies {
            match body {
                Body::Gallery(gallery) => part(html, "gallery", gallery.json(blobs)),
                Body::Charts(charts) => {
                    let charts: Vec<Value> = charts.iter().map(Chart::json).collect();
                    part(html, "charts", json!({ "kind": "charts", "charts": charts }));
                }
                Body::Heat(maps) => {
                    for map in maps {
                        part(html, "matrix", map.json(blobs));
                    }
                }
                Body::Diagram(diagram) => part(html, "network", diagram.to_json()),
                Body::Table(table) => html.push_str(&table.html(self.title.as_deref().unwrap_or("Table"))),
                Body::Text { paragraphs, code } => {
                    for paragraph in paragraphs {
                        let _ = write!(html, "<p>{}</p>", escape(paragraph));
                    }
                    if let Some(code) = code {
                        let _ = write!(html, "<pre><code>{}</code></pre>", escape(code));
                    }
                }
            }
        }
        html.push_str(if self.folded.is_some() { "</details></section>\n" } else { "</section>\n" });
    }
}

/// No script, style or request but the page's own.
fn policy(script: &str, served: bool) -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    let connect = if served { " connect-src 'self';" } else { "" };
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data: blob:;{connect} base-uri 'none'; form-action 'none'",
        hash(script),
        hash(STYLE)
    )
}

/// Every colour map as 256 colours in hexadecimal digits.
fn colormaps() -> Value {
    let digits = |colormap: Colormap| -> String {
        let colors = (0..256).flat_map(|step| colormap.color(step as f32 / 255.0));
        colors.fold(String::with_capacity(1536), |mut text, channel| {
            let _ = write!(text, "{channel:02x}");
            text
        })
    };
    Colormap::ALL
        .iter()
        .map(|(name, colormap)| ((*name).to_owned(), digits(*colormap).into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, Column, Detail, Encoded, Grid, Group, Guess, Overlay, View};
    use faithful_report::{Map, Region, Scale, image::RgbImage};

    fn gallery(name: &str) -> Gallery {
        let map = Map::new(2, 2, vec![0.0, 1.0, 2.0, 3.0]).unwrap();
        let grid = Grid::new(&map, &Scale::default(), Detail::default()).unwrap();
        let guess = Guess { class: 1, label: name.into(), probability: 0.5 };
        Gallery {
            columns: vec![Column { name: name.into(), note: Some(name.into()) }],
            photos: vec![Photo {
                name: name.into(),
                size: [8, 8],
                region: Region { left: 0.0, top: 0.0, width: 8.0, height: 8.0 },
                picture: Encoded::picture(&RgbImage::new(8, 8), 64).unwrap(),
                top: vec![guess.clone()],
                plain: false,
                views: vec![View { class: guess, maps: vec![Overlay::new(Ok(grid)), Overlay::new(Err(name.into()))] }],
                remark: Some(name.into()),
            }],
            groups: vec![Group { title: name.into(), photos: vec![0], ..Group::default() }],
            ..Gallery::default()
        }
    }

    #[test]
    fn hostile_text_stays_text_wherever_it_stands() {
        for hostile in ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--<script>", "\"'>&"] {
            let mut page = Page::new(hostile);
            page.lede(hostile);
            page.fact(hostile, hostile);
            page.push(Section::gallery(Some(hostile), gallery(hostile)).note(hostile));
            page.push(Section::text(hostile, vec![hostile.into()], Some(hostile.into())));
            let mut table = Table::new(&[hostile]);
            table.row(vec![Cell { link: Some(hostile.into()), ..hostile.into() }]);
            page.push(Section::table(hostile, table));
            page.push(Section::charts(hostile, vec![Chart::new(hostile)]).anchor(hostile));
            let html = page.html();
            // Its text occurs nowhere as it is; the elements are those of a page with a harmless name.
            assert!(!html.contains(hostile), "{hostile}");
            assert!(!html.contains("<img") && !html.contains("<!--"), "{hostile}");
            assert_eq!(html.matches("<script").count(), html.matches("</script>").count(), "{hostile}");
        }
    }

    #[test]
    fn the_policy_names_exactly_the_script_and_the_style_of_the_page() {
        let html = Page::new("t").html();
        let between = |start: &str, end: &str| {
            let from = html.rfind(start).unwrap() + start.len();
            &html[from..from + html[from..].find(end).unwrap()]
        };
        for inline in [between("<script>", "</script>"), between("<style>", "</style>")] {
            let hash = STANDARD.encode(Sha256::digest(inline.as_bytes()));
            assert!(html.contains(&format!("'sha256-{hash}'")));
        }
        assert!(html.contains("default-src 'none'") && !html.contains("connect-src"));
        assert!(
            !html.contains("http://") || html.matches("http://").count() == html.matches("http://www.w3.org").count()
        );
        assert!(!html.contains("https://"));
    }

    #[test]
    fn a_section_may_hold_several_things_and_be_linked_to() {
        let mut page = Page::new("t");
        let mut table = Table::new(&["machine"]);
        table.row(vec![Cell { link: Some("machine-7".into()), ..7.0.into() }]);
        page.push(Section::table("Errors", table));
        let text = Section::text("never shown", vec!["a paragraph".into()], None);
        page.push(Section::charts("Machine 7", vec![Chart::new("c")]).and(text).anchor("machine-7"));
        let html = page.html();
        assert!(html.contains("<a href=\"#at-machine-7\">7.000</a>"));
        assert!(html.contains("<section class=\"section\" id=\"at-machine-7\"><h2>Machine 7</h2>"));
        assert!(html.contains("a paragraph") && !html.contains("never shown"));
    }

    #[test]
    fn assets_cannot_end_their_elements() {
        for text in SCRIPTS.iter().chain([&STYLE]) {
            assert!(!text.contains("</s") && !text.contains("<!--"));
        }
    }

    #[test]
    fn a_section_can_be_folded() {
        let html = |fold| {
            let mut page = Page::new("t");
            page.push(Section::charts("Machine <7>", vec![Chart::new("c")]).folded(fold).note("a note"));
            page.html()
        };
        assert!(
            html(Fold::Closed)
                .contains("<section class=\"section folded\"><details><summary><h2>Machine &lt;7&gt;</h2></summary><p")
        );
        assert!(html(Fold::Open).contains("<details open>") && html(Fold::Open).contains("</details></section>"));
    }

    #[test]
    fn a_photo_for_a_server_refers_to_no_element() {
        let json = gallery("a").photos[0].to_json().to_string();
        assert!(!json.contains("\"blob\""), "{json}");
    }
}
