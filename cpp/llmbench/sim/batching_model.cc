#include "llmbench/sim/batching_model.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "llmbench/base/clock.h"

namespace llmbench::sim {

BatchingModel::BatchingModel(const BatchingLimits& limits, const StepCosts& costs, const CounterRng& chance)
    : limits_(limits), costs_(costs), chance_(chance), blocks_(limits.kv_blocks) {}

BatchingModel::SequenceId BatchingModel::Add(SequenceSpec spec, int64_t now_ns) {
  const SequenceId id = next_id_++;
  sequences_[id].spec = std::move(spec);
  waiting_.push_back(id);
  if (step_end_ns_ == kNever) BeginStep(now_ns);
  return id;
}

void BatchingModel::Abort(SequenceId id) {
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  ReleaseBlocks(&found->second);
  sequences_.erase(found);
  std::erase(running_, id);
  std::erase(waiting_, id);
}

void BatchingModel::FinishStep(std::vector<TokenEvent>* tokens) {
  const int64_t now_ns = step_end_ns_;
  std::vector<SequenceId> still_running;
  still_running.reserve(running_.size());
  for (const SequenceId id : running_) {
    Sequence& sequence = sequences_.at(id);
    sequence.computed += std::exchange(sequence.scheduled, 0);
    PublishPrompt(&sequence);
    if (sequence.computed == sequence.known()) {
      ++sequence.emitted;
      const bool last = sequence.emitted == sequence.spec.output_tokens;
      tokens->push_back({.sequence = id,
                         .owner = sequence.spec.owner,
                         .first = sequence.emitted == 1,
                         .last = last,
                         .cached_tokens = std::max<int64_t>(0, sequence.cached)});
      if (last) {
        ReleaseBlocks(&sequence);
        sequences_.erase(id);
        continue;
      }
    }
    still_running.push_back(id);
  }
  running_ = std::move(still_running);
  BeginStep(now_ns);
}

void BatchingModel::BeginStep(int64_t now_ns) {
  load_ = StepLoad();
  int64_t budget = limits_.max_num_batched_tokens;
  // A step in which somebody had to give way admits nobody.
  if (ScheduleRunning(&budget)) AdmitWaiting(&budget);
  if (load_.empty()) {
    step_end_ns_ = kNever;
    return;
  }
  step_end_ns_ = now_ns + StepNs();
  ++steps_;
}

bool BatchingModel::ScheduleRunning(int64_t* budget) {
  bool everybody_stayed = true;
  for (size_t i = 0; i < running_.size() && *budget > 0; ++i) {
    const SequenceId id = running_[i];
    Sequence& sequence = sequences_.at(id);
    const int64_t tokens = std::min(sequence.known() - sequence.computed, *budget);
    const int64_t needed =
        BlocksFor(sequence.computed + tokens) - static_cast<int64_t>(sequence.blocks.size());
    while (blocks_.free() < needed) {
      everybody_stayed = false;
      const SequenceId newest = running_.back();
      running_.pop_back();
      Preempt(newest);
      if (newest == id) return false;
    }
    Schedule(&sequence, tokens, budget);
  }
  return everybody_stayed;
}

void BatchingModel::AdmitWaiting(int64_t* budget) {
  while (!waiting_.empty() && *budget > 0 && running() < limits_.max_num_seqs) {
    const SequenceId id = waiting_.front();
    if (!Admit(&sequences_.at(id), budget)) return;
    waiting_.pop_front();
    running_.push_back(id);
  }
}

bool BatchingModel::Admit(Sequence* sequence, int64_t* budget) {
  // The last known token is always computed: there is no next token without it.
  const auto limit = static_cast<size_t>((sequence->known() - 1) / limits_.block_size);
  std::vector<BlockId> cached = blocks_.Cached(sequence->spec.block_hashes, limit);
  const int64_t found = static_cast<int64_t>(cached.size()) * limits_.block_size;
  const int64_t tokens = std::min(sequence->known() - found, *budget);
  const int64_t needed = BlocksFor(found + tokens) - static_cast<int64_t>(cached.size());
  if (blocks_.free() - blocks_.CountFree(cached) < needed) return false;

  for (const BlockId block : cached) blocks_.Share(block);
  sequence->published = cached.size();
  sequence->blocks = std::move(cached);
  sequence->computed = found;
  if (!sequence->spec.block_hashes.empty()) {
    prefix_queries_ += sequence->known();
    prefix_hits_ += found;
  }
  if (sequence->cached < 0) sequence->cached = found;
  Schedule(sequence, tokens, budget);
  return true;
}

void BatchingModel::Schedule(Sequence* sequence, int64_t tokens, int64_t* budget) {
  const auto wanted = static_cast<size_t>(BlocksFor(sequence->computed + tokens));
  while (sequence->blocks.size() < wanted) sequence->blocks.push_back(blocks_.Allocate());
  sequence->scheduled = tokens;
  *budget -= tokens;
  const int64_t before = sequence->computed;
  if (tokens == 1 && before >= sequence->spec.prompt_tokens) {
    ++load_.decodes;
    load_.context_tokens += before + 1;
  } else {
    load_.prefill_tokens += tokens;
    load_.prefill_pairs +=
        static_cast<double>(tokens) * (static_cast<double>(before) + static_cast<double>(tokens + 1) / 2);
  }
}

void BatchingModel::ReleaseBlocks(Sequence* sequence) {
  // The end of a prompt is worth less than its beginning: it becomes the oldest free block.
  for (auto block = sequence->blocks.rbegin(); block != sequence->blocks.rend(); ++block)
    blocks_.Release(*block);
  sequence->blocks.clear();
}

void BatchingModel::Preempt(SequenceId id) {
  Sequence& sequence = sequences_.at(id);
  ReleaseBlocks(&sequence);
  sequence.computed = 0;
  sequence.published = 0;
  waiting_.push_front(id);
  ++preemptions_;
}

void BatchingModel::PublishPrompt(Sequence* sequence) {
  const auto full = static_cast<size_t>(sequence->computed / limits_.block_size);
  const size_t until = std::min(full, sequence->spec.block_hashes.size());
  for (; sequence->published < until; ++sequence->published) {
    blocks_.Publish(sequence->blocks[sequence->published], sequence->spec.block_hashes[sequence->published]);
  }
}

int64_t BatchingModel::StepNs() const {
  double seconds = costs_.Seconds(load_) / limits_.speed;
  if (limits_.jitter > 0) {
    // Box and Muller; the factor's mean is 1.
    const uint64_t counter = static_cast<uint64_t>(steps_) * 2;
    const double radius = std::sqrt(-2 * std::log(chance_.Uniform(counter)));
    const double normal = radius * std::cos(2 * std::numbers::pi * chance_.Uniform(counter + 1));
    seconds *= std::exp(limits_.jitter * normal - limits_.jitter * limits_.jitter / 2);
  }
  return std::max<int64_t>(1, std::llround(seconds * static_cast<double>(kNsPerSecond)));
}

std::vector<uint64_t> BlockHashes(const std::vector<uint32_t>& ids, int64_t block_size) {
  std::vector<uint64_t> hashes;
  const size_t size = static_cast<size_t>(block_size);
  hashes.reserve(ids.size() / size);
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < ids.size(); ++i) {
    // FNV-1a's step on whole ids, then a mixing that spreads every bit.
    hash = (hash ^ ids[i]) * 1099511628211u;
    hash ^= hash >> 32;
    if ((i + 1) % size == 0) hashes.push_back(hash);
  }
  return hashes;
}

}  // namespace llmbench::sim
