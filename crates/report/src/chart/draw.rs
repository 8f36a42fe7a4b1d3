use super::axis::{Ruler, number};
use super::{Chart, Line};
use faithful_core::{Error, Result};
use std::fmt::Write as _;

/// Sides in pixels.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 20.0;
const BELOW: f64 = 46.0;
const LINE: f64 = 17.0;

/// Colours that people with any colour vision tell apart (Okabe and Ito 2008); after them, dashes.
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#333333"];
const DASHES: [&str; 3] = ["", "6 3", "2 3"];

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
    let mut body = String::new();
    let mut top = 10.0;
    for panel in panels {
        top = draw_panel(&mut body, panel, &names, top);
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" viewBox=\"0 0 {WIDTH} {top}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    ))
}

/// Adds a panel that begins at `top`; where the next may begin.
fn draw_panel(body: &mut String, panel: &Chart, names: &[&str], top: f64) -> f64 {
    let mut top = top;
    if !panel.title.is_empty() {
        text(body, [LEFT, top + 12.0], "font-weight=\"600\"", &panel.title);
        top += LINE + 2.0;
    }
    let named: Vec<&Line> = panel.lines.iter().filter(|line| !line.name.is_empty()).collect();
    if names.len() > 1 && !named.is_empty() {
        top = legend(body, &named, names, top);
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

    for mark in &y.marks {
        let Some(at) = up(*mark) else { continue };
        let _ = writeln!(body, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#e4e4e4\"/>");
        text(body, [LEFT - 7.0, at + 4.0], "text-anchor=\"end\"", &number(*mark));
    }
    for mark in &x.marks {
        let Some(at) = across(*mark) else { continue };
        let _ = writeln!(body, "<path d=\"M{at:.1} {bottom:.1}v5\" stroke=\"#888\"/>");
        text(body, [at, bottom + 18.0], "text-anchor=\"middle\"", &number(*mark));
    }
    let _ = writeln!(body, "<path d=\"M{LEFT} {top:.1}V{bottom:.1}H{right}\" fill=\"none\" stroke=\"#888\"/>");
    text(body, [f64::midpoint(LEFT, right), bottom + 36.0], "text-anchor=\"middle\"", &panel.x.label);
    let middle = f64::midpoint(top, bottom);
    let turned = format!("text-anchor=\"middle\" transform=\"rotate(-90 16 {middle:.1})\"");
    text(body, [16.0, middle], &turned, &panel.y.label);

    for level in &panel.levels {
        let Some(at) = up(level.value) else { continue };
        let _ = writeln!(body, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#777\" stroke-dasharray=\"4 3\"/>");
        text(body, [right - 4.0, at - 4.0], "text-anchor=\"end\" fill=\"#666\"", &level.name);
    }
    for line in &panel.lines {
        let (color, _) = look(&line.name, names);
        let band: Vec<[f64; 3]> =
            line.points.iter().zip(&line.band).map(|([x, _], [low, high])| [*x, *low, *high]).collect();
        let corner = |x: f64, y: f64| Some(format!("{:.1} {:.1}", across(x)?, up(y)?));
        let lower = band.iter().filter_map(|[x, low, _]| corner(*x, *low));
        let upper = band.iter().rev().filter_map(|[x, _, high]| corner(*x, *high));
        let outline: Vec<String> = lower.chain(upper).collect();
        if !outline.is_empty() {
            let _ = writeln!(body, "<path d=\"M{}Z\" fill=\"{color}\" fill-opacity=\"0.18\"/>", outline.join("L"));
        }
    }
    for line in &panel.lines {
        let (color, dash) = look(&line.name, names);
        let mut places = Vec::new();
        for [x, y] in &line.points {
            places.push(across(*x).zip(up(*y)));
        }
        for run in places.split(Option::is_none) {
            let run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
            match *thinned(&run) {
                [] => {}
                [(x, y)] => {
                    let _ = writeln!(body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{color}\"/>");
                }
                ref many => {
                    let corners: Vec<String> = many.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
                    let _ = writeln!(
                        body,
                        "<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.6\" \
                         stroke-linejoin=\"round\"{dash}/>",
                        corners.join("L")
                    );
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
fn legend(body: &mut String, lines: &[&Line], names: &[&str], top: f64) -> f64 {
    let (mut x, mut y) = (LEFT, top + 10.0);
    let mut shown: Vec<&str> = Vec::new();
    for line in lines {
        if shown.contains(&line.name.as_str()) {
            continue;
        }
        shown.push(&line.name);
        let width = 34.0 + 7.0 * line.name.chars().count() as f64;
        if x + width > WIDTH - RIGHT && x > LEFT {
            (x, y) = (LEFT, y + LINE);
        }
        let (color, dash) = look(&line.name, names);
        let _ = writeln!(body, "<path d=\"M{x:.1} {:.1}h20\" stroke=\"{color}\" stroke-width=\"2\"{dash}/>", y - 4.0);
        text(body, [x + 25.0, y], "", &line.name);
        x += width;
    }
    y + 8.0
}

/// A line's colour, and its dashes as an attribute.
fn look(name: &str, names: &[&str]) -> (&'static str, String) {
    let place = names.iter().position(|other| *other == name).unwrap_or(0);
    let dash = DASHES[place / COLORS.len() % DASHES.len()];
    let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
    (COLORS[place % COLORS.len()], dash)
}

fn text(body: &mut String, [x, y]: [f64; 2], attributes: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    let space = if attributes.is_empty() { "" } else { " " };
    let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\"{space}{attributes}>{}</text>", escaped(text));
}

/// Text as XML has it. Characters that XML does not allow become spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
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
        assert_eq!((colored(COLORS[0]), colored(COLORS[1])), (2, 2));
        // A single name needs no legend.
        let alone = chart_svg(&[chart(vec![one])]).unwrap();
        assert!(!alone.contains(">one</text>"));
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
