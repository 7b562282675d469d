// What `cuda.rs` needs of a GPU: streams with graphs, pinned memory, and the kernels of kernels.cu, compiled by NVRTC
// and started through the CUDA runtime that libtorch has loaded. Without CUDA all of it reports that there is none.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "guarded.h"

#include <cstring>
#include <string>

#ifdef LOOKOUT_CUDA
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nvrtc.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <vector>
#endif

// As in cuda.rs.
struct NormalizeArgs {
  float mean[3], deviation[3];
  int64_t padded_height, padded_width;
  int32_t kind;    // 0 fp32, 1 bf16, 2 fp16
  int32_t blocks;  // 1: blocks of 2x2 pixels
};

struct LevelArgs {
  const at::Tensor *logits, *boxes, *centers, *anchors;
};

struct ReadingArgs {
  int32_t distances;
  float threshold;
  int32_t per_level, max_detections;
  double iou;
  float height, width;
};

#ifdef LOOKOUT_CUDA

namespace at::cuda {
int warp_size();
}

namespace {

// The CUDA runtime is libtorch's; it is found among the loaded libraries rather than linked, so that no binary depends
// on where it is installed.
void* symbol(void* library, const char* name) {
  void* found = dlsym(library, name);
  TORCH_CHECK(found, name, " is not in the CUDA libraries that libtorch has loaded");
  return found;
}

#define RUNTIME(name)                                                                             \
  ([]() -> decltype(&::name) {                                                                    \
    static const auto function = reinterpret_cast<decltype(&::name)>(symbol(RTLD_DEFAULT, #name)); \
    return function;                                                                              \
  }())

// Those that C++ overloads.
using LaunchKernel = cudaError_t(const void*, dim3, dim3, void**, size_t, cudaStream_t);
using FuncSetAttribute = cudaError_t(const void*, cudaFuncAttribute, int);

template <typename Function>
Function* overloaded(const char* name) {
  return reinterpret_cast<Function*>(symbol(RTLD_DEFAULT, name));
}

void check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return;
  // Otherwise the next call, which has nothing to do with it, would report the error.
  RUNTIME(cudaGetLastError)();
  TORCH_CHECK(false, what, ": ", RUNTIME(cudaGetErrorString)(code));
}

// libcaffe2_nvrtc.so lies beside libtorch_cuda.so and knows where NVRTC is.
void* nvrtc() {
  static void* const library = [] {
    Dl_info info{};
    TORCH_CHECK(dladdr(reinterpret_cast<void*>(&at::cuda::warp_size), &info), "libtorch_cuda.so is not found");
    const std::string path = info.dli_fname, stub = path.substr(0, path.rfind('/') + 1) + "libcaffe2_nvrtc.so";
    void* found = dlopen(stub.c_str(), RTLD_NOW | RTLD_GLOBAL);
    TORCH_CHECK(found, "NVRTC, which compiles Lookout's GPU kernels, cannot be loaded: ", dlerror());
    void* create = symbol(found, "nvrtcCreateProgram");
    // NVRTC looks for its builtins by name only.
    if (dladdr(create, &info)) {
      int major = 0, minor = 0;
      reinterpret_cast<decltype(&::nvrtcVersion)>(symbol(found, "nvrtcVersion"))(&major, &minor);
      const std::string file = info.dli_fname;
      const std::string builtins = file.substr(0, file.rfind('/') + 1) + "libnvrtc-builtins.so." +
                                   std::to_string(major) + "." + std::to_string(minor);
      dlopen(builtins.c_str(), RTLD_NOW | RTLD_GLOBAL);
    }
    return found;
  }();
  return library;
}

#define NVRTC(name) (reinterpret_cast<decltype(&::name)>(symbol(nvrtc(), #name)))

const char* const source =
#include "kernels.inc"
    ;

// Passed to kernels.cu by -D: levels of a detector, candidates of a level that are sorted, and the steps of scores from
// 2^-11 to 1, each 2^-9 wide in proportion.
constexpr int max_levels = 8, level_capacity = 4096, bins = 5633;

std::vector<char> compile(int architecture, int kind) {
  nvrtcProgram program = nullptr;
  NVRTC(nvrtcCreateProgram)(&program, source, "kernels.cu", 0, nullptr, nullptr);
  const std::string arch = "--gpu-architecture=sm_" + std::to_string(architecture);
  const std::string number = "-DNUMBER=" + std::to_string(kind);
  const std::string levels = "-DMAX_LEVELS=" + std::to_string(max_levels);
  const std::string level_capacity_option = "-DLEVEL_CAPACITY=" + std::to_string(level_capacity);
  const std::string bins_option = "-DBINS=" + std::to_string(bins);
  const char* options[] = {arch.c_str(), number.c_str(), levels.c_str(), level_capacity_option.c_str(), bins_option.c_str(),
                           "--fmad=false", "--std=c++17"};
  const auto result = NVRTC(nvrtcCompileProgram)(program, std::size(options), options);
  if (result != NVRTC_SUCCESS) {
    size_t size = 0;
    NVRTC(nvrtcGetProgramLogSize)(program, &size);
    std::string log(size, '\0');
    NVRTC(nvrtcGetProgramLog)(program, log.data());
    TORCH_CHECK(false, "the GPU kernels do not compile for ", arch, ": ", NVRTC(nvrtcGetErrorString)(result), "\n", log);
  }
  size_t size = 0;
  NVRTC(nvrtcGetCUBINSize)(program, &size);
  std::vector<char> cubin(size);
  NVRTC(nvrtcGetCUBIN)(program, cubin.data());
  NVRTC(nvrtcDestroyProgram)(&program);
  return cubin;
}

struct Kernels {
  cudaKernel_t scale_nv12, normalize, normalize_blocks, max_pool, count_scores, find_cutoff, select_candidates, decode_level,
      suppress;
};

// Those of the current device for numbers of `kind`, compiled at the first call.
const Kernels& kernels(int kind) {
  static std::mutex mutex;
  static std::map<std::pair<int, int>, Kernels> all;
  const int device = c10::cuda::current_device();
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = all.find({device, kind});
  if (found != all.end()) return found->second;
  int major = 0, minor = 0;
  check(RUNTIME(cudaDeviceGetAttribute)(&major, cudaDevAttrComputeCapabilityMajor, device), "the GPU's version");
  check(RUNTIME(cudaDeviceGetAttribute)(&minor, cudaDevAttrComputeCapabilityMinor, device), "the GPU's version");
  const auto cubin = compile(major * 10 + minor, kind);
  cudaLibrary_t library = nullptr;
  check(RUNTIME(cudaLibraryLoadData)(&library, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
        "loading the GPU kernels");
  const auto kernel = [&](const char* name) {
    cudaKernel_t kernel = nullptr;
    check(RUNTIME(cudaLibraryGetKernel)(&kernel, library, name), name);
    return kernel;
  };
  Kernels these{};
  these.scale_nv12 = kernel("scale_nv12");
  these.normalize = kernel("normalize");
  these.normalize_blocks = kernel("normalize_blocks");
  if (kind != 0) these.max_pool = kernel("max_pool");
  these.count_scores = kernel("count_scores");
  these.find_cutoff = kernel("find_cutoff");
  these.select_candidates = kernel("select_candidates");
  these.decode_level = kernel("decode_level");
  these.suppress = kernel("suppress");
  return all.emplace(std::make_pair(device, kind), these).first->second;
}

void launch(cudaKernel_t kernel, dim3 grid, unsigned threads, size_t shared, void** arguments, const char* what) {
  const auto stream = c10::cuda::getCurrentCUDAStream();
  static auto* const start = overloaded<LaunchKernel>("cudaLaunchKernel");
  check(start(reinterpret_cast<const void*>(kernel), grid, dim3(threads), arguments, shared, stream.stream()),
        what);
}

// Blocks of 256 threads for `count` items; the kernels take several each where there are more.
dim3 blocks_for(size_t count) {
  return dim3(static_cast<unsigned>(std::min<size_t>((count + 255) / 256, 132 * 32)));
}

int kind_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return 0;
    case at::kBFloat16:
      return 1;
    case at::kHalf:
      return 2;
    default:
      TORCH_CHECK(false, "fp32, bf16 or fp16 is needed");
  }
}

at::ScalarType type_of(int kind) {
  return kind == 0 ? at::kFloat : kind == 1 ? at::kBFloat16 : at::kHalf;
}

// As in cuda.rs.
struct Nv12Args {
  uint64_t y, uv;
  int64_t y_stride, uv_stride;
  int32_t width, height;
  float left, top, seen_width, seen_height;
  int32_t to_x, to_y, to_width, to_height, out_width, out_height;
  int32_t black, y_factor, v_to_red, u_to_green, v_to_green, u_to_blue;
};

// As in kernels.cu.
struct Nv12 : Nv12Args {
  void* out;
};

struct Input {
  const void* bytes;
  void* out;
  int images, height, width, padded_height, padded_width;
  float mean[3], deviation[3];
};

struct Level {
  const void *logits, *boxes, *centers;
  const float* anchors;
  int count;
};

struct Reading {
  Level level[max_levels];
  int levels, images, classes, distances;
  float threshold, least_logit;
  int per_level, max_detections;
  double iou;
  float height, width;
  unsigned* histogram;
  int *cutoff, *count;
  unsigned long long *candidates, *keys;
  float *rows, *out;
};

at::Tensor read_levels(const LevelArgs* levels, int count, const ReadingArgs& args) {
  TORCH_CHECK(count >= 1 && count <= max_levels, "one to eight levels are needed");
  TORCH_CHECK(args.per_level >= 1 && args.per_level <= level_capacity, "at most 4096 candidates per level");
  Reading reading{};
  const auto& first = *levels[0].logits;
  const int kind = kind_of(first);
  reading.levels = count;
  reading.images = static_cast<int>(first.size(0));
  reading.classes = static_cast<int>(first.size(2));
  int64_t anchors = 0;
  for (int i = 0; i < count; ++i) {
    const auto& level = levels[i];
    for (const at::Tensor* tensor : {level.logits, level.boxes, level.centers}) {
      TORCH_CHECK(!tensor || (tensor->is_contiguous() && tensor->is_cuda() && kind_of(*tensor) == kind),
                  "a level's outputs have to be contiguous, on the GPU and of one type");
    }
    TORCH_CHECK(level.anchors->is_contiguous() && level.anchors->scalar_type() == at::kFloat, "anchors must be fp32");
    TORCH_CHECK(level.anchors->size(0) == level.logits->size(1), "each output of a level needs an anchor");
    reading.level[i] = {level.logits->data_ptr(), level.boxes->data_ptr(),
                        level.centers ? level.centers->data_ptr() : nullptr,
                        static_cast<const float*>(level.anchors->data_ptr()),
                        static_cast<int>(level.anchors->size(0))};
    anchors = std::max(anchors, level.anchors->size(0));
  }
  reading.distances = args.distances;
  reading.threshold = args.threshold;
  // A place that is not central makes up for nothing; and two ways to one score may differ in the last digit.
  const double least = levels[0].centers ? double(args.threshold) * args.threshold : args.threshold;
  reading.least_logit = least > 0 ? static_cast<float>(std::log(least / (1.0 - std::min(least, 0.999999))) - 1e-3)
                                  : -std::numeric_limits<float>::infinity();
  reading.per_level = args.per_level;
  reading.max_detections = args.max_detections;
  reading.iou = args.iou;
  reading.height = args.height;
  reading.width = args.width;
  const int64_t slots = int64_t(reading.images) * count, rows = int64_t(count) * args.per_level;
  const auto numbers = [&](int64_t size, at::ScalarType type) { return at::empty({size}, first.options().dtype(type)); };
  const auto histogram = at::zeros({slots * bins}, first.options().dtype(at::kInt));
  const auto counts = at::zeros({slots}, first.options().dtype(at::kInt));
  const auto cutoff = numbers(slots, at::kInt);
  const auto candidates = numbers(slots * level_capacity, at::kLong), keys = numbers(reading.images * rows, at::kLong);
  const auto decoded = numbers(reading.images * rows * 5, at::kFloat);
  auto out = at::empty({reading.images, 1 + args.max_detections * 6}, first.options().dtype(at::kFloat));
  reading.histogram = static_cast<unsigned*>(histogram.data_ptr());
  reading.count = static_cast<int*>(counts.data_ptr());
  reading.cutoff = static_cast<int*>(cutoff.data_ptr());
  reading.candidates = static_cast<unsigned long long*>(candidates.data_ptr());
  reading.keys = static_cast<unsigned long long*>(keys.data_ptr());
  reading.rows = static_cast<float*>(decoded.data_ptr());
  reading.out = static_cast<float*>(out.data_ptr());

  const auto& k = kernels(kind);
  void* arguments[] = {&reading};
  const unsigned images = reading.images, levels_of_image = count;
  const dim3 anchors_grid(static_cast<unsigned>(std::min<int64_t>((anchors + 7) / 8, 1024)), levels_of_image, images);
  size_t capacity = 1;
  while (capacity < static_cast<size_t>(rows)) capacity <<= 1;
  const size_t shared = capacity * sizeof(unsigned long long) + args.max_detections * (4 + 1) * sizeof(float);
  static auto* const set_attribute = overloaded<FuncSetAttribute>("cudaFuncSetAttribute");
  check(set_attribute(reinterpret_cast<const void*>(k.suppress), cudaFuncAttributeMaxDynamicSharedMemorySize,
                      static_cast<int>(shared)),
        "memory for the non-maximum suppression");
  launch(k.count_scores, anchors_grid, 256, 0, arguments, "count_scores");
  launch(k.find_cutoff, dim3(levels_of_image, images), 256, 0, arguments, "find_cutoff");
  launch(k.select_candidates, anchors_grid, 256, 0, arguments, "select_candidates");
  launch(k.decode_level, dim3(levels_of_image, images), 1024, 0, arguments, "decode_level");
  launch(k.suppress, dim3(images), 1024, shared, arguments, "suppress");
  return out;
}

// Work that is done in order: a stream, the memory of its graphs, and an event for the host to wait for.
struct Slot {
  c10::cuda::CUDAStream stream;
  c10::MempoolId_t pool;
  cudaEvent_t done;
};

}  // namespace

