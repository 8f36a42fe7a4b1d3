use faithful_core::{Error, Result, suggest};

/// What a network's outputs are called. An output without a label is called by its number.
///
/// ```
/// use faithful_model::Labels;
/// let names = vec!["tench, Tinca tinca".into(), "great white shark".into(), "tiger shark".into()];
/// let labels = Labels::new(3, names, vec!["n01440764".into(), "n01484850".into(), "n01491361".into()])?;
/// assert_eq!(labels.find("Great White Shark")?, 1);
/// assert_eq!(labels.find("tinca tinca")?, 0);
/// assert_eq!(labels.find("n01491361")?, 2);
/// assert_eq!(labels.find("2")?, 2);
/// assert_eq!(labels.find("shark").unwrap_err().to_string(),
///     "no class `shark`; did you mean one of `great white shark`, `tiger shark`?");
/// # Ok::<(), faithful_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    count: usize,
    names: Vec<String>,
    synsets: Vec<String>,
}

/// How many names a refusal suggests.
const SUGGESTIONS: usize = 5;

impl Labels {
    /// The labels of `count` outputs; `names` and `synsets` are empty where there are none.
    ///
    /// # Errors
    /// [`Error::Parameter`] when there are names or synsets, but not `count` of them.
    pub fn new(count: usize, names: Vec<String>, synsets: Vec<String>) -> Result<Self> {
        for (parameter, list) in [("labels", &names), ("synsets", &synsets)] {
            if !list.is_empty() && list.len() != count {
                let reason = format!("{} are given, but the network has {count} outputs", list.len());
                return Err(Error::parameter(parameter, reason));
            }
        }
        Ok(Self { count, names, synsets })
    }

    /// The names in a file's text, one per line. A byte order mark is no part of the first one, and blank lines at the
    /// end are no names.
    ///
    /// ```
    /// let names = faithful_model::Labels::lines("\u{feff}cat\r\n dog \r\n\r\n");
    /// assert_eq!(names, ["cat", "dog"]);
    /// ```
    pub fn lines(text: &str) -> Vec<String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// `ImageNet`'s 1000 classes (ILSVRC 2012) in the order that networks have them, as torchvision names them (BSD 3-clause), with
    /// their `WordNet` identifiers.
    pub fn imagenet() -> Self {
        let lines = include_str!("imagenet.txt").lines();
        let pairs = lines.filter_map(|line| line.split_once(' '));
        let (synsets, names): (Vec<_>, Vec<_>) =
            pairs.map(|(synset, name)| (synset.to_owned(), name.to_owned())).unzip();
        Self { count: names.len(), names, synsets }
    }

    /// Outputs that are called by their numbers.
    pub fn numbered(count: usize) -> Self {
        Self { count, ..Self::default() }
    }

    /// How many outputs there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The label of output `index`, or `class INDEX`.
    pub fn name(&self, index: usize) -> String {
        self.names.get(index).cloned().unwrap_or_else(|| format!("class {index}"))
    }

    /// The `WordNet` identifier of output `index`, where it is known.
    pub fn synset(&self, index: usize) -> Option<&str> {
        self.synsets.get(index).map(String::as_str)
    }

