#include "pprof/sources/contention.h"

#include <chrono>
#include <string>

#include "pprof/encode/contention_text.h"
#include "pprof/mappings.h"
#include "pprof/sources/contention_source.h"
#include "runtime/contention.h"

namespace fiberscope::pprof {
namespace {

ContentionInputs InputsOf(Contention kind) {
  return {
      .read = [kind] { return ReadContention(kind); },
      .stack_count = [kind] { return ContentionStacks(kind); },
      .sampling_period = [] { return SetMutexProfileFraction(-1); },
      .mappings = ReadProcessMappings,
      .now = std::chrono::system_clock::now,
  };
}

}  // namespace

std::unique_ptr<ProfileSource> MakeBlockSource(Symbolizer& symbolizer) {
  return std::make_unique<ContentionSource>(Contention::kBlock, symbolizer, InputsOf(Contention::kBlock));
}

std::unique_ptr<ProfileSource> MakeMutexSource(Symbolizer& symbolizer) {
  return std::make_unique<ContentionSource>(Contention::kMutex, symbolizer, InputsOf(Contention::kMutex));
}

absl::Status WriteLegacyMutexProfile(Symbolizer& symbolizer, ByteSink& sink) {
  return ContentionSource(Contention::kMutex, symbolizer, InputsOf(Contention::kMutex)).WriteLegacy(ReadProcessMaps(), sink);
}

}  // namespace fiberscope::pprof
