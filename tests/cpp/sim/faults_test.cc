#include "llmbench/sim/faults.h"

#include <gtest/gtest.h>

#include <map>

#include "llmbench/sim/chance.h"

namespace llmbench::sim {
namespace {

TEST(FaultPlanTest, DrawsInProportionAndReproducibly) {
  const auto plan = FaultPlan::Parse("429=0.25,reset-mid=0.05");
  ASSERT_TRUE(plan.ok()) << plan.status();
  const CounterRng chance = ChanceOf(Question::kFault, 1, 0);
  std::map<std::string, int> counts;
  constexpr int kRequests = 20'000;
  for (uint64_t i = 0; i < kRequests; ++i) {
    const Fault fault = plan->Draw(chance, i);
    EXPECT_EQ(fault.kind, plan->Draw(chance, i).kind);
    ++counts[fault.name];
  }
  EXPECT_NEAR(counts["429"], kRequests * 0.25, kRequests * 0.02);
  EXPECT_NEAR(counts["reset-mid"], kRequests * 0.05, kRequests * 0.01);
  EXPECT_NEAR(counts[""], kRequests * 0.70, kRequests * 0.02);
}

TEST(FaultPlanTest, RefusesWhatMakesNoSense) {
  for (const char* text :
       {"429", "429=", "429=x", "429=-1", "reset-mid=0.6,429=0.5", "reset=0.1", "200=0.1", "=1"}) {
    EXPECT_EQ(FaultPlan::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_NE(FaultPlan::Parse("reset-mit=1").status().message().find("did you mean 'reset-mid'"),
            std::string::npos);
  EXPECT_TRUE(FaultPlan::Parse("").ok());
}

}  // namespace
}  // namespace llmbench::sim