extern "C" {

bool lookout_cuda_compiled() {
  return true;
}

void lookout_cuda_configure() {
  at::globalContext().setBenchmarkCuDNN(true);
  at::globalContext().setAllowTF32CuDNN(false);
}

void* lookout_cuda_slot_new(int device, bool urgent, char* error, size_t capacity) {
  return guarded(error, capacity, [&]() -> void* {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(device));
    auto slot = std::make_unique<Slot>(Slot{
        c10::cuda::getStreamFromPool(urgent, static_cast<c10::DeviceIndex>(device)), at::cuda::graph_pool_handle(), nullptr});
    check(RUNTIME(cudaEventCreateWithFlags)(&slot->done, cudaEventDisableTiming | cudaEventBlockingSync), "an event");
    return slot.release();
  });
}

void lookout_cuda_slot_free(void* slot) {
  std::unique_ptr<Slot> mine(static_cast<Slot*>(slot));
  try {
    RUNTIME(cudaEventDestroy)(mine->done);
  } catch (...) {
  }
}

// What this thread does from now on is done on the slot's stream.
void lookout_cuda_slot_enter(void* slot) {
  const auto& stream = static_cast<Slot*>(slot)->stream;
  c10::cuda::set_device(stream.device_index());
  c10::cuda::setCurrentCUDAStream(stream);
}

