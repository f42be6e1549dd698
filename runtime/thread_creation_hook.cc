// The pthread_create() that sees every other call of it (thread_creation.h). No part of sanitizer builds: see BUILD.bazel.
//
// It may be called before main(), from the constructor of a library that is being loaded, and on a fiber. So it needs no
// initialiser to have run, and asks the loader for the real one but once.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>

#include "runtime/base/check.h"
#include "runtime/thread_creation.h"

namespace {

using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

Create NextCreate() {
  static constinit std::atomic<Create> known{nullptr};
  Create next = known.load(std::memory_order_relaxed);
  if (next == nullptr) {
    next = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
    FIBERSCOPE_CHECK(next != nullptr, "no pthread_create behind ours: is the C library linked statically?");
    known.store(next, std::memory_order_relaxed);  // whoever else asks meanwhile gets the same answer
  }
  return next;
}

}  // namespace

extern "C" __attribute__((weak, noinline)) int pthread_create(pthread_t* __restrict thread,
                                                              const pthread_attr_t* __restrict attributes,
                                                              void* (*start)(void*), void* __restrict argument) noexcept {
  fiberscope::internal::BeginThreadCreation();
  const int error = NextCreate()(thread, attributes, start, argument);
  fiberscope::internal::EndThreadCreation(error == 0);
  return error;
}
