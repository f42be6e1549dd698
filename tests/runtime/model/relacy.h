// Relacy (relacy-dev) for model checks: interleavings under the C++ memory model, in which a relaxed load may be stale.
//
// Relacy counts allocations, spins and threads by macros of its own, so a file that includes this one is a program of its own
// and includes none of our code, unless by way of relacy_std.h.
#ifndef FIBERSCOPE_TESTS_RUNTIME_MODEL_RELACY_H_
#define FIBERSCOPE_TESTS_RUNTIME_MODEL_RELACY_H_

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include <relacy/relacy.hpp>
#pragma GCC diagnostic pop

#include <cstdio>
#include <ostream>
#include <streambuf>

namespace fiberscope::testing {

// Relacy's own allocator and those of the standard library's string streams do not go together.
class DiscardingBuffer : public std::streambuf {
 protected:
  int overflow(int c) override { return c == EOF ? 0 : c; }
  std::streamsize xsputn(const char*, std::streamsize size) override { return size; }
};

template <typename Model>
bool Simulate(rl::test_params& params) {
  DiscardingBuffer discarding;
  std::ostream output(&discarding);
  params.execution_depth_limit = 2000;
  params.output_stream = &output;
  params.progress_stream = &output;
  return rl::simulate<Model>(params);
}

// Whether all interleavings with up to `context_switches` forced switches end without deadlock, data race or failed assertion.
template <typename Model>
bool ModelHolds(unsigned context_switches) {
  rl::test_params params;
  params.search_type = rl::fair_context_bound_scheduler_type;
  params.context_bound = context_switches;
  return Simulate<Model>(params);
}

// Whether so many interleavings do that are chosen by chance, the same ones each time. For what has too many with few switches.
template <typename Model>
bool ModelHoldsAtRandom(unsigned interleavings) {
  rl::test_params params;
  params.search_type = rl::random_scheduler_type;
  params.iteration_count = interleavings;
  return Simulate<Model>(params);
}

// Collects what the checker said about the protocol and its mutations.
class ModelVerdict {
 public:
  void Expect(const char* what, bool expected, bool holds) {
    std::printf("%-40s %s%s\n", what, holds ? "holds" : "fails", holds == expected ? "" : "  <-- UNEXPECTED");
    if (holds != expected) exit_code_ = 1;
  }
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_ = 0;
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_RUNTIME_MODEL_RELACY_H_
