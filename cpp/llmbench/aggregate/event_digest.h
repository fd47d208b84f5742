// What a summary needs of a run's events, taken in row by row so that the events themselves need not be kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "llmbench/aggregate/gap_sample.h"
#include "llmbench/record/request_record.h"

namespace llmbench {

// [begin, end) in nanoseconds since the run's start; by default the whole run.
struct MeasureWindow {
  int64_t begin_ns = kNoTime;
  int64_t end_ns = std::numeric_limits<int64_t>::max();

  bool whole() const { return begin_ns == kNoTime && end_ns == std::numeric_limits<int64_t>::max(); }
  bool Contains(int64_t t_ns) const { return t_ns >= begin_ns && t_ns < end_ns; }
  // A request belongs to the window it was sent in, or, when it never was, scheduled in; to none when it
  // belongs to the warm-up.
  bool Owns(const RequestRecord& r) const {
    return r.phase != Phase::kWarmup &&
           (whole() || Contains(r.sent_ns != kNoTime ? r.sent_ns : r.scheduled_ns));
  }
  // Whether what a request did in the window counts. A window with a beginning takes what came in it, also of
  // requests that were sent in the warm-up and still ran; the whole run knows nothing of these.
  bool Sees(const RequestRecord& r) const { return r.phase != Phase::kWarmup || begin_ns != kNoTime; }
};

// Amounts by the second in which they came, counted from `origin_ns`. What came before that, or more than 48
// days after, is left out.
class SecondBins {
 public:
  explicit SecondBins(int64_t origin_ns) : origin_ns_(origin_ns) {}

  void Add(int64_t t_ns, double amount);
  // Where the second ends that t_ns lies in; the origin when that lies ahead.
  int64_t EndOfSecond(int64_t t_ns) const;
  // The whole seconds before end_ns, those in which nothing came included.
  std::vector<double> Until(int64_t end_ns) const;
  // What came in [begin_ns, end_ns), which are whole seconds from the origin.
  SecondBins Within(int64_t begin_ns, int64_t end_ns) const;
  double sum() const;

 private:
  static constexpr size_t kMostBins = size_t{1} << 22;

  int64_t origin_ns_;
  std::vector<double> bins_;
};

// Rows of the warm-up contribute what a window Sees, failed ones nothing.
class EventDigest {
 public:
  explicit EventDigest(const MeasureWindow& window)
      : window_(window), output_tokens_(0), events_by_second_(0), merged_by_second_(0) {}

  void Reserve(size_t rows, size_t most_events) { gaps_->Reserve(most_events, rows); }
  // Rows in their order, with all their events.
  void Add(const RequestRecord& r, std::span<const int64_t> times_ns, std::span<const uint32_t> tokens,
           std::span<const uint8_t> flags);

  // What a digest of `window` would be, from one of the whole run and the rows it was made of. Nothing when
  // the window does not begin and end with a second of output_tokens(), or when requests of the warm-up ran
  // in it.
  std::optional<EventDigest> Within(const MeasureWindow& window, std::span<const RequestRecord> rows) const;

  // Those of ok requests, one after the other, that ended in the window.
  GapView gaps(GapUnit unit, size_t threads = 1) const {
    return GapView(*gaps_, unit, ranges_.empty() ? nullptr : &ranges_, threads);
  }
  // Indices of the rows that are the requests of gaps().
  std::span<const uint32_t> gap_rows() const { return gap_rows_; }

  // Ok requests of the window; those with as many tokens as events; those that say how many each event holds.
  uint64_t ok = 0, one_token_each = 0, counted = 0;
  // Of the whole run: ok requests whose usage can be held against what their events say they hold, and those
  // where the two disagree. The end token comes without output, so one less is no disagreement.
  uint64_t usage_checked = 0, usage_apart = 0;
  // That came in the window, of ok and cut requests. A request's tokens are spread over its events by the
  // counts these carry, else evenly; without events they came with the end.
  double tokens_in_window = 0;
  uint64_t events = 0, merged_events = 0;
  // From the first row that was sent, or from the window's begin.
  int64_t origin_ns() const { return origin_ns_; }
  const SecondBins& output_tokens() const { return output_tokens_; }

 private:
  void AddTokens(const RequestRecord& r, std::span<const int64_t> times_ns, std::span<const uint32_t> tokens,
                 std::span<const uint8_t> flags, bool all_counted);
  void AddGaps(const RequestRecord& r, std::span<const int64_t> times_ns, std::span<const uint32_t> tokens,
               bool all_counted);

  const MeasureWindow window_;
  int64_t origin_ns_ = kNoTime;
  int64_t warmup_end_ns_ = kNoTime;  // of the last of its requests
  uint32_t rows_ = 0;
  std::shared_ptr<GapSample> gaps_ = std::make_shared<GapSample>();  // shared with digests of parts of it
  std::vector<GapRange> ranges_;                                     // of gaps_; empty: all of them
  std::vector<uint32_t> gap_rows_;
  SecondBins output_tokens_, events_by_second_, merged_by_second_;
};

}  // namespace llmbench
