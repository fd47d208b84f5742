#include "llmbench/sim/batching_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "llmbench/sim/chance.h"
#include "llmbench/sim/deployment.h"
#include "simulated_load.h"

namespace llmbench::sim {
namespace {

constexpr int64_t kNever = BatchingModel::kNever;

// 10 ms a step, 1 ms a decoded sequence, 0.1 ms a prompt token.
StepCosts RoundCosts() {
  StepCosts costs;
  costs.base_s = 10e-3;
  costs.decode_s = 1e-3;
  costs.prefill_token_s = 0.1e-3;
  return costs;
}

BatchingModel Model(const BatchingLimits& limits, const StepCosts& costs = RoundCosts(), uint64_t seed = 0) {
  return BatchingModel(limits, costs, ChanceOf(Question::kStepTime, seed, 0));
}

SequenceSpec Spec(uint64_t owner, int64_t prompt, int64_t output, std::vector<uint64_t> hashes = {}) {
  return {owner, prompt, output, std::move(hashes)};
}

std::vector<TokenEvent> FinishStep(BatchingModel* model) {
  std::vector<TokenEvent> tokens;
  model->FinishStep(&tokens);
  return tokens;
}

// Runs to the end; how many tokens each owner got.
std::vector<int64_t> Drain(BatchingModel* model, size_t owners) {
  std::vector<int64_t> tokens(owners);
  while (model->next_ns() != kNever) {
    for (const TokenEvent& token : FinishStep(model)) ++tokens.at(token.owner);
  }
  return tokens;
}

TEST(BatchingModelTest, AloneASequenceIsPrefilledInOneStepAndThenDecoded) {
  BatchingModel model = Model({});
  EXPECT_EQ(model.next_ns(), kNever);
  model.Add(Spec(7, 100, 3), 1'000);
  EXPECT_EQ(model.next_ns(), 1'000 + 20 * kNsPerMs);  // 10 + 100 × 0.1

  std::vector<TokenEvent> tokens = FinishStep(&model);
  ASSERT_EQ(tokens.size(), 1u);
  EXPECT_EQ(tokens[0].owner, 7u);
  EXPECT_TRUE(tokens[0].first);
  EXPECT_FALSE(tokens[0].last);
  EXPECT_EQ(model.next_ns(), 1'000 + 31 * kNsPerMs);  // + 10 + 1

  FinishStep(&model);
  tokens = FinishStep(&model);
  ASSERT_EQ(tokens.size(), 1u);
  EXPECT_TRUE(tokens[0].last);
  EXPECT_EQ(model.next_ns(), kNever);
  EXPECT_EQ(model.steps(), 3);
  EXPECT_EQ(model.kv_usage(), 0);
}

TEST(BatchingModelTest, ALongPromptIsComputedInChunksBesideTheDecodes) {
  BatchingLimits limits;
  limits.max_num_batched_tokens = 100;
  BatchingModel model = Model(limits);
  model.Add(Spec(0, 10, 50), 0);
  FinishStep(&model);
  model.Add(Spec(1, 250, 1), model.next_ns());
  FinishStep(&model);  // the step that was running when it came

  // The decode takes one token of every budget of 100: 99 + 99 + 52.
  for (const int64_t chunk : {99, 99, 52}) {
    EXPECT_EQ(model.step_load().prefill_tokens, chunk);
    EXPECT_EQ(model.step_load().decodes, 1);
    const auto tokens = FinishStep(&model);
    EXPECT_EQ(tokens.size(), chunk == 52 ? 2u : 1u);
  }
}

TEST(BatchingModelTest, NoMoreSequencesRunThanAllowed) {
  BatchingLimits limits;
  limits.max_num_seqs = 2;
  BatchingModel model = Model(limits);
  for (uint64_t i = 0; i < 5; ++i) model.Add(Spec(i, 4, 2), 0);
  EXPECT_EQ(model.running(), 1);  // the step began with the first alone
  FinishStep(&model);
  EXPECT_EQ(model.running(), 2);
  EXPECT_EQ(model.waiting(), 3);
  EXPECT_EQ(Drain(&model, 5), (std::vector<int64_t>{1, 2, 2, 2, 2}));
}

TEST(BatchingModelTest, TheNewestGivesWayWhenTheCacheIsFullAndNothingIsLost) {
  BatchingLimits limits;
  limits.kv_blocks = 10;
  limits.block_size = 4;
  BatchingModel model = Model(limits);
  // Each needs 7 blocks in the end, together 14 of 10.
  model.Add(Spec(0, 8, 20), 0);
  model.Add(Spec(1, 8, 20), 0);
  EXPECT_EQ(Drain(&model, 2), (std::vector<int64_t>{20, 20}));
  EXPECT_GE(model.preemptions(), 1);
  EXPECT_EQ(model.kv_usage(), 0);
}

TEST(BatchingModelTest, EqualPromptsShareTheirBlocks) {
  BatchingLimits limits;
  limits.block_size = 4;
  BatchingModel model = Model(limits);
  const std::vector<uint32_t> ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  std::vector<uint32_t> other = ids;
  other[5] = 99;  // differs in its second block

  const struct {
    std::vector<uint32_t> ids;
    int64_t cached;
  } kCases[] = {{ids, 0}, {ids, 8}, {other, 4}, {ids, 8}};  // the last block is always computed
  for (const auto& c : kCases) {
    model.Add(Spec(0, 12, 1, BlockHashes(c.ids, 4)), 0);
    const auto tokens = FinishStep(&model);
    ASSERT_EQ(tokens.size(), 1u);
    EXPECT_EQ(tokens[0].cached_tokens, c.cached);
    EXPECT_EQ(model.next_ns(), kNever);
  }
  EXPECT_EQ(model.prefix_queries(), 48);
  EXPECT_EQ(model.prefix_hits(), 20);
}

TEST(BatchingModelTest, AnAbortedSequenceGivesItsBlocksBack) {
  BatchingModel model = Model({});
  const auto first = model.Add(Spec(0, 100, 10), 0);
  const auto second = model.Add(Spec(1, 100, 10), 0);
  model.Abort(first);
  model.Abort(first);  // once is enough
  EXPECT_EQ(model.running(), 0);
  EXPECT_EQ(model.waiting(), 1);
  EXPECT_TRUE(FinishStep(&model).empty());
  EXPECT_EQ(model.running(), 1);
  model.Abort(second);
  EXPECT_TRUE(FinishStep(&model).empty());
  EXPECT_EQ(model.next_ns(), kNever);
  EXPECT_EQ(model.kv_usage(), 0);
}

TEST(BatchingModelTest, JitterHasMeanOneAndFollowsTheSeed) {
  BatchingLimits limits;
  limits.jitter = 0.1;
  const auto end_of = [&limits](uint64_t seed) {
    BatchingModel model = Model(limits, RoundCosts(), seed);
    model.Add(Spec(0, 10, 2001), 0);
    int64_t end = 0;
    while (model.next_ns() != kNever) {
      end = model.next_ns();
      FinishStep(&model);
    }
    return end;
  };
  EXPECT_EQ(end_of(1), end_of(1));
  EXPECT_NE(end_of(1), end_of(2));
  EXPECT_NEAR(static_cast<double>(end_of(1)) / kNsPerMs, 2000 * 11, 2000 * 11 * 0.01);
}

TEST(BatchingModelTest, SpeedShortensEveryStep) {
  BatchingLimits limits;
  limits.speed = 10;
  BatchingModel model = Model(limits);
  model.Add(Spec(0, 100, 1), 0);
  EXPECT_EQ(model.next_ns(), 2 * kNsPerMs);
}

// What real servers show, on preset hardware.

struct Point {
  Deployment deployment;
  BatchingModel model;
};

Point On(const std::string& name, const std::string& gpu, int gpus) {
  Options options;
  options.model = name;
  options.gpu = gpu;
  options.tensor_parallel_size = gpus;
  Deployment deployment = Deploy(options).value();
  BatchingLimits limits;
  limits.kv_blocks = deployment.kv_blocks;
  return {deployment, Model(limits, deployment.costs)};
}

LoadResult ClosedLoop(const std::string& name, const std::string& gpu, int gpus, int clients) {
  Point point = On(name, gpu, gpus);
  return SimulatedLoad(&point.model, {512, 128}).Closed(clients, clients * 4 + 32);
}

TEST(BatchingModelTest, ThroughputSaturatesWithClientsAndGapsGrow) {
  std::vector<LoadResult> results;
  for (const int clients : {1, 4, 16, 64, 256, 512}) {
    results.push_back(ClosedLoop("Llama-3.1-8B", "H100", 1, clients));
  }
  for (size_t i = 1; i < results.size(); ++i) {
    EXPECT_GE(results[i].requests_per_s, results[i - 1].requests_per_s * 0.95) << i;
    EXPECT_GE(results[i].mean_itl_s, results[i - 1].mean_itl_s) << i;
    EXPECT_GE(results[i].mean_ttft_s, results[i - 1].mean_ttft_s) << i;
  }
  // Four clients are served nearly as fast as one each; twice the clients at the end bring next to nothing.
  EXPECT_GT(results[1].requests_per_s, 3 * results[0].requests_per_s);
  EXPECT_LT(results[5].requests_per_s, 1.1 * results[4].requests_per_s);
}

TEST(BatchingModelTest, TimeToFirstTokenExplodesPastCapacity) {
  const auto at = [](double rate) {
    Point point = On("Llama-3.1-8B", "H100", 1);
    return SimulatedLoad(&point.model, {512, 128}).Open(rate, 1500);
  };
  const LoadResult easy = at(10);
  const LoadResult over = at(60);
  EXPECT_LT(easy.mean_ttft_s, 0.1);
  EXPECT_LT(easy.last_ttft_s, 0.1);
  EXPECT_GT(over.last_ttft_s, 5);
  EXPECT_GT(over.last_ttft_s, 1.5 * over.mean_ttft_s);  // it goes on growing
  EXPECT_LT(over.requests_per_s, 45);
}

TEST(BatchingModelTest, TensorParallelismHelpsLessThanLinearly) {
  for (const int clients : {1, 32}) {
    double before = 0;
    for (const int gpus : {1, 2, 4, 8}) {
      const double now = ClosedLoop("Llama-2-13b", "A100", gpus, clients).requests_per_s;
      if (before > 0) {
        EXPECT_GT(now, before * 1.1) << gpus << " GPUs, " << clients << " clients";
        EXPECT_LT(now, before * 2.0) << gpus << " GPUs, " << clients << " clients";
      }
      before = now;
    }
  }
}

// The tables of docs/simulator.md, to their last digit and what another machine rounds differently.

void ExpectFigure(double actual, double figure, double digit) { EXPECT_NEAR(actual, figure, 0.6 * digit); }

TEST(BatchingModelTest, TheClosedLoopFiguresInTheDocumentationHold) {
  const struct {
    int clients;
    double requests_per_s, output_tokens_per_s, ttft_ms, itl_ms;
  } kRows[] = {{1, 1.09, 139, 22, 7.1},      {4, 4.01, 514, 64, 7.3},       {16, 12.48, 1597, 110, 9.2},
               {64, 25.89, 3314, 196, 17.4}, {256, 36.34, 4651, 468, 50.9}, {512, 36.64, 4690, 6883, 52.6}};
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.clients);
    Point point = On("Llama-3.1-8B", "H100", 1);
    const LoadResult result =
        SimulatedLoad(&point.model, {512, 128}).Closed(row.clients, row.clients * 8 + 32);
    ExpectFigure(result.requests_per_s, row.requests_per_s, 0.01);
    ExpectFigure(result.output_tokens_per_s, row.output_tokens_per_s, 1);
    ExpectFigure(result.mean_ttft_s * 1e3, row.ttft_ms, 1);
    ExpectFigure(result.mean_itl_s * 1e3, row.itl_ms, 0.1);
  }
}

TEST(BatchingModelTest, TheOpenLoopFiguresInTheDocumentationHold) {
  const struct {
    double offered, served, ttft_ms, last_ttft_ms, itl_ms;
  } kRows[] = {{10, 9.97, 27, 29, 9.1},
               {20, 19.87, 29, 28, 13.1},
               {30, 29.62, 35, 39, 23.6},
               {40, 36.33, 2545, 5629, 51.9},
               {60, 36.63, 14466, 29763, 52.2}};
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.offered);
    Point point = On("Llama-3.1-8B", "H100", 1);
    const LoadResult result = SimulatedLoad(&point.model, {512, 128}).Open(row.offered, 3000);
    ExpectFigure(result.requests_per_s, row.served, 0.01);
    ExpectFigure(result.mean_ttft_s * 1e3, row.ttft_ms, 1);
    ExpectFigure(result.last_ttft_s * 1e3, row.last_ttft_ms, 1);
    ExpectFigure(result.mean_itl_s * 1e3, row.itl_ms, 0.1);
  }
}

TEST(BatchingModelTest, TheTensorParallelFiguresInTheDocumentationHold) {
  const struct {
    int gpus;
    double one_client, many_clients;
  } kRows[] = {{1, 0.43, 5.82}, {2, 0.77, 11.04}, {4, 1.19, 19.72}, {8, 1.54, 31.81}};
  for (const auto& row : kRows) {
    SCOPED_TRACE(row.gpus);
    Point alone = On("Llama-2-13b", "A100-80G", row.gpus);
    ExpectFigure(SimulatedLoad(&alone.model, {512, 128}).Closed(1, 40).requests_per_s, row.one_client, 0.01);
    Point shared = On("Llama-2-13b", "A100-80G", row.gpus);
    ExpectFigure(SimulatedLoad(&shared.model, {512, 128}).Closed(64, 544).requests_per_s, row.many_clients,
                 0.01);
  }
}

}  // namespace
}  // namespace llmbench::sim
