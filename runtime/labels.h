// An immutable set of key/value pairs on a fiber: the request, the tenant, the route. Children inherit it at spawn.
//
//   Labels labels = this_fiber::labels().With({{"route", "/orders"}});
//   this_fiber::SetLabels(labels);
//
// A value type: copying shares the pairs. Sorted by key, one value per key. Keys and values are arbitrary bytes; they
// are escaped where they are printed and made valid UTF-8 where a format asks for it.
//
// Thread-safe (immutable; the reference count is atomic). Cost: a copy is one atomic increment; With() allocates once.
//
// Reading from outside: a dump meets a Labels object through a control block whose fiber may drop the last reference
// at any moment. So the pairs are never freed while a LabelsReadScope exists anywhere: dropped ones wait until the last
// scope ends.
//
// Why that is enough: the owner first takes its pointer out of every control block, then drops the last reference
// (one sequentially consistent fence), then looks for scopes. A scope announces itself (the same fence), then reads
// control blocks. Either the owner sees the scope and defers, or the scope started later in the single order of the
// fences and cannot meet the pointer any more.
#ifndef FIBERSCOPE_RUNTIME_LABELS_H_
#define FIBERSCOPE_RUNTIME_LABELS_H_

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiberscope {

struct Label {
  std::string key;
  std::string value;
  bool operator==(const Label&) const = default;
};

namespace internal {
struct LabelsRep;  // the shared, reference-counted pairs
}

class Labels {
 public:
  Labels() = default;  // no labels; allocates nothing

  // Of several pairs with the same key, the last one stays.
  Labels(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs);

  Labels(const Labels& other);
  Labels(Labels&& other) noexcept : rep_(std::exchange(other.rep_, nullptr)) {}
  Labels& operator=(Labels other) noexcept {
    std::swap(rep_, other.rep_);
    return *this;
  }
  ~Labels() {
    if (rep_ != nullptr) Drop(rep_);
  }

  // These labels overlaid with `pairs`, which win.
  [[nodiscard]] Labels With(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) const;

  // Sorted by key. Valid as long as this object or a copy of it lives.
  std::span<const Label> pairs() const;

  // The value of `key`, or an empty view.
  std::string_view Get(std::string_view key) const;

  bool empty() const { return rep_ == nullptr; }
  bool operator==(const Labels& other) const;

  // For the control block, which holds one reference as a bare pointer that a dump may read.
  internal::LabelsRep* Release() && { return std::exchange(rep_, nullptr); }
  static Labels Adopt(internal::LabelsRep* rep) {  // takes over the reference
    Labels labels;
    labels.rep_ = rep;
    return labels;
  }
  static Labels Share(internal::LabelsRep* rep);  // adds a reference; the caller's stays
  // Adds a reference, for Adopt(), of one that exists meanwhile. Async-signal-safe.
  static internal::LabelsRep* AddReference(internal::LabelsRep* rep);
  static std::span<const Label> PairsOf(const internal::LabelsRep* rep);  // null: empty. See LabelsReadScope.

 private:
  static void Drop(internal::LabelsRep* rep);

  internal::LabelsRep* rep_ = nullptr;  // null: empty
};

// While one exists, a LabelsRep read from any control block stays valid. Keep it for the length of one dump; nests.
class LabelsReadScope {
 public:
  LabelsReadScope();
  ~LabelsReadScope();
  LabelsReadScope(const LabelsReadScope&) = delete;
  LabelsReadScope& operator=(const LabelsReadScope&) = delete;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_LABELS_H_
