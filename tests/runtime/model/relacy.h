// Relacy (relacy-dev) for model checks: random interleavings under the C++ memory model.
//
// Relacy counts allocations, spins and threads by macros of its own, so a file that includes this one is a program of its own
// and includes none of our code.
#ifndef FIBERSCOPE_TESTS_RUNTIME_MODEL_RELACY_H_
#define FIBERSCOPE_TESTS_RUNTIME_MODEL_RELACY_H_

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include <relacy/relacy.hpp>
#pragma GCC diagnostic pop

#include <cstdio>
#include <sstream>

namespace fiberscope::testing {

// Whether 200,000 random interleavings end without deadlock, data race or failed assertion. Prints the history of one that does
// not, and how many were run.
template <typename Model>
bool ModelHolds() {
  std::ostringstream output;
  rl::test_params params;
  params.search_type = rl::random_scheduler_type;
  params.iteration_count = 200'000;
  params.output_stream = &output;
  params.progress_stream = &output;
  return rl::simulate<Model>(params);
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
