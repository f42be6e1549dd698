// The process's own symbolizer: ElfSymbols for names, LineReader for the rest, a cache in front of both.
//
// Objects are compared with the loader's list whenever an address is not in the cache. An object keeps the number of
// loads at which it was first seen (`seen_at`): a reading of the debug information covers it if it was asked for with
// that number or a higher one.
//
// An answer computed before a reading covers its object lacks lines. The cache entry remembers what it waits for
// (`lines_from`), and the first lookup after that reading adds a second answer. Answers are never changed or freed.
#include "pprof/symbolizer.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/debugging/internal/demangle.h"
#include "absl/strings/str_format.h"
#include "pprof/elf_image.h"
#include "pprof/elf_symbols.h"
#include "pprof/file_view.h"
#include "pprof/line_reader.h"
#include "pprof/loaded_objects.h"

namespace fiberscope::pprof {
namespace {

// Without this test the demangler would make "float" of a function named f.
bool IsMangled(const std::string& name) { return name.starts_with("_Z"); }

// As `mangled` where it is no C++ name.
std::string Demangle(const std::string& mangled) {
  if (!IsMangled(mangled)) return mangled;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> full(
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), &std::free);
  if (full != nullptr) return full.get();
  // gcc's demangler refuses names of more than 1024 characters, which Asio and Beast have plenty of. Abseil's has no
  // such limit but leaves out parameters and template arguments.
  std::string brief(mangled.size() + 1, '\0');
  if (!absl::debugging_internal::Demangle(mangled.c_str(), brief.data(), static_cast<int>(brief.size())))
    return mangled;
  brief.resize(brief.find('\0'));
  return brief;
}

struct FunctionName {
  std::string mangled;
  uintptr_t start = 0;
};

// objcopy --only-keep-debug empties the segments, but not the note sections.
std::string DebugBuildId(const ElfImage& image) {
  const Elf64_Shdr* note = image.FindSection(".note.gnu.build-id");
  return note == nullptr ? "" : GnuBuildId(image.Contents(*note), note->sh_addralign);
}

// The separate file with the debug information that `image`, of the file `path`, lacks, where libbacktrace looks for it.
// Nothing when it belongs to another build. (libbacktrace compares a checksum of the file besides.)
std::optional<FileView> OpenDebugFile(const ElfImage& image, const std::string& path) {
  const std::string id = image.BuildId();
  std::vector<std::string> places;
  if (id.size() > 2) places.push_back("/usr/lib/debug/.build-id/" + id.substr(0, 2) + "/" + id.substr(2) + ".debug");
  const Elf64_Shdr* link = image.FindSection(".gnu_debuglink");
  const std::string name(link == nullptr ? "" : StringAt(image.Contents(*link), 0));
  if (!name.empty()) {
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    for (const std::string& place : {folder, folder + ".debug/", "/usr/lib/debug" + folder}) places.push_back(place + name);
  }
  for (const std::string& place : places) {
    std::optional<FileView> file = FileView::Open(place);
    const std::optional<ElfImage> debug = file ? ElfImage::Parse(file->bytes()) : std::nullopt;
    if (debug && DebugBuildId(*debug) == id) return file;
  }
  return std::nullopt;
}

bool HasLines(const ElfImage& image) {
  return image.FindSection(".debug_line") != nullptr || image.FindSection(".zdebug_line") != nullptr;
}

// Where the main program's file is or was; the kernel adds " (deleted)" to the name then, never to the folder.
std::string MainProgramPath() {
  std::string path(PATH_MAX, '\0');
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  path.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return path;
}

// A loaded object and what its file says. Caller synchronises.
class Object {
 public:
  Object(LoadedObject loaded, uint64_t seen_at) : loaded_(std::move(loaded)), seen_at_(seen_at) {}

  const LoadedObject& loaded() const { return loaded_; }
  uint64_t seen_at() const { return seen_at_; }

  bool ContainsCode(uintptr_t pc) const {
    return std::any_of(loaded_.code.begin(), loaded_.code.end(), [&](const AddressRange& r) { return r.Contains(pc); });
  }

  // Whether there is hope for more than names.
  bool has_lines() {
    Open();
    return has_lines_;
  }

  std::optional<FunctionName> FindName(uintptr_t pc) {
    Open();
    if (!image_) return FindNameByLoader(pc);
    if (!symbols_) symbols_.emplace(debug_image_ ? *debug_image_ : *image_);
    const std::optional<ElfSymbol> symbol = symbols_->Find(pc - loaded_.bias);
    if (!symbol) return std::nullopt;
    return FunctionName{.mangled = std::string(symbol->name), .start = symbol->start + loaded_.bias};
  }

