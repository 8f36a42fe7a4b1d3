//! The compositions that run on a GPU, held against the CPU kernels on the CPU.
