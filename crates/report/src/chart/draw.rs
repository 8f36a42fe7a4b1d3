use super::axis::{Ruler, number};
use super::sheet::{INK, Sheet, Words};
use super::{Chart, Line};
use crate::figure::{Anchor, Color, Figure};
use faithful_core::{Error, Result};

/// Sides in pixels.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 20.0;
const BELOW: f64 = 46.0;
const LINE: f64 = 17.0;

/// Colours that people with any colour vision tell apart (Okabe and Ito 2008); after them, dashes.
const COLORS: [Color; 7] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
    INK,
];
const DASHES: [&[f64]; 3] = [&[], &[6.0, 3.0], &[2.0, 3.0]];
const AXIS: Color = [0x88; 3];
const GRID: Color = [0xe4; 3];

/// The panels below each other as one SVG: text that can be searched, no script, nothing from elsewhere.
///
/// Lines of the same name have the same colour in every panel.
///
/// # Errors
/// [`Error::NotFinite`] for NaN or infinity, [`Error::Shape`] for a panel without a point.
///
/// ```
/// use faithful_report::{Axis, Chart, Line, chart_svg};
/// # fn main() -> faithful_core::Result<()> {
/// let points = (1..=50).map(|draw| [f64::from(draw), 1.0 / f64::from(draw)]).collect();
/// let line = Line { name: "5x10".into(), points, ..Line::default() };
/// let chart = Chart { x: Axis::linear("draws"), y: Axis::logarithmic("change"), lines: vec![line], ..Chart::default() };
/// assert!(chart_svg(&[chart])?.starts_with("<svg "));
/// # Ok(())
/// # }
/// ```
pub fn chart_svg(panels: &[Chart]) -> Result<String> {
    let (body, _, height) = draw(panels)?;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"DejaVu Sans, Verdana, sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    ))
}

/// The same panels as a PNG, twice as large, in `DejaVu Sans`, which is brought along: no font of the machine is asked for.
///
/// # Errors
/// As [`chart_svg`].
pub fn chart_png(panels: &[Chart]) -> Result<Vec<u8>> {
    draw(panels)?.1.png()
}

/// The panels as SVG and as a drawing, and how high they are together.
fn draw(panels: &[Chart]) -> Result<(String, Figure, f64)> {
    if panels.is_empty() {
        return Err(Error::shape("the charts", "at least one panel", &[0]));
    }
    panels.iter().try_for_each(Chart::check)?;
    let mut names: Vec<&str> = Vec::new();
    for line in panels.iter().flat_map(|panel| &panel.lines) {
        if !names.contains(&line.name.as_str()) {
            names.push(&line.name);
        }
    }
    let on = |height: f64| {
        let mut sheet = Sheet::new(WIDTH, height);
        let end = panels.iter().fold(10.0, |top, panel| draw_panel(&mut sheet, panel, &names, top));
        (sheet, end)
    };
    // How high they are is known when they are drawn.
    let height = on(1.0).1;
    let (svg, figure) = on(height).0.finish();
    Ok((svg, figure, height))
}

