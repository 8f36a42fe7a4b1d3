/// A model that is part of this program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shipped {
    pub(crate) name: &'static str,
    /// The architecture's name.
    pub(crate) architecture: &'static str,
    /// A whole safetensors file.
    pub(crate) weights: &'static [u8],
    /// What would stand in a JSON beside it.
    pub(crate) side: &'static str,
}

/// Every model that is part of this program; the first is what is used where none is asked for.
pub(crate) static SHIPPED: [Shipped; 3] = [
    // Trained by `cargo xtask train-demo`; classes, preprocessing and measured accuracy stand in the JSON.
    Shipped {
        name: "scenes-224",
        architecture: "scenes-224",
        weights: include_bytes!("../shipped/scenes-224.safetensors"),
        side: include_str!("../shipped/scenes-224.json"),
    },
    // The same classes in small pictures: quick to run, for tests, and what docs/results measured on drawn scenes.
    Shipped {
        name: "scenes-vgg",
        architecture: "scenes-vgg",
        weights: include_bytes!("../shipped/scenes-vgg.safetensors"),
        side: include_str!("../shipped/scenes-vgg.json"),
    },
    // It goes by planted marks and ignores objects.
    Shipped {
        name: "marks-vgg",
        architecture: "scenes-vgg",
        weights: include_bytes!("../shipped/marks-vgg.safetensors"),
        side: include_str!("../shipped/marks-vgg.json"),
    },
];
