# shellcheck shell=bash
# Sets the environment for the bundle's programs; to be sourced by bash on the GPU machine.
#
#   source bundle/env.sh
#
# The libtorch of the machine's PyTorch is used, unless LOOKOUT_TORCH names the folder `torch` of another one.
# LD_LIBRARY_PATH is set for Lookout's programs; run other programs with `env -u LD_LIBRARY_PATH` if they fail with it.

LOOKOUT_BUNDLE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export LOOKOUT_BUNDLE
# find_spec does not import torch, which would take seconds.
if [[ -z "${LOOKOUT_TORCH:-}" ]]; then
    LOOKOUT_TORCH="$(python3 -c 'from importlib.util import find_spec
print(find_spec("torch").submodule_search_locations[0])' 2>/dev/null)" || LOOKOUT_TORCH=''
fi
if [[ ! -e "$LOOKOUT_TORCH/lib/libtorch_cpu.so" ]]; then
    echo "error: python3 has no torch with lib/libtorch_cpu.so; set LOOKOUT_TORCH to the folder of that package" >&2
    return 1
fi
export LOOKOUT_TORCH
lookout_libs="$LOOKOUT_TORCH/lib"
for lookout_lib in "${LOOKOUT_TORCH%/torch}"/nvidia/*/lib; do
    [[ ! -d "$lookout_lib" ]] || lookout_libs+=":$lookout_lib"
done
export LD_LIBRARY_PATH="$LOOKOUT_BUNDLE/lib:$lookout_libs"
export PATH="$LOOKOUT_BUNDLE/bin:$PATH"
export GST_PLUGIN_PATH="$LOOKOUT_BUNDLE/plugins" GST_PLUGIN_SYSTEM_PATH="$LOOKOUT_BUNDLE/plugins"
export GST_PLUGIN_SYSTEM_PATH_1_0="$GST_PLUGIN_SYSTEM_PATH" GST_PLUGIN_PATH_1_0="$GST_PLUGIN_PATH"
export GST_PLUGIN_SCANNER="$LOOKOUT_BUNDLE/bin/gst-plugin-scanner"
export GST_PLUGIN_SCANNER_1_0="$GST_PLUGIN_SCANNER"
# The registry caches which elements are available, such as those of NVDEC, so it is kept only in the temporary folder.
export GST_REGISTRY="${TMPDIR:-/tmp}/lookout-gst-registry-$UID.bin"
export GST_REGISTRY_1_0="$GST_REGISTRY"
unset lookout_libs lookout_lib
