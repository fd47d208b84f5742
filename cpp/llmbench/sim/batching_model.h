// Continuous batching as vLLM's V1 engine does it, in discrete steps and in any time: it never looks at a
// clock.
//
// Each step has a budget of tokens. Running sequences come first, one token each, or a piece of a prompt not
// yet computed (chunked prefill); what is left of the budget admits waiting ones, first come first served, as
// long as there are KV-cache blocks for them. When a running sequence finds no block, the newest one gives
// its blocks up and waits again, in front, to be computed anew. A sequence whose last known token was
// computed has a new token when the step ends.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <unordered_map>
#include <vector>

#include "llmbench/sim/kv_blocks.h"
#include "llmbench/sim/step_time.h"
#include "llmbench/workload/counter_rng.h"

namespace llmbench::sim {

struct BatchingLimits {
  int64_t max_num_seqs = 256;
  int64_t max_num_batched_tokens = 2048;
  int64_t kv_blocks = 1024;
  int64_t block_size = 16;
  double jitter = 0;  // sigma of the log-normal factor on a step's time; its mean is 1
  double speed = 1;
};

struct SequenceSpec {
  uint64_t owner = 0;  // handed back with every token
  int64_t prompt_tokens = 1;
  int64_t output_tokens = 1;
  // Of the full blocks of the prompt, each including all before it; empty: no prefix caching.
  std::vector<uint64_t> block_hashes;
};

// One sequence has one token more.
struct TokenEvent {
  uint64_t sequence;
  uint64_t owner;
  bool first;
  bool last;
  int64_t cached_tokens;  // of the prompt, found when it was first admitted
};

class BatchingModel {
 public:
  using SequenceId = uint64_t;
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  BatchingModel(const BatchingLimits& limits, const StepCosts& costs, const CounterRng& chance);

  // Joins the queue at `now_ns`, which never goes back and is no later than next_ns(). An idle engine starts
  // a step at once.
  SequenceId Add(SequenceSpec spec, int64_t now_ns);
  // The client has gone. Its part of the running step is not given back.
  void Abort(SequenceId id);

  // When the running step ends; kNever when idle.
  int64_t next_ns() const { return step_end_ns_; }
  // Ends the running step: appends its tokens, in the order of admission, and begins the next one.
  void FinishStep(std::vector<TokenEvent>* tokens);

  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  double kv_usage() const { return blocks_.usage(); }
  int64_t preemptions() const { return preemptions_; }
  int64_t steps() const { return steps_; }
  // Tokens of prompts that were looked up in the prefix cache, and found.
  int64_t prefix_queries() const { return prefix_queries_; }
  int64_t prefix_hits() const { return prefix_hits_; }
  const StepLoad& step_load() const { return load_; }

 private:
  struct Sequence {
    SequenceSpec spec;
    int64_t computed = 0;   // tokens whose keys and values are in the cache
    int64_t emitted = 0;    // output tokens
    int64_t scheduled = 0;  // tokens of the running step
    int64_t cached = -1;    // prompt tokens found in the cache at first admission
    size_t published = 0;   // of the prompt's full blocks
    std::vector<BlockId> blocks;

    int64_t known() const { return spec.prompt_tokens + emitted; }
  };

  void BeginStep(int64_t now_ns);
  // False when a running sequence had to give way.
  bool ScheduleRunning(int64_t* budget);
  void AdmitWaiting(int64_t* budget);
  bool Admit(Sequence* sequence, int64_t* budget);
  void Schedule(Sequence* sequence, int64_t tokens, int64_t* budget);
  int64_t BlocksFor(int64_t tokens) const { return (tokens + limits_.block_size - 1) / limits_.block_size; }
  void ReleaseBlocks(Sequence* sequence);
  void Preempt(SequenceId id);
  void PublishPrompt(Sequence* sequence);
  int64_t StepNs() const;

  const BatchingLimits limits_;
  const StepCosts costs_;
  const CounterRng chance_;
  KvBlocks blocks_;
  std::unordered_map<SequenceId, Sequence> sequences_;
  std::deque<SequenceId> waiting_;
  std::vector<SequenceId> running_;  // oldest first
  SequenceId next_id_ = 1;
  StepLoad load_;
  int64_t step_end_ns_ = kNever;
  int64_t steps_ = 0;
  int64_t preemptions_ = 0;
  int64_t prefix_queries_ = 0;
  int64_t prefix_hits_ = 0;
};

// Chained hashes of the full blocks of a prompt.
std::vector<uint64_t> BlockHashes(const std::vector<uint32_t>& ids, int64_t block_size);

}  // namespace llmbench::sim
