#include "llmbench/aggregate/autocorrelation.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <utility>

namespace llmbench {
namespace {

// Lags up to here are summed one by one, which for a series without much correlation is all there is to do.
constexpr size_t kDirectLags = 32;
constexpr size_t kFirstTransformedLags = 512;
constexpr size_t kMoreLags = 8;  // times as many, when those were not enough
// A series so long that hangs together over more than kDirectLags is as well described by sums of neighbours.
constexpr size_t kLong = size_t{1} << 13;
constexpr size_t kNeighbours = 16;

struct Complex {
  double re = 0, im = 0;
};

// Forward transforms of one size, a power of two, in place: iterative, radix 2.
class Fourier {
 public:
  explicit Fourier(size_t size) : reversed_(size), roots_(size / 2) {
    const int bits = std::bit_width(size) - 1;
    for (size_t i = 1; i < size; ++i) reversed_[i] = reversed_[i / 2] / 2 | (i & 1) << (bits - 1);
    for (size_t i = 0; i < roots_.size(); ++i) {
      const double angle = -2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(size);
      roots_[i] = {std::cos(angle), std::sin(angle)};
    }
  }

  void Transform(std::vector<Complex>& values) const {
    const size_t size = values.size();
    for (size_t i = 0; i < size; ++i) {
      if (i < reversed_[i]) std::swap(values[i], values[reversed_[i]]);
    }
    for (size_t half = 1; half < size; half *= 2) {
      const size_t stride = size / 2 / half;
      for (size_t block = 0; block < size; block += 2 * half) {
        for (size_t i = 0; i < half; ++i) {
          Complex& low = values[block + i];
          Complex& high = values[block + half + i];
          const Complex root = roots_[i * stride];
          const Complex turned{high.re * root.re - high.im * root.im, high.re * root.im + high.im * root.re};
          high = {low.re - turned.re, low.im - turned.im};
          low = {low.re + turned.re, low.im + turned.im};
        }
      }
    }
  }

 private:
  std::vector<size_t> reversed_;
  std::vector<Complex> roots_;
};

// Several sums side by side: shorter chains of additions, and smaller rounding errors.
constexpr size_t kSums = 8;

// Adds up products from i on, below `size`, to what the sums already hold.
[[gnu::always_inline]] inline double Finish(double (&sums)[kSums], const double* a, const double* b, size_t i,
                                            size_t size) {
  for (; i + kSums <= size; i += kSums) {
    for (size_t j = 0; j < kSums; ++j) sums[j] += a[i + j] * b[i + j];
  }
  for (; i < size; ++i) sums[0] += a[i] * b[i];
  double sum = 0;
  for (const double each : sums) sum += each;
  return sum;
}

double Product(std::span<const double> a, std::span<const double> b) {
  double sums[kSums] = {};
  return Finish(sums, a.data(), b.data(), 0, a.size());
}

// The products of a series with itself, `lag` and lag + 1 later, where that is less than its size. In one
// walk: two chains of additions are done in the time of one.
struct TwoProducts {
  double even, odd;
};

[[gnu::always_inline]] inline TwoProducts LaggedPair(std::span<const double> series, size_t lag) {
  const double* x = series.data();
  const size_t even_size = series.size() - lag, odd_size = even_size - 1;
  double even[kSums] = {}, odd[kSums] = {};
  size_t i = 0;
  for (; i + kSums <= odd_size; i += kSums) {
    for (size_t j = 0; j < kSums; ++j) {
      even[j] += x[i + j] * x[i + j + lag];
      odd[j] += x[i + j] * x[i + j + lag + 1];
    }
  }
  return {Finish(even, x, x + lag, i, even_size), Finish(odd, x, x + lag + 1, i, odd_size)};
}

#if defined(__x86_64__)
// Twice as wide, and, without fused multiplication, to the same bits.
[[gnu::target("avx2")]] TwoProducts WideLaggedPair(std::span<const double> series, size_t lag) {
  return LaggedPair(series, lag);
}
TwoProducts ProductsAt(std::span<const double> series, size_t lag) {
  static const bool wide = __builtin_cpu_supports("avx2");
  return wide ? WideLaggedPair(series, lag) : LaggedPair(series, lag);
}
#else
TwoProducts ProductsAt(std::span<const double> series, size_t lag) { return LaggedPair(series, lag); }
#endif

double Mean(std::span<const double> values) {
  constexpr size_t kBlock = 4096;
  double sum = 0;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    double block = 0;
    for (const double value : values.subspan(begin, std::min(kBlock, values.size() - begin))) block += value;
    sum += block;
  }
  return sum / static_cast<double>(values.size());
}

}  // namespace