void lookout_cuda_slot_leave(void* slot) {
  const auto& stream = static_cast<Slot*>(slot)->stream;
  c10::cuda::setCurrentCUDAStream(c10::cuda::getDefaultCUDAStream(stream.device_index()));
}

bool lookout_cuda_slot_wait(void* slot, char* error, size_t capacity) {
  return guarded(error, capacity, [&] {
    const auto* mine = static_cast<Slot*>(slot);
    check(RUNTIME(cudaEventRecord)(mine->done, mine->stream.stream()), "waiting for the GPU");
    check(RUNTIME(cudaEventSynchronize)(mine->done), "waiting for the GPU");
    return true;
  });
}

void* lookout_cuda_capture_begin(void* slot, char* error, size_t capacity) {
  return guarded(error, capacity, [&]() -> void* {
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    // Other threads go on with their own work meanwhile.
    graph->capture_begin(static_cast<Slot*>(slot)->pool, cudaStreamCaptureModeThreadLocal);
    return graph.release();
  });
}

bool lookout_cuda_capture_end(void* slot, void* graph, char* error, size_t capacity) {
  return guarded(error, capacity, [&] {
    try {
      static_cast<at::cuda::CUDAGraph*>(graph)->capture_end();
    } catch (...) {
      // Where CUDA refuses the recording, libtorch's allocator is not told that it is over, and the graph, which is not
      // complete, does not release its pool. Otherwise the first call throws.
      const auto* mine = static_cast<Slot*>(slot);
      try {
        c10::cuda::CUDACachingAllocator::endAllocateToPool(mine->stream.device_index(), mine->pool);
        c10::cuda::CUDACachingAllocator::releasePool(mine->stream.device_index(), mine->pool);
      } catch (...) {
      }
      throw;
    }
    return true;
  });
}

