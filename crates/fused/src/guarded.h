// What every function that Rust calls is wrapped in.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstring>
#include <exception>
#include <string>

namespace {

void report(char* error, size_t capacity, const std::string& message) {
  std::strncpy(error, message.c_str(), capacity - 1);
  error[capacity - 1] = '\0';
}

// C++ exceptions end here: the message goes into `error` (`capacity` bytes, cut off), and null or false comes back.
template <typename Call>
auto guarded(char* error, size_t capacity, Call call) -> decltype(call()) {
  try {
    return call();
  } catch (const c10::Error& e) {
    report(error, capacity, e.what_without_backtrace());
  } catch (const std::exception& e) {
    report(error, capacity, e.what());
  } catch (...) {
    report(error, capacity, "unknown C++ exception");
  }
  return {};
}

// The same for a call that returns a tensor, which becomes the caller's.
template <typename Call>
at::Tensor* guarded_tensor(char* error, size_t capacity, Call call) {
  return guarded(error, capacity, [&] { return new at::Tensor(call()); });
}

}  // namespace
