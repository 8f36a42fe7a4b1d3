//! Names and labels come from outside: what they hold must be seen on a terminal, not obeyed by it.

use std::borrow::Cow;

/// The text with what steers a terminal, or turns the direction of writing, written out: `\x1b[31m`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            _ if !steers(c) => plain.push(c),
            '\r' => plain.push_str("\\r"),
            '\0'..='\u{ff}' => plain.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ => plain.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(plain)
}

/// JSON with such characters as JSON writes them; they stand within its texts only.
pub(crate) fn visible_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(steers) {
        return Cow::Borrowed(json);
    }
    let escaped = |c: char| if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(json.chars().map(escaped).collect())
}

/// Control characters but line ends and tabs, and the invisible marks that turn the direction of writing.
fn steers(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_seen() {
        assert_eq!(visible("a\u{1b}]0;title\u{7}\u{9b}2J\r\n\tb"), "a\\x1b]0;title\\x07\\x9b2J\\r\n\tb");
        assert_eq!(visible("gpj\u{202e}.exe"), "gpj\\u{202e}.exe");
        assert!(matches!(visible("Gr\u{fc}n \u{732b} \u{1f426}"), Cow::Borrowed(_)));
        let json = serde_json::to_string("\u{9b}2J \u{1b}[31m").unwrap();
        assert_eq!(visible_json(&json), "\"\\u009b2J \\u001b[31m\"");
        assert_eq!(serde_json::from_str::<String>(&visible_json(&json)).unwrap(), "\u{9b}2J \u{1b}[31m");
    }
}
