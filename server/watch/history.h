// The newest rows of health figures, in memory of a fixed size: one tier of the history.
#ifndef FIBERSCOPE_SERVER_WATCH_HISTORY_H_
#define FIBERSCOPE_SERVER_WATCH_HISTORY_H_

#include <cstddef>
#include <vector>

#include "server/watch/health.h"

namespace fiberscope::server {

struct HistoryTier {
  int samples = 1;    // that a row sums up
  size_t rows = 600;  // that are kept: about 200 bytes each
};

// Thread-compatible.
class History {
 public:
  History(const HistoryTier& tier, const HealthReading& begin) : tier_(tier), builder_(begin) { ring_.reserve(tier.rows); }

  void Add(const HealthReading& reading) {
    builder_.Add(reading);
    if (builder_.readings() < tier_.samples) return;
    if (ring_.size() < tier_.rows) {
      ring_.push_back(builder_.Take());
    } else {
      ring_[oldest_] = builder_.Take();
      oldest_ = (oldest_ + 1) % tier_.rows;
    }
  }
  // Oldest first.
  std::vector<HealthRow> rows() const {
    std::vector<HealthRow> rows;
    rows.reserve(ring_.size());
    for (size_t i = 0; i < ring_.size(); ++i) rows.push_back(ring_[(oldest_ + i) % ring_.size()]);
    return rows;
  }
  const HistoryTier& tier() const { return tier_; }

 private:
  const HistoryTier tier_;
  HealthRowBuilder builder_;
  std::vector<HealthRow> ring_;
  size_t oldest_ = 0;  // once the ring is full
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_WATCH_HISTORY_H_
