#include "tests/cuda_emulation/executor.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "tests/cuda_emulation/context.h"
#include "tests/cuda_emulation/run_queue.h"

namespace cuda_emulation {

uint3 thread_index;
uint3 block_index;
dim3 block_size;
dim3 grid_size;

namespace {

constexpr unsigned kWarp = 32;

std::string_view name(Operation operation) {
  constexpr std::array<std::string_view, 13> kNames = {
      "nothing",           "__syncthreads",       "__syncthreads_or",
      "__syncthreads_and", "__syncthreads_count", "__syncwarp",
      "__shfl_sync",       "__shfl_up_sync",      "__shfl_down_sync",
      "__shfl_xor_sync",   "__ballot_sync",       "__any_sync",
      "__all_sync"};
  return kNames.at(static_cast<std::size_t>(operation));
}

// What a waiting thread brought to where it waits.
struct Wait {
  Operation operation = Operation::none;
  unsigned mask = 0;    // of a warp operation
  unsigned source = 0;  // the lane whose value an exchange returns
  std::uint64_t value = 0;
  std::source_location where;

  bool in_block() const { return operation <= Operation::syncthreads_count; }
  bool matches(const Wait& other) const {
    return operation == other.operation && mask == other.mask;
  }
};

// Whether both wait in the same call: all threads of a block must.
bool same_barrier(const Wait& a, const Wait& b) {
  return a.operation == b.operation && a.where.line() == b.where.line() &&
         a.where.column() == b.where.column() &&
         std::string_view(a.where.file_name()) == b.where.file_name();
}

std::string describe_wait(const Wait& wait) {
  return fmt::format("{}{} at {}:{}", name(wait.operation),
                     wait.in_block() ? "" : fmt::format(" (mask {:#010x})", wait.mask),
                     wait.where.file_name(), wait.where.line());
}

struct Worker;

struct Thread {
  uint3 index{};
  bool ended = false;
  Worker* worker = nullptr;  // on whose stack it waits; null if it has not started, or has ended
  Wait wait;
  std::uint64_t result = 0;  // of its last wait
};

// A stack that runs one thread after the other. While a thread waits, its worker is its own.
struct Worker {
  explicit Worker(std::function<void()> body) : context(std::move(body)) {}
  Context context;
};

// Thrown in waiting threads of a broken kernel, so that they leave their workers.
struct Cancelled {};

class Executor {
 public:
  void run(const Execution& execution);

  void* shared() const { return shared_.get(); }
  unsigned lane() const { return index_of(*current_) % kWarp; }
  int wait_for_block(Operation operation, bool predicate, const std::source_location& where);
  std::uint64_t wait_for_warp(const Wait& wait);

  std::optional<Order> fixed_order;

 private:
  struct FreeShared {
    void operator()(std::byte* block) const { ::operator delete(block, std::align_val_t(16)); }
  };

  Order next_order();
  void run_block();
  void work(Worker& worker);
  void run_thread();
  bool select_next();
  void select(Thread& thread);
  Context& selected();
  void suspend();
  void cancel();

  unsigned index_of(const Thread& thread) const {
    return static_cast<unsigned>(&thread - threads_.data());
  }
  bool all_wait_alike(unsigned first, const Wait& wait) const;
  void complete(unsigned first, const Wait& wait);
  std::string describe(const Thread& thread) const;
  std::string stuck() const;

  const std::function<void()>* body_ = nullptr;
  std::unique_ptr<std::byte, FreeShared> shared_;
  std::uint64_t launches_ = 0;

  // Of the block that runs.
  std::vector<Thread> threads_;
  RunQueue runnable_;  // threads that have not started or need wait no longer
  unsigned ended_ = 0;
  unsigned at_barrier_ = 0;
  unsigned predicates_ = 0;             // that held at the barrier
  Wait barrier_;                        // what the first of them waits in
  std::array<unsigned, 32> in_warp_{};  // a bit for every lane that waits in a warp operation
  std::exception_ptr failure_;
  bool cancelling_ = false;

