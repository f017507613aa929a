// The SRU recurrence, forward and backward (core/scalar/sru_step.inc has the arithmetic).
//
// Bytes: forward reads u (k planes), x when k = 3, and writes h and, for backward, c: 6 elements of
// A a unit and step, 24 bytes in f32, 12 in bf16. Backward reads u, x, c and the gradient of h, and
// writes the gradients of u and x: 10 elements, 40 or 20 bytes. All else does not grow with T.
// The hope, not measured yet: 85% of the memory's bandwidth, at sizes where that is the limit.
//
// Work: the steps of a unit follow one another, so a thread takes one (batch entry, unit) through
// all time, its state in a register. That makes few threads: 93 a multiprocessor of an H100 for
// B = 4, D = 3072; and bandwidth asks for about 48 KiB on their way to each multiprocessor. But
// what is read does not depend on the state, so it is asked for many steps ahead: asynchronous
// copies into a ring in shared memory. Registers would do as the ring if loads could be awaited one
// by one, but a warp has only six scoreboards to wait on, so that it would stay about six steps
// ahead. Shared memory also lets lanes copy 16 bytes each and yet compute one unit each, which a
// warp of few needs: two units a thread would halve the warps.
//
// A block is one warp, which shares nothing with others. It takes 32 units of one batch entry and
// direction. Its ring holds four groups of steps: while one is computed, three are on their way.
// How many steps a group has, the launcher chooses from the number of warps (Ring).
//
// A step cannot be faster than the chain from c_{t-1} to c_t: product and sum, exponential,
// reciprocal, product and sum, some 56 cycles, and by a model of the compiled loop 81 to 88 in all:
// 50 us for 1024 steps at 1.75 GHz, where bf16 at B = 4, D = 3072 would take 31 us at the bandwidth
// of an H200. Backward has all c, so that only the gradient's shorter chain runs through time and
// the gates of several steps can be computed together. For that a thread needs some 100 registers,
// more than the compiler gives it unless it is told how few blocks share them (kResidentBlocks).
//
// Sums over time are a thread's own; a second kernel adds them over the batch, in order.
#include "cuda_kernels/sru_scan.h"

#include "core/cuda_launch.cuh"
#include "core/cuda_vector.cuh"
#include "core/element.h"
#include "cuda_kernels/common/async_copy.cuh"
#include "cuda_kernels/common/reduce.cuh"

namespace rondo::cuda {
namespace {

constexpr int kGroups = 4;
constexpr int kResidentBlocks = 16;  // of a multiprocessor, at least
// Steps that are computed together. Groups of half types have 8 at least, those of others 4.
template <typename A>
inline constexpr int kUnroll = is_half<A> ? 8 : 4;
constexpr std::int64_t kBytesInFlight = 48 << 10;  // to a multiprocessor
constexpr std::int64_t kMostBytes = 48 << 10;      // of a ring: what a block may have unasked

// How the ring in shared memory is divided. A slot holds what one step of the tile reads: a row of
// 32 elements for each plane.
struct Ring {
  int group_steps;  // at most 32
  int slot_bytes;
  bool wide;  // all rows are aligned to 16 bytes and whole multiples of them

  RONDO_HOST_DEVICE int group_bytes() const { return group_steps * slot_bytes; }
};

// The units of one warp, and its way through the steps.
struct Tile {
  int lane;
  int count;                   // units, at most 32
  std::int64_t entry, unit;    // batch entry, first unit
  std::int64_t row, row_step;  // t * B + entry of the step it takes first; from one to the next