bool lookout_cuda_graph_replay(void* graph, char* error, size_t capacity) {
  return guarded(error, capacity, [&] {
    static_cast<at::cuda::CUDAGraph*>(graph)->replay();
    return true;
  });
}

void lookout_cuda_graph_free(void* graph) {
  try {
    delete static_cast<at::cuda::CUDAGraph*>(graph);
  } catch (...) {
  }
}

at::Tensor* lookout_cuda_pinned(int64_t count, bool floats, char* error, size_t capacity) {
  return guarded_tensor(error, capacity, [&] {
    const auto options = at::TensorOptions().dtype(floats ? at::kFloat : at::kByte).pinned_memory(true);
    return at::empty({count}, options);
  });
}

bool lookout_cuda_copy(at::Tensor* to, const at::Tensor* from, char* error, size_t capacity) {
  return guarded(error, capacity, [&] {
    to->copy_(*from, /*non_blocking=*/true);
    return true;
  });
}

bool lookout_cuda_copy_image(at::Tensor* to, uint64_t from, char* error, size_t capacity) {
  return guarded(error, capacity, [&] {
    TORCH_CHECK(to->is_contiguous() && to->is_cuda() && to->scalar_type() == at::kByte, "bytes on the GPU are needed");
    check(RUNTIME(cudaMemcpyAsync)(to->data_ptr(), reinterpret_cast<const void*>(from), to->nbytes(),
                                   cudaMemcpyDeviceToDevice, c10::cuda::getCurrentCUDAStream().stream()),
          "a copy within the GPU");
    return true;
  });
}

