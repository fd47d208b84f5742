#include "llmbench/schedule/arrivals.h"

#include <algorithm>
#include <boost/math/distributions/gamma.hpp>
#include <cmath>
#include <limits>
#include <string>

#include "llmbench/base/clock.h"

namespace llmbench {
namespace {

using boost::math::policies::errno_on_error;
using boost::math::policies::policy;

// An error gives a value (±inf) rather than an exception.
using NoThrow = policy<boost::math::policies::domain_error<errno_on_error>,
                       boost::math::policies::pole_error<errno_on_error>,
                       boost::math::policies::overflow_error<errno_on_error>,
                       boost::math::policies::evaluation_error<errno_on_error>>;

// The rate that holds for the gap after request i.
class RateCurve {
 public:
  explicit RateCurve(const ArrivalSpec& spec)
      : ramp_(spec.ramp_requests > 0 ? spec.ramp : RampUp::kNone),
        start_(spec.ramp_start_rate),
        end_(spec.rate),
        requests_(spec.ramp_requests) {}

  double At(uint64_t i) const {
    if (ramp_ == RampUp::kNone || i >= requests_) return end_;
    const double progress = static_cast<double>(i) / static_cast<double>(requests_);
    if (ramp_ == RampUp::kLinear) return start_ + (end_ - start_) * progress;
    return start_ * std::pow(end_ / start_, progress);
  }

 private:
  RampUp ramp_;
  double start_, end_;
  uint64_t requests_;
};

// Gaps with mean 1 from a distribution, divided by the rate; the sum is kept in seconds so that no rounding
// adds up.
template <typename Gap>
class GapArrivals : public ArrivalProcess {
 public:
  GapArrivals(const ArrivalSpec& spec, Gap gap)
      : rate_(spec), rng_(spec.seed, ChanceStream::kWhen), gap_(std::move(gap)) {}

  int64_t NextOffset() override {
    const double at = seconds_;
    seconds_ += gap_(rng_, next_) / rate_.At(next_);
    ++next_;
    if (!(at < 1e9)) return std::numeric_limits<int64_t>::max();
    return static_cast<int64_t>(at * static_cast<double>(kNsPerSecond));
  }

 private:
  RateCurve rate_;
  CounterRng rng_;
  Gap gap_;
  uint64_t next_ = 0;
  double seconds_ = 0;
};

struct ConstantGap {
  double operator()(const CounterRng&, uint64_t) const { return 1; }
};

struct ExponentialGap {
  double operator()(const CounterRng& rng, uint64_t i) const { return -std::log(rng.Uniform(i)); }
};

// Inverse of the distribution function: one number of the stream per gap, so that request i always has gap i.
struct GammaGap {
  double shape;
  double operator()(const CounterRng& rng, uint64_t i) const {
    const boost::math::gamma_distribution<double, NoThrow> gamma(shape, 1 / shape);
    return std::max(0.0, boost::math::quantile(gamma, rng.Uniform(i)));
  }
};

// Without a ramp no error adds up: request i goes at i / rate.
class ConstantArrivals : public ArrivalProcess {
 public:
  explicit ConstantArrivals(double rate) : gap_ns_(static_cast<double>(kNsPerSecond) / rate) {}
  int64_t NextOffset() override {
    const double at = static_cast<double>(next_++) * gap_ns_;
    return at < 1e18 ? std::llround(at) : std::numeric_limits<int64_t>::max();
  }

 private:
  const double gap_ns_;
  uint64_t next_ = 0;
};

class BurstArrivals : public ArrivalProcess {
 public:
  int64_t NextOffset() override { return 0; }
};

class TraceArrivals : public ArrivalProcess {
 public:
  explicit TraceArrivals(std::vector<int64_t> times) : times_(std::move(times)) {}
  int64_t NextOffset() override {
    return next_ < times_.size() ? times_[next_++] : std::numeric_limits<int64_t>::max();
  }

 private:
  std::vector<int64_t> times_;
  size_t next_ = 0;
};

bool Positive(double value) { return std::isfinite(value) && value > 0; }

template <typename Gap>
std::unique_ptr<ArrivalProcess> MakeGapArrivals(const ArrivalSpec& spec, Gap gap) {
  return std::make_unique<GapArrivals<Gap>>(spec, std::move(gap));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ArrivalProcess>> MakeArrivalProcess(const ArrivalSpec& spec) {
  const bool paced =
      spec.kind == Arrival::kConstant || spec.kind == Arrival::kPoisson || spec.kind == Arrival::kGamma;
  if (paced && !Positive(spec.rate)) {
    return absl::InvalidArgumentError("request rate is " + std::to_string(spec.rate) +
                                      "; it must be a positive number of requests per second, or inf");
  }
  if (paced && spec.ramp != RampUp::kNone && !Positive(spec.ramp_start_rate)) {
    return absl::InvalidArgumentError("ramp-up start rate is " + std::to_string(spec.ramp_start_rate) +
                                      "; it must be positive");
  }
  switch (spec.kind) {
    case Arrival::kConstant:
      if (spec.ramp != RampUp::kNone) return MakeGapArrivals(spec, ConstantGap{});
      return std::unique_ptr<ArrivalProcess>(std::make_unique<ConstantArrivals>(spec.rate));
    case Arrival::kPoisson:
      return MakeGapArrivals(spec, ExponentialGap{});
    case Arrival::kGamma:
      if (!Positive(spec.burstiness)) {
        return absl::InvalidArgumentError("burstiness is " + std::to_string(spec.burstiness) +
                                          "; it must be positive (1 is Poisson, less is burstier)");
      }
      return MakeGapArrivals(spec, GammaGap{spec.burstiness});
    case Arrival::kTrace: {
      const auto bad = std::is_sorted_until(spec.trace_ns.begin(), spec.trace_ns.end());
      if (bad != spec.trace_ns.end()) {
        return absl::InvalidArgumentError("trace goes back in time at entry " +
                                          std::to_string(bad - spec.trace_ns.begin()) + "; sort it by time");
      }
      if (!spec.trace_ns.empty() && spec.trace_ns.front() < 0) {
        return absl::InvalidArgumentError(
            "trace starts before 0; its times count from the start of the load");
      }
      return std::unique_ptr<ArrivalProcess>(std::make_unique<TraceArrivals>(spec.trace_ns));
    }
    case Arrival::kBurst:
    case Arrival::kClosed:
      break;
  }
  return std::unique_ptr<ArrivalProcess>(std::make_unique<BurstArrivals>());
}

int64_t ClosedLoopStart(const ArrivalSpec& spec, uint64_t slot, uint64_t slots) {
  if (!(spec.closed_ramp_s > 0) || slots == 0) return 0;
  const double share = spec.closed_ramp_random ? CounterRng(spec.seed, ChanceStream::kWhen).Uniform(slot)
                                               : static_cast<double>(slot) / static_cast<double>(slots);
  return static_cast<int64_t>(share * spec.closed_ramp_s * static_cast<double>(kNsPerSecond));
}

}  // namespace llmbench