double AutocorrelationTime(std::span<const double> series) {
  const size_t n = series.size();
  if (n < 2) return 1;
  const auto [min, max] = std::minmax_element(series.begin(), series.end());
  if (*min == *max) return 1;
  const double mean = Mean(series);
  std::vector<double> centred(series.begin(), series.end());
  for (double& value : centred) value -= mean;
  const std::span<const double> x = centred;
  const double variance = Product(x, x);
  if (!(variance > 0)) return 1;  // it underflowed

  double sum = 0;
  // False at the end of the positive pairs.
  auto add = [&sum](double even, double odd) {
    if (even + odd <= 0) return false;
    sum += even + odd;
    return true;
  };
  auto time = [&] { return std::clamp(2 * sum / variance - 1, 1.0, static_cast<double>(n)); };
  size_t lag = 0;
  for (; lag < kDirectLags; lag += 2) {
    const TwoProducts products = lag + 1 < n    ? ProductsAt(x, lag)
                                 : lag + 1 == n ? TwoProducts{Product(x.first(1), x.subspan(lag)), 0}
                                                : TwoProducts{0, 0};
    if (!add(products.even, products.odd)) return time();
  }
  if (n >= kLong) {
    // The variance of the total is the same from the sums as from the values.
    std::vector<double> sums(n / kNeighbours);
    for (size_t i = 0; i < sums.size() * kNeighbours; ++i) sums[i / kNeighbours] += x[i];
    const double growth = Product(sums, sums) / variance;
    return std::clamp(AutocorrelationTime(sums) * growth, 1.0, static_cast<double>(n));
  }
  for (size_t lags = kFirstTransformedLags; lag < n; lags *= kMoreLags) {
    const std::vector<double> products = LaggedProducts(x, std::min(lags, std::bit_ceil(n)));
    for (; lag < products.size(); lag += 2) {
      if (!add(products[lag], products[lag + 1])) return time();
    }
  }
  return time();
}

std::vector<double> LaggedProducts(std::span<const double> series, size_t lags) {
  // Each block of `lags` values is correlated with itself and the block after it. Both are real, so one
  // transform does for both: block in the real part, block and next in the imaginary one.
  const size_t block = std::bit_ceil(std::max<size_t>(lags, 2));
  const size_t size = 2 * block;
  const Fourier fourier(size);
  std::vector<Complex> values(size);
  std::vector<Complex> spectrum(size);
  for (size_t begin = 0; begin < series.size(); begin += block) {
    const size_t left = series.size() - begin;
    for (size_t i = 0; i < size; ++i) {
      const double value = i < left ? series[begin + i] : 0;
      values[i] = {i < block ? value : 0, value};
    }
    fourier.Transform(values);
    for (size_t i = 0; i < size; ++i) {
      const Complex a = values[i];
      const Complex b = values[(size - i) % size];
      const Complex first{(a.re + b.re) / 2, (a.im - b.im) / 2};
      const Complex both{(a.im + b.im) / 2, (b.re - a.re) / 2};
      // conj(first) · both
      spectrum[i].re += first.re * both.re + first.im * both.im;
      spectrum[i].im += first.re * both.im - first.im * both.re;
    }
  }
  // Backwards: the forward transform of the conjugate, conjugated, of which only the real part is not zero.
  for (Complex& value : spectrum) value.im = -value.im;
  fourier.Transform(spectrum);
  std::vector<double> products(lags);
  for (size_t k = 0; k < lags; ++k) products[k] = spectrum[k].re / static_cast<double>(size);
  return products;
}

uint64_t CountExcursions(std::span<const bool> above, double apart) {
  uint64_t excursions = 0;
  size_t last = 0;
  for (size_t i = 0; i < above.size(); ++i) {
    if (!above[i]) continue;
    excursions += excursions == 0 || static_cast<double>(i - last) > apart;
    last = i;
  }
  return excursions;
}

}  // namespace llmbench
