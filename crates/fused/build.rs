//! Compiles the one C++ file against libtorch's headers.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=src/fused.cpp");
    let Some(libtorch) = env::var_os("LIBTORCH").map(PathBuf::from) else {
        println!("cargo:warning=LIBTORCH is not set; `make setup` installs libtorch and sets it");
        return;
    };
    let include = libtorch.join("include");
    let mut build = cc::Build::new();
    if libtorch.join("lib/libtorch_cuda.so").exists() {
        build.define("LOOKOUT_CUDA", None);
    }
    build
        .cpp(true)
        .std("c++20")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .warnings(false)
        .file("src/fused.cpp")
        .compile("lookout_fused");
}
