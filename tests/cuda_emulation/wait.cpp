#include "tests/cuda_emulation/wait.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace cuda_emulation {
namespace {

std::string_view name(Operation operation) {
  constexpr std::array<std::string_view, 13> kNames = {
      "nothing",           "__syncthreads",       "__syncthreads_or",
      "__syncthreads_and", "__syncthreads_count", "__syncwarp",
      "__shfl_sync",       "__shfl_up_sync",      "__shfl_down_sync",
      "__shfl_xor_sync",   "__ballot_sync",       "__any_sync",
      "__all_sync"};
  return kNames.at(static_cast<std::size_t>(operation));
}

}  // namespace

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

}  // namespace cuda_emulation