    /// The output that is meant by `text`: an index, a synset, a label, or one of a label's words between commas; upper
    /// and lower case are the same. A label wins over an index (digits may be called "7").
    ///
    /// # Errors
    /// [`Error::UnknownName`] with suggestions; [`Error::Parameter`] for an index that is too large or a label that
    /// several outputs carry.
    pub fn find(&self, text: &str) -> Result<usize> {
        let wanted = text.trim().to_lowercase();
        let places = |matches: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let labelled = self.names.iter().enumerate();
            labelled.filter(|(_, name)| matches(&name.to_lowercase())).map(|(index, _)| index).collect()
        };
        let mut found = places(&|name| name == wanted);
        if found.is_empty() {
            found = places(&|name| name.split(',').any(|word| word.trim() == wanted));
        }
        match found.as_slice() {
            [one] => return Ok(*one),
            [] => {}
            several => {
                let listed: Vec<String> = several.iter().map(|&index| self.told_apart(index)).collect();
                let reason = format!(
                    "`{text}` is the label of {}; give a number in place of the label, as `{}`",
                    listed.join(" and "),
                    several[0]
                );
                return Err(Error::parameter("class", reason));
            }
        }
        if let Some(index) = self.synsets.iter().position(|synset| synset.to_lowercase() == wanted) {
            return Ok(index);
        }
        if let Ok(index) = wanted.parse::<usize>() {
            if index < self.count {
                return Ok(index);
            }
            let reason = format!("{index} is outside 0..{}, the network's outputs", self.count);
            return Err(Error::parameter("class", reason));
        }
        if self.names.is_empty() {
            let reason = format!("`{text}` is not a number below {}, and the network has no labels", self.count);
            return Err(Error::parameter("class", reason));
        }
        Err(Error::UnknownName { kind: "class", name: text.into(), suggestions: self.similar(&wanted) })
    }

    /// An output among others of the same label: `134 (n02012849)`, or `134 (crane, wading bird)` where its label says more.
    fn told_apart(&self, index: usize) -> String {
        match (self.synset(index), self.names.get(index).filter(|name| name.contains(','))) {
            (Some(synset), _) => format!("{index} ({synset})"),
            (None, Some(name)) => format!("{index} ({name})"),
            (None, None) => index.to_string(),
        }
    }

    /// Labels that contain `wanted`, else labels (or their words between commas) that look like it.
    fn similar(&self, wanted: &str) -> Vec<String> {
        let containing = |name: &&String| !wanted.is_empty() && name.to_lowercase().contains(wanted);
        let mut suggestions: Vec<String> = self.names.iter().filter(containing).cloned().collect();
        if suggestions.is_empty() {
            let words = self.names.iter().flat_map(|name| name.split(',').map(str::trim));
            suggestions = suggest(wanted, words.chain(self.synsets.iter().map(String::as_str)));
        }
        suggestions.dedup();
        suggestions.truncate(SUGGESTIONS);
        suggestions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_found_by_whatever_names_it_and_refused_with_a_way_out() {
        let names = ["crane", "digit", "crane", "7", "house finch, linnet"].map(String::from).to_vec();
        let labels = Labels::new(5, names, Vec::new()).unwrap();
        assert_eq!(labels.find(" Digit ").unwrap(), 1);
        assert_eq!(labels.find("7").unwrap(), 3);
        assert_eq!(labels.find("0").unwrap(), 0);
        assert_eq!(labels.find("linnet").unwrap(), 4);
        let refusals = [
            ("crane", "class: `crane` is the label of 0 and 2; give a number in place of the label, as `0`"),
            ("5", "class: 5 is outside 0..5, the network's outputs"),
            ("linet", "no class `linet`; did you mean `linnet`?"),
        ];
        for (text, message) in refusals {
            assert_eq!(labels.find(text).unwrap_err().to_string(), message);
        }
        let names = ["crane, wading bird", "crane, machine"].map(String::from).to_vec();
        let said = |synsets: &[&str]| {
            let synsets = synsets.iter().map(ToString::to_string).collect();
            Labels::new(2, names.clone(), synsets).unwrap().find("crane").unwrap_err().to_string()
        };
        assert!(said(&[]).contains("0 (crane, wading bird) and 1 (crane, machine);"), "{}", said(&[]));
        assert!(said(&["n02012849", "n03126707"]).contains("0 (n02012849) and 1 (n03126707);"));
    }

    #[test]
    fn the_names_of_imagenets_classes_are_shipped() {
        let labels = Labels::imagenet();
        let heron = (labels.count(), labels.name(131), labels.synset(999));
        assert_eq!(heron, (1000, "little blue heron".into(), Some("n15075141")));
        assert_eq!((labels.find("crane bird").unwrap(), labels.find("Crane").unwrap()), (134, 517));
        // WordNet's numbers rise from class to class in the order of every network.
        assert!(labels.synsets.windows(2).all(|pair| pair[0] < pair[1] && pair[1].len() == 9));
        assert!(labels.names.iter().all(|name| !name.is_empty() && name.trim() == name));
    }

    #[test]
    fn without_labels_numbers_serve() {
        let labels = Labels::numbered(3);
        assert_eq!((labels.name(2), labels.find("2").unwrap(), labels.synset(2)), ("class 2".into(), 2, None));
        assert!(labels.find("dog").unwrap_err().to_string().contains("no labels"));
        let error = Labels::new(3, vec!["a".into()], Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "labels: 1 are given, but the network has 3 outputs");
    }
}