bool lookout_cuda_scale(at::Tensor* out, const Nv12Args* frame, char* error, size_t capacity) {
  return guarded(error, capacity, [&] {
    Nv12 args{};
    static_cast<Nv12Args&>(args) = *frame;
    TORCH_CHECK(out->is_contiguous() && out->is_cuda() && out->scalar_type() == at::kByte && args.to_width > 0 &&
                    args.to_height > 0 && int64_t(args.out_width) * args.out_height * 3 == out->numel(),
                "bytes [H, W, 3] on the GPU are needed");
    args.out = out->data_ptr();
    void* arguments[] = {&args};
    // Of the numbers that networks compute in mostly, so that nothing is compiled for this alone.
    launch(kernels(1).scale_nv12, dim3(unsigned(args.out_width + 127) / 128, args.out_height), 128, 0, arguments, "scale");
    return true;
  });
}

// The context (CUcontext) that libtorch uses on a device, made where it is not yet.
uint64_t lookout_cuda_context(int device, char* error, size_t capacity) {
  return guarded(error, capacity, [&]() -> uint64_t {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(device), /*force=*/true);
    check(RUNTIME(cudaFree)(nullptr), "the CUDA context");
    void* driver = dlopen("libcuda.so.1", RTLD_NOW);
    TORCH_CHECK(driver, "the driver's libcuda.so.1 cannot be loaded: ", dlerror());
    void* context = nullptr;
    const auto code = reinterpret_cast<int (*)(void**)>(symbol(driver, "cuCtxGetCurrent"))(&context);
    TORCH_CHECK(code == 0 && context, "CUDA returned no context: error ", code);
    return reinterpret_cast<uint64_t>(context);
  });
}

