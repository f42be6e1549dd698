// A profile that says what a test told it to say, and counts how often it was asked.
#ifndef FIBERSCOPE_TESTS_SERVER_HANDLERS_FAKE_SOURCE_H_
#define FIBERSCOPE_TESTS_SERVER_HANDLERS_FAKE_SOURCE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "pprof/profile_source.h"

namespace fiberscope::testing {

class FakeSource : public pprof::ProfileSource {
 public:
  struct Options {
    std::string name;
    std::string description = {};
    int64_t count = 0;
    absl::Status failure = {};  // of Collect() and WriteText()
    int* collected = nullptr;
    bool has_delta = false;
    int* garbage_collected = nullptr;
  };

  explicit FakeSource(Options options) : options_(std::move(options)) {}

  std::string_view name() const override { return options_.name; }
  std::string_view description() const override { return options_.description; }
  int64_t Count() const override { return options_.count; }

  void CollectGarbage() override {
    if (options_.garbage_collected != nullptr) ++*options_.garbage_collected;
  }
  bool has_delta() const override { return options_.has_delta; }

  absl::StatusOr<pprof::Profile> Collect() override {
    CountOne();
    if (!options_.failure.ok()) return options_.failure;
    return pprof::Profile();
  }
  absl::Status WriteText(int debug, pprof::ByteSink& sink) override {
    CountOne();
    if (!options_.failure.ok()) return options_.failure;
    return sink.Write(options_.name + " text " + std::to_string(debug) + "\n");
  }

 private:
  void CountOne() {
    if (options_.collected != nullptr) ++*options_.collected;
  }

  const Options options_;
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_SERVER_HANDLERS_FAKE_SOURCE_H_
