#include "ops/sru_scan.h"

#include <algorithm>

#include "core/parallel.h"
#include "cuda_kernels/sru_scan.h"
#include "ops/cpu/sru_scan.h"
#include "ops/device.h"

namespace rondo {
namespace {

// The sizes of one scan, and where its elements are.
struct Layout {
  std::int64_t steps, batch, units;  // T, B, D
  std::int64_t planes;               // k
  bool weight_per_step;
  bool bidirectional;

  std::int64_t row(std::int64_t t, std::int64_t b) const { return t * batch + b; }

  // Results of many megabytes have left the caches near the cores before they are read.
  bool streaming() const { return steps * batch * units >= std::int64_t{1} << 20; }
};

template <typename T>
const T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<T>() : nullptr;
}

// Calls visit(t, b, begin, end, first) for every step and batch entry in the order the recurrence
// takes (or the opposite one when `reversed`), for the units [begin, end) of each direction.
// `first` says that c_{t-1} is c0 there. Threads own disjoint (batch, unit) ranges for all time.
template <typename Visit>
void for_each_row(const Layout& layout, bool reversed, const Visit& visit) {
  constexpr std::int64_t kBlock = 16;  // units: threads meet at whole cache lines
  constexpr std::int64_t kGrain = 16;  // blocks a thread at least takes
  const std::int64_t directions = layout.bidirectional ? 2 : 1;
  const std::int64_t width = layout.units / directions;
  const std::int64_t total = layout.batch * layout.units;
  const auto visit_units = [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t direction = 0; direction < directions; ++direction) {
      for (std::int64_t step = 0; step < layout.steps; ++step) {
        const std::int64_t position = reversed ? layout.steps - 1 - step : step;
        const std::int64_t t = direction == 0 ? position : layout.steps - 1 - position;
        for (std::int64_t b = from / layout.units; b * layout.units < to; ++b) {
          const std::int64_t begin = std::max(from - b * layout.units, direction * width);
          const std::int64_t end = std::min(to - b * layout.units, (direction + 1) * width);
          if (begin < end) {
            visit(t, b, begin, end, position == 0);
          }
        }
      }
    }
  };
  parallel_for(0, (total + kBlock - 1) / kBlock, kGrain, [&](std::int64_t from, std::int64_t to) {
    visit_units(from * kBlock, std::min(to * kBlock, total));
    cpu::finish_streaming();
  });
}

// Pointers to everything the recurrence reads, for one type.
template <typename T>
struct Reader {
  Layout layout;
  SruScanOptions options;
  const T* u;
  const T* x;
  const T* weight_c;
  const T* bias;
  const T* c0;
  const T* mask_c;
  const bool* mask_pad;

  bool padded(std::int64_t t, std::int64_t b) const {
    return mask_pad != nullptr && mask_pad[layout.row(t, b)];
  }

  // The pointers of units [begin, ...) at (t, b); c_previous is set by the caller.
  cpu::SruRow<T> row(std::int64_t t, std::int64_t b, std::int64_t begin) const {
    const std::int64_t units = layout.units;
    const T* planes = u + layout.row(t, b) * layout.planes * units + begin;
    const T* weight =
        weight_c + (layout.weight_per_step ? layout.row(t, b) * 2 * units : 0) + begin;
    cpu::SruRow<T> row{};
    row.u0 = planes;
    row.u1 = planes + units;
    row.u2 = planes + 2 * units;
    row.scale_x = T(1);
    if (options.has_skip_term && layout.planes == 4) {
      row.x = planes + 3 * units;
    } else if (options.has_skip_term) {
      row.x = x + layout.row(t, b) * units + begin;
      row.scale_x = static_cast<T>(options.scale_x);
    }
    row.weight_forget = weight;
    row.weight_reset = weight + units;
    row.bias_forget = bias + begin;
    row.bias_reset = bias + units + begin;
    row.mask = mask_c != nullptr ? mask_c + b * units + begin : nullptr;
    row.streaming = layout.streaming();
    return row;
  }
};

