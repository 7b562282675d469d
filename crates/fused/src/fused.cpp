// The fused convolutions of libtorch's oneDNN backend, called through the dispatcher: they are registered
// operators without generated functions, so neither ATen's headers nor tch have them.
// Schemas: aten/src/ATen/native/mkldnn/RegisterMkldnnOpContextClass.cpp of PyTorch 2.11.

#include <ATen/Parallel.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "guarded.h"

#include <cstring>
#include <string>
#include <vector>

#ifdef LOOKOUT_CUDA
// libtorch_cuda.so registers its kernels when it is loaded and none of its symbols is called, so the linker
// would leave it out and the GPU would silently not be used. One symbol is referred to here, where no linker
// may drop it: every binary with a network in it then loads the library.
namespace at::cuda {
int warp_size();
}
__attribute__((used, retain)) static int (*const lookout_keeps_libtorch_cuda)() = &at::cuda::warp_size;
#endif

namespace {

c10::OperatorHandle find(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
}

// Looked up once each: the table is behind a lock.
const c10::OperatorHandle& reorder_weight() {
  static const auto handle = find("mkldnn::_reorder_convolution_weight", "");
  return handle;
}

const c10::OperatorHandle& convolution() {
  static const auto handle = find("mkldnn::_convolution_pointwise", "");
  return handle;
}

const c10::OperatorHandle& convolution_and_sum() {
  static const auto handle = find("mkldnn::_convolution_pointwise_", "binary");
  return handle;
}

struct Geometry {
  int64_t stride[2];
  int64_t padding[2];
  int64_t dilation[2];
  int64_t groups;
};

c10::List<int64_t> pair(const int64_t (&values)[2]) {
  return c10::List<int64_t>({values[0], values[1]});
}

c10::IValue optional(const at::Tensor* tensor) {
  return tensor ? c10::IValue(*tensor) : c10::IValue();
}

#ifdef __x86_64__
#define LOOKOUT_FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LOOKOUT_FOR_EACH_PROCESSOR
#endif

// The greater of two numbers of which none is negative: their bits compare as integers do. NaN is greater
// than all, so it comes through.
template <typename Bits>
LOOKOUT_FOR_EACH_PROCESSOR void greater(Bits* __restrict to, const Bits* __restrict from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = to[i] > from[i] ? to[i] : from[i];
}

// 3x3, stride 2, padding 1; rows of `channels` numbers a pixel, next to each other.
template <typename Bits>
void pool(Bits* to, const Bits* from, int64_t batch, int64_t height, int64_t width, int64_t channels) {
  const int64_t to_height = (height + 1) / 2, to_width = (width + 1) / 2;
  at::parallel_for(0, batch * to_height, 1, [&](int64_t begin, int64_t end) {
    // The greatest of three rows, of which the greatest of three columns is taken.
    std::vector<Bits> tallest(width * channels);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / to_height, y = row % to_height;
      const Bits* rows = from + image * height * width * channels;
      std::memcpy(tallest.data(), rows + 2 * y * width * channels, width * channels * sizeof(Bits));
      for (int64_t other : {2 * y - 1, 2 * y + 1}) {
        if (other >= 0 && other < height) greater(tallest.data(), rows + other * width * channels, width * channels);
      }
      Bits* out = to + row * to_width * channels;
      for (int64_t x = 0; x < to_width; ++x) {
        std::memcpy(out + x * channels, tallest.data() + 2 * x * channels, channels * sizeof(Bits));
        for (int64_t other : {2 * x - 1, 2 * x + 1}) {
          if (other >= 0 && other < width) greater(out + x * channels, tallest.data() + other * channels, channels);
        }
      }
    }
  });
}

}  // namespace

extern "C" {

bool lookout_fused_available() {
  auto& dispatcher = c10::Dispatcher::singleton();
  auto has = [&](const char* name, const char* overload) {
    return dispatcher.findSchema({name, overload}).has_value();
  };
  return has("mkldnn::_convolution_pointwise", "") && has("mkldnn::_convolution_pointwise_", "binary") &&
         has("mkldnn::_reorder_convolution_weight", "");
}

bool lookout_cuda_has_bf16() {
  try {
    return at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8();
  } catch (...) {
    return false;
  }
}

at::Tensor* lookout_fused_prepack(const at::Tensor* weight, const Geometry* geometry, const int64_t* input_size,
                                  char* error, size_t capacity) {
  return guarded_tensor(error, capacity, [&] {
    torch::jit::Stack stack;
    torch::jit::push(stack, *weight, pair(geometry->padding), pair(geometry->stride), pair(geometry->dilation),
                     geometry->groups,
                     c10::List<int64_t>({input_size[0], input_size[1], input_size[2], input_size[3]}));
    reorder_weight().callBoxed(stack);
    return stack.back().toTensor();
  });
}

at::Tensor* lookout_fused_conv(const at::Tensor* x, const at::Tensor* weight, const at::Tensor* bias,
                               const Geometry* geometry, bool relu, char* error, size_t capacity) {
  return guarded_tensor(error, capacity, [&] {
    torch::jit::Stack stack;
    torch::jit::push(stack, *x, *weight, optional(bias), pair(geometry->padding), pair(geometry->stride),
                     pair(geometry->dilation), geometry->groups, std::string(relu ? "relu" : "none"),
                     c10::List<std::optional<at::Scalar>>(), c10::IValue(std::string()));
    convolution().callBoxed(stack);
    return stack.back().toTensor();
  });
}

at::Tensor* lookout_fused_conv_add(at::Tensor* sum, const at::Tensor* x, const at::Tensor* weight,
                                   const at::Tensor* bias, const Geometry* geometry, bool relu, char* error,
                                   size_t capacity) {
  return guarded_tensor(error, capacity, [&] {
    torch::jit::Stack stack;
    torch::jit::push(stack, *sum, *x, *weight, optional(bias), pair(geometry->padding), pair(geometry->stride),
                     pair(geometry->dilation), geometry->groups, std::string("add"), c10::IValue(),
                     relu ? c10::IValue(std::string("relu")) : c10::IValue(),
                     c10::List<std::optional<at::Scalar>>(), c10::IValue(std::string()));
    convolution_and_sum().callBoxed(stack);
    return stack.back().toTensor();
  });
}

at::Tensor* lookout_fused_max_pool(const at::Tensor* x, char* error, size_t capacity) {
  return guarded_tensor(error, capacity, [&] {
    TORCH_CHECK(x->dim() == 4 && x->device().is_cpu(), "a [N, C, H, W] on the CPU is needed");
    TORCH_CHECK(x->is_contiguous(at::MemoryFormat::ChannelsLast), "the channels have to be last in memory");
    const auto n = x->size(0), c = x->size(1), h = x->size(2), w = x->size(3);
    auto out = at::empty({n, c, (h + 1) / 2, (w + 1) / 2}, x->options(), at::MemoryFormat::ChannelsLast);
    if (x->scalar_type() == at::kFloat) {
      pool(static_cast<int32_t*>(out.data_ptr()), static_cast<const int32_t*>(x->data_ptr()), n, h, w, c);
    } else {
      TORCH_CHECK(x->scalar_type() == at::kBFloat16, "fp32 or bf16 is needed");
      pool(static_cast<int16_t*>(out.data_ptr()), static_cast<const int16_t*>(x->data_ptr()), n, h, w, c);
    }
    return out;
  });
}

}  // extern "C"
