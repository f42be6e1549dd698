// A small order service, frozen: its code, its fibers, its mappings. What golden and conformance tests look at.
#ifndef FIBERSCOPE_TESTS_TESTING_SHOP_H_
#define FIBERSCOPE_TESTS_TESTING_SHOP_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "pprof/mappings.h"
#include "pprof/sources/goroutine_source.h"
#include "runtime/fiber_snapshot.h"
#include "runtime/labels.h"
#include "tests/testing/fake_symbolizer.h"

namespace fiberscope::pprof {

// A snapshot that owns what it shows.
struct TestFiber {
  FiberSnapshot snapshot;
  std::string name = {};
  std::vector<Label> labels = {};
  std::vector<uintptr_t> stack = {};

  FiberSnapshot View() const;
};

class Shop {
 public:
  Shop();

  FakeSymbolizer& symbolizer() { return symbolizer_; }
  std::vector<TestFiber>& fibers() { return fibers_; }

  // Lists fibers() as they are at the time of the call; the clock stands still.
  GoroutineInputs Inputs();

  // Return addresses of calls in the shop's code.
  static constexpr uintptr_t kSwitch = 0x405210;         // fiberscope_switch_context, assembly
  static constexpr uintptr_t kPark = 0x405021;           // fiberscope::internal::Park
  static constexpr uintptr_t kReceive = 0x405111;        // fiberscope::Channel<int>::Receive
  static constexpr uintptr_t kTake = 0x403041;           // shop::Queue::Take, inlined into shop::Worker
  static constexpr uintptr_t kWorker = 0x403021;         // shop::Worker, a call that is not inlined
  static constexpr uintptr_t kProcess = 0x404031;        // shop::(anonymous namespace)::Process, a template
  static constexpr uintptr_t kStart = 0x402089;          // shop::Start, where Spawn is inlined
  static constexpr uintptr_t kMain = 0x401019;           // main
  static constexpr uintptr_t kRunLambda = 0x406211;      // RunEntry<lambda>, with the lambda inlined
  static constexpr uintptr_t kRunWorker = 0x406311;      // RunEntry<function pointer>
  static constexpr uintptr_t kFiberMain = 0x406111;      // FiberMain
  static constexpr uintptr_t kTrampoline = 0x406009;     // fiberscope_fiber_entry
  static constexpr uintptr_t kLibrary = 0x7f0000000123;  // a function of a library, without lines
  static constexpr uintptr_t kNowhere = 0x9000;          // no function
  static constexpr uintptr_t kWorkerEntry = 0x403000;    // first instruction of shop::Worker

 private:
  void DefineCode();
  void DefineFibers();

  FakeSymbolizer symbolizer_;
  std::vector<TestFiber> fibers_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_TESTS_TESTING_SHOP_H_
