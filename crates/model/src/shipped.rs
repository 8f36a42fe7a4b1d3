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
pub(crate) static SHIPPED: [Shipped; 2] = [
    // Trained by `cargo xtask train-demo`; classes, preprocessing and measured accuracy stand in the JSON.
    Shipped {
        name: "scenes-vgg",
        architecture: "scenes-vgg",
        weights: include_bytes!("../shipped/scenes-vgg.safetensors"),
        side: include_str!("../shipped/scenes-vgg.json"),
    },
    // Trained by `cargo xtask train-demo --of marks`: it goes by planted marks and ignores objects.
    Shipped {
        name: "marks-vgg",
        architecture: "scenes-vgg",
        weights: include_bytes!("../shipped/marks-vgg.safetensors"),
        side: include_str!("../shipped/marks-vgg.json"),
    },
];
