//! The program as its users run it: through the binary, with files, exit codes and what it prints.

mod command_line {
    pub(crate) mod bad_input;
    pub(crate) mod browser;
    pub(crate) mod comparison;
    pub(crate) mod concepts;
    pub(crate) mod device;
    pub(crate) mod dream;
    pub(crate) mod errors;
    pub(crate) mod evaluate;
    pub(crate) mod explain;
    pub(crate) mod export;
    pub(crate) mod fetch;
    pub(crate) mod figure;
    pub(crate) mod files;
    pub(crate) mod first_use;
    pub(crate) mod gradient;
    pub(crate) mod lists;
    pub(crate) mod outputs;
    pub(crate) mod pages;
    pub(crate) mod predict;
    pub(crate) mod processor;
    pub(crate) mod rul;
    pub(crate) mod sanity;
    pub(crate) mod serve;
    pub(crate) mod soak;
    pub(crate) mod support;
    pub(crate) mod terminal;
    pub(crate) mod volumes;
}
