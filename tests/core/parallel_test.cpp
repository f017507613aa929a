#include "core/parallel.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/support/testing.h"

using namespace rondo;
using namespace rondo::testing;

namespace {

using Pieces = std::vector<std::pair<std::int64_t, std::int64_t>>;

// The pieces that parallel_for makes, in order.
Pieces pieces_of(std::int64_t begin, std::int64_t end, std::int64_t grain) {
  std::mutex mutex;
  Pieces pieces;
  parallel_for(begin, end, grain, [&](std::int64_t b, std::int64_t e) {
    const std::lock_guard lock(mutex);
    pieces.emplace_back(b, e);
  });
  std::sort(pieces.begin(), pieces.end());
  return pieces;
}

// Sets the thread count for one test.
class Threads {
 public:
  explicit Threads(int threads) : before_(num_threads()) { set_num_threads(threads); }
  ~Threads() { set_num_threads(before_); }

 private:
  int before_;
};

}  // namespace

TEST_CASE("parallel_for covers the range once", "[core][parallel]") {
  for (const int threads : {1, 2, 3, 8}) {
    const Threads guard(threads);
    REQUIRE(num_threads() == threads);
    for (const std::int64_t begin : {-5, 0, 3}) {
      for (const std::int64_t count : {0, 1, 2, 3, 7, 64, 1000}) {
        for (const std::int64_t grain : {0, 1, 3, 64, 5000}) {
          INFO(threads << " threads, " << count << " items from " << begin << ", grain " << grain);
          const Pieces pieces = pieces_of(begin, begin + count, grain);
          REQUIRE(pieces.size() <= static_cast<std::size_t>(threads));
          std::int64_t reached = begin;
          for (const auto& [b, e] : pieces) {
            REQUIRE(b == reached);
            REQUIRE(e > b);
            REQUIRE((e - b >= grain || pieces.size() == 1));
            reached = e;
          }
          REQUIRE(reached == begin + count);
          // The split is a function of its arguments alone.
          REQUIRE(pieces == pieces_of(begin, begin + count, grain));
        }
      }
    }
  }
}

TEST_CASE("parallel_for does nothing for an empty or inverted range", "[core][parallel]") {
  REQUIRE(pieces_of(3, 3, 1).empty());
  REQUIRE(pieces_of(3, 2, 1).empty());
}

TEST_CASE("parallel_for uses every thread that the grain allows", "[core][parallel]") {
  const Threads guard(4);
  REQUIRE(pieces_of(0, 8, 1) == Pieces{{0, 2}, {2, 4}, {4, 6}, {6, 8}});
  REQUIRE(pieces_of(0, 8, 4) == Pieces{{0, 4}, {4, 8}});
  REQUIRE(pieces_of(0, 8, 5) == Pieces{{0, 8}});
}

TEST_CASE("parallel_for throws what a piece throws", "[core][parallel]") {
  for_thread_counts([] {
    std::atomic<int> visited = 0;
    REQUIRE(error_of([&] {
              parallel_for(0, 2, 1, [&](std::int64_t begin, std::int64_t end) {
                visited += static_cast<int>(end - begin);
                if (end == 2) {
                  fail("the last item");
                }
              });
            }) == "the last item");
    REQUIRE(visited == 2);
    // It works again afterwards.
    REQUIRE_FALSE(pieces_of(0, 2, 1).empty());
  });
}

TEST_CASE("parallel_for inside parallel_for runs inline", "[core][parallel]") {
  for_thread_counts([] {
    std::mutex mutex;
    std::vector<int> counts(40, 0);
    int inner_calls = 0;
    parallel_for(0, 4, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        parallel_for(0, 10, 1, [&](std::int64_t b, std::int64_t e) {
          const std::lock_guard lock(mutex);
          ++inner_calls;
          for (std::int64_t i = b; i < e; ++i) {
            ++counts[static_cast<std::size_t>(row * 10 + i)];
          }
        });
      }
    });
    REQUIRE(counts == std::vector<int>(40, 1));
    // With one thread the outer loop is no parallel region, but a split in one is the same.
    REQUIRE(inner_calls == 4);
  });
}

TEST_CASE("set_num_threads of 0 means one per core", "[core][parallel]") {
  const Threads guard(0);
  REQUIRE(num_threads() >= 1);
}

TEST_CASE("set_num_threads holds in every thread", "[core][parallel]") {
  const Threads guard(1);
  int seen = 0;
  int pieces = 0;
  std::thread([&] {
    seen = num_threads();
    parallel_for(0, 100, 1, [&](std::int64_t, std::int64_t) { ++pieces; });
  }).join();
  REQUIRE(seen == 1);
  REQUIRE(pieces == 1);
}

#if defined(__x86_64__) || defined(__aarch64__)
TEST_CASE("flush_denormals takes what is too small as 0, on every thread", "[core][parallel]") {
  const volatile float smallest = std::numeric_limits<float>::min();
  const volatile float half = 0.5F;
  const auto count_zeros = [&] {
    std::atomic<int> zeros = 0;
    parallel_for(0, 4, 1, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t i = b; i < e; ++i) {
        zeros += smallest * half == 0.0F ? 1 : 0;
      }
    });
    return zeros.load();
  };
  int before = -1;
  int after = -1;
  int with_more_threads = -1;
  // In a thread of its own, so that other tests go on as they were.
  std::thread([&] {
    set_num_threads(2);
    before = count_zeros();
    flush_denormals();
    after = count_zeros();
    set_num_threads(4);
    with_more_threads = count_zeros();
  }).join();
  REQUIRE(before == 0);
  REQUIRE(after == 4);
  REQUIRE(with_more_threads == 4);
}
#endif
