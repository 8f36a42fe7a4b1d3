//! What macOS's linker is told of an extension module, whose symbols the interpreter brings.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
