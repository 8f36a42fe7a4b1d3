use faithful_core::{Result, value_named};

/// A colour map. Equal steps look equal, except in [`Turbo`](Self::Turbo) and [`Jet`](Self::Jet).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Colormap {
    /// Dark violet over green to yellow (van der Walt and Smith, 2015).
    #[default]
    Viridis,
    /// Black over red to pale yellow (van der Walt and Smith, 2015).
    Inferno,
    /// Black over violet to pale yellow (van der Walt and Smith, 2015).
    Magma,
    /// Dark blue over violet to yellow (van der Walt and Smith, 2015).
    Plasma,
    /// Dark blue over grey to yellow, for every kind of colour vision (Nuñez, Anderton and Renslow, 2018).
    Cividis,
    /// Black over grey to white, in even steps of lightness.
    Grey,
    /// Blue over near-white to red, for signed maps: both arms are straight lines in `OKLab` of equal lightness.
    Diverging,
    /// Blue over green to dark red with many hues, brightest in the middle (Mikhailov, 2019).
    Turbo,
    /// MATLAB's rainbow of blue, cyan, yellow and red, as Grad-CAM's authors use it. It has bands that the data do not have.
    Jet,
}

impl Colormap {
    /// All of them with the names that [`Colormap::from_name`] knows.
    pub const ALL: [(&'static str, Self); 9] = [
        ("viridis", Self::Viridis),
        ("inferno", Self::Inferno),
        ("magma", Self::Magma),
        ("plasma", Self::Plasma),
        ("cividis", Self::Cividis),
        ("grey", Self::Grey),
        ("diverging", Self::Diverging),
        ("turbo", Self::Turbo),
        ("jet", Self::Jet),
    ];

    /// What it looks like and what it is for, in a phrase.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Viridis => "dark violet over green to yellow; the usual one for maps without a sign",
            Self::Inferno => "black over red to pale yellow",
            Self::Magma => "black over violet to pale yellow",
            Self::Plasma => "dark blue over violet to yellow",
            Self::Cividis => "dark blue over grey to yellow, alike for every kind of colour vision",
            Self::Grey => "black over grey to white, for print",
            Self::Diverging => "blue over near-white to red; the usual one for maps with a sign",
            Self::Turbo => "blue over green to dark red; more hues, but its middle is its brightest place",
            Self::Jet => "the rainbow of many Grad-CAM figures; shows edges that are not in the map",
        }
    }

    /// Whether its lightness rises evenly from end to end, or evenly from its middle to both ends.
    pub fn is_even(self) -> bool {
        !matches!(self, Self::Turbo | Self::Jet)
    }

    /// The colour map called `name`.
    pub fn from_name(name: &str) -> Result<Self> {
        value_named("colour map", name, &Self::ALL)
    }

    /// The sRGB colour of a value from 0 to 1; values outside are clamped.
    pub fn color(self, value: f32) -> [u8; 3] {
        let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        match self {
            Self::Viridis => between(&VIRIDIS, value),
            Self::Inferno => between(&INFERNO, value),
            Self::Magma => between(&MAGMA, value),
            Self::Plasma => between(&PLASMA, value),
            Self::Turbo => between(&TURBO, value),
            Self::Jet => jet(value),
            Self::Cividis => between(&CIVIDIS, value),
            Self::Grey => oklab_to_srgb(f64::from(value), 0.0, 0.0).map(byte),
            Self::Diverging => diverging(value),
        }
    }
}

/// Every fifth of the 256 published colours as 0xRRGGBB; linear interpolation between them is within 4 of 255.
const POINTS: usize = 52;

fn between(points: &[u32; POINTS], value: f32) -> [u8; 3] {
    let place = value * (POINTS - 1) as f32;
    let index = (place as usize).min(POINTS - 2);
    let part = place - index as f32;
    [16, 8, 0].map(|shift| {
        let [below, above] = [points[index], points[index + 1]].map(|point| (point >> shift & 0xff) as f32);
        (below + part * (above - below)).round() as u8
    })
}

/// Straight lines between the corners that matplotlib gives its `jet` (`_cm.py`), per channel.
fn jet(value: f32) -> [u8; 3] {
    const RED: [[f32; 2]; 5] = [[0.0, 0.0], [0.35, 0.0], [0.66, 1.0], [0.89, 1.0], [1.0, 0.5]];
    const GREEN: [[f32; 2]; 6] = [[0.0, 0.0], [0.125, 0.0], [0.375, 1.0], [0.64, 1.0], [0.91, 0.0], [1.0, 0.0]];
    const BLUE: [[f32; 2]; 5] = [[0.0, 0.5], [0.11, 1.0], [0.34, 1.0], [0.65, 0.0], [1.0, 0.0]];
    let channel = |corners: &[[f32; 2]]| {
        let found = corners.windows(2).find(|pair| value <= pair[1][0]).map_or(0.0, |pair| {
            let [[from, low], [to, high]] = [pair[0], pair[1]];
            low + (high - low) * (value - from) / (to - from)
        });
        byte(f64::from(found))
    };
    [channel(&RED), channel(&GREEN), channel(&BLUE)]
}

