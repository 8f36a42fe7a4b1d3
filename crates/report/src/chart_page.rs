use crate::figure::escape;

/// A part of a page: a heading, and drawings as SVG.
pub type Section = (String, Vec<String>);

/// One HTML file with headings and drawings, which needs nothing else: no script, no network.
///
/// ```
/// let page = faithful_report::chart_page("Pumps", "drawn", &[("Pump <1>".into(), vec!["<svg></svg>".into()])]);
/// assert!(page.contains("<h2>Pump &lt;1&gt;</h2>") && page.contains("<svg></svg>"));
/// ```
pub fn chart_page(title: &str, about: &str, sections: &[Section]) -> String {
    let (title, about) = (escape(title), escape(about));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;\
         color:#222;background:#fff}}h1{{font-size:1.5rem}}h2{{font-size:1.1rem;margin-top:2rem}}svg{{max-width:100%;height:auto;\
         display:block;margin:.5rem 0}}</style>\n<h1>{title}</h1>\n<p>{about}</p>\n"
    );
    for (heading, drawings) in sections {
        page.push_str(&format!("<section>\n<h2>{}</h2>\n", escape(heading)));
        for drawing in drawings {
            page.push_str(drawing);
        }
        page.push_str("</section>\n");
    }
    page.push_str("</html>\n");
    page
}
