#include "llmbench/aggregate/gap_sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "llmbench/aggregate/percentiles.h"

namespace llmbench {
namespace {

constexpr int64_t kLong = (int64_t{1} << 32) - 1;  // the first gap that does not fit in four bytes
const std::vector<double> kPercents = {0, 1, 50, 90, 99, 99.9, 100, 33.3};

struct Gap {
  int64_t ns;
  uint32_t tokens = 1;
};

GapSample SampleOf(const std::vector<std::vector<Gap>>& requests, const std::vector<bool>& known = {}) {
  GapSample sample;
  for (size_t i = 0; i < requests.size(); ++i) {
    for (const Gap& gap : requests[i]) sample.Add(gap.ns, gap.tokens);
    sample.EndRequest(known.empty() || known[i]);
  }
  return sample;
}

// Against plain values, each written out as often as it counts.
void ExpectValues(const GapView& view, std::vector<double> plain) {
  ASSERT_EQ(view.size(), plain.size());
  double sum = 0, squares = 0;
  for (const double gap : plain) sum += gap;
  const double mean = sum / static_cast<double>(plain.size());
  for (const double gap : plain) squares += (gap - mean) * (gap - mean);
  const GapView::Moments moments = view.Describe();
  EXPECT_NEAR(moments.mean, mean, 1e-9 * mean);
  EXPECT_NEAR(moments.deviation, std::sqrt(squares / static_cast<double>(plain.size())), 1e-9 * mean + 1e-9);
  const std::vector<double> found = view.Percentiles(kPercents);
  const std::vector<double> expected = Percentiles(plain, kPercents);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_DOUBLE_EQ(found[i], expected[i]) << kPercents[i];
  EXPECT_EQ(moments.min, found[0]);
  EXPECT_EQ(moments.max, found[6]);
}

void ExpectSameAsPlainValues(const std::vector<int64_t>& gaps) {
  GapSample sample;
  for (const int64_t gap : gaps) {
    sample.Add(gap);
    if (gap % 3 == 0) sample.EndRequest(true);
  }
  sample.EndRequest(true);
  ExpectValues(GapView(sample, GapUnit::kChunks), std::vector<double>(gaps.begin(), gaps.end()));
  ExpectValues(GapView(sample, GapUnit::kTokens), std::vector<double>(gaps.begin(), gaps.end()));
}

TEST(GapSample, IsExactWhateverTheLengths) {
  ExpectSameAsPlainValues({5});
  ExpectSameAsPlainValues({kLong});
  ExpectSameAsPlainValues({kLong - 1, kLong, 0});
  ExpectSameAsPlainValues({kLong + 7, 3 * kLong, kLong + 6});
  std::mt19937_64 random(3);
  for (const int64_t longest : {int64_t{100}, kLong, 4 * kLong}) {
    std::vector<int64_t> gaps;
    for (int i = 0; i < 3001; ++i)
      gaps.push_back(static_cast<int64_t>(random() % static_cast<uint64_t>(longest)));
    ExpectSameAsPlainValues(gaps);
  }
}

TEST(GapSample, AGapStandsForEachOfItsTokens) {
  const GapSample sample = SampleOf({{{10}, {30, 3}}, {{7, 2}, {2 * kLong, 4}}});
  ExpectValues(GapView(sample, GapUnit::kChunks), {10, 30, 7, 2.0 * kLong});
  ExpectValues(GapView(sample, GapUnit::kTokens),
               {10, 10, 10, 10, 3.5, 3.5, kLong / 2.0, kLong / 2.0, kLong / 2.0, kLong / 2.0});
}

TEST(GapSample, RequestsOfUnknownTokensHaveGapsBetweenChunksAlone) {
  const GapSample sample = SampleOf({{{10}, {kLong}}, {{20}, {2 * kLong}}, {}}, {true, false, true});
  ExpectValues(GapView(sample, GapUnit::kChunks), {10, 20, 1.0 * kLong, 2.0 * kLong});
  ExpectValues(GapView(sample, GapUnit::kTokens), {10, 1.0 * kLong});
}

TEST(GapSample, CountsByRequest) {
  const GapSample sample = SampleOf({{{10}, {30, 3}}, {}, {{7}, {12}, {kLong}}});
  const std::vector<double> levels = {10, 12};
  const GapView::PerRequest tokens = GapView(sample, GapUnit::kTokens).ByRequest(levels);
  EXPECT_EQ(tokens.sizes, (std::vector<uint32_t>{4, 0, 3}));
  EXPECT_EQ(tokens.sums, (std::vector<double>{40, 0, 19.0 + kLong}));
  EXPECT_EQ(tokens.at_most[0], (std::vector<uint32_t>{4, 0, 1}));
  EXPECT_EQ(tokens.at_most[1], (std::vector<uint32_t>{4, 0, 2}));
  const GapView::PerRequest chunks = GapView(sample, GapUnit::kChunks).ByRequest(levels);
  EXPECT_EQ(chunks.sizes, (std::vector<uint32_t>{2, 0, 3}));
  EXPECT_EQ(chunks.at_most[0], (std::vector<uint32_t>{1, 0, 1}));
}

TEST(GapSample, NegativeGapsCountAsNone) {
  const GapSample sample = SampleOf({{{-5}}});
  const GapView view(sample, GapUnit::kChunks);
  EXPECT_EQ(view.Describe().min, 0);
  EXPECT_EQ(view.Percentiles(std::vector<double>{50})[0], 0);
}

TEST(GapSample, EmptyHasNoPercentiles) {
  const GapSample sample;
  const GapView view(sample, GapUnit::kChunks);
  EXPECT_EQ(view.size(), 0u);
  EXPECT_TRUE(std::isnan(view.Percentiles(std::vector<double>{50})[0]));
}

}  // namespace
}  // namespace llmbench
