// The fused convolutions of libtorch's oneDNN backend, called through the dispatcher: they are registered
// operators without generated functions, so neither ATen's headers nor tch have them.
// Schemas: aten/src/ATen/native/mkldnn/RegisterMkldnnOpContextClass.cpp of PyTorch 2.11.

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include <cstring>
#include <exception>
#include <string>

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

// C++ exceptions end here: the message goes into `error` (`capacity` bytes, cut off), and null comes back.
template <typename Call>
at::Tensor* guarded(char* error, size_t capacity, Call call) {
  std::string message;
  try {
    return new at::Tensor(call());
  } catch (const c10::Error& e) {
    message = e.what_without_backtrace();
  } catch (const std::exception& e) {
    message = e.what();
  } catch (...) {
    message = "unknown C++ exception";
  }
  std::strncpy(error, message.c_str(), capacity - 1);
  error[capacity - 1] = '\0';
  return nullptr;
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
  return guarded(error, capacity, [&] {
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
  return guarded(error, capacity, [&] {
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
  return guarded(error, capacity, [&] {
    torch::jit::Stack stack;
    torch::jit::push(stack, *sum, *x, *weight, optional(bias), pair(geometry->padding), pair(geometry->stride),
                     pair(geometry->dilation), geometry->groups, std::string("add"), c10::IValue(),
                     relu ? c10::IValue(std::string("relu")) : c10::IValue(),
                     c10::List<std::optional<at::Scalar>>(), c10::IValue(std::string()));
    convolution_and_sum().callBoxed(stack);
    return stack.back().toTensor();
  });
}

}  // extern "C"
