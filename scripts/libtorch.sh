#!/usr/bin/env bash
# Installs libtorch 2.11.0, the version that tch 0.24 binds, into the cache, and points .cargo/config.toml at it.
#
# On the package registries, libtorch is only part of the Python wheel of torch, which is built with CUDA. For a machine
# without an NVIDIA GPU, the CPU part is extracted: libtorch_cpu.so needs only two small CUDA libraries. LOOKOUT_CUDA=1
# or 0 overrides the detection of a GPU by `nvidia-smi`.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=2.11.0
cudart=nvidia-cuda-runtime==13.0.96
cupti=nvidia-cuda-cupti==13.0.85
# Headers that the headers of the CUDA runtime include.
crt=nvidia-cuda-crt==13.0.88

# Only the C++ libraries of the wheels are used, so the wheels of one Python version are sufficient for every machine.
wheels=(--only-binary=:all: --implementation cp --python-version 3.11)
for platform in manylinux_2_{28..17}_x86_64 manylinux2014_x86_64; do
    wheels+=(--platform "$platform")
done

pip() {
    need python3 "'make setup' installs it"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip --disable-pip-version-check --quiet "$@" >&2 ||
        die "pip could not fetch libtorch; is PyPI, or the mirror in pip's configuration, reachable?"
}

# keep_licenses FOLDER DIR: copies the license texts of the wheels that are unpacked in FOLDER to DIR/licenses, with the
# files that list version and content of each wheel. Archives and images that contain libtorch must contain the texts.
keep_licenses() {
    mkdir "$2/licenses"
    (cd "$1" && find torch-*.dist-info nvidia*.dist-info -type f \
        \( -name METADATA -o -name RECORD -o -iname '*licen*' -o -iname '*copying*' -o -iname '*notice*' \) \
        -exec cp --parents --target-directory "$2/licenses" {} +)
}

fill_cpu() {
    local dir="$1"
    log "fetching libtorch $version for the CPU (530 MB)"
    mkdir "$dir/lib" "$dir/wheels"
    pip download --no-deps "${wheels[@]}" --dest "$dir/wheels" "torch==$version" "$cudart" "$cupti"
    unzip -q "$dir/wheels/torch-*.whl" 'torch/include/*' 'torch/lib/libtorch_cpu.so' \
        'torch/lib/libc10.so' 'torch/lib/libgomp*' -d "$dir"
    unzip -q "$dir/wheels/*.whl" '*.dist-info/*' -d "$dir/wheels/info"
    keep_licenses "$dir/wheels/info" "$dir"
    unzip -q -j "$dir/wheels/nvidia_cuda_runtime-*.whl" '*/libcudart.so.13' -d "$dir/lib"
    unzip -q -j "$dir/wheels/nvidia_cuda_cupti-*.whl" '*/libcupti.so.13' -d "$dir/lib"
    mv "$dir"/torch/lib/* "$dir/lib/"
    mv "$dir/torch/include" "$dir/include"
    rm -r "$dir/torch" "$dir/wheels"
    # torch-sys links libtorch.so, and the one in the wheel depends on all CUDA libraries. This stub replaces it.
    echo 'int lookout_libtorch_of_the_cpu(void) { return 0; }' |
        gcc -shared -x c -o "$dir/lib/libtorch.so" - "-Wl,--no-as-needed,-rpath,\$ORIGIN" \
            -Wl,--unresolved-symbols=ignore-all "-L$dir/lib" -ltorch_cpu
    echo "$version+cpu" >"$dir/build-version"
}

# The layout of the wheels is kept, because libtorch_cuda.so finds cuDNN and other libraries by relative paths.
fill_cuda() {
    local dir="$1" part
    log "fetching libtorch $version with CUDA 13 (2.7 GB)"
    pip install --no-compile "${wheels[@]}" --target "$dir/python" "torch==$version" "$crt"
    mkdir "$dir/torch"
    for part in lib include; do
        mv "$dir/python/torch/$part" "$dir/torch/$part"
    done
    mv "$dir/python/nvidia" "$dir/nvidia"
    keep_licenses "$dir/python" "$dir/torch"
    rm -r "$dir/python"
    echo "$version+cu130" >"$dir/torch/build-version"
}

# A change of the configuration file rebuilds everything, so it is written only if its content differs.
point_cargo_at() {
    local libtorch="$1" config="$LOOKOUT_ROOT/.cargo/config.toml" wanted
    wanted="[env]
LIBTORCH = \"$libtorch\"
[build]
rustflags = [\"-C\", \"link-arg=-Wl,-rpath,$libtorch/lib\"]
rustdocflags = [\"-C\", \"link-arg=-Wl,-rpath,$libtorch/lib\"]"
    if [[ -f "$config" ]]; then
        [[ "$(cat "$config")" != "$wanted" ]] || return 0
        grep -q '^LIBTORCH = ".*/libtorch-' "$config" ||
            die "$config has settings that this script did not write; add these to it by hand:
$wanted"
    fi
    log "pointing cargo at $libtorch"
    mkdir -p "$(dirname "$config")"
    printf '%s\n' "$wanted" >"$config"
}

x86_64_only "libtorch $version"
if has_nvidia_gpu; then
    in_cache "$LOOKOUT_CACHE/libtorch-$version-cu130" fill_cuda
    point_cargo_at "$LOOKOUT_CACHE/libtorch-$version-cu130/torch"
else
    in_cache "$LOOKOUT_CACHE/libtorch-$version-cpu" fill_cpu
    point_cargo_at "$LOOKOUT_CACHE/libtorch-$version-cpu"
fi
