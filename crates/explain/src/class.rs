//! Which outputs of a network are meant, and which numbers of them.

use faithful_core::{Error, Result, ScoreKind};
use faithful_model::Labels;

/// What `--class` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassChoice {
    /// One output.
    Index(usize),
    /// The most probable ones of each photo.
    Top(usize),
}

/// Reads `7`, `heron`, `top5`, and lists of them. A label may have commas itself, so the whole is tried first.
pub fn parse_classes(texts: &[String], labels: &Labels) -> Result<Vec<ClassChoice>> {
    let mut wanted = Vec::new();
    for text in texts {
        match parse_class(text, labels) {
            Ok(class) => wanted.push(class),
            Err(error) if !text.contains(',') => return Err(error),
            Err(_) => {
                for part in text.split(',') {
                    wanted.push(parse_class(part, labels)?);
                }
            }
        }
    }
    Ok(wanted)
}

fn parse_class(text: &str, labels: &Labels) -> Result<ClassChoice> {
    let text = text.trim();
    let count = text.strip_prefix("top").and_then(|count| count.parse::<usize>().ok());
    match (labels.find(text), count) {
        (Ok(index), _) => Ok(ClassChoice::Index(index)),
        (Err(_), Some(0)) => Err(Error::parameter("class", "top0 is no class; top1 is the most probable")),
        (Err(_), Some(count)) if count > labels.count() => {
            let reason = format!("top{count} is more than the network's {} classes", labels.count());
            Err(Error::parameter("class", reason))
        }
        (Err(_), Some(count)) => Ok(ClassChoice::Top(count)),
        (Err(error), None) => Err(error),
    }
}

/// How many outputs are meant for a photo, at most.
pub fn most(wanted: &[ClassChoice]) -> usize {
    let counts = wanted.iter().map(|class| if let ClassChoice::Top(count) = class { *count } else { 1 });
    counts.sum::<usize>().max(1)
}

/// The outputs that are meant for a photo whose outputs have been ranked; each once.
pub fn choose(wanted: &[ClassChoice], ranked: &[usize]) -> Vec<usize> {
    let mut chosen = Vec::new();
    for class in wanted {
        let meant = match class {
            ClassChoice::Index(index) => std::slice::from_ref(index),
            ClassChoice::Top(count) => &ranked[..*count.min(&ranked.len())],
        };
        chosen.extend(meant.iter().filter(|index| !chosen.contains(*index)).copied().collect::<Vec<_>>());
    }
    chosen
}

/// The outputs from the highest to the lowest; the first of equals first.
pub fn rank(outputs: &[f64]) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..outputs.len()).collect();
    ranked.sort_by(|&a, &b| outputs[b].total_cmp(&outputs[a]));
    ranked
}

/// Reads `logit`, `probability`, `log-probability`, `logit+log-probability` and `margin:CLASS`.
///
/// # Errors
/// [`Error::Parameter`] for anything else, and for a class that is not there what [`Labels::find`] says.
pub fn parse_score(text: &str, labels: &Labels) -> Result<ScoreKind> {
    if let Some((_, kind)) = ScoreKind::NAMED.iter().find(|(name, _)| *name == text) {
        return Ok(*kind);
    }
    if let Some(class) = text.strip_prefix("margin:") {
        return Ok(ScoreKind::MarginAgainst(labels.find(class)?));
    }
    let names = ScoreKind::NAMED.map(|(name, _)| format!("`{name}`")).join(", ");
    Err(Error::parameter("score", format!("`{text}` is not {names} or `margin:CLASS`")))
}

/// As [`parse_score`]; nothing for `auto`, which leaves every method the score that its source explains
/// ([`MethodInfo::score`](faithful_core::MethodInfo)).
///
/// # Errors
/// As [`parse_score`].
pub fn parse_score_or_auto(text: &str, labels: &Labels) -> Result<Option<ScoreKind>> {
    if text == AUTO_SCORE { Ok(None) } else { parse_score(text, labels).map(Some) }
}

/// What leaves the score to the method.
pub const AUTO_SCORE: &str = "auto";

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::{Probabilities, Target};

    fn labels() -> Labels {
        let names = ["tench, Tinca tinca", "heron", "top hat", "crane"].map(String::from).to_vec();
        Labels::new(4, names, Vec::new()).unwrap()
    }

    fn parsed(texts: &[&str]) -> Result<Vec<ClassChoice>> {
        parse_classes(&texts.iter().map(ToString::to_string).collect::<Vec<_>>(), &labels())
    }

    #[test]
    fn classes_are_read_by_number_label_and_rank() {
        use ClassChoice::{Index, Top};
        assert_eq!(parsed(&["3"]).unwrap(), [Index(3)]);
        assert_eq!(parsed(&["top1"]).unwrap(), [Top(1)]);
        assert_eq!(parsed(&["top4"]).unwrap(), [Top(4)]);
        let most = parsed(&["top5"]).unwrap_err().to_string();
        assert_eq!(most, "class: top5 is more than the network's 4 classes");
        assert_eq!(parsed(&["tench, Tinca tinca"]).unwrap(), [Index(0)]);
        assert_eq!(parsed(&["1,heron,top2", "Crane"]).unwrap(), [Index(1), Index(1), Top(2), Index(3)]);
        assert_eq!(parsed(&["top hat"]).unwrap(), [Index(2)]);
        assert!(parsed(&["top0"]).is_err());
        assert!(parsed(&["heorn"]).unwrap_err().to_string().contains("`heron`"));
        assert!(parsed(&["1,9"]).unwrap_err().to_string().contains("0..4"));
    }

    #[test]
    fn a_class_that_is_meant_twice_is_explained_once() {
        let wanted = [ClassChoice::Index(2), ClassChoice::Top(3), ClassChoice::Index(0)];
        assert_eq!(choose(&wanted, &[2, 1, 3, 0]), [2, 1, 3, 0]);
        assert_eq!(choose(&[ClassChoice::Top(9)], &[1, 0]), [1, 0]);
    }

    #[test]
    fn the_first_of_equals_is_first() {
        assert_eq!(rank(&[0.5, 2.0, 0.5, -1.0]), [1, 0, 2, 3]);
    }

    #[test]
    fn scores_are_read() {
        let of = |text: &str, class| parse_score(text, &labels()).unwrap().of(class, Probabilities::Sigmoid);
        assert_eq!(of("margin:crane", 1), Target::Margin { class: 1, against: 3 });
        assert_eq!(of("logit", 2), Target::Output(2));
        assert_eq!(of("log-probability", 2), Target::LogSigmoid(2));
        assert!(parse_score("probabilty", &labels()).is_err());
        assert!(parse_score("margin:ibis", &labels()).is_err());
    }
}