// The tensors of one scan, as forward and backward need them.
struct Scan {
  Layout layout;
  SruScanOptions options;
  Tensor u, x, weight_c, bias, c0, mask_c, mask_pad;  // c0 is always given on the CPU

  DType parameter_type() const { return weight_c.dtype(); }  // also of the state

  template <typename T>
  Reader<T> reader() const {
    return {layout,
            options,
            u.data<T>(),
            data_or_null<T>(x),
            weight_c.data<T>(),
            bias.data<T>(),
            c0.data<T>(),
            data_or_null<T>(mask_c),
            data_or_null<bool>(mask_pad)};
  }

  // What kernels of both passes read; `Pass` is one of their parameter structs.
  template <template <typename> typename Pass, typename A>
  Pass<A> for_kernel() const {
    using C = ComputeType<A>;
    Pass<A> pass;
    pass.steps = layout.steps;
    pass.batch = layout.batch;
    pass.units = layout.units;
    pass.planes = layout.planes;
    pass.activation = options.activation;
    pass.has_skip_term = options.has_skip_term;
    pass.bidirectional = layout.bidirectional;
    pass.weight_per_step = layout.weight_per_step;
    pass.scale_x = layout.planes == 3 ? static_cast<C>(options.scale_x) : C(1);
    pass.u = u.device_data<A>();
    pass.x = device_data_or_null<A>(x);
    pass.weight_c = weight_c.device_data<C>();
    pass.bias = bias.device_data<C>();
    pass.c0 = device_data_or_null<C>(c0);
    pass.mask_c = device_data_or_null<C>(mask_c);
    pass.mask_pad = device_data_or_null<bool>(mask_pad);
    pass.multiprocessors = cuda::properties(u.device().index).multiprocessors;
    return pass;
  }
};

Scan checked(const SruScanInputs& in, const SruScanOptions& options) {
  check(in.u.defined() && in.u.shape().rank() == 3,
        "[sru_scan] u must have shape (T, B, k*D), found {}",
        in.u.defined() ? in.u.shape().str() : "nothing");
  check(in.bias.defined() && in.bias.shape().rank() == 1 && in.bias.size(0) % 2 == 0,
        "[sru_scan] bias must have shape (2*D), found {}",
        in.bias.defined() ? in.bias.shape().str() : "nothing");
  Layout layout{};
  layout.steps = in.u.size(0);
  layout.batch = in.u.size(1);
  layout.units = in.bias.size(0) / 2;
  layout.bidirectional = options.bidirectional;
  check(layout.units > 0 && (in.u.size(2) == 3 * layout.units || in.u.size(2) == 4 * layout.units),
        "[sru_scan] u has shape {}; its last size must be 3*D or 4*D with D = {}, half of bias {}",
        in.u.shape().str(), layout.units, in.bias.shape().str());
  layout.planes = in.u.size(2) / layout.units;
  check(!options.bidirectional || layout.units % 2 == 0,
        "[sru_scan] a bidirectional scan needs an even number of units, found {}", layout.units);
  check(options.has_skip_term || layout.planes == 3,
        "[sru_scan] without a skip term u must have 3 planes, found 4 in shape {}",
        in.u.shape().str());

  const bool takes_x = options.has_skip_term && layout.planes == 3;
  check(!takes_x || in.x.defined(),
        "[sru_scan] x is missing; with a skip term and 3 planes in u it is the skip term");
  check(takes_x || !in.x.defined(), "[sru_scan] x was given, but {}",
        options.has_skip_term ? "the fourth plane of u is the skip term"
                              : "the options say that there is no skip term");
  if (takes_x) {
    check_shape("sru_scan", "x", in.x.value(), {layout.steps, layout.batch, layout.units});
  }
  check(in.weight_c.defined(), "[sru_scan] weight_c is missing");
  layout.weight_per_step = in.weight_c.shape().rank() == 3;
  check_shape("sru_scan", "weight_c", in.weight_c.value(),
              layout.weight_per_step ? Shape{layout.steps, layout.batch, 2 * layout.units}
                                     : Shape{2 * layout.units});

  const Tensor& u = in.u.value();
  const Shape state{layout.batch, layout.units};
  Scan scan{layout,
            options,
            u,
            in.x.defined() ? in.x.value() : Tensor(),
            in.weight_c.value(),
            in.bias.value(),
            Tensor(),
            in.mask_c,
            in.mask_pad};
  if (in.c0.defined()) {
    scan.c0 = in.c0.value();
    check_shape("sru_scan", "c0", scan.c0, state);
  } else if (u.device().is_cpu()) {
    scan.c0 = Tensor::zeros(state, u.dtype());
  }
  if (scan.x.defined()) {
    check_same_kind("sru_scan", "x", scan.x, u);
  }
  const std::pair<const char*, const Tensor*> parameters[] = {{"weight_c", &scan.weight_c},
                                                              {"bias", &scan.bias},
                                                              {"c0", &scan.c0},
                                                              {"mask_c", &scan.mask_c}};
  for (const auto& [argument, tensor] : parameters) {
    if (tensor->defined()) {
      check_parameter_kind("sru_scan", argument, *tensor, u);
    }
  }
  if (scan.mask_c.defined()) {
    check_shape("sru_scan", "mask_c", scan.mask_c, state);
  }
  if (scan.mask_pad.defined()) {
    check_shape("sru_scan", "mask_pad", scan.mask_pad, {layout.steps, layout.batch});
    check(scan.mask_pad.dtype() == DType::boolean && scan.mask_pad.device() == u.device(),
          "[sru_scan] mask_pad must be bool on {}, found {} on {}", u.device().str(),
          name(scan.mask_pad.dtype()), scan.mask_pad.device().str());
  }
  return scan;
}

