//! A page with a chart and a table, complete in one file: `cargo run -p faithful-page --example chart_page > page.html`

use faithful_page::{Chart, Page, Section, Series, Table};

fn main() {
    let cycles: Vec<f64> = (0..50).map(f64::from).collect();
    let left: Vec<f64> = cycles.iter().map(|cycle| 49.0 - cycle).collect();
    let seen: Vec<f64> = left.iter().map(|left| left + 4.0 * (left / 5.0).sin()).collect();
    let mut page = Page::new("A pump's last cycles");
    page.fact("network", "cnn-bilstm");
    let chart = Chart {
        x_name: "cycle".into(),
        y_name: "cycles left".into(),
        series: vec![Series::line("true", cycles.clone(), left), Series::dashed("predicted", cycles, seen)],
        ..Chart::new("Remaining life")
    };
    page.push(Section::charts("Pump 7", vec![chart]));
    let mut table = Table::new(&["sensor", "cycles taken"]);
    table.row(vec!["vibration".into(), 12.5.into()]);
    table.row(vec!["<temperature>".into(), 3.0.into()]);
    page.push(Section::table("What drove it", table));
    print!("{}", page.html());
}
