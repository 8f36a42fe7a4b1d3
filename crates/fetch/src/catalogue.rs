/// Something that can be fetched.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Where it comes from and under which terms, in a few words.
    pub about: &'static str,
    /// Where it is published; the first that answers with the right bytes is taken.
    pub sources: &'static [Source],
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Weights of the architecture that has the item's name: safetensors, or a `PyTorch` checkpoint.
    Weights,
    /// A file that is kept as it is, under this name.
    File(&'static str),
}

/// One place where an item is published.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Where.
    pub address: Address,
    /// Its length, where it is known.
    pub bytes: Option<u64>,
    /// The first hexadecimal digits of its SHA-256, as many as are known: 64, the 8 that torchvision puts into file
    /// names, or none. Nothing here was computed from a file of our own.
    pub sha256: &'static str,
}

/// An address.
#[derive(Clone, Copy, Debug)]
pub enum Address {
    /// Of a file.
    Url(&'static str),
    /// Of one of torchvision's checkpoints, by its file name.
    Torchvision(&'static str),
    /// Of a file in a repository of the Hugging Face hub.
    Hub {
        /// `owner/name`.
        repository: &'static str,
        /// A commit, or `main` where none is known.
        revision: &'static str,
        /// The path in it.
        file: &'static str,
    },
}

impl Address {
    /// The name of the file.
    pub fn file_name(&self) -> &'static str {
        let path = match self {
            Self::Url(path) | Self::Torchvision(path) => path,
            Self::Hub { file, .. } => file,
        };
        path.rsplit('/').next().unwrap_or(path)
    }
}

/// The item called `name`.
pub fn item(name: &str) -> Option<&'static Item> {
    CATALOGUE.iter().find(|item| item.name == name)
}

/// NASA's turbofan engines.
pub const CMAPSS: &str = "cmapss";