at::Tensor* lookout_cuda_normalize(const at::Tensor* bytes, const NormalizeArgs* args, char* error, size_t capacity) {
  return guarded_tensor(error, capacity, [&] {
    TORCH_CHECK(bytes->dim() == 4 && bytes->size(3) == 3 && bytes->is_contiguous() && bytes->is_cuda() &&
                    bytes->scalar_type() == at::kByte,
                "bytes [N, H, W, 3] on the GPU are needed");
    const auto images = bytes->size(0), height = args->padded_height, width = args->padded_width;
    const auto size = args->blocks ? std::vector<int64_t>{images, height / 2 + 3, width / 2 + 3, 16}
                                   : std::vector<int64_t>{images, height, width, 3};
    auto out = at::empty(size, bytes->options().dtype(type_of(args->kind)));
    Input input{bytes->data_ptr(), out.data_ptr(), int(images), int(bytes->size(1)), int(bytes->size(2)),
                int(height), int(width), {}, {}};
    std::memcpy(input.mean, args->mean, sizeof input.mean);
    std::memcpy(input.deviation, args->deviation, sizeof input.deviation);
    void* arguments[] = {&input};
    const auto& k = kernels(args->kind);
    const size_t count = size_t(size[0]) * size[1] * size[2];
    launch(args->blocks ? k.normalize_blocks : k.normalize, blocks_for(count), 256, 0, arguments, "normalize");
    return out.permute({0, 3, 1, 2});
  });
}

at::Tensor* lookout_cuda_max_pool(const at::Tensor* x, char* error, size_t capacity) {
  return guarded_tensor(error, capacity, [&] {
    const int kind = kind_of(*x);
    TORCH_CHECK(kind != 0 && x->is_cuda() && x->is_contiguous(at::MemoryFormat::ChannelsLast) && x->size(1) % 8 == 0,
                "bf16 or fp16 on the GPU with the channels last, a multiple of 8, is needed");
    int images = x->size(0), channels = x->size(1), height = x->size(2), width = x->size(3);
    auto out = at::empty({images, channels, (height + 1) / 2, (width + 1) / 2}, x->options(), at::MemoryFormat::ChannelsLast);
    const void* from = x->data_ptr();
    void* to = out.data_ptr();
    void* arguments[] = {&from, &to, &images, &height, &width, &channels};
    const size_t words = size_t(out.numel()) / 8;
    launch(kernels(kind).max_pool, dim3(static_cast<unsigned>((words + 255) / 256)), 256, 0, arguments, "max_pool");
    return out;
  });
}

at::Tensor* lookout_cuda_read_levels(const LevelArgs* levels, int count, const ReadingArgs* args, char* error,
                                     size_t capacity) {
  return guarded_tensor(error, capacity, [&] { return read_levels(levels, count, *args); });
}

