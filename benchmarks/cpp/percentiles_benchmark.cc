// From rows to numbers: selection against a full sort, the histogram, and the summary of a whole run.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "llmbench/aggregate/gap_sample.h"
#include "llmbench/aggregate/latency_histogram.h"
#include "llmbench/aggregate/percentiles.h"
#include "llmbench/aggregate/run_summary.h"
#include "llmbench/base/clock.h"

namespace llmbench {
namespace {

const std::vector<double> kPercents = {50, 90, 95, 99};

std::vector<double> Latencies(int64_t n) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> latency(std::log(20e6), 0.5);
  std::vector<double> values(static_cast<size_t>(n));
  for (double& value : values) value = latency(random);
  return values;
}

void SelectPercentiles(benchmark::State& state) {
  const std::vector<double> values = Latencies(state.range(0));
  std::vector<double> copy;
  for (auto _ : state) {
    copy = values;
    benchmark::DoNotOptimize(Percentiles(copy, kPercents));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(SelectPercentiles)->Arg(1000)->Arg(1'000'000)->Unit(benchmark::kMicrosecond);

void SortAll(benchmark::State& state) {
  const std::vector<double> values = Latencies(state.range(0));
  std::vector<double> copy;
  for (auto _ : state) {
    copy = values;
    std::sort(copy.begin(), copy.end());
    benchmark::DoNotOptimize(copy.data());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(SortAll)->Arg(1000)->Arg(1'000'000)->Unit(benchmark::kMicrosecond);

void SelectWeightedPercentiles(benchmark::State& state) {
  const std::vector<double> values = Latencies(state.range(0));
  std::vector<WeightedValue> pairs(values.size());
  for (auto _ : state) {
    for (size_t i = 0; i < values.size(); ++i) pairs[i] = {values[i], static_cast<double>(1 + i % 4)};
    benchmark::DoNotOptimize(WeightedPercentiles(pairs, kPercents));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(SelectWeightedPercentiles)->Arg(1'000'000)->Unit(benchmark::kMicrosecond);

void RecordInHistogram(benchmark::State& state) {
  const std::vector<double> values = Latencies(4096);
  LatencyHistogram histogram;
  size_t i = 0;
  for (auto _ : state) histogram.Record(static_cast<int64_t>(values[i++ % values.size()]));
}
BENCHMARK(RecordInHistogram);

void HistogramPercentile(benchmark::State& state) {
  LatencyHistogram histogram;
  for (const double value : Latencies(100'000)) histogram.Record(static_cast<int64_t>(value));
  for (auto _ : state) benchmark::DoNotOptimize(histogram.Percentile(0.99));
}
BENCHMARK(HistogramPercentile);

// Requests of 100 events each.
void SummarizeRun(benchmark::State& state) {
  constexpr int64_t kEvents = 100;
  const int64_t n = state.range(0);
  std::mt19937_64 random(2);
  RecordTable table;
  table.event_offsets.push_back(0);
  for (int64_t i = 0; i < n; ++i) {
    RequestRecord& r = table.requests.emplace_back();
    r.id = i;
    r.outcome = Outcome::kOk;
    r.scheduled_ns = r.slot_ns = r.connected_ns = r.sent_ns = i * kNsPerMs;
    int64_t t_ns = r.sent_ns + static_cast<int64_t>(random() % (100 * kNsPerMs));
    r.first_byte_ns = r.first_token_ns = r.first_answer_ns = t_ns;
    for (int64_t e = 0; e < kEvents; ++e) {
      table.event_times_ns.push_back(t_ns);
      t_ns += static_cast<int64_t>(random() % (20 * kNsPerMs));
    }
    r.last_token_ns = table.event_times_ns.back();
    r.end_ns = r.last_token_ns + 100'000;
    r.events = r.output_tokens = kEvents;
    r.token_source = TokenSource::kUsage;
    table.event_offsets.push_back(static_cast<int64_t>(table.event_times_ns.size()));
  }
  table.event_tokens.resize(table.event_times_ns.size());
  table.event_flags.resize(table.event_times_ns.size());
  SummaryOptions options;
  options.goodput = {{"ttft", 50}, {"tpot", 10}};
  for (auto _ : state) benchmark::DoNotOptimize(Summarize(table, options));
  state.SetItemsProcessed(state.iterations() * n * kEvents);
}
BENCHMARK(SummarizeRun)->Arg(1000)->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace llmbench

BENCHMARK_MAIN();
