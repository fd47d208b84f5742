#include "llmbench/sim/kv_blocks.h"

#include <algorithm>

namespace llmbench::sim {

KvBlocks::KvBlocks(int64_t blocks) : blocks_(static_cast<size_t>(blocks)), free_count_(blocks) {
  for (BlockId i = 0; i < blocks; ++i) {
    blocks_[i].previous = i - 1;
    blocks_[i].next = i + 1 < blocks ? i + 1 : -1;
  }
  oldest_ = 0;
  newest_ = static_cast<BlockId>(blocks - 1);
}

std::vector<BlockId> KvBlocks::Cached(const std::vector<uint64_t>& hashes, size_t limit) const {
  std::vector<BlockId> found;
  for (const uint64_t hash : hashes) {
    if (found.size() == limit) break;
    const auto entry = by_hash_.find(hash);
    if (entry == by_hash_.end()) break;
    found.push_back(entry->second);
  }
  return found;
}

int64_t KvBlocks::CountFree(const std::vector<BlockId>& blocks) const {
  return std::count_if(blocks.begin(), blocks.end(),
                       [this](BlockId block) { return blocks_[block].users == 0; });
}

void KvBlocks::Unlink(BlockId id) {
  Block& block = blocks_[id];
  (block.previous >= 0 ? blocks_[block.previous].next : oldest_) = block.next;
  (block.next >= 0 ? blocks_[block.next].previous : newest_) = block.previous;
  block.previous = block.next = -1;
  --free_count_;
}

void KvBlocks::Share(BlockId id) {
  if (blocks_[id].users++ == 0) Unlink(id);
}

BlockId KvBlocks::Allocate() {
  const BlockId id = oldest_;
  Unlink(id);
  Block& block = blocks_[id];
  if (block.known) {
    by_hash_.erase(block.hash);
    block.known = false;
  }
  block.users = 1;
  return id;
}

void KvBlocks::Release(BlockId id) {
  Block& block = blocks_[id];
  if (--block.users > 0) return;
  block.previous = newest_;
  block.next = -1;
  (newest_ >= 0 ? blocks_[newest_].next : oldest_) = id;
  newest_ = id;
  ++free_count_;
}

void KvBlocks::Publish(BlockId id, uint64_t hash) {
  Block& block = blocks_[id];
  if (block.known || !by_hash_.emplace(hash, id).second) return;
  block.known = true;
  block.hash = hash;
}

}  // namespace llmbench::sim