/// Adds a panel that begins at `top`; where the next may begin.
fn draw_panel(sheet: &mut Sheet, panel: &Chart, names: &[&str], top: f64) -> f64 {
    let mut top = top;
    if !panel.title.is_empty() {
        sheet.text([LEFT, top + 12.0], &panel.title, Words { bold: true, ..Words::PLAIN });
        top += LINE + 2.0;
    }
    let named: Vec<&Line> = panel.lines.iter().filter(|line| !line.name.is_empty()).collect();
    if names.len() > 1 && !named.is_empty() {
        top = legend(sheet, &named, names, top);
    }
    let (bottom, right) = (top + HEIGHT, WIDTH - RIGHT);
    let edges = panel
        .lines
        .iter()
        .flat_map(|line| line.points.iter().map(|[_, y]| *y).chain(line.band.iter().flatten().copied()));
    let x = Ruler::new(&panel.x, panel.lines.iter().flat_map(|line| &line.points).map(|[x, _]| *x));
    let y = Ruler::new(&panel.y, edges.chain(panel.levels.iter().map(|level| level.value)));
    let across = |value: f64| x.place(value).map(|place| LEFT + place * (right - LEFT));
    let up = |value: f64| y.place(value).map(|place| bottom - place * (bottom - top));

    let (end, middle) =
        (Words { anchor: Anchor::End, ..Words::PLAIN }, Words { anchor: Anchor::Middle, ..Words::PLAIN });
    for mark in &y.marks {
        let Some(at) = up(*mark) else { continue };
        sheet.line(&[[LEFT, at], [right, at]], GRID, 1.0, &[]);
        sheet.text([LEFT - 7.0, at + 4.0], &number(*mark), end);
    }
    for mark in &x.marks {
        let Some(at) = across(*mark) else { continue };
        sheet.line(&[[at, bottom], [at, bottom + 5.0]], AXIS, 1.0, &[]);
        sheet.text([at, bottom + 18.0], &number(*mark), middle);
    }
    sheet.line(&[[LEFT, top], [LEFT, bottom], [right, bottom]], AXIS, 1.0, &[]);
    sheet.text([f64::midpoint(LEFT, right), bottom + 36.0], &panel.x.label, middle);
    sheet.text([16.0, f64::midpoint(top, bottom)], &panel.y.label, Words { upwards: true, ..middle });

    for level in &panel.levels {
        let Some(at) = up(level.value) else { continue };
        sheet.line(&[[LEFT, at], [right, at]], [0x77; 3], 1.0, &[4.0, 3.0]);
        sheet.text([right - 4.0, at - 4.0], &level.name, Words { color: [0x66; 3], ..end });
    }
    for line in &panel.lines {
        let (color, _) = look(&line.name, names);
        let band: Vec<[f64; 3]> =
            line.points.iter().zip(&line.band).map(|([x, _], [low, high])| [*x, *low, *high]).collect();
        let corner = |x: f64, y: f64| Some([across(x)?, up(y)?]);
        let lower = band.iter().filter_map(|[x, low, _]| corner(*x, *low));
        let upper = band.iter().rev().filter_map(|[x, _, high]| corner(*x, *high));
        let outline: Vec<[f64; 2]> = lower.chain(upper).collect();
        if !outline.is_empty() {
            sheet.area(&outline, color, 0.18);
        }
    }
    for line in &panel.lines {
        let (color, dashes) = look(&line.name, names);
        let mut places = Vec::new();
        for [x, y] in &line.points {
            places.push(across(*x).zip(up(*y)));
        }
        for run in places.split(Option::is_none) {
            let run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
            match *thinned(&run) {
                [] => {}
                [(x, y)] => sheet.dot([x, y], 2.0, color),
                ref many => {
                    let corners: Vec<[f64; 2]> = many.iter().map(|&(x, y)| [x, y]).collect();
                    sheet.line(&corners, color, 1.6, dashes);
                }
            }
        }
    }
    bottom + BELOW + 10.0
}

/// At most the first, lowest, highest and last place of each pixel's width: what a picture can show of a long line.
fn thinned(run: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if run.len() <= 4 * WIDTH as usize {
        return run.to_vec();
    }
    let mut kept = Vec::new();
    for part in run.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let extreme = |sign: f64| {
            let order = |a: &usize, b: &usize| (sign * part[*a].1).total_cmp(&(sign * part[*b].1));
            (0..part.len()).max_by(order).unwrap_or(0)
        };
        let mut places = vec![0, extreme(1.0), extreme(-1.0), part.len() - 1];
        places.sort_unstable();
        places.dedup();
        kept.extend(places.into_iter().map(|place| part[place]));
    }
    kept
}

/// Names with samples of their lines, as many rows as they need; where the panel may begin.
fn legend(sheet: &mut Sheet, lines: &[&Line], names: &[&str], top: f64) -> f64 {
    let (mut x, mut y) = (LEFT, top + 10.0);
    let mut shown: Vec<&str> = Vec::new();
    for line in lines {
        if shown.contains(&line.name.as_str()) {
            continue;
        }
        shown.push(&line.name);
        let width = 45.0 + 12.0 / 11.0 * f64::from(Figure::width_of(&line.name));
        if x + width > WIDTH - RIGHT && x > LEFT {
            (x, y) = (LEFT, y + LINE);
        }
        let (color, dashes) = look(&line.name, names);
        sheet.line(&[[x, y - 4.0], [x + 20.0, y - 4.0]], color, 2.0, dashes);
        sheet.text([x + 25.0, y], &line.name, Words::PLAIN);
        x += width;
    }
    y + 8.0
}

