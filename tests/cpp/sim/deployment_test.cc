#include "llmbench/sim/deployment.h"

#include <gtest/gtest.h>

#include "llmbench/sim/hardware.h"

namespace llmbench::sim {
namespace {

TEST(HardwareTest, ModelsAreFoundByTheBeginningOfTheirName) {
  const struct {
    const char* name;
    const char* preset;
    double parameters_b;
    double weight_bits;
  } kCases[] = {
      {"meta-llama/Llama-2-7b-hf", "llama-2-7b", 6.74, 16},
      {"meta-llama/Llama-2-70b-chat-hf", "llama-2-70b", 68.98, 16},
      {"meta-llama/Llama-13b-hf", "llama-13b", 13.02, 16},
      {"meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b", 8.03, 16},
      {"meta-llama/Llama-3.1-405B-Instruct-FP8", "llama-3.1-405b", 405.85, 8},
      {"mistralai/Mixtral-8x7B-v0.1", "mixtral-8x7b", 46.70, 16},
      {"TheBloke/Llama-2-13B-AWQ", "llama-2-13b", 13.02, 4.25},
      {"openai/gpt-oss-120b", "gpt-oss-120b", 116.83, 4.5},
      {"someone/tiny-1.5b-chat", "tiny-1.5b-chat", 1.5, 16},
      {"someone/moe-4x3b", "moe-4x3b", 12, 16},
      {"someone/llama-2-7bis-13b", "llama-2-7bis-13b", 13, 16},
  };
  for (const auto& c : kCases) {
    const auto model = FindModel(c.name, 0);
    ASSERT_TRUE(model.ok()) << c.name << ": " << model.status();
    EXPECT_EQ(model->name, c.preset);
    EXPECT_DOUBLE_EQ(model->parameters_b, c.parameters_b) << c.name;
    EXPECT_DOUBLE_EQ(model->weight_bits > 0 ? model->weight_bits : 16, c.weight_bits) << c.name;
  }
  EXPECT_DOUBLE_EQ(FindModel("m", 3)->parameters_b, 3);
  const auto unknown = FindModel("lama-2-seven", 0);
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(unknown.status().message().find("parameters_b"), std::string::npos);
}

TEST(HardwareTest, GpusAreFoundWhateverTheirSpelling) {
  for (const char* name : {"A100-80G", "a100", "A100_80GB", "nvidia a100 80g"}) {
    const auto gpu = FindGpu(name);
    ASSERT_TRUE(gpu.ok()) << name;
    EXPECT_EQ(gpu->name, "A100-80G");
  }
  const auto unknown = FindGpu("H1000");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.status().message().find("Did you mean 'H100'?"), std::string::npos) << unknown.status();
}

TEST(DeploymentTest, WhatTheWeightsLeaveIsKvCache) {
  Options options;
  options.model = "meta-llama/Llama-2-7b-hf";
  const auto deployment = Deploy(options);
  ASSERT_TRUE(deployment.ok()) << deployment.status();
  // (72 - 2 - 13.48) GB / (2 × 32 layers × 4096 × 2 bytes × 16 tokens)
  EXPECT_EQ(deployment->kv_blocks, 6737);
  EXPECT_EQ(deployment->max_model_len, 4096);
  EXPECT_EQ(deployment->model, "meta-llama/Llama-2-7b-hf");
}

TEST(DeploymentTest, AModelThatDoesNotFitSaysWhatWould) {
  Options options;
  options.model = "meta-llama/Llama-2-70b-hf";
  const auto deployment = Deploy(options);
  ASSERT_FALSE(deployment.ok());
  EXPECT_NE(deployment.status().message().find("use tensor_parallel_size 2 or more"), std::string::npos)
      << deployment.status();
  options.weight_bits = 6;
  EXPECT_TRUE(Deploy(options).ok());
}

TEST(DeploymentTest, GivenStepTimesNeedNoHardware) {
  Options options;
  options.model = "anything";
  options.step_ms = 5;
  options.step_seq_us = 100;
  options.num_kv_blocks = 10;
  const auto deployment = Deploy(options);
  ASSERT_TRUE(deployment.ok()) << deployment.status();
  EXPECT_NEAR(deployment->costs.Seconds({.decodes = 3}), 5.3e-3, 1e-12);
  EXPECT_EQ(deployment->max_model_len, 160);
  options.max_model_len = 161;
  EXPECT_FALSE(Deploy(options).ok());
}

TEST(StepTimeTest, AMixtureOfExpertsReadsWhatItsTokensTouch) {
  StepCosts costs;
  costs.experts_s = 1;
  costs.expert_share = 0.25;
  EXPECT_DOUBLE_EQ(costs.Seconds({.decodes = 1}), 0.25);
  EXPECT_DOUBLE_EQ(costs.Seconds({.decodes = 2}), 1 - 0.75 * 0.75);
  EXPECT_NEAR(costs.Seconds({.prefill_tokens = 1000}), 1, 1e-9);
}

TEST(DeploymentTest, EveryPresetRunsOnEnoughGpus) {
  for (const ModelSpec& model : ModelPresets()) {
    Options options;
    options.model = model.name;
    options.gpu = "H200";
    options.tensor_parallel_size = 8;
    const auto deployment = Deploy(options);
    ASSERT_TRUE(deployment.ok()) << deployment.status();
    const double itl_s = deployment->costs.Seconds({.decodes = 1, .context_tokens = 1000});
    EXPECT_GT(itl_s, 1e-3) << model.name;
    EXPECT_LT(itl_s, 50e-3) << model.name;
  }
}

}  // namespace
}  // namespace llmbench::sim
