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

// Large samples are cut into parts: who walks them must not show.
TEST(GapSample, IsTheSameForAnyNumberOfThreads) {
  std::mt19937_64 random(5);
  std::lognormal_distribution<double> lognormal(std::log(1e7), 2);  // some beyond 4.29 s
  for (const uint32_t most_tokens : {1u, 3u}) {
    GapSample sample;
    std::vector<double> plain;
    for (int request = 0; request < 11'000; ++request) {
      for (int i = 0; i < 100; ++i) {
        const auto gap = static_cast<int64_t>(lognormal(random));
        const uint32_t tokens = 1 + static_cast<uint32_t>(random() % most_tokens);
        sample.Add(gap, tokens);
        for (uint32_t k = 0; k < tokens; ++k) plain.push_back(static_cast<double>(gap) / tokens);
      }
      sample.EndRequest(true);
    }
    const GapView one(sample, GapUnit::kTokens, nullptr, 1), three(sample, GapUnit::kTokens, nullptr, 3);
    ExpectValues(three, plain);
    EXPECT_EQ(one.Describe().mean, three.Describe().mean);
    EXPECT_EQ(one.Describe().deviation, three.Describe().deviation);
    const std::vector<double> levels = one.Percentiles(kPercents);
    EXPECT_EQ(levels, three.Percentiles(kPercents));
    const GapView::PerRequest a = one.ByRequest(levels), b = three.ByRequest(levels);
    EXPECT_EQ(a.sizes, b.sizes);
    EXPECT_EQ(a.sums, b.sums);
    EXPECT_EQ(a.at_most, b.at_most);
  }
}

TEST(GapSample, RangesLeaveOutWhatEndsOutside) {
  const GapSample sample = SampleOf({{{10}, {20}, {kLong + 5}}, {}, {{10}, {10}, {10}}});
  const std::vector<int64_t> first_ns = {100, 100, 500};
  const std::vector<GapRange> ranges = RangesWithin(sample, first_ns, 130, 521);
  ExpectValues(GapView(sample, GapUnit::kChunks, &ranges), {20, 10, 10});
  const std::vector<GapRange> none = RangesWithin(sample, first_ns, 0, 1);
  EXPECT_EQ(GapView(sample, GapUnit::kChunks, &none).size(), 0u);
  const std::vector<GapRange> late = RangesWithin(sample, first_ns, 1000, INT64_MAX);
  ExpectValues(GapView(sample, GapUnit::kChunks, &late), {static_cast<double>(kLong + 5)});
}

}  // namespace
}  // namespace llmbench
