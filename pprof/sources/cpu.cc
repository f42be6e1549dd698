#include "pprof/sources/cpu.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "pprof/encode/proto_encoder.h"
#include "pprof/machinery.h"
#include "pprof/profile_builder.h"

namespace fiberscope::pprof {
namespace {

constexpr std::chrono::seconds kWaitForLines{2};

double Seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

// What is not as one would expect.
std::vector<std::string> Reservations(const CpuProfile& sampled) {
  std::vector<std::string> texts;
  const std::chrono::nanoseconds seen = sampled.period * sampled.count;
  if (sampled.signals * 20 < sampled.count * 19) {
    texts.push_back(absl::StrFormat("%.0f samples per second of CPU time were asked for, the kernel's tick allowed %.0f: a sample "
                                    "stands for up to %d periods",
                                    1 / Seconds(sampled.period), static_cast<double>(sampled.signals) / Seconds(seen),
                                    (sampled.count + sampled.signals - 1) / sampled.signals));
  }
  if (sampled.lost != 0) {
    texts.push_back(absl::StrFormat("%d samples are not in this profile: there was no room for them", sampled.lost));
  }
  if (sampled.truncated != 0) texts.push_back(absl::StrFormat("of %d samples outer frames are missing", sampled.truncated));
  if (sampled.refused_threads != 0) {
    texts.push_back(absl::StrFormat("%d threads are not in this profile: no timers for them (RLIMIT_SIGPENDING)",
                                    sampled.refused_threads));
  }
  // Of n samples at random times the sum is off by sqrt(n) periods.
  const std::chrono::nanoseconds missing = sampled.process_cpu - seen - sampled.period * sampled.lost;
  if (missing > sampled.process_cpu / 20 && missing > 10 * sampled.period) {
    texts.push_back(absl::StrFormat("the samples stand for %.2f s of the %.2f s of CPU time that the process has used: threads "
                                    "that end within 100 ms, those that block SIGPROF, and bursts that end before the kernel's "
                                    "tick are not seen",
                                    Seconds(seen), Seconds(sampled.process_cpu)));
  }
  return texts;
}

// Words of the machine that reads it too: gperftools' pprof tells their size and order by the first ones.
void AppendWords(std::string& out, std::span<const uint64_t> words) {
  out.append(reinterpret_cast<const char*>(words.data()), words.size_bytes());
}

constinit std::mutex g_mutex;

// Never destroyed: a profile may be running when the process exits. g_mutex held.
std::unique_ptr<CpuProfiler>& TheProfiler() {
  static auto& profiler = *new std::unique_ptr<CpuProfiler>;
  return profiler;
}

}  // namespace

Profile MakeCpuProfile(const CpuProfile& sampled, Symbolizer& symbolizer, std::span<const Mapping> mappings) {
  symbolizer.WaitForLines(kWaitForLines);
  ProfileBuilder builder(symbolizer, mappings);
  builder.AddSampleType("samples", "count");
  builder.AddSampleType("cpu", "nanoseconds");
  builder.SetPeriod("cpu", "nanoseconds", sampled.period.count());
  builder.SetTime(sampled.start);
  builder.SetDuration(sampled.duration);
  for (const std::string& text : Reservations(sampled)) builder.AddComment(text);
  for (const CpuSamples& samples : sampled.samples) {
    std::vector<SampleLabel> labels;
    for (const Label& label : samples.labels) labels.push_back({.key = label.key, .text = label.value});
    const int64_t values[] = {samples.count, samples.count * sampled.period.count()};
    builder.AddSample(UserStack(samples.stack, 0, symbolizer), values, labels);
  }
  return std::move(builder).Build();
}

absl::Status WriteLegacyCpuProfile(const CpuProfile& sampled, std::string_view maps, ByteSink& sink) {
  std::string out;
  const auto period_us = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(sampled.period).count());
  AppendWords(out, std::vector<uint64_t>{0, 3, 0, period_us, 0});
  if (absl::Status status = sink.Write(out); !status.ok()) return status;
  for (const CpuSamples& samples : sampled.samples) {
    if (samples.stack.empty()) continue;
    std::vector<uint64_t> words = {static_cast<uint64_t>(samples.count), samples.stack.size()};
    words.insert(words.end(), samples.stack.begin(), samples.stack.end());
    --words[2];  // the pc itself
    out.clear();
    AppendWords(out, words);
    if (absl::Status status = sink.Write(out); !status.ok()) return status;
  }
  out.clear();
  AppendWords(out, std::vector<uint64_t>{0, 1, 0});
  if (absl::Status status = sink.Write(out); !status.ok()) return status;
  return sink.Write(maps);
}

absl::Status StartCpuProfile(const CpuProfilerOptions& options) {
  const std::lock_guard lock(g_mutex);
  absl::StatusOr<std::unique_ptr<CpuProfiler>> profiler = CpuProfiler::Start(options);
  if (!profiler.ok()) return profiler.status();
  TheProfiler() = *std::move(profiler);
  return absl::OkStatus();
}

absl::Status StopCpuProfile(Symbolizer& symbolizer, ByteSink& sink) {
  std::unique_ptr<CpuProfiler> profiler;
  {
    const std::lock_guard lock(g_mutex);
    profiler = std::move(TheProfiler());
  }
  if (profiler == nullptr) return absl::FailedPreconditionError("end of a cpu profile: StartCpuProfile() has not begun one");
  const CpuProfile sampled = profiler->Stop();
  return EncodeProfile(MakeCpuProfile(sampled, symbolizer, ReadProcessMappings()), sink);
}

}  // namespace fiberscope::pprof