  __device__ bool active() const { return lane < count; }
};

template <typename A>
__device__ Tile tile_of_block(const SruScan<A>& scan, bool from_last_to_first) {
  const auto directions = scan.bidirectional ? 2U : 1U;
  const auto width = static_cast<unsigned>(scan.units) / directions;
  const unsigned tiles = (width + kWarpSize - 1) / kWarpSize;
  const unsigned begin = blockIdx.x % tiles * kWarpSize;
  const unsigned direction = blockIdx.x / tiles % directions;
  Tile tile;
  tile.lane = lane_index();
  tile.count = static_cast<int>(std::min<unsigned>(kWarpSize, width - begin));
  tile.entry = blockIdx.x / tiles / directions;
  tile.unit = direction * width + begin;
  const bool falling = (direction == 1) != from_last_to_first;
  tile.row = (falling ? (scan.steps - 1) * scan.batch : 0) + tile.entry;
  tile.row_step = falling ? -scan.batch : scan.batch;
  return tile;
}

// `count` planes of a tile, and this lane's part in copying them into slots: 16 bytes of a row, or
// one element where rows are not wide.
template <typename T, int count>
class Planes {
 public:
  __device__ Planes(const Tile& tile, const Ring& ring) {
    const int chunk = ring.wide ? vector_size<T> : 1;
    const int chunks = kWarpSize / chunk;  // of a row
    column_ = tile.lane % chunks * chunk;
    in_tile_ = column_ < tile.count;
    first_step_ = tile.lane / chunks;
    steps_at_once_ = kWarpSize / chunks;
  }

  // Plane i has its first row at `row` and then one every `stride` elements.
  __device__ void set(int i, const T* row, std::int64_t stride) {
    next_[i] = row + first_step_ * stride + column_;
    stride_[i] = steps_at_once_ * stride;
  }

  // Starts the copies of the next `steps` rows of each plane but the last, which has
  // `steps_of_last`, to the slots from `to` on. Fewer than a whole group of steps come once, at the
  // end.
  __device__ void fetch(int steps, int steps_of_last, const Ring& ring, unsigned char* to) {
    if (!in_tile_) {
      return;
    }
    if (ring.wide) {
      fetch_rows<kVectorBytes>(steps, steps_of_last, ring, to);
    } else {
      fetch_rows<sizeof(T)>(steps, steps_of_last, ring, to);
    }
  }

 private:
  template <int bytes>
  __device__ void fetch_rows(int steps, int steps_of_last, const Ring& ring, unsigned char* to) {
    unsigned char* slot = to + first_step_ * ring.slot_bytes + column_ * sizeof(T);
#pragma unroll 1
    for (int step = first_step_; step < steps; step += steps_at_once_) {
#pragma unroll
      for (int i = 0; i < count; ++i) {
        if (i < count - 1 || step < steps_of_last) {
          copy_async<bytes>(slot + i * kWarpSize * sizeof(T), next_[i]);
        }
        next_[i] += stride_[i];
      }
      slot += steps_at_once_ * ring.slot_bytes;
    }
  }

