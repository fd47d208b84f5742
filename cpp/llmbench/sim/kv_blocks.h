// The KV cache in blocks of equal size: which are free, which are shared, which still hold a known piece of a
// prompt.
//
// As in vLLM: a block that nobody uses keeps its content until it is needed for something else, least
// recently used first, and a prompt that begins with the same blocks takes them back. A block is known by the
// hash of its tokens and of all before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace llmbench::sim {

using BlockId = int32_t;

class KvBlocks {
 public:
  explicit KvBlocks(int64_t blocks);

  int64_t total() const { return static_cast<int64_t>(blocks_.size()); }
  int64_t free() const { return free_count_; }
  double usage() const { return 1 - static_cast<double>(free_count_) / static_cast<double>(blocks_.size()); }

  // The cached blocks that begin this chain of hashes, at most `limit` of them.
  std::vector<BlockId> Cached(const std::vector<uint64_t>& hashes, size_t limit) const;
  // How many of these are free now, so that sharing them takes them from the free ones.
  int64_t CountFree(const std::vector<BlockId>& blocks) const;

  // One more user of a block.
  void Share(BlockId block);
  // A free block, its old content forgotten. There must be one.
  BlockId Allocate();
  // One user less.
  void Release(BlockId block);
  // The block now holds this piece of a prompt. The first of equal ones is the one found later.
  void Publish(BlockId block, uint64_t hash);

 private:
  struct Block {
    int32_t users = 0;
    BlockId previous = -1;  // in the list of free blocks, oldest first
    BlockId next = -1;
    bool known = false;
    uint64_t hash = 0;
  };

  void Unlink(BlockId block);

  std::vector<Block> blocks_;
  std::unordered_map<uint64_t, BlockId> by_hash_;
  BlockId oldest_ = -1;
  BlockId newest_ = -1;
  int64_t free_count_ = 0;
};

}  // namespace llmbench::sim
