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
// A step cannot be faster than the chain from c_{t-1} to c_t, some 70 to 80 cycles with the fast
// exponential and division of sigmoid: about 45 us for 1024 steps at 1.75 GHz, which is also what
// bf16 at B = 4, D = 3072 takes at the bandwidth of an H100. Backward has all c, so that only the
// gradient's shorter chain runs through time.
//
// Sums over time are a thread's own; a second kernel adds them over the batch, in order.
#include "cuda_kernels/sru_scan.h"

#include "core/cuda_launch.cuh"
#include "core/element.h"
#include "cuda_kernels/common/async_copy.cuh"
#include "cuda_kernels/common/reduce.cuh"
#include "cuda_kernels/common/vector.cuh"

namespace rondo::cuda {
namespace {

constexpr int kGroups = 4;
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

// Starts the copies of a row for each of `steps` slots. `source` is the row of the first.
template <typename T>
__device__ void fetch_rows(const T* source, std::int64_t stride, int steps, const Tile& tile,
                           const Ring& ring, unsigned char* to) {
  if (ring.wide) {
    constexpr int kChunk = vector_size<T>;
    constexpr int kChunks = kWarpSize / kChunk;        // of a row
    constexpr int kStepsAtOnce = kWarpSize / kChunks;  // that the lanes take together
    const int column = tile.lane % kChunks * kChunk;
    const int first = tile.lane / kChunks;
    source += first * stride + column;
    to += first * ring.slot_bytes + column * sizeof(T);
    if (column < tile.count) {
#pragma unroll 1
      for (int step = first; step < steps; step += kStepsAtOnce) {
        copy_async<kVectorBytes>(to, source);
        source += kStepsAtOnce * stride;
        to += kStepsAtOnce * ring.slot_bytes;
      }
    }
  } else if (tile.active()) {
    source += tile.lane;
    to += tile.lane * sizeof(T);
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      copy_async<sizeof(T)>(to, source);
      source += stride;
      to += ring.slot_bytes;
    }
  }
}

// The planes of a slot: of A, then of ComputeType<A> the weights, when each step has its own.
constexpr int kXPlane = 3;  // if there is a skip term
template <bool has_skip_term>
struct ForwardPlanes {
  static constexpr int count = has_skip_term ? 4 : 3;
};
template <bool has_skip_term>
struct BackwardPlanes : ForwardPlanes<has_skip_term> {
  static constexpr int c_previous = ForwardPlanes<has_skip_term>::count;
  static constexpr int grad_h = c_previous + 1;
  static constexpr int count = c_previous + 2;
};

template <typename A>
__device__ unsigned char* plane(unsigned char* slot, int index) {
  return slot + index * kWarpSize * sizeof(A);
}

template <typename A>
__device__ ComputeType<A> element(unsigned char* slot, int index, int lane) {
  return to_compute(reinterpret_cast<const A*>(plane<A>(slot, index))[lane]);
}

// What both passes read of the steps from `first` on.
template <int planes, bool has_skip_term, bool general, typename A>
__device__ void fetch_inputs(const SruScan<A>& scan, const Tile& tile, const Ring& ring, int first,
                             int steps, unsigned char* group) {
  const std::int64_t row = tile.row + first * tile.row_step;
  const std::int64_t u_stride = tile.row_step * scan.planes * scan.units;
  const A* const u = scan.u + row * scan.planes * scan.units + tile.unit;
  for (int i = 0; i < 3; ++i) {
    fetch_rows(u + i * scan.units, u_stride, steps, tile, ring, plane<A>(group, i));
  }
  if constexpr (has_skip_term) {
    const bool own = scan.planes == 3;
    fetch_rows(own ? scan.x + row * scan.units + tile.unit : u + 3 * scan.units,
               own ? tile.row_step * scan.units : u_stride, steps, tile, ring,
               plane<A>(group, kXPlane));
  }
  if constexpr (general) {
    if (scan.weight_per_step) {
      using C = ComputeType<A>;
      const C* const weight = scan.weight_c + row * 2 * scan.units + tile.unit;
      const std::int64_t stride = tile.row_step * 2 * scan.units;
      unsigned char* const to = plane<A>(group, planes);
      fetch_rows(weight, stride, steps, tile, ring, to);
      fetch_rows(weight + scan.units, stride, steps, tile, ring, to + kWarpSize * sizeof(C));
    }
  }
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

// The inputs of a step, and its weights where they are its own.
template <int planes, bool has_skip_term, bool general, typename A>
__device__ SruInput<ComputeType<A>> read_inputs(const SruScan<A>& scan, unsigned char* slot,
                                                int lane, SruUnit<ComputeType<A>>& unit) {
  using C = ComputeType<A>;
  SruInput<C> in;
  in.u0 = element<A>(slot, 0, lane);
  in.u1 = element<A>(slot, 1, lane);
  in.u2 = element<A>(slot, 2, lane);
  in.x = 0;
  if constexpr (has_skip_term) {
    in.x = element<A>(slot, kXPlane, lane) * static_cast<C>(scan.scale_x);
  }
  if constexpr (general) {
    if (scan.weight_per_step) {
      const C* const weight = reinterpret_cast<const C*>(plane<A>(slot, planes));
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

// `general` is false for what language models use: it has no branches on options. It excludes
// padding and weights of every step.
template <typename A, Activation activation, bool has_skip_term, bool general>
__global__ void __launch_bounds__(kWarpSize) forward_kernel(SruScanForward<A> scan, Ring ring) {
  using C = ComputeType<A>;
  constexpr int planes = ForwardPlanes<has_skip_term>::count;
  const Tile tile = tile_of_block(scan, false);
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
      [&](int first, int steps, unsigned char* group) {
        fetch_inputs<planes, has_skip_term, general>(scan, tile, ring, first, steps, group);
      },
      [&](int, int steps, unsigned char* group, unsigned padded) {
#pragma unroll 4
        for (int step = 0; step < steps; ++step) {
          SruState<C> result{0, c};
          if (!general || (padded >> step & 1U) == 0) {
            const SruInput<C> in = read_inputs<planes, has_skip_term, general>(
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
__global__ void __launch_bounds__(kWarpSize) backward_kernel(SruScanBackward<A> scan, Ring ring) {
  using C = ComputeType<A>;
  using Planes = BackwardPlanes<has_skip_term>;
  const Tile tile = tile_of_block(scan, true);
  const std::int64_t at = tile.unit + tile.lane;
  const std::int64_t state_at = tile.entry * scan.units + at;
  std::int64_t row = tile.row;
  A* grad_x = has_skip_term && scan.planes == 4 ? scan.grad_u + 3 * scan.units : scan.grad_x;
  const std::int64_t grad_x_width = scan.planes == 4 ? 4 * scan.units : scan.units;
  const C scale_x = static_cast<C>(scan.scale_x);
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
        fetch_inputs<Planes::count, has_skip_term, general>(scan, tile, ring, first, steps, group);
        const std::int64_t start = (tile.row + first * tile.row_step) * scan.units + tile.unit;
        const std::int64_t stride = tile.row_step * scan.units;
        fetch_rows(scan.grad_h + start, stride, steps, tile, ring, plane<A>(group, Planes::grad_h));
        // c_{t-1} is that of the step visited next; the last visited has c0.
        const int before = std::min<int>(steps, static_cast<int>(scan.steps) - 1 - first);
        fetch_rows(scan.c_all + start + stride, stride, before, tile, ring,
                   plane<A>(group, Planes::c_previous));
      },
      [&](int first, int steps, unsigned char* group, unsigned padded) {
#pragma unroll 2
        for (int step = 0; step < steps; ++step) {
          SruGradients<C> grad{0, 0, 0, 0, 0, 0, grad_c};
          if (!general || (padded >> step & 1U) == 0) {
            unsigned char* const slot = group + step * ring.slot_bytes;
            const SruInput<C> in =
                read_inputs<Planes::count, has_skip_term, general>(scan, slot, tile.lane, unit);
            const C c_previous = first + step + 1 < scan.steps
                                     ? element<A>(slot, Planes::c_previous, tile.lane)
                                     : c_first;
            grad = sru_backward_step<activation, has_skip_term>(
                in, unit, c_previous, element<A>(slot, Planes::grad_h, tile.lane), grad_c);
          }
          grad_c = grad.c_previous;
          A* const grad_u = scan.grad_u + row * scan.planes * scan.units + at;
          grad_u[0] = convert_element<A>(grad.u0);
          grad_u[scan.units] = convert_element<A>(grad.u1);
          grad_u[2 * scan.units] = convert_element<A>(grad.u2);
          if (has_skip_term && grad_x != nullptr) {
            grad_x[row * grad_x_width + at] = convert_element<A>(grad.x * scale_x);
          }
          if (general && scan.weight_per_step) {
            C* const grad_weight = scan.grad_weight_c + row * 2 * scan.units + at;
            grad_weight[0] = grad.weight_forget;
            grad_weight[scan.units] = grad.weight_reset;
          }
          sum_weight_forget += grad.weight_forget;
          sum_weight_reset += grad.weight_reset;
          sum_bias_forget += grad.u1;
          sum_bias_reset += grad.u2;
          row += tile.row_step;
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
#pragma unroll 8
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
  constexpr std::int64_t kMostWarps = 32;  // blocks that a multiprocessor holds
  const std::int64_t width = scan.units / (scan.bidirectional ? 2 : 1);
  Ring ring{};
  ring.slot_bytes = static_cast<int>(planes * kWarpSize * sizeof(A));
  ring.wide = takes_vectors(scan.u, width) && takes_vectors(scan.x, width);
  if (scan.weight_per_step) {
    ring.slot_bytes += static_cast<int>(2 * kWarpSize * sizeof(C));
    ring.wide = ring.wide && takes_vectors(scan.weight_c, width);
  }
  const std::int64_t warps =
      std::min((tile_count(scan) + scan.multiprocessors - 1) / scan.multiprocessors, kMostWarps);
  const auto fits = [&](std::int64_t group_steps) {
    return group_steps <= kWarpSize && kGroups * group_steps * ring.slot_bytes <= kMostBytes;
  };
  ring.group_steps = 4;
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
void dispatch_variant(const SruScan<A>& scan, const Body& body) {
  constexpr Activation identity = Activation::identity;
  if (scan.activation == identity && scan.has_skip_term && !scan.weight_per_step &&
      scan.mask_pad == nullptr) {
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
  dispatch_variant(scan, [&]<Activation activation, bool has_skip_term, bool general>() {
    const Ring ring = make_ring(scan, ForwardPlanes<has_skip_term>::count);
    launch("sru_scan", forward_kernel<A, activation, has_skip_term, general>, grid_of(scan, ring),
           stream, scan, ring);
  });
}

template <typename A>
void sru_scan_backward(const SruScanBackward<A>& scan, Stream stream) {
  using C = ComputeType<A>;
  if (scan.batch > 0) {
    dispatch_variant(scan, [&]<Activation activation, bool has_skip_term, bool general>() {
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
