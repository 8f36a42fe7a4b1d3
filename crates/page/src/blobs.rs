use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes below this length stand where they are used; longer ones once, in an element of their own, which is only
/// read when it comes into view.
const INLINE: usize = 1024;

/// The photos and large maps of a page, each once.
#[derive(Default)]
pub(crate) struct Blobs {
    all_inline: bool,
    known: HashMap<Arc<[u8]>, usize>,
    pub(crate) elements: String,
}

impl Blobs {
    /// For data that go without a page: everything stands where it is used.
    pub(crate) fn inline() -> Self {
        Self { all_inline: true, ..Self::default() }
    }

    /// Puts bytes into `object` as `data`, or as `blob`, the number of the element that has them.
    pub(crate) fn refer(&mut self, object: &mut Map<String, Value>, bytes: &Arc<[u8]>, media: &str) {
        if self.all_inline || bytes.len() < INLINE {
            object.insert("data".into(), STANDARD.encode(bytes).into());
            object.insert("media".into(), media.into());
            return;
        }
        let next = self.known.len();
        let id = *self.known.entry(Arc::clone(bytes)).or_insert(next);
        if id == next {
            self.elements.push_str(&format!("<script type=\"text/plain\" id=\"blob-{id}\" data-type=\"{media}\">"));
            STANDARD.encode_string(bytes, &mut self.elements);
            self.elements.push_str("</script>\n");
        }
        object.insert("blob".into(), json!(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_are_kept_once_and_few_bytes_inline() {
        let mut blobs = Blobs::default();
        let mut refer = |bytes: Vec<u8>| {
            let mut object = Map::new();
            blobs.refer(&mut object, &bytes.into(), "image/png");
            object
        };
        assert_eq!(refer(vec![1; 5000])["blob"], 0);
        assert_eq!(refer(vec![2; 5000])["blob"], 1);
        assert_eq!(refer(vec![1; 5000])["blob"], 0);
        assert_eq!(refer(vec![255; 3])["data"], "////");
        assert_eq!(blobs.elements.matches("<script").count(), 2);
    }
}