  int column_;
  bool in_tile_;
  int first_step_;
  int steps_at_once_;
  const T* next_[count];
  std::int64_t stride_[count];
};

// The planes of a slot: of A, then of ComputeType<A> the weights, when each step has its own.
template <bool has_skip_term>
struct ForwardPlanes {
  static constexpr int x = 3;  // without a skip term, the end
  static constexpr int count = has_skip_term ? x + 1 : x;
};
template <bool has_skip_term>
struct BackwardPlanes {
  static constexpr int grad_h = ForwardPlanes<has_skip_term>::count;
  static constexpr int c_previous = grad_h + 1;
  static constexpr int count = c_previous + 1;
};

template <typename A>
__device__ const A* plane(const unsigned char* slot, int index) {
  return reinterpret_cast<const A*>(slot) + index * kWarpSize;
}

// Sets the planes that both passes read.
template <bool has_skip_term, typename A, int count>
__device__ void set_inputs(const SruScan<A>& scan, const Tile& tile, Planes<A, count>& planes) {
  const std::int64_t width = scan.planes * scan.units;
  const A* const u = scan.u + tile.row * width + tile.unit;
  for (int i = 0; i < 3; ++i) {
    planes.set(i, u + i * scan.units, tile.row_step * width);
  }
  if constexpr (has_skip_term) {
    constexpr int x = ForwardPlanes<true>::x;
    if (scan.planes == 4) {
      planes.set(x, u + 3 * scan.units, tile.row_step * width);
    } else {
      planes.set(x, scan.x + tile.row * scan.units + tile.unit, tile.row_step * scan.units);
    }
  }
}

// The weights of every step, where there are such.
template <typename A>
__device__ Planes<ComputeType<A>, 2> weight_planes(const SruScan<A>& scan, const Tile& tile,
                                                   const Ring& ring) {
  Planes<ComputeType<A>, 2> planes(tile, ring);
  const ComputeType<A>* const row = scan.weight_c + tile.row * 2 * scan.units + tile.unit;
  planes.set(0, row, tile.row_step * 2 * scan.units);
  planes.set(1, row + scan.units, tile.row_step * 2 * scan.units);
  return planes;
}

// What does not change with time. `at` is the index of the unit.
template <typename A>
__device__ SruUnit<ComputeType<A>> load_unit(const SruScan<A>& scan, std::int64_t entry,
                                             std::int64_t at) {
  SruUnit<ComputeType<A>> unit;
  unit.weight_forget = scan.weight_per_step ? 0 : scan.weight_c[at];
  unit.weight_reset = scan.weight_per_step ? 0 : scan.weight_c[scan.units + at];
  unit.bias_forget = scan.bias[at];
  unit.bias_reset = scan.bias[scan.units + at];
  unit.mask = scan.mask_c != nullptr ? scan.mask_c[entry * scan.units + at] : 1;
  return unit;
}

// The inputs of a step, and its weights where they are its own: behind `count` planes.
template <int count, bool has_skip_term, bool general, typename A>
__device__ SruInput<ComputeType<A>> read_inputs(const SruScan<A>& scan, const unsigned char* slot,
                                                int lane, SruUnit<ComputeType<A>>& unit) {
  using C = ComputeType<A>;
  SruInput<C> in;
  in.u0 = to_compute(plane<A>(slot, 0)[lane]);
  in.u1 = to_compute(plane<A>(slot, 1)[lane]);
  in.u2 = to_compute(plane<A>(slot, 2)[lane]);
  in.x = 0;
  if constexpr (has_skip_term) {
    in.x = to_compute(plane<A>(slot, ForwardPlanes<true>::x)[lane]) * scan.scale_x;
  }
  if constexpr (general) {
    if (scan.weight_per_step) {
      const C* const weight = reinterpret_cast<const C*>(plane<A>(slot, count));
      unit.weight_forget = weight[lane];
      unit.weight_reset = weight[kWarpSize + lane];
    }
  }
  return in;
}

// Whether the lane-th step from `first` on is padding.
template <bool general, typename A>
__device__ bool is_padded(const SruScan<A>& scan, const Tile& tile, const Ring& ring, int first) {
  if constexpr (general) {
    const std::int64_t step = first + tile.lane;
    return scan.mask_pad != nullptr && tile.lane < ring.group_steps && first >= 0 &&
           step < scan.steps && scan.mask_pad[tile.row + step * tile.row_step];
  } else {
    return false;
  }
}

// Takes the warp through all steps: fetch(first, steps, group) starts the copies of a group, and
// compute(first, steps, group, padded) works on one that is there. Bit i of `padded` says that its
// step i is padding.
template <bool general, typename A, typename Fetch, typename Compute>
__device__ void for_each_group(const SruScan<A>& scan, const Tile& tile, const Ring& ring,
                               const Fetch& fetch, const Compute& compute) {
  unsigned char* group = dynamic_shared<unsigned char>();
  const int steps = static_cast<int>(scan.steps);
  const int ahead = kGroups * ring.group_steps;
  const auto steps_from = [&](int first) { return std::min(ring.group_steps, steps - first); };
  bool padded = false;  // the step of this lane in the next group
  int index = 0;
  for (int first = -ahead; first < steps; first += ring.group_steps) {
    if (first >= 0) {  // the turns before fill the ring
      wait_for_copies<kGroups - 1>();
      unsigned bits = 0;
      if constexpr (general) {
        bits = __ballot_sync(kAllLanes, padded);
      }
      __syncwarp();  // now every lane sees what the others copied
      if (tile.active()) {
        compute(first, steps_from(first), group, bits);
      }
      __syncwarp();  // the group has been read
    }
    if (first + ahead < steps) {
      fetch(first + ahead, steps_from(first + ahead), group);
    }
    commit_copies();  // even of none: the count of groups must stay right
    padded = is_padded<general>(scan, tile, ring, first + ring.group_steps);
    index = (index + 1) % kGroups;
    group = dynamic_shared<unsigned char>() + index * ring.group_bytes();
  }
}

// `general` is false for what language models use, where the loop over steps has no branches on
// options: there is no padding, no weights of every step, and x wants a gradient.
template <typename A, Activation activation, bool has_skip_term, bool general>
__global__ void __launch_bounds__(kWarpSize, kResidentBlocks)
    forward_kernel(SruScanForward<A> scan, Ring ring) {
  using C = ComputeType<A>;
  constexpr int count = ForwardPlanes<has_skip_term>::count;
  const Tile tile = tile_of_block(scan, false);
  Planes<A, count> planes(tile, ring);
  set_inputs<has_skip_term>(scan, tile, planes);
  Planes<C, 2> weights = weight_planes(scan, tile, ring);
  const std::int64_t at = tile.unit + tile.lane;
  const std::int64_t state_at = tile.entry * scan.units + at;
  std::int64_t out = tile.row * scan.units + at;
  const std::int64_t out_step = tile.row_step * scan.units;
  SruUnit<C> unit{};
  C c = 0;
  if (tile.active()) {
    unit = load_unit(scan, tile.entry, at);
    c = scan.c0 != nullptr ? scan.c0[state_at] : 0;
  }
  for_each_group<general>(
      scan, tile, ring,
      [&](int, int steps, unsigned char* group) {
        planes.fetch(steps, steps, ring, group);
        if (general && scan.weight_per_step) {
          weights.fetch(steps, steps, ring, group + count * kWarpSize * sizeof(A));
        }
      },
      [&](int, int steps, unsigned char* group, unsigned padded) {
#pragma unroll kUnroll < A>
        for (int step = 0; step < steps; ++step) {
          SruState<C> result{0, c};
          if (!general || (padded >> step & 1U) == 0) {
            const SruInput<C> in = read_inputs<count, has_skip_term, general>(
                scan, group + step * ring.slot_bytes, tile.lane, unit);
            result = sru_forward_step<activation, has_skip_term>(in, unit, c);
          }
          c = result.c;
          scan.h[out] = convert_element<A>(result.h);
          if (scan.c_all != nullptr) {
            scan.c_all[out] = convert_element<A>(c);
          }
          out += out_step;
        }
      });
  if (tile.active()) {
    scan.c_last[state_at] = c;
  }
}

template <typename A, Activation activation, bool has_skip_term, bool general>
__global__ void __launch_bounds__(kWarpSize, kResidentBlocks)
    backward_kernel(SruScanBackward<A> scan, Ring ring) {
  using C = ComputeType<A>;
  using Rows = BackwardPlanes<has_skip_term>;
  const Tile tile = tile_of_block(scan, true);
  Planes<A, Rows::count> planes(tile, ring);
  set_inputs<has_skip_term>(scan, tile, planes);
  const std::int64_t width = tile.row_step * scan.units;
  const std::int64_t start = tile.row * scan.units + tile.unit;
  planes.set(Rows::grad_h, scan.grad_h + start, width);
  // c_{t-1} is the c of the step visited next; the one visited last has c0.
  planes.set(Rows::c_previous, scan.c_all + start + width, width);
  Planes<C, 2> weights = weight_planes(scan, tile, ring);
  const std::int64_t at = tile.unit + tile.lane;
  const std::int64_t state_at = tile.entry * scan.units + at;
  std::int64_t row = tile.row;
  const std::int64_t u_step = tile.row_step * scan.planes * scan.units;
  std::int64_t u_at = tile.row * scan.planes * scan.units + at;
  // The skip term's gradient: of x, or of the fourth plane.
  A* const grad_x = scan.planes == 4 ? scan.grad_u + 3 * scan.units : scan.grad_x;
  const std::int64_t x_step = scan.planes == 4 ? u_step : width;
  std::int64_t x_at = scan.planes == 4 ? u_at : start + tile.lane;
  SruUnit<C> unit{};
  C c_first = 0;
  C grad_c = 0;
  if (tile.active()) {
    unit = load_unit(scan, tile.entry, at);
    c_first = scan.c0 != nullptr ? scan.c0[state_at] : 0;
    grad_c = scan.grad_c_last != nullptr ? scan.grad_c_last[state_at] : 0;
  }
  C sum_weight_forget = 0;
  C sum_weight_reset = 0;
  C sum_bias_forget = 0;
  C sum_bias_reset = 0;
  for_each_group<general>(
      scan, tile, ring,
      [&](int first, int steps, unsigned char* group) {
        const int before = std::min(steps, static_cast<int>(scan.steps) - 1 - first);
        planes.fetch(steps, before, ring, group);
        if (general && scan.weight_per_step) {
          weights.fetch(steps, steps, ring, group + Rows::count * kWarpSize * sizeof(A));
        }
      },
      [&](int first, int steps, unsigned char* group, unsigned padded) {
        const int last = static_cast<int>(scan.steps) - 1 - first;
#pragma unroll kUnroll < A>
        for (int step = 0; step < steps; ++step) {
          SruGradients<C> grad{0, 0, 0, 0, 0, 0, grad_c};
          C c_previous = 0;
          if (!general || (padded >> step & 1U) == 0) {
            const unsigned char* const slot = group + step * ring.slot_bytes;
            const SruInput<C> in =
                read_inputs<Rows::count, has_skip_term, general>(scan, slot, tile.lane, unit);
            c_previous =
                step < last ? to_compute(plane<A>(slot, Rows::c_previous)[tile.lane]) : c_first;
            grad = sru_backward_step<activation, has_skip_term>(
                in, unit, c_previous, to_compute(plane<A>(slot, Rows::grad_h)[tile.lane]), grad_c);
          }
          grad_c = grad.c_previous;
          A* const grad_u = scan.grad_u + u_at;
          grad_u[0] = convert_element<A>(grad.u0);
          grad_u[scan.units] = convert_element<A>(grad.u1);
          grad_u[2 * scan.units] = convert_element<A>(grad.u2);
          u_at += u_step;
          if (has_skip_term && (!general || grad_x != nullptr)) {
            grad_x[x_at] = convert_element<A>(grad.x * scan.scale_x);
            x_at += x_step;
          }
          if (general && scan.weight_per_step) {
            C* const grad_weight = scan.grad_weight_c + row * 2 * scan.units + at;
            grad_weight[0] = grad.weight_forget;
            grad_weight[scan.units] = grad.weight_reset;
            row += tile.row_step;
          }
          // Written as one rounding: else the compiler does so in some variants and not in others.
          sum_weight_forget = std::fma(grad.u1, c_previous, sum_weight_forget);
          sum_weight_reset = std::fma(grad.u2, c_previous, sum_weight_reset);
          sum_bias_forget += grad.u1;
          sum_bias_reset += grad.u2;
        }
      });
  if (tile.active()) {
    C* const sums = scan.sums + tile.entry * 4 * scan.units + at;
    sums[0] = sum_weight_forget;
    sums[scan.units] = sum_weight_reset;
    sums[2 * scan.units] = sum_bias_forget;
    sums[3 * scan.units] = sum_bias_reset;
    if (scan.grad_c0 != nullptr) {
      scan.grad_c0[state_at] = grad_c;
    }
  }
}

// grad_weight_c | grad_bias = sums (B, 4*D) over the batch; the bias alone from column 2*D on.
template <typename C>
__global__ void sum_batch_kernel(const C* sums, std::int64_t batch, std::int64_t units,
                                 std::int64_t first, C* grad_weight_c, C* grad_bias) {
  for (std::int64_t i = first + first_item(); i < 4 * units; i += item_stride()) {
    C sum = 0;
#pragma unroll 32
    for (std::int64_t entry = 0; entry < batch; ++entry) {
      sum += sums[entry * 4 * units + i];
    }
    (i < 2 * units ? grad_weight_c[i] : grad_bias[i - 2 * units]) = sum;
  }
}

template <typename A>
std::int64_t tile_count(const SruScan<A>& scan) {
  const std::int64_t directions = scan.bidirectional ? 2 : 1;
  return scan.batch * directions * ((scan.units / directions + kWarpSize - 1) / kWarpSize);
}

// The ring for `planes` planes of A. Its groups grow until three of each resident warp's are
// kBytesInFlight.
template <typename A>
Ring make_ring(const SruScan<A>& scan, int planes) {
  using C = ComputeType<A>;
  const std::int64_t width = scan.units / (scan.bidirectional ? 2 : 1);
  Ring ring{};
  ring.slot_bytes = static_cast<int>(planes * kWarpSize * sizeof(A));
  ring.wide = takes_vectors(scan.u, width) && takes_vectors(scan.x, width);
  if (scan.weight_per_step) {
    ring.slot_bytes += static_cast<int>(2 * kWarpSize * sizeof(C));
    ring.wide = ring.wide && takes_vectors(scan.weight_c, width);
  }
  const std::int64_t warps =
      std::min((tile_count(scan) + scan.multiprocessors - 1) / scan.multiprocessors,
               std::int64_t{kResidentBlocks});
  const auto fits = [&](std::int64_t group_steps) {
    return group_steps <= kWarpSize && kGroups * group_steps * ring.slot_bytes <= kMostBytes;
  };
  ring.group_steps = std::max(4, vector_size<A>);  // what the lanes copy at once
  while ((kGroups - 1) * ring.group_bytes() * warps < kBytesInFlight &&
         kGroups * ring.group_steps < scan.steps && fits(2 * ring.group_steps)) {
    ring.group_steps *= 2;
  }
  return ring;
}

template <typename A>
Grid grid_of(const SruScan<A>& scan, const Ring& ring) {
  return {dim3(static_cast<unsigned>(tile_count(scan))), dim3(kWarpSize),
          static_cast<std::size_t>(kGroups * ring.group_bytes())};
}

// Calls body.operator()<activation, has_skip_term, general>().
template <typename A, typename Body>
void dispatch_variant(const SruScan<A>& scan, bool must_be_general, const Body& body) {
  constexpr Activation identity = Activation::identity;
  if (scan.activation == identity && scan.has_skip_term && !scan.weight_per_step &&
      scan.mask_pad == nullptr && !must_be_general) {
    body.template operator()<identity, true, false>();
  } else if (scan.activation == identity) {
    scan.has_skip_term ? body.template operator()<identity, true, true>()
                       : body.template operator()<identity, false, true>();
  } else {
    scan.has_skip_term ? body.template operator()<Activation::tanh, true, true>()
                       : body.template operator()<Activation::tanh, false, true>();
  }
}

}  // namespace

template <typename A>
void sru_scan_forward(const SruScanForward<A>& scan, Stream stream) {
  if (scan.batch == 0) {
    return;
  }
  dispatch_variant(scan, false, [&]<Activation activation, bool has_skip_term, bool general>() {
    const Ring ring = make_ring(scan, ForwardPlanes<has_skip_term>::count);
    launch("sru_scan", forward_kernel<A, activation, has_skip_term, general>, grid_of(scan, ring),
           stream, scan, ring);
  });
}

template <typename A>
void sru_scan_backward(const SruScanBackward<A>& scan, Stream stream) {
  using C = ComputeType<A>;
  if (scan.batch > 0) {
    const bool drops_x = scan.planes == 3 && scan.grad_x == nullptr;
    dispatch_variant(scan, drops_x, [&]<Activation activation, bool has_skip_term, bool general>() {
      Ring ring = make_ring(scan, BackwardPlanes<has_skip_term>::count);
      ring.wide = ring.wide && takes_vectors(scan.c_all, scan.units) &&
                  takes_vectors(scan.grad_h, scan.units);
      launch("sru_scan", backward_kernel<A, activation, has_skip_term, general>,
             grid_of(scan, ring), stream, scan, ring);
    });
  }
  const std::int64_t first = scan.weight_per_step ? 2 * scan.units : 0;
  const C* const sums = scan.sums;
  launch("sru_scan", sum_batch_kernel<C>, grid_over(4 * scan.units - first, 128), stream, sums,
         scan.batch, scan.units, first, scan.grad_weight_c, scan.grad_bias);
}

template void sru_scan_forward(const SruScanForward<float>&, Stream);
template void sru_scan_forward(const SruScanForward<double>&, Stream);
template void sru_scan_forward(const SruScanForward<bfloat16>&, Stream);
template void sru_scan_forward(const SruScanForward<float16>&, Stream);
template void sru_scan_backward(const SruScanBackward<float>&, Stream);
template void sru_scan_backward(const SruScanBackward<double>&, Stream);
template void sru_scan_backward(const SruScanBackward<bfloat16>&, Stream);
template void sru_scan_backward(const SruScanBackward<float16>&, Stream);

}  // namespace rondo::cuda