/// Lightness 0.96 in the middle and 0.47 at the ends, chroma from 0 to 0.17; hue 262 degrees below, 27 above.
fn diverging(value: f32) -> [u8; 3] {
    let signed = f64::from(value) * 2.0 - 1.0;
    let hue = if signed < 0.0 { 262f64 } else { 27f64 }.to_radians();
    let chroma = 0.17 * signed.abs();
    let srgb = oklab_to_srgb(0.96 - 0.49 * signed.abs(), chroma * hue.cos(), chroma * hue.sin());
    srgb.map(byte)
}

fn byte(channel: f64) -> u8 {
    (channel * 255.0).round().clamp(0.0, 255.0) as u8
}

/// `OKLab` (Ottosson, 2020) to sRGB in 0 to 1; may leave that range for colours outside the gamut.
fn oklab_to_srgb(lightness: f64, a: f64, b: f64) -> [f64; 3] {
    let [l, m, s] = [
        lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b,
        lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b,
        lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b,
    ]
    .map(|root| root.powi(3));
    let linear = [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ];
    linear.map(|value| if value <= 0.003_130_8 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 })
}

#[rustfmt::skip]
const VIRIDIS: [u32; POINTS] = [
    0x44_0154, 0x46_085c, 0x47_1063, 0x48_1769, 0x48_1d6f, 0x48_2475, 0x47_2a7a, 0x46_307e, 0x45_3781,
    0x43_3d84, 0x41_4287, 0x3f_4889, 0x3d_4e8a, 0x3a_538b, 0x38_598c, 0x35_5e8d, 0x33_638d, 0x31_688e,
    0x2e_6d8e, 0x2c_718e, 0x2a_768e, 0x29_7b8e, 0x27_808e, 0x25_848e, 0x23_898e, 0x21_8e8d, 0x20_928c,
    0x1f_978b, 0x1e_9c89, 0x1f_a188, 0x21_a585, 0x24_aa83, 0x28_ae80, 0x2e_b37c, 0x35_b779, 0x3d_bc74,
    0x46_c06f, 0x50_c46a, 0x5a_c864, 0x65_cb5e, 0x70_cf57, 0x7c_d250, 0x89_d548, 0x95_d840, 0xa2_da37,
    0xb0_dd2f, 0xbd_df26, 0xca_e11f, 0xd8_e219, 0xe5_e419, 0xf1_e51d, 0xfd_e725,
];

#[rustfmt::skip]
const INFERNO: [u32; POINTS] = [
    0x00_0004, 0x02_020c, 0x05_0417, 0x0a_0722, 0x10_092d, 0x16_0b39, 0x1e_0c45, 0x26_0c51, 0x2f_0a5b,
    0x38_0962, 0x40_0a67, 0x49_0b6a, 0x51_0e6c, 0x59_106e, 0x61_136e, 0x69_166e, 0x71_196e, 0x78_1c6d,
    0x80_1f6c, 0x88_226a, 0x90_2568, 0x98_2766, 0xa0_2a63, 0xa8_2e5f, 0xb0_315b, 0xb7_3557, 0xbf_3952,
    0xc6_3d4d, 0xcc_4248, 0xd3_4743, 0xd9_4d3d, 0xdf_5337, 0xe4_5a31, 0xe9_612b, 0xed_6925, 0xf1_711f,
    0xf4_7918, 0xf7_8212, 0xf9_8b0b, 0xfa_9407, 0xfb_9d07, 0xfc_a60c, 0xfc_b014, 0xfb_ba1f, 0xfa_c42a,
    0xf8_cd37, 0xf6_d746, 0xf4_e156, 0xf2_ea69, 0xf2_f27d, 0xf5_f992, 0xfc_ffa4,
];

