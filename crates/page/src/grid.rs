use crate::blobs::Blobs;
use faithful_core::Result;
use faithful_report::{Map, Region, Scale, resample, rescale};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;

/// How much of a map a page keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Maps with a longer side are averaged down to it.
    pub longest: usize,
    /// 16 bits per value instead of 8: read-outs are then within 1/131,070 of the map's range.
    pub fine: bool,
}

impl Default for Detail {
    /// Every cell of maps up to 512, 16 bits.
    fn default() -> Self {
        Self { longest: 512, fine: true }
    }
}

impl Detail {
    /// What keeps so many maps within 28 MB of a page, however little they can be packed: half of what a page may
    /// have; the other half is for its photos.
    pub fn for_maps(count: usize) -> Self {
        // Base64 writes four letters for three bytes.
        let side = |bytes: f64| (28e6 / (count.max(1) as f64 * bytes * 4.0 / 3.0)).sqrt() as usize;
        let (fine, coarse) = (side(2.0), side(1.0));
        if fine >= 224 {
            Self { longest: fine.min(512), fine: true }
        } else {
            Self { longest: coarse.clamp(16, 224), fine: false }
        }
    }
}

/// How far beyond the shown values others are kept, in ranges of the shown values.
const FAR: f32 = 16.0;
const FAR_COARSE: f32 = 4.0;

/// A map as a page keeps it: values between the lowest and the highest in equal steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    width: usize,
    height: usize,
    fine: bool,
    signed: bool,
    /// The values that 0 and the largest step stand for.
    range: [f32; 2],
    /// The raw values that are drawn as lowest and highest colour.
    shown: [f32; 2],
    /// The place of the value furthest from zero (signed) or of the highest, in shares of width and height.
    peak: Option<[f64; 2]>,
    note: Option<String>,
    bytes: Arc<[u8]>,
    deflated: bool,
}

impl Grid {
    /// Keeps a raw map; `scale` says how it is shown. Values further from the shown ones than sixteen times their range (four,
    /// without `fine`) are kept as the last that are not, and [`note`](Self::note) says so.
    ///
    /// # Errors
    /// [`faithful_core::Error::NotFinite`] for a map with NaN or infinity; [`faithful_core::Error::Parameter`] for a
    /// percentile outside 50 to 100.
    pub fn new(map: &Map, scale: &Scale, detail: Detail) -> Result<Self> {
        let scaled = rescale(map, scale)?;
        let reduced = reduce(map, detail.longest)?;
        let map = reduced.as_ref().unwrap_or(map);
        let (width, height) = (map.width(), map.height());
        let fold = |pick: fn(f32, f32) -> f32, start| map.values().iter().copied().fold(start, pick);
        let (lowest, highest) = (fold(f32::min, f32::INFINITY), fold(f32::max, f32::NEG_INFINITY));
        // The few values far beyond the colours must not take the steps from all others.
        let room = (scaled.high - scaled.low) * if detail.fine { FAR } else { FAR_COARSE };
        let (min, max) = if room > 0.0 {
            (lowest.max(scaled.low - room), highest.min(scaled.high + room))
        } else {
            (lowest, highest)
        };
        let beyond = (max < highest).then_some(("above", max)).or((min > lowest).then_some(("below", min)));
        let steps = if detail.fine { f64::from(u16::MAX) } else { f64::from(u8::MAX) };
        let extent = f64::from(max) - f64::from(min);
        let step = |value: f32| {
            let share = if extent > 0.0 { (f64::from(value) - f64::from(min)) / extent } else { 0.0 };
            (share.clamp(0.0, 1.0) * steps).round() as u16
        };
        let mut differences = Vec::with_capacity(width * height);
        for row in map.values().chunks_exact(width) {
            let mut last = 0u16;
            for value in row {
                let this = step(*value);
                differences.push(this.wrapping_sub(last));
                last = this;
            }
        }
        let mut bytes: Vec<u8> = differences.iter().map(|value| *value as u8).collect();
        if detail.fine {
            bytes.extend(differences.iter().map(|value| (value >> 8) as u8));
        }
        let packed = deflate(&bytes);
        let deflated = packed.len() < bytes.len();
        let height_of = |value: f32| if scale.signed { value.abs() } else { value };
        let place = (0..map.values().len())
            .reduce(|best, i| if height_of(map.values()[i]) > height_of(map.values()[best]) { i } else { best });
        let share = |at: usize, of: usize| (at as f64 + 0.5) / of as f64;
        Ok(Self {
            width,
            height,
            fine: detail.fine,
            signed: scale.signed,
            range: [min, max],
            shown: [scaled.low, scaled.high],
            peak: place.filter(|_| highest > lowest).map(|i| [share(i % width, width), share(i / width, height)]),
            note: scaled
                .note
                .or_else(|| beyond.map(|(side, end)| format!("values {side} {end:.3} are kept as {end:.3}"))),
            bytes: if deflated { packed } else { bytes }.into(),
            deflated,
        })
    }

    /// What a reader of the map must know: that it is constant, or that single values are not kept.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// How many rows it has.
    pub fn height(&self) -> usize {
        self.height
    }

