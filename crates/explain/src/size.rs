//! `2GiB`.

use std::fmt;
use std::str::FromStr;

/// A number of bytes as people write it: `512MiB`, `2GB`, `1.5g`, `1000000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(
    /// The bytes.
    pub u64,
);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a size such as `2GiB`, `512MiB` or `1.5G`".to_owned();
        let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let unit: f64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kib" => 1024.0,
            "m" | "mib" => 1024f64.powi(2),
            "g" | "gib" => 1024f64.powi(3),
            "t" | "tib" => 1024f64.powi(4),
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "tb" => 1e12,
            _ => return Err(wrong()),
        };
        let bytes = number * unit;
        // The upper bound also refuses infinity; the comparison refuses NaN.
        if (1.0..1e18).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        let units = [("GiB", 1024f64.powi(3)), ("MiB", 1024f64.powi(2)), ("KiB", 1024.0)];
        match units.into_iter().find(|(_, unit)| bytes >= *unit) {
            Some((name, unit)) => write!(f, "{:.1} {name}", bytes / unit),
            None => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let sizes = [("2GiB", 2 << 30), ("512 MiB", 512 << 20), ("1.5G", 3 << 29), ("2GB", 2_000_000_000), ("77", 77)];
        for (text, bytes) in sizes {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "GiB", "-1G", "0", "2 giraffes", "nan", "inf", "1e40", "1..2G"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_said_as_people_read_them() {
        let sizes = [(3 << 29, "1.5 GiB"), (512 << 20, "512.0 MiB"), (1024, "1.0 KiB"), (77, "77 bytes")];
        for (bytes, text) in sizes {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
