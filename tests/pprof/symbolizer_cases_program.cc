// Says what this process's symbolizer knows of a few of its own addresses, and what a profile with them would claim. Built and
// treated in many ways by symbolizer_cases_test.
//
//   exported: ExportedFunction symbolizer_cases_program.cc:31     NAME FILE:LINE of each logical frame, innermost first;
//   static: ??                                                    ?? for what is unknown
//   ...
//   mapping: functions filenames lines inlines                    flags of the program's own mapping in a profile
//   build id: right                                               whether the mapping's is that of --build_id
//   comment: ...                                                  of the profile, one line each
//
// Arguments: --build_id=HEX; --delete removes the program's file first; --replace=FILE puts FILE in its place.
#include <dlfcn.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "pprof/mappings.h"
#include "pprof/profile_builder.h"
#include "pprof/symbolizer.h"

[[gnu::noinline]] uintptr_t ReturnAddress() { return reinterpret_cast<uintptr_t>(__builtin_return_address(0)); }

// The test knows the lines of these three by number.
// clang-format off
[[gnu::noinline, gnu::visibility("default")]] uintptr_t ExportedFunction() {
  const uintptr_t address = ReturnAddress();
  asm volatile("");
  return address;
}

[[gnu::noinline]] static uintptr_t StaticFunction() {
  const uintptr_t address = ReturnAddress();
  asm volatile("");
  return address;
}

[[gnu::always_inline]] static inline uintptr_t InlinedFunction() {
  const uintptr_t address = ReturnAddress();
  asm volatile("");
  return address;
}

[[gnu::noinline]] static uintptr_t OuterFunction() {
  const uintptr_t address = InlinedFunction();
  asm volatile("");
  return address;
}
// clang-format on

namespace fiberscope::pprof {
namespace {

std::string FrameText(const Frame& frame) {
  std::string text = frame.function.empty() ? "??" : ShortFunctionName(frame.function);
  if (frame.line != 0) {
    text += " " + std::filesystem::path(frame.file).filename().string() + ":" + std::to_string(frame.line);
  }
  return text;
}

void Print(const char* title, const Symbolized& symbolized) {
  std::printf("%s:", title);
  const char* separator = " ";
  for (const Frame& frame : symbolized.frames) {
    std::printf("%s%s", separator, FrameText(frame).c_str());
    separator = " < ";
  }
  std::printf("%s\n", symbolized.frames.empty() ? " ??" : "");
}

// Only addresses of the program itself.
Profile MakeProfile(Symbolizer& symbolizer, const std::vector<uintptr_t>& pcs) {
  const std::vector<Mapping> mappings = ReadProcessMappings();
  ProfileBuilder builder(symbolizer, mappings);
  builder.AddSampleType("goroutine", "count");
  std::vector<uintptr_t> stack;
  for (const uintptr_t pc : pcs) stack.push_back(pc + 1);
  const int64_t one[] = {1};
  builder.AddSample(stack, one);
  return std::move(builder).Build();
}

void PrintProfile(const Profile& profile, std::string_view build_id) {
  const Profile::Mapping& program = profile.mappings.at(0);
  std::printf("mapping:%s%s%s%s\n", program.has_functions ? " functions" : "", program.has_filenames ? " filenames" : "",
              program.has_line_numbers ? " lines" : "", program.has_inline_frames ? " inlines" : "");
  const std::string& mapped = profile.Text(program.build_id);
  std::printf("build id: %s\n", mapped.empty() ? "none" : mapped == build_id ? "right" : mapped.c_str());
  for (const Profile::StringId comment : profile.comments) std::printf("comment: %s\n", profile.Text(comment).c_str());
}

uintptr_t VdsoFunction() {
  void* vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
  return vdso == nullptr ? 0 : reinterpret_cast<uintptr_t>(dlsym(vdso, "__vdso_clock_gettime"));
}

void Run(const std::vector<std::string_view>& args) {
  std::string_view build_id;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  for (std::string_view arg : args) {
    const auto take = [&arg](std::string_view flag) {
      const bool is_it = arg.starts_with(flag);
      if (is_it) arg.remove_prefix(flag.size());
      return is_it;
    };
    if (take("--build_id=")) build_id = arg;
    if (take("--delete")) std::filesystem::remove(program);
    if (take("--replace=")) std::filesystem::rename(arg, program);
  }

  const std::vector<uintptr_t> pcs = {ExportedFunction() - 1, StaticFunction() - 1, OuterFunction() - 1};
  const auto symbolizer = MakeProcessSymbolizer();
  if (const uintptr_t vdso = VdsoFunction(); vdso != 0) Print("vdso", symbolizer->Lookup(vdso));
  const std::vector<Frame> at_once = symbolizer->Lookup(pcs[1]).frames;
  std::printf("static at once: %s\n", at_once.empty() ? "??" : ShortFunctionName(at_once.back().function).c_str());
  if (!symbolizer->WaitForLines(std::chrono::minutes(1))) std::printf("no lines after a minute\n");
  Print("exported", symbolizer->Lookup(pcs[0]));
  Print("static", symbolizer->Lookup(pcs[1]));
  Print("inlined", symbolizer->Lookup(pcs[2]));
  PrintProfile(MakeProfile(*symbolizer, pcs), build_id);
}

}  // namespace
}  // namespace fiberscope::pprof

int main(int argc, char** argv) { fiberscope::pprof::Run({argv + 1, argv + argc}); }