  Context* host_ = nullptr;
  Thread* current_ = nullptr;
  Worker* running_ = nullptr;
  std::vector<std::unique_ptr<Worker>> workers_;  // kept for the launches to come
  std::vector<Worker*> idle_;
};

// One for the process, used under the device's mutex. Never destroyed: its workers' stacks hold
// frames that cannot end.
Executor& executor() {
  static auto* const one = new Executor();
  return *one;
}

Order Executor::next_order() {
  ++launches_;
  if (fixed_order) {
    return *fixed_order;
  }
  const char* setting = std::getenv("RONDO_EMULATION_ORDER");
  if (setting == nullptr) {
    return static_cast<Order>(launches_ % 3);
  }
  const std::string_view order = setting;
  rondo::check(order == "forward" || order == "reverse" || order == "shuffled",
               "RONDO_EMULATION_ORDER is {}; expected forward, reverse or shuffled", order);
  return order == "forward"   ? Order::forward
         : order == "reverse" ? Order::reverse
                              : Order::shuffled;
}

// The blocks of a grid in an order that needs no table: every step-th one, where the step and the
// number of blocks have no divisor in common.
std::uint64_t coprime_step(std::uint64_t blocks, std::uint64_t seed) {
  std::uint64_t step = seed * 0x9E3779B97F4A7C15U % blocks + 1;
  while (std::gcd(step, blocks) != 1) {
    ++step;
  }
  return step;
}

void Executor::run(const Execution& execution) {
  const Order order = next_order();
  const dim3 block = execution.block;
  const dim3 grid = execution.grid;
  body_ = &execution.thread;
  block_size = block;
  grid_size = grid;
  threads_.assign(std::size_t{block.x} * block.y * block.z, Thread());
  for (unsigned i = 0; i < threads_.size(); ++i) {
    threads_[i].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
  }
  runnable_.set_order(order, launches_);
  // Exactly what was asked for, so that the address sanitizer sees what lies beyond.
  shared_.reset(execution.shared_bytes == 0 ? nullptr
                                            : static_cast<std::byte*>(::operator new(
                                                  execution.shared_bytes, std::align_val_t(16))));
  Context host;
  host_ = &host;
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  const std::uint64_t step = order == Order::shuffled  ? coprime_step(blocks, launches_)
                             : order == Order::reverse ? blocks - 1
                                                       : 1;
  std::uint64_t index = order == Order::reverse ? blocks - 1 : 0;
  for (std::uint64_t i = 0; i < blocks; ++i, index = (index + step) % blocks) {
    block_index = {static_cast<unsigned>(index % grid.x),
                   static_cast<unsigned>(index / grid.x % grid.y),
                   static_cast<unsigned>(index / grid.x / grid.y)};
    if (shared_ != nullptr) {
      std::memset(shared_.get(), 0xFF, execution.shared_bytes);
    }
    run_block();
  }
  shared_.reset();
}

void Executor::run_block() {
  for (Thread& thread : threads_) {
    thread.ended = false;
  }
  ended_ = 0;
  runnable_.fill(static_cast<unsigned>(threads_.size()));
  if (select_next()) {
    selected().enter(*host_);  // returns when no thread can run
  }
  if (failure_ == nullptr && ended_ < threads_.size()) {
    failure_ = std::make_exception_ptr(rondo::Error(stuck()));
  }
  if (failure_ != nullptr) {
    cancel();
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

// The life of a worker.
void Executor::work(Worker& worker) {
  for (;;) {
    run_thread();
    // A thread that has not started is a plain call; one that waited has a stack to return to.
    if (select_next() && current_->worker == nullptr) {
      continue;
    }
    idle_.push_back(&worker);
    selected().enter(worker.context);
  }
}

void Executor::run_thread() {
  try {
    (*body_)();
  } catch (const Cancelled&) {
  } catch (...) {
    failure_ = std::current_exception();
    runnable_.clear();
  }
  current_->ended = true;
  current_->worker = nullptr;
  ++ended_;
}

// Makes the next thread that can run the current one; false if there is none.
bool Executor::select_next() {
  if (runnable_.empty()) {
    current_ = nullptr;
    return false;
  }
  select(threads_[runnable_.take()]);
  return true;
}

void Executor::select(Thread& thread) {
  current_ = &thread;
  thread_index = thread.index;
}

// Where the current thread runs; the host's stack if there is none.
Context& Executor::selected() {
  if (current_ == nullptr) {
    return *host_;
  }
  if (current_->worker != nullptr) {
    running_ = current_->worker;
  } else {
    if (idle_.empty()) {
      const std::size_t number = workers_.size();
      workers_.push_back(std::make_unique<Worker>([this, number] { work(*workers_[number]); }));
      idle_.push_back(workers_.back().get());
    }
    running_ = idle_.back();
    idle_.pop_back();
  }
  return running_->context;
}

// Returns when the current thread, which must wait, was released and its turn has come.
void Executor::suspend() {
  current_->worker = running_;
  Context& here = running_->context;
  select_next();
  selected().enter(here);
  if (cancelling_) {
    throw Cancelled();
  }
  current_->worker = nullptr;
}

// Ends all threads that wait.
void Executor::cancel() {
  cancelling_ = true;
  runnable_.clear();
  for (Thread& thread : threads_) {
    if (thread.worker != nullptr) {
      select(thread);
      selected().enter(*host_);
    }
  }
  cancelling_ = false;
  at_barrier_ = 0;
  predicates_ = 0;
  in_warp_.fill(0);
}

int Executor::wait_for_block(Operation operation, bool predicate,
                             const std::source_location& where) {
  Thread& self = *current_;
  self.wait = {.operation = operation, .where = where};
  if (at_barrier_ == 0) {
    barrier_ = self.wait;
  }
  if (!same_barrier(self.wait, barrier_)) [[unlikely]] {
    rondo::fail(
        "{} waits in {}, while others of its block wait in {}; all threads of a block must come to "
        "the same barrier",
        describe(self), describe_wait(self.wait), describe_wait(barrier_));
  }
  predicates_ += predicate ? 1 : 0;
  if (++at_barrier_ < threads_.size()) {
    suspend();
    return static_cast<int>(self.result);
  }
  const unsigned result = predicates_;
  at_barrier_ = 0;
  predicates_ = 0;
  for (Thread& thread : threads_) {
    thread.result = result;
    thread.wait.operation = Operation::none;
    if (&thread != &self) {
      runnable_.add(index_of(thread));
    }
  }
  return static_cast<int>(result);
}

std::uint64_t Executor::wait_for_warp(const Wait& wait) {
  Thread& self = *current_;
  const unsigned index = index_of(self);
  const unsigned lane = index % kWarp;
  self.wait = wait;
  if ((wait.mask >> lane & 1U) == 0) [[unlikely]] {
    rondo::fail("{} calls {}, whose mask lacks its own lane {}", describe(self),
                describe_wait(wait), lane);
  }
  unsigned& waiting = in_warp_[index / kWarp];
  waiting |= 1U << lane;
  if ((waiting & wait.mask) == wait.mask && all_wait_alike(index - lane, wait)) {
    waiting &= ~wait.mask;
    complete(index - lane, wait);
  } else {
    suspend();
  }
  return self.result;
}

bool Executor::all_wait_alike(unsigned first, const Wait& wait) const {
  for (unsigned rest = wait.mask; rest != 0; rest &= rest - 1) {
    if (!threads_[first + static_cast<unsigned>(std::countr_zero(rest))].wait.matches(wait)) {
      return false;
    }
  }
  return true;
}

// Gives the lanes of a mask, which have all come, their results, and releases them.
void Executor::complete(unsigned first, const Wait& wait) {
  unsigned votes = 0;
  for (unsigned rest = wait.mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<unsigned>(std::countr_zero(rest));
    votes |= (threads_[first + lane].wait.value != 0 ? 1U : 0U) << lane;
  }
  for (unsigned rest = wait.mask; rest != 0; rest &= rest - 1) {
    Thread& thread = threads_[first + static_cast<unsigned>(std::countr_zero(rest))];
    if (wait.operation >= Operation::ballot) {
      thread.result = votes;
    } else if ((wait.mask >> thread.wait.source & 1U) != 0) {
      thread.result = threads_[first + thread.wait.source].wait.value;
    } else {
      thread.result = ~std::uint64_t{0};
    }
    if (&thread != current_) {
      runnable_.add(index_of(thread));
    }
  }
  for (unsigned rest = wait.mask; rest != 0; rest &= rest - 1) {
    threads_[first + static_cast<unsigned>(std::countr_zero(rest))].wait.operation =
        Operation::none;
  }
}

std::string Executor::describe(const Thread& thread) const {
  return fmt::format("thread ({}, {}, {}) of block ({}, {}, {})", thread.index.x, thread.index.y,
                     thread.index.z, block_index.x, block_index.y, block_index.z);
}

// Says who waits for whom, when nobody can run and not all have ended.
std::string Executor::stuck() const {
  const Thread* waiting = threads_.data();
  while (waiting->ended) {
    ++waiting;
  }
  const Wait& wait = waiting->wait;
  const unsigned warp = index_of(*waiting) / kWarp * kWarp;
  const unsigned first = wait.in_block() ? 0 : warp;
  const auto count = wait.in_block() ? static_cast<unsigned>(threads_.size()) : kWarp;
  // Whoever it waits for and never comes.
  for (unsigned i = 0; i < count; ++i) {
    if (!wait.in_block() && (wait.mask >> i & 1U) == 0) {
      continue;
    }
    if (first + i >= threads_.size()) {
      return fmt::format("{} waits in {}, but its warp has no lane {}", describe(*waiting),
                         describe_wait(wait), i);
    }
    const Thread& missing = threads_[first + i];
    if (missing.ended || !missing.wait.matches(wait)) {
      return fmt::format("{} waits in {} for {}, which {}", describe(*waiting), describe_wait(wait),
                         describe(missing),
                         missing.ended ? "has ended" : "waits in " + describe_wait(missing.wait));
    }
  }
  return fmt::format("{} waits in {} for ever", describe(*waiting), describe_wait(wait));
}

}  // namespace

void set_order(std::optional<Order> order) { executor().fixed_order = order; }

void execute(const Execution& execution) { executor().run(execution); }

void* dynamic_shared() { return executor().shared(); }

unsigned lane() { return executor().lane(); }

int wait_for_block(Operation operation, bool predicate, const std::source_location& where) {
  return executor().wait_for_block(operation, predicate, where);
}

std::uint64_t exchange_in_warp(Operation operation, unsigned mask, std::uint64_t value,
                               unsigned source, const std::source_location& where) {
  return executor().wait_for_warp({operation, mask, source, value, where});
}

unsigned vote_in_warp(Operation operation, unsigned mask, bool predicate,
                      const std::source_location& where) {
  return static_cast<unsigned>(
      executor().wait_for_warp({operation, mask, 0, predicate ? 1U : 0U, where}));
}

}  // namespace cuda_emulation
