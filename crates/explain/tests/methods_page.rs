//! docs/methods.md says what the registries say.

use faithful_core::Family;
use faithful_explain::{baseline, methods};
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../../docs/methods.md");

/// The rows of the table under a heading: by the name in the first cell, what follows it.
fn documented(heading: &str) -> BTreeMap<String, Vec<String>> {
    let lines = PAGE.lines().skip_while(|line| *line != format!("## {heading}"));
    let rows = lines.skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let name = cells.next().unwrap().trim_matches('`').to_owned();
        (name, cells.collect())
    })
    .collect()
}

/// The entries of a registry against the rows of the page; a source may say more there.
fn compare(heading: &str, registry: &[[&str; 3]]) {
    let mut rows = documented(heading);
    for [name, summary, source] in registry {
        let row = rows.remove(*name).unwrap_or_else(|| panic!("`{name}` is not under {heading}"));
        assert_eq!(row[0], *summary, "{name}");
        assert!(row[1].starts_with(source), "{name}: {} is not {source}", row[1]);
    }
    assert!(rows.is_empty(), "{heading}: {:?} are in no registry", rows.keys());
}

#[test]
fn every_method_is_on_the_page_as_it_is_in_its_registry() {
    let of = |family: Family| -> Vec<[&str; 3]> {
        let found = methods().into_iter().filter(|info| info.family == family);
        found.map(|info| [info.name, info.summary, info.source]).collect()
    };
    compare("Class activation maps", &of(Family::Cam));
    compare("Perturbation methods", &of(Family::Perturbation));
    compare("Attention of transformers", &of(Family::Attention));
    compare("Attribution with respect to the input", &of(Family::Gradient));
}

#[test]
fn every_gradient_is_on_the_page_as_it_is_in_its_registry() {
    let gradients = faithful_cam::ESTIMATORS.iter().map(|one| [one.name, one.summary, one.source]);
    compare("Gradients", &gradients.collect::<Vec<_>>());
}

#[test]
fn every_kind_of_baseline_is_on_the_page() {
    let rows = documented("Baselines");
    let mut named: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, cells) in &rows {
        if !name.contains("FOLDER") {
            named.insert(name.split(':').next().unwrap(), &cells[0]);
        }
    }
    let kinds: BTreeMap<&str, &str> = baseline::KINDS.iter().map(|kind| (kind.name, kind.summary)).collect();
    assert_eq!(named, kinds);
}
