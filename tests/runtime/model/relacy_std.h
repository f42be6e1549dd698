// Puts Relacy's atomics in the place of the standard's, so that a model runs a header of ours itself and no copy of it:
//
//   #include "tests/runtime/model/relacy_std.h"   // after all headers of the standard that the checked one needs
//   #define std fiberscope::testing::model_std
//   #include "runtime/wait_claim.h"
//   #undef std
//
// Such code is mutated without being written again: a Weakening takes away, from all operations of a kind, what they promise.
#ifndef FIBERSCOPE_TESTS_RUNTIME_MODEL_RELACY_STD_H_
#define FIBERSCOPE_TESTS_RUNTIME_MODEL_RELACY_STD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "tests/runtime/model/relacy.h"

// Relacy's names for code that is written for it.
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free

namespace fiberscope::testing {

enum class Weakening {
  kNone,
  kRelaxedLoads,
  kRelaxedStores,
  kRelaxedExchanges,  // every read-modify-write
  kTornExchanges,     // compare-exchange and exchange are a load and a store
};
inline Weakening g_weakening = Weakening::kNone;

namespace model_std {

using namespace std;  // what is declared here goes before

inline constexpr rl::memory_order memory_order_relaxed = rl::mo_relaxed;
inline constexpr rl::memory_order memory_order_acquire = rl::mo_acquire;
inline constexpr rl::memory_order memory_order_release = rl::mo_release;
inline constexpr rl::memory_order memory_order_acq_rel = rl::mo_acq_rel;
inline constexpr rl::memory_order memory_order_seq_cst = rl::mo_seq_cst;

template <typename T>
class atomic {
 public:
  atomic(T value = T()) { value_.store(value, rl::mo_relaxed, $); }

  T load(rl::memory_order order) const { return value_.load(Weakened(order, Weakening::kRelaxedLoads), $); }
  void store(T value, rl::memory_order order) { value_.store(value, Weakened(order, Weakening::kRelaxedStores), $); }
  T exchange(T value, rl::memory_order order) {
    if (g_weakening != Weakening::kTornExchanges) {
      return value_.exchange(value, Weakened(order, Weakening::kRelaxedExchanges), $);
    }
    const T before = value_.load(rl::mo_seq_cst, $);
    value_.store(value, rl::mo_seq_cst, $);
    return before;
  }
  T fetch_add(T value, rl::memory_order order) { return value_.fetch_add(value, Weakened(order, Weakening::kRelaxedExchanges), $); }
  T fetch_or(T value, rl::memory_order order) { return value_.fetch_or(value, Weakened(order, Weakening::kRelaxedExchanges), $); }
  // Never fails without a reason: our loops would only go round again, and each such failure doubles what there is to check.
  bool compare_exchange_weak(T& expected, T value, rl::memory_order success, rl::memory_order failure) {
    if (g_weakening == Weakening::kTornExchanges) {
      const T before = value_.load(rl::mo_seq_cst, $);
      const bool equal = before == expected;
      if (equal) value_.store(value, rl::mo_seq_cst, $);
      expected = before;
      return equal;
    }
    return value_.compare_exchange_strong(expected, value, Weakened(success, Weakening::kRelaxedExchanges), $,
                                          Weakened(failure, Weakening::kRelaxedExchanges), $);
  }

 private:
  static rl::memory_order Weakened(rl::memory_order order, Weakening kind) { return g_weakening == kind ? rl::mo_relaxed : order; }

  rl::atomic<T> value_;
};

}  // namespace model_std

// Whether all interleavings of the model end well when its atomics are weakened so.
template <typename Model>
bool WeakenedModelHolds(Weakening weakening, unsigned context_switches) {
  g_weakening = weakening;
  const bool holds = ModelHolds<Model>(context_switches);
  g_weakening = Weakening::kNone;
  return holds;
}

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_RUNTIME_MODEL_RELACY_STD_H_