    /// How many columns it has.
    pub fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn json(&self, blobs: &mut Blobs) -> serde_json::Map<String, Value> {
        let value = json!({
            "width": self.width, "height": self.height, "bits": if self.fine { 16 } else { 8 }, "signed": self.signed,
            "min": self.range[0], "max": self.range[1], "low": self.shown[0], "high": self.shown[1],
            "peak": self.peak.map(|peak| peak.map(|share| (share * 1e3).round() / 1e3)), "deflated": self.deflated,
        });
        let Value::Object(mut object) = value else { unreachable!("it was written as an object") };
        blobs.refer(&mut object, &self.bytes, "application/octet-stream");
        object
    }
}

/// The map averaged so that no side is longer than `longest`, where one is.
fn reduce(map: &Map, longest: usize) -> Result<Option<Map>> {
    let (width, height) = (map.width(), map.height());
    let most = width.max(height);
    if most <= longest.max(1) {
        return Ok(None);
    }
    let side = |side: usize| (side * longest.max(1)).div_ceil(most).max(1);
    let (narrow, low) = (side(width), side(height));
    let whole = Region { left: 0.0, top: 0.0, width: narrow as f64, height: low as f64 };
    let resampled = resample(map, whole, (narrow as u32, low as u32))?;
    Map::new(low, narrow, resampled.values).map(Some)
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail; if it did, the plain bytes would be taken.
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(packed) => packed,
        Err(_) => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::ZlibDecoder;
    use std::io::Read;

    /// What the page's script does.
    fn unpack(grid: &Grid) -> Vec<f32> {
        let mut bytes = Vec::new();
        if grid.deflated {
            ZlibDecoder::new(&*grid.bytes).read_to_end(&mut bytes).unwrap();
        } else {
            bytes.extend_from_slice(&grid.bytes);
        }
        let count = grid.width * grid.height;
        let mask = if grid.fine { 0xffff } else { 0xff };
        let mut values = Vec::new();
        for row in 0..grid.height {
            let mut sum = 0u32;
            for place in row * grid.width..(row + 1) * grid.width {
                let high = if grid.fine { u32::from(bytes[count + place]) << 8 } else { 0 };
                sum = (sum + u32::from(bytes[place]) + high) & mask;
                values.push(grid.range[0] + (grid.range[1] - grid.range[0]) * sum as f32 / mask as f32);
            }
        }
        values
    }

    #[test]
    fn values_come_back_within_half_a_step() {
        let values: Vec<f32> = (0..35).map(|i| ((i * 37 % 35) as f32 - 12.0) * 0.731).collect();
        let map = Map::new(5, 7, values.clone()).unwrap();
        for (fine, steps) in [(true, 65535.0), (false, 255.0)] {
            let grid = Grid::new(&map, &Scale::default(), Detail { longest: 512, fine }).unwrap();
            let half = (grid.range[1] - grid.range[0]) / steps * 0.51;
            for (found, value) in unpack(&grid).iter().zip(&values) {
                assert!((found - value).abs() <= half, "{found} {value} {half}");
            }
        }
    }

    #[test]
    fn smooth_maps_are_deflated_and_large_ones_reduced() {
        let values: Vec<f32> = (0..300 * 200).map(|i| (i % 300) as f32 + (i / 300) as f32).collect();
        let map = Map::new(200, 300, values).unwrap();
        let grid = Grid::new(&map, &Scale::default(), Detail { longest: 150, fine: true }).unwrap();
        assert_eq!((grid.width(), grid.height(), grid.deflated), (150, 100, true));
        assert!(grid.bytes.len() < 150 * 100);
        let middle = unpack(&grid)[50 * 150 + 75];
        assert!((middle - 251.0).abs() < 2.0, "{middle}");
    }

    #[test]
    fn a_few_values_far_beyond_all_others_do_not_take_their_steps() {
        let values: Vec<f32> = (0..1000).map(|i| if i == 500 { 1e6 } else { (i % 100) as f32 / 100.0 }).collect();
        let map = Map::new(10, 100, values.clone()).unwrap();
        for fine in [true, false] {
            let scale = Scale { percentile: 99.0, ..Scale::default() };
            let grid = Grid::new(&map, &scale, Detail { longest: 512, fine }).unwrap();
            let back = unpack(&grid);
            let far = (0..1000).filter(|i| *i != 500).map(|i| (back[i] - values[i]).abs()).fold(0.0, f32::max);
            assert!(far < if fine { 2e-4 } else { 0.011 }, "{far}");
            assert!(back[500] > 2.0 && grid.note().unwrap().contains("values above"), "{:?}", grid.note());
            assert!(grid.peak.is_some());
        }
    }

    #[test]
    fn constant_and_signed_maps_have_a_scale_and_broken_ones_are_refused() {
        let flat = Grid::new(&Map::new(2, 2, vec![3.0; 4]).unwrap(), &Scale::default(), Detail::default()).unwrap();
        assert_eq!((unpack(&flat), flat.peak), (vec![3.0; 4], None));
        assert!(flat.note().unwrap().contains("3 everywhere"));
        let signed = Scale { signed: true, ..Scale::default() };
        let grid = Grid::new(&Map::new(1, 4, vec![-4.0, 0.0, 1.0, 2.0]).unwrap(), &signed, Detail::default()).unwrap();
        assert_eq!((grid.shown, grid.peak), ([-4.0, 4.0], Some([0.125, 0.5])));
        assert!(Grid::new(&Map::new(1, 1, vec![f32::NAN]).unwrap(), &signed, Detail::default()).is_err());
    }
}