 private:
  void Open() {
    if (std::exchange(is_opened_, true)) return;
    if (loaded_.is_vdso) {
      const auto* start = reinterpret_cast<const char*>(loaded_.all.start);
      image_ = ElfImage::Parse({start, loaded_.all.limit - loaded_.all.start});
      return;
    }
    if (loaded_.path.empty()) {
      OpenFile("/proc/self/exe");  // also when it has been deleted
    } else if (!OpenFile(loaded_.path)) {
      // Deleted or replaced since. The kernel still has the file mapped, but shows it only to the privileged.
      for (const AddressRange& code : loaded_.code) {
        if (OpenFile(absl::StrFormat("/proc/self/map_files/%x-%x", code.start, code.limit))) break;
      }
      return;  // libbacktrace goes by the path
    }
    if (!image_) return;
    has_lines_ = HasLines(*image_);
    if (!has_lines_) OpenDebugFile(loaded_.path.empty() ? MainProgramPath() : loaded_.path);
  }

  void OpenDebugFile(const std::string& path) {
    debug_file_ = pprof::OpenDebugFile(*image_, path);
    if (!debug_file_) return;
    const std::optional<ElfImage> debug = ElfImage::Parse(debug_file_->bytes());
    has_lines_ = HasLines(*debug);
    const bool has_names = debug->FindSection(".symtab") != nullptr && image_->FindSection(".symtab") == nullptr;
    // Without an id there is no proof that the file is of this build. libbacktrace's checksum makes up for that.
    if (has_names && !loaded_.build_id.empty()) debug_image_ = debug;
  }

  // Takes the file only if it is the one that is mapped: a name from another build would be a lie.
  bool OpenFile(const std::string& path) {
    file_ = FileView::Open(path);
    if (!file_) return false;
    image_ = ElfImage::Parse(file_->bytes());
    if (image_ && image_->program_headers() == loaded_.program_headers && image_->BuildId() == loaded_.build_id) {
      return true;
    }
    image_.reset();
    file_.reset();
    return false;
  }

  // Exported functions only, but needs no file.
  static std::optional<FunctionName> FindNameByLoader(uintptr_t pc) {
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(pc), &info) == 0 || info.dli_sname == nullptr) return std::nullopt;
    return FunctionName{.mangled = info.dli_sname, .start = reinterpret_cast<uintptr_t>(info.dli_saddr)};
  }

  const LoadedObject loaded_;
  const uint64_t seen_at_;

  bool is_opened_ = false;
  bool has_lines_ = false;
  std::optional<FileView> file_;  // empty for the vdso and when it is not to be had
  std::optional<ElfImage> image_;
  std::optional<FileView> debug_file_;
  std::optional<ElfImage> debug_image_;  // of debug_file_, if it has names that the object's own file lacks
  std::optional<ElfSymbols> symbols_;  // made at the first question
};

Symbolized Combine(const std::optional<FunctionName>& name, std::vector<SourceFrame> sources, bool is_pending = false) {
  Symbolized result;
  if (sources.empty()) result.lines = is_pending ? LineState::kPending : LineState::kAbsent;
  if (name && sources.empty()) sources.emplace_back();
  // The linker's name of the physical function is complete; DWARF's can be the plain one, or one that the compiler has
  // split or cloned since.
  if (name) {
    sources.back().function = name->mangled;
    result.function_start = name->start;
  }
  for (SourceFrame& source : sources) {
    Frame frame;
    frame.function = Demangle(source.function);
    const bool is_linkers = name && &source == &sources.back();
    if (is_linkers || IsMangled(source.function)) frame.system_name = std::move(source.function);
    // The compiler is told to look in ".".
    frame.file = source.file.starts_with("./") ? source.file.substr(2) : std::move(source.file);
    frame.line = source.line;
    result.frames.push_back(std::move(frame));
  }
  return result;
}

class ProcessSymbolizer : public Symbolizer {
 public:
  const Symbolized& Lookup(uintptr_t pc) override;
  bool WaitForLines(std::chrono::milliseconds timeout) override;

 private:
  struct Entry {
    const Symbolized* answer = nullptr;
    uint64_t lines_from = 0;  // a reading that covers this generation will have more to say; 0 when nothing will
  };
  // What Lookup needs of an object, so that it can go on without objects_mutex_.
  struct Located {
    bool is_code = false;
    std::optional<FunctionName> name;
    uint64_t lines_at = 0;  // generation the lines come with; 0 when there are none to come
  };

  const Symbolized* FindCached(uintptr_t pc);
  const Symbolized& Store(uintptr_t pc, Symbolized symbolized, uint64_t lines_from);
  Located Locate(uintptr_t pc);
  bool HasMore(const Entry& entry) const { return entry.lines_from != 0 && lines_.IsSettled(entry.lines_from); }