/// A line's colour and dashes.
fn look(name: &str, names: &[&str]) -> (Color, &'static [f64]) {
    let place = names.iter().position(|other| *other == name).unwrap_or(0);
    (COLORS[place % COLORS.len()], DASHES[place / COLORS.len() % DASHES.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Axis, Level};

    fn chart(lines: Vec<Line>) -> Chart {
        let (x, y) = (Axis::linear("draws"), Axis::logarithmic("change"));
        Chart {
            title: "a < b & \"c\"\u{1}".into(),
            x,
            y,
            lines,
            levels: vec![Level { name: "0.1".into(), value: 0.1 }],
        }
    }

    fn line(name: &str, points: Vec<[f64; 2]>) -> Line {
        Line { name: name.into(), points, band: Vec::new() }
    }

    /// Every tag is closed and nothing of the text is taken for one.
    fn is_well_formed(svg: &str) {
        let mut open = Vec::new();
        for part in svg.split('<').skip(1) {
            let (tag, _) = part.split_once('>').expect("a tag ends");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or_default().to_owned());
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        assert!(open.is_empty() && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.chars().all(|c| !c.is_control() || c == '\n'));
    }

    #[test]
    fn panels_have_titles_legends_levels_and_interrupted_lines() {
        let one =
            line("one", vec![[1.0, 1.0], [2.0, 0.5], [3.0, 0.0], [4.0, 0.25], [5.0, 0.2], [6.0, 0.0], [7.0, 1.0]]);
        let band = vec![[0.5, 2.0]; 2];
        let two = Line { band, ..line("two & more", vec![[1.0, 1.0], [7.0, 0.1]]) };
        let svg = chart_svg(&[chart(vec![one.clone(), two.clone()]), chart(vec![two])]).unwrap();
        is_well_formed(&svg);
        assert!(svg.contains("a &lt; b &amp; &quot;c&quot;") && svg.contains(">two &amp; more</text>"));
        // Zeros interrupt: two pieces and a dot of the first line; the second has its colour in both panels.
        assert_eq!(svg.matches("stroke-width=\"1.6\"").count(), 2 + 1 + 1);
        assert_eq!(svg.matches("<circle").count(), 1);
        assert_eq!(svg.matches("fill-opacity").count(), 2);
        assert_eq!(svg.matches("stroke-dasharray=\"4 3\"").count(), 2);
        let colored = |color: &str| svg.matches(&format!("stroke=\"{color}\" stroke-width=\"1.6\"")).count();
        assert_eq!((colored("#0072b2"), colored("#d55e00")), (2, 2));
        // A single name needs no legend.
        let alone = chart_svg(&[chart(vec![one])]).unwrap();
        assert!(!alone.contains(">one</text>"));
    }

    #[test]
    fn a_png_shows_what_the_svg_does() {
        let band = vec![[0.5, 0.7], [0.5, 0.7]];
        let flat = Line { band, ..line("flat", vec![[0.0, 0.6], [1.0, 0.6]]) };
        let other = line("other", vec![[0.0, 0.1], [1.0, 0.1]]);
        let y = Axis::linear("share").including([0.0, 1.0]);
        let chart = Chart { x: Axis::linear("draws"), y, lines: vec![flat, other], ..Chart::default() };
        let png = image::load_from_memory(&chart_png(std::slice::from_ref(&chart)).unwrap()).unwrap().to_rgb8();
        let (_, _, height) = draw(&[chart]).unwrap();
        assert_eq!(png.dimensions(), (2 * WIDTH as u32, (2.0 * height).ceil() as u32));
        let middle = |color: [u8; 3]| (0..png.height()).filter(|&y| png.get_pixel(WIDTH as u32, y).0 == color).count();
        // Each line is about three pixels high, and the band between white and its colour.
        assert!((2..=4).contains(&middle(COLORS[0])) && (2..=4).contains(&middle(COLORS[1])));
        let pale = COLORS[0].map(|channel| (255.0 * 0.82 + f32::from(channel) * 0.18).round() as u8);
        assert!(middle(pale) > 60, "{}", middle(pale));
    }

    #[test]
    fn many_points_stay_a_small_file_with_their_extremes() {
        let mut points: Vec<[f64; 2]> = (0..200_000).map(|i| [f64::from(i), 1.0 + f64::from(i % 7)]).collect();
        points[123_456][1] = 1000.0;
        let svg = chart_svg(&[chart(vec![line("", points)])]).unwrap();
        is_well_formed(&svg);
        assert!(svg.len() < 100_000, "{}", svg.len());
        // The highest place is the panel's upper edge.
        let top = 10.0 + LINE + 2.0;
        assert!(svg.contains(&format!(" {top:.1}L")), "the peak is kept");
    }

    #[test]
    fn many_lines_stay_apart_and_wrap_their_legend() {
        let lines =
            (0..20).map(|i| line(&format!("a method with a long name {i}"), vec![[0.0, 1.0], [1.0, f64::from(i + 1)]]));
        let svg = chart_svg(&[chart(lines.collect())]).unwrap();
        is_well_formed(&svg);
        let looks: std::collections::HashSet<_> = svg
            .lines()
            .filter(|line| line.contains("stroke-width=\"1.6\""))
            .map(|line| line.split_once("stroke=").unwrap().1.to_owned())
            .collect();
        assert_eq!(looks.len(), 20);
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        assert!(chart_svg(&[]).is_err());
        assert!(chart_svg(&[chart(Vec::new())]).is_err());
        assert!(chart_svg(&[chart(vec![line("", vec![[1.0, f64::NAN]])])]).is_err());
        let band = Line { band: vec![[0.0, 1.0]; 2], ..line("", vec![[1.0, 1.0]]) };
        assert!(chart_svg(&[chart(vec![band])]).is_err());
        // Nothing to see on a logarithmic axis is an empty panel, no error.
        is_well_formed(&chart_svg(&[chart(vec![line("", vec![[1.0, 0.0]])])]).unwrap());
    }
}
