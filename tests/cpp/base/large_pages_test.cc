#include "llmbench/base/large_pages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <thread>
#include <vector>

namespace llmbench {
namespace {

constexpr size_t kPage = size_t{2} << 20;
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kUsualMemory = true;
#else
constexpr bool kUsualMemory = false;
#endif

size_t PageOf(const void* memory) { return reinterpret_cast<uintptr_t>(memory) / kPage; }

struct Stream : InLargePages {
  virtual ~Stream() = default;
  char state[400] = {};
};
struct LongStream final : Stream {
  char more[3000] = {};
};

TEST(LargePages, AThousandStreamsLieOnAFewPages) {
  if (kUsualMemory) GTEST_SKIP() << "AddressSanitizer has the memory";
  std::vector<std::unique_ptr<Stream>> streams;
  std::set<size_t> pages;
  for (int i = 0; i < 1000; ++i) {
    streams.push_back(std::make_unique<Stream>());
    streams.push_back(std::make_unique<LongStream>());
    pages.insert(PageOf(streams.back().get()));
  }
  EXPECT_LE(pages.size(), 8u);  // of 4 MB, in pools that grow by doubling
}

TEST(LargePages, ObjectsDoNotOverlapAndMemoryIsUsedAgain) {
  // Freed by the base's destructor: the size that comes back must be the whole object's.
  std::set<size_t> pages;
  for (int round = 0; round < 50; ++round) {
    std::vector<std::unique_ptr<Stream>> streams;
    for (int i = 0; i < 500; ++i) {
      auto stream = std::make_unique<LongStream>();
      std::memset(stream->state, i, sizeof stream->state);
      std::memset(stream->more, i, sizeof stream->more);
      pages.insert(PageOf(stream.get()));
      streams.push_back(std::move(stream));
    }
    for (int i = 0; i < 500; ++i) {
      const auto& stream = static_cast<const LongStream&>(*streams[static_cast<size_t>(i)]);
      ASSERT_EQ(stream.state[0], static_cast<char>(i));
      ASSERT_EQ(stream.state[399], static_cast<char>(i));
      ASSERT_EQ(stream.more[2999], static_cast<char>(i));
    }
  }
  if (!kUsualMemory) {
    EXPECT_LE(pages.size(), 8u);
  }
}

TEST(LargePages, NoTwoObjectsShareACacheLine) {
  struct Small : InLargePages {
    char state = 0;
  };
  std::vector<std::unique_ptr<Small>> objects;
  std::set<uintptr_t> lines;
  for (int i = 0; i < 100; ++i) {
    objects.push_back(std::make_unique<Small>());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(objects.back().get()) % InLargePages::kLine, 0u);
    EXPECT_TRUE(lines.insert(reinterpret_cast<uintptr_t>(objects.back().get())).second);
  }
}

TEST(LargePages, ServesThreadsAndLargeObjects) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      std::pmr::memory_resource& memory = LargePages();
      for (size_t size : {size_t{24}, size_t{5000}, 3 * kPage + 1, size_t{24}}) {
        auto* const bytes = static_cast<char*>(memory.allocate(size));
        std::memset(bytes, t, size);
        EXPECT_EQ(bytes[size - 1], static_cast<char>(t));
        memory.deallocate(bytes, size);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace llmbench