// Fills h, c_last and, when `c_all` (T, B, D) is defined, c of every step.
template <typename T>
void forward(const Scan& scan, Tensor& h, Tensor& c_last, Tensor& c_all) {
  const Layout& layout = scan.layout;
  const Reader<T> reader = scan.reader<T>();
  const cpu::SruVariant variant{scan.options.activation, scan.options.has_skip_term};
  T* h_data = h.data<T>();
  T* last = c_last.data<T>();
  T* all = c_all.defined() ? c_all.data<T>() : nullptr;
  const std::int64_t units = layout.units;
  std::copy_n(reader.c0, layout.batch * units, last);
  for_each_row(layout, false,
               [&](std::int64_t t, std::int64_t b, std::int64_t begin, std::int64_t end, bool) {
                 const std::int64_t n = end - begin;
                 T* c = last + b * units + begin;
                 T* h_row = h_data + layout.row(t, b) * units + begin;
                 T* kept = all != nullptr ? all + layout.row(t, b) * units + begin : nullptr;
                 if (!reader.padded(t, b)) {
                   cpu::SruForwardRow<T> row{reader.row(t, b, begin), c, h_row, kept};
                   row.c_previous = c;
                   cpu::sru_forward_row(row, n, variant);
                   return;
                 }
                 std::fill_n(h_row, n, T(0));
                 if (kept != nullptr) {
                   std::copy_n(c, n, kept);
                 }
               });
}

struct ScanGradients {
  Tensor u, x, weight_c, bias, c0;
};

// into = the sum of per_batch (B, n) over its rows, in their order.
template <typename T>
void sum_rows(const T* per_batch, std::int64_t batch, std::int64_t n, T* into) {
  std::fill_n(into, n, T(0));
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t i = 0; i < n; ++i) {
      into[i] += per_batch[b * n + i];
    }
  }
}