/// Everything that can be fetched.
///
/// Weights on the hub are torchvision's first `ImageNet` weights as timm has put them there. Where their SHA-256 is
/// known, they come first: safetensors need no conversion from pickles. Otherwise torchvision's own files come first,
/// whose names begin their SHA-256.
pub static CATALOGUE: [Item; 18] = [
    weights(
        "vgg11",
        &[
            pinned("timm/vgg11.tv_in1k", "main", "682c023808812148d4e60c76d80ad83dbeaf5d50eb1a952a0b836895003151e5"),
            torch("vgg11-8a719046.pth", "8a719046"),
        ],
    ),
    weights("vgg11_bn", &[torch("vgg11_bn-6002323d.pth", "6002323d"), hub("timm/vgg11_bn.tv_in1k")]),
    weights("vgg13", &[torch("vgg13-19584684.pth", "19584684"), hub("timm/vgg13.tv_in1k")]),
    weights("vgg13_bn", &[torch("vgg13_bn-abd245e5.pth", "abd245e5"), hub("timm/vgg13_bn.tv_in1k")]),
    weights(
        "vgg16",
        &[
            pinned(
                "timm/vgg16.tv_in1k",
                "b8d8aa2dd860af9233c8c67385a8097fd6c35d3f",
                "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
            ),
            Source {
                bytes: Some(553_433_881),
                ..torch("vgg16-397923af.pth", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0")
            },
        ],
    ),
    weights(
        "vgg16_bn",
        &[
            torch("vgg16_bn-6c64b313.pth", "6c64b3138f2f4fcb3bcc4cafde11619c4f440eb1631787e93a682fd88305888a"),
            hub("timm/vgg16_bn.tv_in1k"),
        ],
    ),
    weights(
        "vgg19",
        &[
            Source {
                bytes: Some(574_673_361),
                ..torch("vgg19-dcbb9e9d.pth", "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44")
            },
            hub("timm/vgg19.tv_in1k"),
        ],
    ),
    weights("vgg19_bn", &[torch("vgg19_bn-c79401a0.pth", "c79401a0"), hub("timm/vgg19_bn.tv_in1k")]),
    weights(
        "resnet18",
        &[
            Source {
                bytes: Some(46_807_446),
                ..pinned(
                    "timm/resnet18.tv_in1k",
                    "bbd144b3e5565108aad885f145491d11bc6ce807",
                    "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
                )
            },
            Source {
                bytes: Some(46_830_571),
                ..torch("resnet18-f37072fd.pth", "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec")
            },
        ],
    ),
    weights(
        "resnet34",
        &[
            Source {
                bytes: Some(87_278_522),
                ..pinned(
                    "timm/resnet34.tv_in1k",
                    "1b7b21cca82ff974d341713f777bf740c2db38c4",
                    "0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235",
                )
            },
            torch("resnet34-b627a593.pth", "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f"),
        ],
    ),
    weights(
        "resnet50",
        &[
            Source {
                bytes: Some(102_469_840),
                ..pinned(
                    "timm/resnet50.tv_in1k",
                    "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
                    "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
                )
            },
            Source {
                bytes: Some(102_530_333),
                ..torch("resnet50-0676ba61.pth", "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a")
            },
        ],
    ),
    weights(
        "resnet101",
        &[
            torch("resnet101-63fe2227.pth", "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a"),
            hub("timm/resnet101.tv_in1k"),
        ],
    ),
    weights(
        "resnet152",
        &[
            torch("resnet152-394f9c45.pth", "394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58"),
            hub("timm/resnet152.tv_in1k"),
        ],
    ),
    weights(
        "mobilenet_v2",
        &[torch("mobilenet_v2-b0353104.pth", "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889")],
    ),
    weights("squeezenet1_0", &[torch("squeezenet1_0-b66bff10.pth", "b66bff10")]),
    weights(
        "squeezenet1_1",
        &[torch("squeezenet1_1-b8a52dc0.pth", "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b")],
    ),
    weights(
        "densenet121",
        &[
            pinned(
                "timm/densenet121.tv_in1k",
                "f0d0f2698a02cb133b09d48396db6e1e46fe9f3b",
                "c894c6d9caa317a8ca1942986dee7a16a86c77734a4d691d2abe05389cfef358",
            ),
            Source {
                bytes: Some(32_342_954),
                ..torch("densenet121-a639ec97.pth", "a639ec97d7c33b07ae66f0b5fb7d0192f95a3b11b7576c66c0126c2a727c4395")
            },
        ],
    ),
    Item {
        name: CMAPSS,
        kind: Kind::File("CMAPSSData.zip"),
        about: "NASA's C-MAPSS turbofan engines (A. Saxena et al., PHM 2008); a work of the U.S. government",
        sources: &[
            address(
                "https://data.nasa.gov/docs/legacy/CMAPSSData.zip",
                "74bef434a34db25c7bf72e668ea4cd52afe5f2cf8e44367c55a82bfd91a5a34f",
            ),
            // The zip file of the prognostics repository, with the one above in it.
            Source {
                bytes: Some(12_429_152),
                ..address(
                    "https://phm-datasets.s3.amazonaws.com/NASA/6.+Turbofan+Engine+Degradation+Simulation+Data+Set.zip",
                    "c9c5dec12a945a82e8bb4446589d7fb3cc057b5e5d81fa1a12e25ee9912ad3b2",
                )
            },
            address(
                "https://zenodo.org/records/15346912/files/CMAPSSData.zip?download=1",
                "74bef434a34db25c7bf72e668ea4cd52afe5f2cf8e44367c55a82bfd91a5a34f",
            ),
        ],
    },
];

const fn weights(name: &'static str, sources: &'static [Source]) -> Item {
    let about = "torchvision's first ImageNet weights (BSD 3-clause); ImageNet's terms bind whoever uses them";
    Item { name, kind: Kind::Weights, about, sources }
}

const fn address(url: &'static str, sha256: &'static str) -> Source {
    Source { address: Address::Url(url), bytes: None, sha256 }
}

/// A checkpoint of torchvision's.
const fn torch(file: &'static str, sha256: &'static str) -> Source {
    Source { address: Address::Torchvision(file), bytes: None, sha256 }
}

/// A repository of the hub of which no commit and no digest is known.
const fn hub(repository: &'static str) -> Source {
    pinned(repository, "main", "")
}

/// The weights in a repository of the hub.
const fn pinned(repository: &'static str, revision: &'static str, sha256: &'static str) -> Source {
    Source { address: Address::Hub { repository, revision, file: "model.safetensors" }, bytes: None, sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sound() {
        for item in &CATALOGUE {
            assert_eq!(CATALOGUE.iter().filter(|other| other.name == item.name).count(), 1, "{}", item.name);
            assert!(!item.sources.is_empty() && !item.about.is_empty());
            for source in item.sources {
                let digits = source.sha256;
                assert!([0, 8, 64].contains(&digits.len()), "{digits}");
                assert!(digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{digits}");
                match source.address {
                    Address::Url(url) => assert!(url.starts_with("https://"), "{url}"),
                    Address::Torchvision(file) => {
                        assert!(file.starts_with(item.name) && file.contains(&digits[..8]), "{file}");
                    }
                    Address::Hub { repository, revision, .. } => {
                        assert_eq!(repository, format!("timm/{}.tv_in1k", item.name));
                        assert!(revision == "main" || revision.len() == 40, "{revision}");
                    }
                }
            }
        }
        assert!(item("vgg16").is_some() && item("vgg61").is_none());
        let Some(Item { sources: [first, ..], .. }) = item(CMAPSS) else { panic!() };
        assert_eq!(first.address.file_name(), "CMAPSSData.zip");
    }
}
