//! Sums of outputs, in a user's words: `0.5*age[0] - age[1]`, `mean(density)`.

use faithful_core::{Error, Linear, Result};

/// The outputs of a network, one after the other: their names and their shapes without the batch.
pub type Parts = [(String, Vec<usize>)];

/// Sums of outputs as a reading, each given by its words.
///
/// ```text
/// sum     = ["-"] term { ("+" | "-") term }
/// term    = [number "*"] value
/// value   = "(" sum ")" | ("sum" | "mean") "(" part ")" | part
/// part    = (name | '"' name '"') ["[" index { "," index } "]"]
/// index   = number | [number] ":" [number]
/// ```
///
/// Indices are Python's: from 0 on, from the end where negative, ranges without their end. `output` is the network's only output,
/// whatever it is called.
///
/// # Errors
/// [`Error::Parameter`] with the words, the place and the shapes that there are.
pub fn read_sums(sums: &[String], parts: &Parts) -> Result<Linear> {
    let outputs = parts.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    Linear::new(outputs, &sums.iter().map(|text| parsed(text, parts)).collect::<Result<Vec<_>>>()?)
}

type Terms = Vec<(usize, f64)>;

fn parsed(text: &str, parts: &Parts) -> Result<Terms> {
    let mut parser = Parser { text, rest: text, parts, depth: 0 };
    let terms = parser.sum()?;
    match parser.peek() {
        None => Ok(terms),
        Some(letter) => Err(parser.wrong(&format!("`{letter}` is not expected there"))),
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    parts: &'a Parts,
    depth: usize,
}

/// Brackets in brackets, at most.
const DEEPEST: usize = 32;

impl<'a> Parser<'a> {
    fn wrong(&self, reason: &str) -> Error {
        let at = self.text.len() - self.rest.len();
        let all: Vec<String> = self.parts.iter().map(|(name, shape)| format!("`{name}` {shape:?}")).collect();
        let reason = format!("`{}`, at letter {at}: {reason}; the outputs are {}", self.text, all.join(", "));
        Error::parameter("expression", reason)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, letter: char) -> bool {
        let found = self.peek() == Some(letter);
        if found {
            self.rest = &self.rest[letter.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, letter: char) -> Result<()> {
        if self.take(letter) { Ok(()) } else { Err(self.wrong(&format!("`{letter}` is missing"))) }
    }

    /// What letters are taken as long as `is` says so.
    fn word(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        self.peek();
        let end = self.rest.find(|letter| !is(letter)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn sum(&mut self) -> Result<Terms> {
        if self.depth == DEEPEST {
            return Err(self.wrong("there are too many brackets in brackets"));
        }
        self.depth += 1;
        let mut sign = if self.take('-') { -1.0 } else { 1.0 };
        let mut all = Vec::new();
        loop {
            all.extend(self.term()?.into_iter().map(|(index, weight)| (index, sign * weight)));
            sign = match self.peek() {
                Some('+') => 1.0,
                Some('-') => -1.0,
                _ => break,
            };
            self.rest = &self.rest[1..];
        }
        self.depth -= 1;
        Ok(all)
    }

    fn term(&mut self) -> Result<Terms> {
        let factor = match self.peek() {
            Some(letter) if letter.is_ascii_digit() || letter == '.' => {
                let number = self.number()?;
                if !self.take('*') {
                    return Err(self.wrong("a number alone does not depend on the photo; `*` and an output follow it"));
                }
                number
            }
            _ => 1.0,
        };
        Ok(self.value()?.into_iter().map(|(index, weight)| (index, factor * weight)).collect())
    }

    fn number(&mut self) -> Result<f64> {
        let before = self.rest;
        let digits = self.word(|letter| letter.is_ascii_digit() || letter == '.');
        let mut end = digits.len();
        if let Some(rest) = self.rest.strip_prefix(['e', 'E']) {
            let signed = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            let power = signed.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(signed.len());
            if power > 0 {
                end += 1 + (rest.len() - signed.len()) + power;
            }
        }
        self.rest = &before[end..];
        before[..end].parse().map_err(|_| self.wrong(&format!("`{}` is no number", &before[..end])))
    }

    fn value(&mut self) -> Result<Terms> {
        if self.take('(') {
            let sum = self.sum()?;
            self.expect(')')?;
            return Ok(sum);
        }
        let before = self.rest;
        let (name, quoted) = self.name()?;
        if !quoted && ["sum", "mean"].contains(&name) && self.take('(') {
            let (name, _) = self.name()?;
            let places = self.part(name)?;
            self.expect(')')?;
            let weight = if before.trim_start().starts_with("mean") { 1.0 / places.len() as f64 } else { 1.0 };
            return Ok(places.into_iter().map(|place| (place, weight)).collect());
        }
        let places = self.part(name)?;
        if let [one] = *places.as_slice() {
            return Ok(vec![(one, 1.0)]);
        }
        let words = before[..before.len() - self.rest.len()].trim();
        let count = places.len();
        Err(self.wrong(&format!("`{words}` has {count} numbers; sum({words}) or mean({words}) is one")))
    }

    fn name(&mut self) -> Result<(&'a str, bool)> {
        if self.take('"') {
            let name = self.word(|letter| letter != '"');
            self.expect('"')?;
            return Ok((name, true));
        }
        let name = self.word(|letter| letter.is_alphanumeric() || "_./:".contains(letter));
        if name.is_empty() { Err(self.wrong("an output's name is missing")) } else { Ok((name, false)) }
    }

    /// The places of a part of the output `name`.
    fn part(&mut self, name: &str) -> Result<Vec<usize>> {
        let alone = self.parts.len() == 1 && name == "output";
        let found = self.parts.iter().position(|(own, _)| own == name).or(alone.then_some(0));
        let Some(found) = found else { return Err(self.wrong(&format!("there is no output `{name}`"))) };
        let shape = &self.parts[found].1;
        let offset: usize = self.parts[..found].iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let mut ranges = Vec::new();
        if self.take('[') {
            loop {
                let Some(&size) = shape.get(ranges.len()) else {
                    return Err(self.wrong(&format!("`{name}` has {} axes", shape.len())));
                };
                ranges.push(self.range(name, size)?);
                if !self.take(',') {
                    break;
                }
            }
            self.expect(']')?;
        }
        ranges.extend(shape[ranges.len()..].iter().map(|&size| 0..size));
        let mut places = vec![0];
        for (range, size) in ranges.into_iter().zip(shape) {
            places = places.iter().flat_map(|&before| range.clone().map(move |place| before * size + place)).collect();
        }
        Ok(places.into_iter().map(|place| place + offset).collect())
    }

    fn range(&mut self, name: &str, size: usize) -> Result<std::ops::Range<usize>> {
        let first = self.index(name, size)?;
        if !self.take(':') {
            let one = first.ok_or_else(|| self.wrong("an index is missing"))?;
            let outside = || self.wrong(&format!("{one} is outside 0..{size} of `{name}`"));
            return if one < size { Ok(one..one + 1) } else { Err(outside()) };
        }
        let range = first.unwrap_or(0)..self.index(name, size)?.unwrap_or(size);
        if range.is_empty() || range.end > size {
            return Err(self.wrong(&format!("{}:{} holds nothing of 0..{size} of `{name}`", range.start, range.end)));
        }
        Ok(range)
    }

    fn index(&mut self, name: &str, size: usize) -> Result<Option<usize>> {
        let from_end = self.take('-');
        let digits = self.word(|letter| letter.is_ascii_digit());
        if digits.is_empty() {
            return if from_end { Err(self.wrong("a number is missing")) } else { Ok(None) };
        }
        let number: usize = digits.parse().map_err(|_| self.wrong(&format!("{digits} is too large")))?;
        if !from_end {
            return Ok(Some(number));
        }
        let place = size.checked_sub(number);
        place.map(Some).ok_or_else(|| self.wrong(&format!("-{number} is outside the {size} of `{name}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faithful_core::Reading;
    use faithful_core::candle_core::{Device, Tensor};

    fn parts() -> Vec<(String, Vec<usize>)> {
        vec![("age".into(), vec![3]), ("heat map".into(), vec![2, 2, 2])]
    }

    /// What a sum gives of the outputs 0 to 10.
    fn value(text: &str) -> Result<f64> {
        let output = Tensor::arange(0f64, 11.0, &Device::Cpu)?.unsqueeze(0)?;
        Ok(read_sums(&[text.to_owned()], &parts())?.read(&output)?.to_vec2::<f64>()?[0][0])
    }

    #[test]
    fn sums_are_read() {
        let wanted = [
            ("age[2]", 2.0),
            ("-age[-1] + 2 * age[1]", 0.0),
            ("0.5*(age[0] - 1e1*age[2])", -10.0),
            ("sum(age)", 3.0),
            ("mean(\"heat map\"[1])", 8.5),
            ("\"heat map\"[1, 0, 1]", 8.0),
            ("sum(\"heat map\"[:, 0, 1:])", 12.0),
            ("age[1:2]", 1.0),
            ("age[0] + age[0]", 0.0),
        ];
        for (text, number) in wanted {
            assert!((value(text).unwrap() - number).abs() < 1e-12, "{text}: {}", value(text).unwrap());
        }
        let alone = read_sums(&["output[1]".into()], &[("y".to_owned(), vec![2])]).unwrap();
        assert_eq!(alone, Linear::outputs(2, &[1]).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_words() {
        let refusals = [
            (
                "age",
                "`age` has 3 numbers; sum(age) or mean(age) is one; the outputs are `age` [3], `heat map` [2, 2, 2]",
            ),
            ("agee[0]", "there is no output `agee`"),
            ("age[3]", "3 is outside 0..3 of `age`"),
            ("age[-4]", "-4 is outside the 3 of `age`"),
            ("age[0, 1]", "`age` has 1 axes"),
            ("age[2:9]", "2:9 holds nothing of 0..3"),
            ("3", "a number alone"),
            ("", "an output's name is missing"),
            ("age[0] age[1]", "`a` is not expected there"),
            ("(age[0]", "`)` is missing"),
            ("1.2.3*age[0]", "`1.2.3` is no number"),
            ("age[99999999999999999999999]", "is too large"),
        ];
        for (text, words) in refusals {
            let error = value(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(value(&"(".repeat(100_000)).is_err());
    }
}