  void RefreshObjects();  // needs objects_mutex_
  void Forget(const AddressRange& addresses);

  const Symbolized unknown_ = {};  // clang wants it said
  LineReader lines_;

  // Lock order: objects_mutex_, then cache_mutex_. Neither is held while DWARF is read.
  std::mutex objects_mutex_;
  LoadGeneration generation_;                     // GUARDED_BY(objects_mutex_)
  std::vector<std::unique_ptr<Object>> objects_;  // GUARDED_BY(objects_mutex_)

  std::mutex cache_mutex_;
  absl::flat_hash_map<uintptr_t, Entry> cache_;  // GUARDED_BY(cache_mutex_)
  std::deque<Symbolized> answers_;               // GUARDED_BY(cache_mutex_); only grows, so addresses are stable
};

const Symbolized& ProcessSymbolizer::Lookup(uintptr_t pc) {
  if (const Symbolized* cached = FindCached(pc)) return *cached;
  Located located = Locate(pc);
  // Not kept: whoever asks for random addresses must not fill the memory.
  if (!located.is_code) return unknown_;
  if (located.lines_at == 0) return Store(pc, Combine(located.name, {}), 0);
  lines_.Request(located.lines_at);
  if (!lines_.IsSettled(located.lines_at)) return Store(pc, Combine(located.name, {}, true), located.lines_at);
  return Store(pc, Combine(located.name, lines_.Lookup(pc, located.lines_at)), 0);
}

bool ProcessSymbolizer::WaitForLines(std::chrono::milliseconds timeout) {
  uint64_t wanted = 0;
  {
    std::lock_guard lock(objects_mutex_);
    RefreshObjects();
    for (const auto& object : objects_) {
      if (object->has_lines()) wanted = std::max(wanted, object->seen_at());
    }
  }
  if (wanted != 0) lines_.Request(wanted);
  return lines_.WaitFor(wanted, timeout);
}

const Symbolized* ProcessSymbolizer::FindCached(uintptr_t pc) {
  std::lock_guard lock(cache_mutex_);
  const auto found = cache_.find(pc);
  return found == cache_.end() || HasMore(found->second) ? nullptr : found->second.answer;
}

const Symbolized& ProcessSymbolizer::Store(uintptr_t pc, Symbolized symbolized, uint64_t lines_from) {
  std::lock_guard lock(cache_mutex_);
  Entry& entry = cache_[pc];
  // Another thread may have been faster. Its answer stands unless ours has the lines that it lacks.
  const bool is_news = entry.answer == nullptr || (entry.lines_from != 0 && lines_from == 0);
  if (is_news) {
    entry = {.answer = &answers_.emplace_back(std::move(symbolized)), .lines_from = lines_from};
  }
  return *entry.answer;
}

ProcessSymbolizer::Located ProcessSymbolizer::Locate(uintptr_t pc) {
  std::lock_guard lock(objects_mutex_);
  RefreshObjects();
  for (const auto& object : objects_) {
    if (!object->ContainsCode(pc)) continue;
    return {.is_code = true, .name = object->FindName(pc), .lines_at = object->has_lines() ? object->seen_at() : 0};
  }
  return {};
}

void ProcessSymbolizer::RefreshObjects() {
  // Names do not wait for lines: as long as the reading has the loader's lock no object comes or goes.
  if (lines_.IsReading()) return;
  if (CurrentLoadGeneration() == generation_) return;
  LoadedObjects loaded = ReadLoadedObjects();
  generation_ = loaded.generation;
  std::vector<std::unique_ptr<Object>> objects;
  for (LoadedObject& description : loaded.objects) {
    const auto known = std::find_if(objects_.begin(), objects_.end(),
                                    [&](const auto& object) { return object && object->loaded() == description; });
    objects.push_back(known != objects_.end() ? std::move(*known)
                                              : std::make_unique<Object>(std::move(description), generation_.added));
  }
  objects_.swap(objects);
  // What is left in the old list has been unloaded, and other code may take its addresses.
  for (const auto& object : objects) {
    if (object) Forget(object->loaded().all);
  }
}

void ProcessSymbolizer::Forget(const AddressRange& addresses) {
  std::lock_guard lock(cache_mutex_);
  absl::erase_if(cache_, [&](const auto& entry) { return addresses.Contains(entry.first); });
}

}  // namespace

std::unique_ptr<Symbolizer> MakeProcessSymbolizer() { return std::make_unique<ProcessSymbolizer>(); }

}  // namespace fiberscope::pprof