// grad_h may be undefined (zeros); grads.c0 holds the gradient of c_last on entry.
template <typename T>
void backward(const Scan& scan, const Tensor& c_all, const Tensor& grad_h, ScanGradients& grads) {
  const Layout& layout = scan.layout;
  const Reader<T> reader = scan.reader<T>();
  const cpu::SruVariant variant{scan.options.activation, scan.options.has_skip_term};
  const std::int64_t units = layout.units;
  const std::int64_t batch = layout.batch;
  // Sums over time are kept per batch entry, then added in order: no two threads share a sum.
  Tensor weight_sums = layout.weight_per_step
                           ? grads.weight_c
                           : Tensor::zeros({batch, 2 * units}, scan.u.dtype(), scan.u.device());
  Tensor bias_sums = Tensor::zeros({batch, 2 * units}, scan.u.dtype(), scan.u.device());
  const T* c_data = c_all.data<T>();
  const T* gh_data = grad_h.data<T>();
  T* gu_data = grads.u.data<T>();
  T* gx_data = grads.x.defined() ? grads.x.data<T>() : nullptr;
  T* gc_data = grads.c0.data<T>();
  T* gw_data = weight_sums.data<T>();
  T* gb_data = bias_sums.data<T>();

  for_each_row(
      layout, true,
      [&](std::int64_t t, std::int64_t b, std::int64_t begin, std::int64_t end, bool first) {
        const std::int64_t n = end - begin;
        const std::int64_t position = layout.row(t, b);
        T* gu = gu_data + position * layout.planes * units + begin;
        T* gx = gx_data != nullptr ? gx_data + position * units + begin : nullptr;
        if (reader.padded(t, b)) {  // grad_c passes through
          for (std::int64_t plane = 0; plane < layout.planes; ++plane) {
            std::fill_n(gu + plane * units, n, T(0));
          }
          if (gx != nullptr) {
            std::fill_n(gx, n, T(0));
          }
          return;
        }
        const bool runs_back = layout.bidirectional && begin >= units / 2;
        const std::int64_t before = layout.row(runs_back ? t + 1 : t - 1, b);
        T* gw = gw_data + (layout.weight_per_step ? position : b) * 2 * units + begin;
        T* gb = gb_data + b * 2 * units + begin;
        cpu::SruBackwardRow<T> row{reader.row(t, b, begin),
                                   gh_data + position * units + begin,
                                   gc_data + b * units + begin,
                                   gu,
                                   gu + units,
                                   gu + 2 * units,
                                   layout.planes == 4 ? gu + 3 * units : gx,
                                   gw,
                                   gw + units,
                                   gb,
                                   gb + units};
        row.c_previous = first ? reader.c0 + b * units + begin : c_data + before * units + begin;
        cpu::sru_backward_row(row, n, variant);
      });
  if (!layout.weight_per_step) {
    sum_rows(gw_data, batch, 2 * units, grads.weight_c.data<T>());
  }
  sum_rows(gb_data, batch, 2 * units, grads.bias.data<T>());
}

// forward and backward again, in the order of `stream`.
template <typename A>
void forward_on_gpu(const Scan& scan, Tensor& h, Tensor& c_last, Tensor& c_all,
                    cuda::Stream stream) {
  auto pass = scan.for_kernel<cuda::SruScanForward, A>();
  pass.h = h.device_data<A>();
  pass.c_last = c_last.device_data<ComputeType<A>>();
  pass.c_all = c_all.defined() ? c_all.device_data<A>() : nullptr;
  cuda::sru_scan_forward(pass, stream);
}

