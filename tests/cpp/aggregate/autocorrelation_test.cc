#include "llmbench/aggregate/autocorrelation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "series.h"

namespace llmbench {
namespace {

TEST(AutocorrelationTime, IsOneWhereThereIsNothingToCorrelate) {
  EXPECT_EQ(AutocorrelationTime({}), 1);
  EXPECT_EQ(AutocorrelationTime(std::vector<double>{3}), 1);
  EXPECT_EQ(AutocorrelationTime(std::vector<double>(1000, 0.1)), 1);
  EXPECT_EQ(AutocorrelationTime(std::vector<double>{1, 2, 1, 2, 1, 2}), 1) << "alternating";
}

TEST(AutocorrelationTime, OfAFirstOrderProcess) {
  std::mt19937_64 random(1);
  for (const double rho : {0.0, 0.5, 0.8, 0.95, 0.999}) {
    std::vector<double> values = Lognormal(200000, rho, 1, random);
    for (double& value : values) value = std::log(value);
    const double expected = (1 + rho) / (1 - rho);
    EXPECT_NEAR(AutocorrelationTime(values), expected, (rho > 0.99 ? 0.35 : 0.1) * expected) << rho;
  }
}

// From 16384 values on, sums of neighbours stand for what hangs together for long: both ways say the same.
TEST(AutocorrelationTime, OfALongSeriesIsThatOfAShorterOne) {
  std::mt19937_64 random(4);
  double of_short = 0, of_long = 0;
  constexpr int kRuns = 20;
  for (int run = 0; run < kRuns; ++run) {
    const std::vector<double> values = Lognormal(16384, 0.97, 0.5, random);
    of_long += AutocorrelationTime(values) / kRuns;
    of_short += AutocorrelationTime(std::span(values).first(16383)) / kRuns;
  }
  EXPECT_GT(of_short, 32);
  EXPECT_NEAR(of_long, of_short, 0.1 * of_short);
}

TEST(AutocorrelationTime, IsNeverMoreThanTheSeriesHasValues) {
  std::vector<double> rising;
  for (int i = 0; i < 3000; ++i) rising.push_back(i);
  const double time = AutocorrelationTime(rising);
  EXPECT_GT(time, 300);
  EXPECT_LE(time, 3000);
}

// Sizes around those of the blocks that are summed at once.
TEST(AutocorrelationTime, IsTheSumOfTheDefinition) {
  std::mt19937_64 random(5);
  for (size_t n = 2; n < 90; ++n) {
    const std::vector<double> values = Lognormal(n, 0.8, 1, random);
    double mean = 0;
    for (const double value : values) mean += value / static_cast<double>(n);
    auto product = [&](size_t lag) {
      double sum = 0;
      for (size_t i = 0; i + lag < n; ++i) sum += (values[i] - mean) * (values[i + lag] - mean);
      return sum;
    };
    double sum = 0;
    for (size_t lag = 0; lag < n && product(lag) + product(lag + 1) > 0; lag += 2) {
      sum += product(lag) + product(lag + 1);
    }
    const double expected = std::clamp(2 * sum / product(0) - 1, 1.0, static_cast<double>(n));
    EXPECT_NEAR(AutocorrelationTime(values), expected, 1e-9 * expected) << n;
  }
}

TEST(LaggedProducts, AreThoseOfTheDefinition) {
  std::mt19937_64 random(2);
  for (const size_t n : {1u, 2u, 7u, 64u, 100u, 1000u}) {
    const std::vector<double> values = Lognormal(n, 0.5, 1, random);
    for (const size_t lags : {2u, 8u, 64u, 256u}) {
      const std::vector<double> products = LaggedProducts(values, lags);
      ASSERT_EQ(products.size(), lags);
      for (size_t lag = 0; lag < lags; ++lag) {
        double expected = 0;
        for (size_t i = 0; i + lag < n; ++i) expected += values[i] * values[i + lag];
        ASSERT_NEAR(products[lag], expected, 1e-9 * static_cast<double>(n)) << n << " values, lag " << lag;
      }
    }
  }
}

TEST(CountExcursions, JoinsWhatIsCloseTogether) {
  struct Row {
    std::vector<int> above;
    double apart;
    uint64_t excursions;
  };
  const Row rows[] = {
      {{}, 1, 0},           {{0, 0, 0}, 1, 0},    {{1, 1, 1}, 1, 1},
      {{1, 0, 0, 1}, 2, 2}, {{1, 0, 0, 1}, 3, 1}, {{0, 1, 0, 1, 0, 0, 0, 1}, 2.5, 2},
  };
  for (const Row& row : rows) {
    const auto marks = std::make_unique<bool[]>(row.above.size());
    for (size_t i = 0; i < row.above.size(); ++i) marks[i] = row.above[i] != 0;
    EXPECT_EQ(CountExcursions({marks.get(), row.above.size()}, row.apart), row.excursions);
  }
}

}  // namespace
}  // namespace llmbench
