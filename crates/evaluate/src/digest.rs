/// FNV-1a over texts, each ended by a zero: a name for a list that is the same on every platform and in every version.
///
/// ```
/// use faithful_evaluate::digest;
/// assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
/// ```
pub fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = texts.into_iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