void lookout_cuda_release_unused_memory() {
  try {
    c10::cuda::CUDACachingAllocator::emptyCache();
  } catch (...) {
  }
}

// Bytes of a device that this process's tensors occupy.
int64_t lookout_cuda_allocated(int device) {
  try {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    return stats.allocated_bytes[0].current;
  } catch (...) {
    return 0;
  }
}

// Bytes in use on a device, by whatever program.
int64_t lookout_cuda_memory_used(int device, char* error, size_t capacity) {
  return guarded(error, capacity, [&]() -> int64_t {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(device));
    size_t free = 0, total = 0;
    check(RUNTIME(cudaMemGetInfo)(&free, &total), "the GPU's memory");
    return static_cast<int64_t>(total - free);
  });
}

// Waits for all work on a device. An error that CUDA keeps until the process ends is returned by every call.
bool lookout_cuda_check_device(int device, char* error, size_t capacity) {
  return guarded(error, capacity, [&]() -> bool {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(device));
    // Takes an error that CUDA does not keep, such as a lack of memory.
    (void)RUNTIME(cudaGetLastError)();
    check(RUNTIME(cudaDeviceSynchronize)(), "the GPU");
    return true;
  });
}

}  // extern "C"

#else

namespace {
constexpr const char* none = "this program was built with a libtorch without CUDA";
}

extern "C" {

bool lookout_cuda_compiled() { return false; }
void lookout_cuda_configure() {}
void lookout_cuda_slot_free(void*) {}
int64_t lookout_cuda_allocated(int) { return 0; }
void lookout_cuda_slot_enter(void*) {}
void lookout_cuda_slot_leave(void*) {}
void lookout_cuda_graph_free(void*) {}
void lookout_cuda_release_unused_memory() {}

void* lookout_cuda_slot_new(int, bool, char* error, size_t capacity) {
  report(error, capacity, none);
  return nullptr;
}
bool lookout_cuda_slot_wait(void*, char* error, size_t capacity) {
  report(error, capacity, none);
  return false;
}
void* lookout_cuda_capture_begin(void*, char* error, size_t capacity) {
  report(error, capacity, none);
  return nullptr;
}
bool lookout_cuda_capture_end(void*, void*, char* error, size_t capacity) {
  report(error, capacity, none);
  return false;
}
bool lookout_cuda_graph_replay(void*, char* error, size_t capacity) {
  report(error, capacity, none);
  return false;
}
at::Tensor* lookout_cuda_pinned(int64_t, bool, char* error, size_t capacity) {
  report(error, capacity, none);
  return nullptr;
}
bool lookout_cuda_copy(at::Tensor*, const at::Tensor*, char* error, size_t capacity) {
  report(error, capacity, none);
  return false;
}
bool lookout_cuda_copy_image(at::Tensor*, uint64_t, char* error, size_t capacity) {
  report(error, capacity, none);
  return false;
}
bool lookout_cuda_scale(at::Tensor*, const void*, char* error, size_t capacity) {
  report(error, capacity, none);
  return false;
}
uint64_t lookout_cuda_context(int, char* error, size_t capacity) {
  report(error, capacity, none);
  return 0;
}
at::Tensor* lookout_cuda_normalize(const at::Tensor*, const NormalizeArgs*, char* error, size_t capacity) {
  report(error, capacity, none);
  return nullptr;
}
at::Tensor* lookout_cuda_max_pool(const at::Tensor*, char* error, size_t capacity) {
  report(error, capacity, none);
  return nullptr;
}
at::Tensor* lookout_cuda_read_levels(const LevelArgs*, int, const ReadingArgs*, char* error, size_t capacity) {
  report(error, capacity, none);
  return nullptr;
}
int64_t lookout_cuda_memory_used(int, char* error, size_t capacity) {
  report(error, capacity, none);
  return 0;
}
bool lookout_cuda_check_device(int, char* error, size_t capacity) {
  report(error, capacity, none);
  return false;
}

}  // extern "C"

#endif