#[rustfmt::skip]
const CIVIDIS: [u32; POINTS] = [
    0x00_224e, 0x00_2656, 0x00_2a5f, 0x00_2d68, 0x00_3070, 0x08_3370, 0x16_3770, 0x20_3a6f, 0x27_3e6e,
    0x2e_416d, 0x34_456c, 0x3a_486c, 0x3f_4c6c, 0x44_4f6c, 0x49_536c, 0x4e_566c, 0x53_5a6d, 0x57_5d6d,
    0x5c_616e, 0x60_646f, 0x65_6870, 0x69_6b71, 0x6d_6f72, 0x72_7274, 0x76_7676, 0x7a_7a78, 0x7e_7d78,
    0x83_8179, 0x88_8578, 0x8d_8878, 0x92_8c78, 0x96_9077, 0x9b_9476, 0xa0_9875, 0xa5_9c74, 0xaa_a073,
    0xaf_a471, 0xb5_a86f, 0xba_ac6d, 0xbf_b06b, 0xc4_b468, 0xc9_b965, 0xcf_bd62, 0xd4_c15f, 0xda_c65b,
    0xdf_ca57, 0xe5_cf52, 0xea_d34c, 0xf0_d846, 0xf6_dd3f, 0xfc_e236, 0xfe_e838,
];

#[rustfmt::skip]
const TURBO: [u32; POINTS] = [
    0x30_123b, 0x36_215f, 0x3b_2f80, 0x3f_3e9c, 0x42_4bb5, 0x45_59cb, 0x46_66dd, 0x47_73eb, 0x46_80f6,
    0x45_8cfd, 0x40_99ff, 0x38_a5fb, 0x2f_b2f4, 0x27_bee9, 0x1f_c9dd, 0x1a_d4d0, 0x18_ddc2, 0x1a_e4b6,
    0x22_ebaa, 0x2f_f19b, 0x3f_f68a, 0x52_fa7a, 0x65_fd69, 0x79_fe59, 0x8b_ff4b, 0x9c_fe40, 0xa9_fb39,
    0xb7_f735, 0xc3_f134, 0xd0_ea34, 0xdb_e236, 0xe5_d938, 0xee_cf3a, 0xf5_c53a, 0xfa_ba39, 0xfd_ae35,
    0xfe_a130, 0xfe_932a, 0xfc_8423, 0xf9_751d, 0xf4_6617, 0xef_5811, 0xe8_4b0c, 0xe1_4109, 0xd8_3706,
    0xce_2d04, 0xc3_2503, 0xb7_1d02, 0xa9_1601, 0x9b_0f01, 0x8b_0902, 0x7a_0403,
];

#[rustfmt::skip]
const MAGMA: [u32; POINTS] = [
    0x00_0004, 0x02_020b, 0x05_0416, 0x09_0720, 0x0e_0b2b, 0x14_0e36, 0x1a_1042, 0x21_114e, 0x29_115a,
    0x31_1165, 0x39_0f6e, 0x42_0f75, 0x4a_1079, 0x52_137c, 0x5a_167e, 0x62_1980, 0x6a_1c81, 0x72_1f81,
    0x79_2282, 0x81_2581, 0x89_2881, 0x91_2b81, 0x99_2d80, 0xa1_307e, 0xaa_337d, 0xb2_357b, 0xba_3878,
    0xc2_3b75, 0xca_3e72, 0xd2_426f, 0xd9_466b, 0xe0_4c67, 0xe7_5263, 0xec_5860, 0xf1_605d, 0xf4_695c,
    0xf7_725c, 0xf9_7b5d, 0xfb_8560, 0xfc_8e64, 0xfd_9869, 0xfe_a16e, 0xfe_aa74, 0xfe_b47b, 0xfe_bd82,
    0xfe_c68a, 0xfe_cf92, 0xfe_d89a, 0xfd_e2a3, 0xfd_ebac, 0xfc_f4b6, 0xfc_fdbf,
];