// Here the gradient of c_last may be undefined, and so may those that are not wanted, of x and c0.
template <typename A>
void backward_on_gpu(const Scan& scan, const Tensor& c_all, const Tensor& grad_h,
                     const Tensor& grad_c_last, ScanGradients& grads, cuda::Stream stream) {
  using C = ComputeType<A>;
  Tensor sums = Tensor::empty({scan.layout.batch, 4 * scan.layout.units}, scan.parameter_type(),
                              scan.u.device());
  auto pass = scan.for_kernel<cuda::SruScanBackward, A>();
  pass.c_all = c_all.device_data<A>();
  pass.grad_h = grad_h.device_data<A>();
  pass.grad_c_last = device_data_or_null<C>(grad_c_last);
  pass.grad_u = grads.u.device_data<A>();
  pass.grad_x = grads.x.defined() ? grads.x.device_data<A>() : nullptr;
  pass.grad_weight_c = grads.weight_c.device_data<C>();
  pass.grad_bias = grads.bias.device_data<C>();
  pass.grad_c0 = grads.c0.defined() ? grads.c0.device_data<C>() : nullptr;
  pass.sums = sums.device_data<C>();
  cuda::sru_scan_backward(pass, stream);
}

}  // namespace

SruScanOutputs sru_scan(const SruScanInputs& inputs, const SruScanOptions& options) {
  const Scan scan = checked(inputs, options);
  const Layout& layout = scan.layout;
  const DType dtype = scan.u.dtype();
  const Device device = scan.u.device();
  const Shape sequence{layout.steps, layout.batch, layout.units};
  const Variable recorded[] = {inputs.u, inputs.x, inputs.weight_c, inputs.bias, inputs.c0};

  Tensor h = Tensor::empty(sequence, dtype, device);
  Tensor c_last = Tensor::empty({layout.batch, layout.units}, scan.parameter_type(), device);
  Tensor c_all = needs_grad(recorded) ? Tensor::empty(sequence, dtype, device) : Tensor();
  run_on(
      device,
      [&] {
        dispatch_compute(dtype, "sru_scan",
                         [&]<typename T>(Type<T>) { forward<T>(scan, h, c_last, c_all); });
      },
      [&](auto stream) {
        dispatch_floating(dtype, "sru_scan", [&]<typename A>(Type<A>) {
          forward_on_gpu<A>(scan, h, c_last, c_all, stream);
        });
      });

  const bool wants_x = inputs.x.requires_grad();
  const bool wants_c0 = inputs.c0.requires_grad();
  std::vector<Variable> outputs = record(
      "sru_scan", {std::move(h), std::move(c_last)}, recorded,
      [=](std::span<const Tensor> grad_outputs) -> std::vector<Tensor> {
        const DType parameter_type = scan.parameter_type();
        const Tensor grad_h = grad_outputs[0].defined()
                                  ? grad_outputs[0]
                                  : Tensor::zeros(c_all.shape(), dtype, device);
        ScanGradients grads;
        grads.u = Tensor::empty(scan.u.shape(), dtype, device);
        if (wants_x) {
          grads.x = Tensor::empty(scan.x.shape(), dtype, device);
        }
        grads.bias = Tensor::empty(scan.bias.shape(), parameter_type, device);
        run_on(
            device,
            [&] {
              grads.weight_c = Tensor::zeros(scan.weight_c.shape(), parameter_type);
              grads.c0 = grad_outputs[1].defined() ? grad_outputs[1].clone()
                                                   : Tensor::zeros(scan.c0.shape(), parameter_type);
              dispatch_compute(dtype, "sru_scan", [&]<typename T>(Type<T>) {
                backward<T>(scan, c_all, grad_h, grads);
              });
            },
            [&](auto stream) {
              grads.weight_c = Tensor::empty(scan.weight_c.shape(), parameter_type, device);
              if (wants_c0) {
                grads.c0 = Tensor::empty(scan.c0.shape(), parameter_type, device);
              }
              dispatch_floating(dtype, "sru_scan", [&]<typename A>(Type<A>) {
                backward_on_gpu<A>(scan, c_all, grad_h, grad_outputs[1], grads, stream);
              });
            });
        return {grads.u, grads.x, grads.weight_c, grads.bias, grads.c0};
      });
  return {outputs[0], outputs[1]};
}

}  // namespace rondo
