//! The classes of ImageNet.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// How many there are.
const COUNT: usize = 1000;

/// The names and WordNet identifiers of ImageNet's classes, in the order of a network's outputs, from the JSON that Keras
/// publishes: `{"0": ["n01440764", "tench"], …}`.
///
/// # Errors
/// Where it is something else. Identifiers rise from class to class, so that a mixed-up file is noticed.
pub(crate) fn classes(text: &[u8]) -> Result<(Vec<String>, Vec<String>)> {
    let table: BTreeMap<String, [String; 2]> =
        serde_json::from_slice(text).context("it is no table of ImageNet's classes")?;
    ensure!(table.len() == COUNT, "it has {} classes instead of {COUNT}", table.len());
    let (mut names, mut synsets) = (Vec::with_capacity(COUNT), Vec::<String>::with_capacity(COUNT));
    for index in 0..COUNT {
        let [synset, name] = table.get(&index.to_string()).with_context(|| format!("class {index} is missing"))?;
        let digits = synset.strip_prefix('n').unwrap_or_default();
        let is_synset = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
        ensure!(is_synset, "class {index} has the WordNet identifier `{synset}`");
        ensure!(synsets.last().is_none_or(|last| last < synset), "class {index} is out of order");
        names.push(name.replace('_', " "));
        synsets.push(synset.clone());
    }
    Ok((names, synsets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(change: impl Fn(usize, String) -> String) -> Vec<u8> {
        let entry = |index: usize| (index.to_string(), [change(index, format!("n{:08}", 1000 + index)), "a_b".into()]);
        serde_json::to_vec(&(0..COUNT).map(entry).collect::<BTreeMap<_, _>>()).unwrap()
    }

    #[test]
    fn classes_are_read_in_order() {
        let (names, synsets) = classes(&table(|_, synset| synset)).unwrap();
        assert_eq!((names.len(), names[3].as_str(), synsets[10].as_str()), (1000, "a b", "n00001010"));
        let refused = |text: &[u8]| format!("{:#}", classes(text).unwrap_err());
        assert!(refused(b"<html>").contains("no table"));
        assert!(refused(b"{}").contains("0 classes"));
        let double = table(|index, synset| if index == 7 { "n00001003".into() } else { synset });
        assert!(refused(&double).contains("class 7 is out of order"));
        assert!(refused(&table(|_, synset| synset[1..].to_owned())).contains("class 0 has the WordNet identifier"));
    }
}