#[rustfmt::skip]
const PLASMA: [u32; POINTS] = [
    0x0d_0887, 0x1b_068d, 0x26_0591, 0x2f_0596, 0x38_049a, 0x41_049d, 0x49_03a0, 0x51_02a3, 0x59_01a5,
    0x61_00a7, 0x69_00a8, 0x71_00a8, 0x78_01a8, 0x80_04a8, 0x87_07a6, 0x8e_0ca4, 0x95_11a1, 0x9c_179e,
    0xa2_1d9a, 0xa8_2296, 0xae_2892, 0xb4_2e8d, 0xba_3388, 0xbf_3984, 0xc4_3e7f, 0xc9_447a, 0xcd_4a76,
    0xd2_4f71, 0xd6_556d, 0xda_5b69, 0xde_6164, 0xe2_6660, 0xe6_6c5c, 0xe9_7257, 0xed_7953, 0xf0_7f4f,
    0xf3_854b, 0xf5_8c46, 0xf7_9342, 0xf9_9a3e, 0xfb_a139, 0xfc_a835, 0xfd_af31, 0xfe_b72d, 0xfe_be2a,
    0xfd_c627, 0xfc_ce25, 0xfb_d724, 0xf8_df25, 0xf6_e826, 0xf3_f027, 0xf0_f921,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// CIELAB's lightness, 0 to 100.
    fn lightness(color: [u8; 3]) -> f64 {
        let [r, g, b] = color.map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        if luminance > 0.008_856 { 116.0 * luminance.cbrt() - 16.0 } else { 903.3 * luminance }
    }

    #[test]
    fn published_colours_come_out() {
        // matplotlib 3.11's tables at 0, 64, 128, 191 and 255 of 255.
        let published = [
            (Colormap::Viridis, [[68, 1, 84], [59, 82, 139], [33, 145, 140], [92, 200, 99], [253, 231, 37]]),
            (Colormap::Inferno, [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 140, 10], [252, 255, 164]]),
            (Colormap::Cividis, [[0, 34, 78], [67, 78, 108], [125, 124, 120], [187, 173, 109], [254, 232, 56]]),
            (Colormap::Magma, [[0, 0, 4], [81, 18, 124], [183, 55, 121], [251, 135, 97], [252, 253, 191]]),
            (Colormap::Plasma, [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 148, 65], [240, 249, 33]]),
            (Colormap::Turbo, [[48, 18, 59], [40, 188, 235], [164, 252, 60], [251, 129, 34], [122, 4, 3]]),
            (Colormap::Jet, [[0, 0, 128], [0, 128, 255], [125, 255, 122], [255, 152, 0], [128, 0, 0]]),
        ];
        for (colormap, colors) in published {
            for (index, color) in [0.0, 64.0, 128.0, 191.0, 255.0].into_iter().zip(colors) {
                let got = colormap.color(index / 255.0);
                let furthest = got.iter().zip(color).map(|(&a, b)| a.abs_diff(b)).max();
                assert!(furthest <= Some(2), "{colormap:?} at {index}: {got:?}, published {color:?}");
            }
        }
    }

    #[test]
    fn sequential_maps_grow_evenly_in_lightness() {
        let sequential = Colormap::ALL.map(|(_, colormap)| colormap);
        for colormap in sequential.into_iter().filter(|map| map.is_even() && *map != Colormap::Diverging) {
            let steps: Vec<f64> = (0..=16).map(|step| lightness(colormap.color(step as f32 / 16.0))).collect();
            let mean = (steps[16] - steps[0]) / 16.0;
            for pair in steps.windows(2) {
                let step = pair[1] - pair[0];
                // Eight bits cannot follow the linear foot of grey's lightness: its first steps are short.
                let least = if colormap == Colormap::Grey { 0.0 } else { 0.5 * mean };
                assert!(step > least && step < 1.7 * mean, "{colormap:?}: {step} of {mean} in {steps:?}");
            }
        }
    }

    #[test]
    fn the_diverging_map_is_neutral_at_zero_and_as_dark_on_both_sides() {
        let [r, g, b] = Colormap::Diverging.color(0.5);
        assert!(r.abs_diff(g) <= 1 && g.abs_diff(b) <= 1 && r > 235, "{r} {g} {b}");
        for step in 1..=10 {
            let [low, high] =
                [0.5 - step as f32 / 20.0, 0.5 + step as f32 / 20.0].map(|v| Colormap::Diverging.color(v));
            assert!((lightness(low) - lightness(high)).abs() < 6.0, "{low:?} {high:?}");
            assert!(low[2] > low[0] && high[0] > high[2], "blue below, red above: {low:?} {high:?}");
        }
        for index in 0..=1000 {
            let signed = f64::from(index) / 500.0 - 1.0;
            let hue = if signed < 0.0 { 262f64 } else { 27f64 }.to_radians();
            let chroma = 0.17 * signed.abs();
            let rgb = oklab_to_srgb(0.96 - 0.49 * signed.abs(), chroma * hue.cos(), chroma * hue.sin());
            assert!(rgb.iter().all(|c| (-0.03..=1.03).contains(c)), "far out of gamut at {signed}: {rgb:?}");
        }
    }

    #[test]
    fn values_outside_are_clamped() {
        for (_, colormap) in Colormap::ALL {
            assert_eq!(colormap.color(-3.0), colormap.color(0.0));
            assert_eq!(colormap.color(7.0), colormap.color(1.0));
            assert_eq!(colormap.color(f32::NAN), colormap.color(0.0));
        }
    }

    #[test]
    fn names_lead_to_maps() {
        assert_eq!(Colormap::from_name("cividis").unwrap(), Colormap::Cividis);
        let error = Colormap::from_name("viridus").unwrap_err().to_string();
        assert_eq!(error, "no colour map `viridus`; did you mean `viridis`?");
    }
}
