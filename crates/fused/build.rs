//! Compiles the C++ files against libtorch's headers, and CUDA's where libtorch has CUDA.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    for source in ["fused.cpp", "cuda.cpp", "guarded.h", "kernels.cu"] {
        println!("cargo:rerun-if-changed=src/{source}");
    }
    let Some(libtorch) = env::var_os("LIBTORCH").map(PathBuf::from) else {
        println!("cargo:warning=LIBTORCH is not set; `make setup` installs libtorch and sets it");
        return;
    };
    let include = libtorch.join("include");
    let mut build = cc::Build::new();
    if libtorch.join("lib/libtorch_cuda.so").exists() {
        build.define("LOOKOUT_CUDA", None);
        match cuda_headers(&libtorch) {
            Some(headers) => build.include(headers),
            None => panic!(
                "libtorch has CUDA, but CUDA's headers are neither next to libtorch, where `LOOKOUT_CUDA=1 make setup` \
                 installs them, nor in $CUDA_HOME/include; set CUDA_HOME to a CUDA 13 toolkit"
            ),
        };
        println!("cargo:rustc-link-search=native={}", libtorch.join("lib").display());
        println!("cargo:rustc-link-lib=dylib=c10_cuda");
        println!("cargo:rustc-link-lib=dylib=torch_cuda");
    }
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    embed_kernels(&mut build);
    build
        .cpp(true)
        .std("c++20")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .warnings(false)
        .file("src/fused.cpp")
        .file("src/cuda.cpp")
        .compile("lookout_fused");
}

/// The wheels' layout has them beside `torch`.
fn cuda_headers(libtorch: &Path) -> Option<PathBuf> {
    let beside = libtorch.parent().map(|folder| folder.join("nvidia/cu13/include"));
    let toolkit = env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("include"));
    [beside, toolkit].into_iter().flatten().find(|folder| folder.join("crt/host_config.h").exists())
}

/// Has `cuda.cpp` find the kernels' source as a string in `kernels.inc`.
fn embed_kernels(build: &mut cc::Build) {
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else { return };
    let source =
        fs::read_to_string("src/kernels.cu").unwrap_or_else(|error| panic!("src/kernels.cu: {error}"));
    // Compilers take no string of any length; neighbors are joined.
    let lines = source.split_inclusive('\n').collect::<Vec<_>>();
    let strings = lines.chunks(100).map(|lines| format!("R\"kernels({})kernels\"\n", lines.concat()));
    let target = out.join("kernels.inc");
    fs::write(&target, strings.collect::<String>())
        .unwrap_or_else(|error| panic!("{}: {error}", target.display()));
    build.include(out);
}
