// Runs every golden file of a folder through Rondo's public API and compares outputs and gradients
// with those of the reference implementation. The folder is tests/golden, or what the environment
// variable RONDO_GOLDEN_DIR names. A file says in its metadata what it is ("case") and with which
// settings; unknown kinds fail.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/adaptive_softmax.h"
#include "models/language_model.h"
#include "models/reference_state.h"
#include "models/sru.h"
#include "models/srupp.h"
#include "ops/concat.h"
#include "ops/cross_entropy.h"
#include "ops/elementwise.h"
#include "ops/sru_scan.h"
#include "tests/support/test_device.h"
#include "trainers/optimizer.h"
#include "trainers/schedule.h"

namespace rondo {
namespace {

using testing::test_device;

// Largest error allowed, relative to the largest magnitude of the tensor compared (f32 sums over a
// few hundred terms, in another order than the reference's).
constexpr double kTolerance = 1e-5;
// Sixty optimizer steps amplify rounding, so whole training runs are held to less.
constexpr double kTrainedTolerance = 1e-3;
constexpr double kLossTolerance = 1e-4;

// One golden file: settings and tensors, and what has gone wrong so far.
class Golden {
 public:
  explicit Golden(const std::filesystem::path& path) : file_(SafetensorsFile::open(path)) {}

  std::string text(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    check(found != file_.metadata().end(), "the metadata has no '{}'", key);
    return found->second;
  }
  std::string text_or(const std::string& key, const std::string& otherwise) const {
    const auto found = file_.metadata().find(key);
    return found == file_.metadata().end() ? otherwise : found->second;
  }
  std::int64_t integer(const std::string& key) const { return std::stoll(text(key)); }
  double number(const std::string& key) const { return std::stod(text(key)); }
  bool flag(const std::string& key) const { return text(key) == "true"; }

  bool contains(const std::string& name) const { return file_.contains(name); }
  const std::vector<std::string>& names() const { return file_.names(); }
  // A copy of its own, so that it may be changed, on the CPU.
  Tensor tensor(const std::string& name) const { return file_.tensor(name).clone(); }
  // The same where the test runs.
  Tensor input(const std::string& name) const { return tensor(name).to(test_device()); }
  Tensor input_or_none(const std::string& name) const {
    return contains(name) ? input(name) : Tensor();
  }
  Variable parameter(const std::string& name) const { return Variable(input(name), true); }

  // Notes a problem unless `ours` is within `tolerance` of tensor `name`.
  void expect(const std::string& name, const Tensor& ours, double tolerance = kTolerance) {
    expect_near(name, ours, file_.tensor(name), tolerance);
  }
  void expect_near(const std::string& what, const Tensor& ours, const Tensor& theirs,
                   double tolerance) {
    if (!ours.defined() || ours.shape() != theirs.shape()) {
      problems_.push_back(fmt::format("{}: shape {}, the reference has {}", what,
                                      ours.shape().str(), theirs.shape().str()));
      return;
    }
    const Tensor a = ours.to(Device::cpu()).to(DType::f64);
    const Tensor b = theirs.to(DType::f64);
    double magnitude = 1e-3;  // gradients smaller than this are compared absolutely
    double error = 0.0;
    for (std::int64_t i = 0; i < b.numel(); ++i) {
      const double x = a.data<double>()[i];
      const double y = b.data<double>()[i];
      magnitude = std::max(magnitude, std::abs(y));
      if (!(std::abs(x - y) <= error)) {
        error = std::abs(x - y);
      }
    }
    ++compared_;
    worst_ = std::max(worst_, error / magnitude);
    if (!(error <= tolerance * magnitude)) {
      problems_.push_back(
          fmt::format("{}: off by {:.3g} of at most {:.3g} ({:.1e} relative, {:.0e} allowed)", what,
                      error, magnitude, error / magnitude, tolerance));
    }
  }

  const std::vector<std::string>& problems() const { return problems_; }
  int compared() const { return compared_; }
  double worst() const { return worst_; }

 private:
  SafetensorsFile file_;
  std::vector<std::string> problems_;
  int compared_ = 0;
  double worst_ = 0.0;
};

// A causal additive mask (0 and at most -1e4, right of the diagonal that ends at the last position)
// is what our structural mask says without a tensor; both ways are checked then.
bool is_causal(const Tensor& mask) {
  const std::int64_t memory = mask.size(1) - mask.size(0);
  for (std::int64_t i = 0; i < mask.size(0); ++i) {
    for (std::int64_t j = 0; j < mask.size(1); ++j) {
      const float value = mask[i].data<float>()[j];
      if (j > memory + i ? value > -1e4F : value != 0.0F) {
        return false;
      }
    }
  }
  return memory >= 0;
}

// The masks to try for a file: the additive one as it is, and the structural one if they agree.
std::vector<AttentionMask> masks_of(const Golden& golden) {
  std::vector<AttentionMask> masks{{false, 0, golden.input_or_none("in.attn_mask"), Tensor()}};
  if (golden.contains("in.attn_mask") && is_causal(golden.tensor("in.attn_mask"))) {
    masks.push_back({true, 0, Tensor(), Tensor()});
  }
  return masks;
}

// Starts every root from its gradient at once.
void backward_all(const std::vector<std::pair<Variable, Tensor>>& roots) {
  // One root at a time releases shared history, so the roots are joined: sum over roots of <r, g>.
  std::vector<Tensor> grads;
  std::vector<Variable> variables;
  for (const auto& [root, grad] : roots) {
    variables.push_back(root);
    grads.push_back(grad.to(test_device()));
  }
  Variable joined = record("join", {Tensor::zeros({1}, DType::f32, test_device())}, variables,
                           [grads](std::span<const Tensor>) {
                             std::vector<Tensor> result;
                             for (const Tensor& grad : grads) {
                               result.push_back(grad.clone());
                             }
                             return result;
                           })
                        .front();
  backward(joined);
}

void run_recurrence(Golden& golden) {
  const bool bidirectional = golden.flag("bidirectional");
  const std::int64_t units = golden.integer("hidden_size") * (bidirectional ? 2 : 1);
  const bool per_step = golden.flag("weight_c_per_step");
  const bool takes_x = golden.flag("has_skip_term") && golden.integer("k") == 3;

  SruScanOptions options;
  options.activation =
      golden.text("activation") == "tanh" ? Activation::tanh : Activation::identity;
  options.has_skip_term = golden.flag("has_skip_term");
  options.bidirectional = bidirectional;
  options.scale_x = golden.number("scale_x");
  SruScanInputs in;
  in.u = Variable(last_planes_from_interleaved(golden.tensor("U"), units).to(test_device()), true);
  if (takes_x) {
    in.x = golden.parameter("x");
  }
  const Tensor weight_c = golden.tensor("weight_c");
  in.weight_c = Variable(
      (per_step ? last_planes_from_interleaved(weight_c, units) : weight_c).to(test_device()),
      true);
  in.bias = golden.parameter("bias");
  in.c0 = golden.contains("c0") ? golden.parameter("c0") : Variable();
  in.mask_c = golden.input_or_none("mask_c");
  in.mask_pad = golden.input_or_none("mask_pad");

  const SruScanOutputs out = sru_scan(in, options);
  golden.expect("h", out.h.value());
  golden.expect("c_last", out.c_last.value());
  backward_all({{out.h, golden.tensor("grad_h")}, {out.c_last, golden.tensor("grad_c_last")}});
  golden.expect("grad_U", last_interleaved_from_planes(in.u.grad().to(Device::cpu()), units));
  if (takes_x) {
    golden.expect("grad_x", in.x.grad());
  }
  golden.expect("grad_weight_c",
                per_step ? last_interleaved_from_planes(in.weight_c.grad().to(Device::cpu()), units)
                         : in.weight_c.grad());
  golden.expect("grad_bias", in.bias.grad());
  if (in.c0.defined()) {
    golden.expect("grad_c0", in.c0.grad());
  }
}

// Copies "param.<name>" into a transform's parameters, whose names are the reference's.
void load_transform(const Golden& golden, const Parameters& parameters) {
  for (NamedVariable p : parameters) {
    p.variable.value().copy_from(golden.tensor("param." + p.name));
  }
}

void run_transform(Golden& golden, const Transform& transform) {
  load_transform(golden, transform.parameters());
  for (const AttentionMask& mask : masks_of(golden)) {
    TransformInputs in;
    in.x = golden.parameter("in.x");
    in.mask = mask;
    if (golden.contains("in.memory")) {
      in.memory = Variable(golden.input("in.memory"));
    }
    const bool padded = golden.contains("in.mask_pad") || golden.contains("in.memory_mask_pad");
    if (padded) {  // of [memory ; segment]
      const std::int64_t memory = in.memory.defined() ? in.memory.size(0) : 0;
      Tensor padding = Tensor::zeros({memory + in.x.size(0), in.x.size(1)}, DType::boolean);
      if (golden.contains("in.memory_mask_pad")) {
        padding.narrow(0, memory).copy_from(golden.tensor("in.memory_mask_pad"));
      }
      if (golden.contains("in.mask_pad")) {
        padding.narrow(memory, in.x.size(0)).copy_from(golden.tensor("in.mask_pad"));
      }
      in.mask.key_padding = padding.to(test_device());
    }
    zero_grads(transform.parameters());
    const Variable y = transform.forward(in, {});
    golden.expect("out.y", y.value());
    backward(y, golden.input("gradout.y"));
    golden.expect("grad.in.x", in.x.grad());
    for (const NamedVariable& p : transform.parameters()) {
      golden.expect("grad.param." + p.name, p.variable.grad());
    }
  }
}

SruppTransformOptions transform_options(const Golden& golden) {
  SruppTransformOptions options;
  options.projection_size = golden.integer("proj_features");
  options.layer_norm = golden.flag("layer_norm");
  options.num_heads = std::stoll(golden.text_or("num_heads", "1"));
  options.normalize_after = golden.text_or("normalize_after", "true") == "true";
  return options;
}

void run_projected_linear(Golden& golden) {
  Generator generator(1);
  Initializer init(generator, test_device());
  run_transform(golden,
                SruppProjectedLinear(golden.integer("in_features"), golden.integer("out_features"),
                                     transform_options(golden), init));
}

void run_attention(Golden& golden) {
  Generator generator(1);
  Initializer init(generator, test_device());
  run_transform(golden,
                SruppAttention(golden.integer("in_features"), golden.integer("out_features"),
                               transform_options(golden), init));
}

StackOptions stack_options(const Golden& golden) {
  StackOptions stack;
  stack.input_size = golden.integer("input_size");
  stack.num_layers = golden.integer("num_layers");
  stack.proj_input_to_hidden_first = golden.flag("proj_input_to_hidden_first");
  stack.layer.hidden_size = golden.integer("hidden_size");
  stack.layer.bidirectional = golden.flag("bidirectional");
  stack.layer.has_skip_term = golden.text_or("has_skip_term", "true") == "true";
  stack.layer.highway_bias = golden.number("highway_bias");
  stack.layer.rescale = golden.flag("rescale");
  const std::string activation = golden.text_or("activation", "identity");
  if (activation == "tanh" || golden.text_or("use_tanh", "false") == "true") {
    stack.layer.activation = Activation::tanh;
  }
  if (golden.flag("layer_norm")) {
    stack.layer.layer_norm =
        golden.flag("normalize_after") ? LayerNormPlace::post : LayerNormPlace::pre;
  }
  return stack;
}

void run_stack(Golden& golden, const SruStack& stack, ModelType type) {
  const Parameters parameters = stack.parameters();
  load_reference(parameters, type,
                 [&](const std::string& name) { return golden.tensor("param." + name); });
  for (const AttentionMask& mask : masks_of(golden)) {
    StackInputs in;
    in.x = golden.parameter("in.x");
    in.mask = mask;
    in.mask_pad = golden.input_or_none("in.mask_pad");
    in.memory_mask_pad = golden.input_or_none("in.memory_mask_pad");
    if (golden.contains("in.c0")) {
      const Tensor c0 = golden.input("in.c0");
      for (std::int64_t i = 0; i < stack.num_layers(); ++i) {
        in.c0.emplace_back(c0[i], true);
      }
    }
    for (std::int64_t i = 0; i < stack.num_layers(); ++i) {  // a layer may have none
      const Tensor memory = golden.input_or_none(fmt::format("in.memory.{}", i));
      in.memory.push_back(memory.defined() ? Variable(memory) : Variable());
    }
    zero_grads(parameters);
    const StackOutputs out = stack.forward(in, {});
    golden.expect("out.h", out.h.value());
    const Tensor out_c = golden.tensor("out.c");
    const Tensor grad_c = golden.tensor("gradout.c");
    std::vector<std::pair<Variable, Tensor>> roots{{out.h, golden.tensor("gradout.h")}};
    for (std::int64_t i = 0; i < stack.num_layers(); ++i) {
      const Variable& c = out.c[static_cast<std::size_t>(i)];
      golden.expect_near(fmt::format("out.c[{}]", i), c.value(), out_c[i], kTolerance);
      roots.emplace_back(c, grad_c[i]);
    }
    backward_all(roots);
    golden.expect("grad.in.x", in.x.grad());
    for (std::size_t i = 0; i < in.c0.size(); ++i) {
      golden.expect_near(fmt::format("grad.in.c0[{}]", i), in.c0[i].grad(),
                         golden.tensor("grad.in.c0")[static_cast<std::int64_t>(i)], kTolerance);
    }
    for (const NamedVariable& p : parameters) {
      const std::string name = "grad.param." + reference_name(p.name, type, parameters);
      golden.expect_near(name, p.variable.grad(),
                         from_reference_layout(p.name, parameters, golden.tensor(name)),
                         kTolerance);
    }
  }
}

void run_sru(Golden& golden) {
  Generator generator(1);
  Initializer init(generator, test_device());
  run_stack(golden, make_sru({stack_options(golden), golden.integer("projection_size")}, init),
            ModelType::sru);
}

void run_srupp(Golden& golden) {
  SruppOptions options;
  options.stack = stack_options(golden);
  options.transform.projection_size = golden.integer("proj_size");
  options.transform.num_heads = golden.integer("num_heads");
  options.transform.layer_norm = golden.flag("attn_layer_norm");
  const std::int64_t every = golden.integer("attention_every_n_layers");
  const std::int64_t last = golden.integer("attention_last_n_layers");
  const std::int64_t layers = options.stack.num_layers;
  options.attends = [=](std::int64_t i) {
    return last >= 0 ? layers - i <= last : (i + 1) % every == 0;
  };
  Generator generator(1);
  Initializer init(generator, test_device());
  run_stack(golden, make_srupp(options, init), ModelType::srupp);
}

// Inputs and targets of positions [start, start + length) of `tokens`, (positions, B) i64.
Tensor ids(const Tensor& tokens, std::int64_t start, std::int64_t length) {
  Tensor result = Tensor::empty({length, tokens.size(1)}, DType::i32);
  const Tensor rows = tokens.narrow(start, length);
  std::transform(rows.data<std::int64_t>(), rows.data<std::int64_t>() + rows.numel(),
                 result.data<std::int32_t>(),
                 [](std::int64_t id) { return static_cast<std::int32_t>(id); });
  return result;
}

void run_lm_train(Golden& golden) {
  ModelConfig config;
  config.hidden_size = golden.integer("hidden_size");
  config.projection_size = golden.integer("proj_size");
  config.num_layers = golden.integer("num_layers");
  config.num_heads = std::stoll(golden.text_or("num_heads", "1"));
  if (std::stoll(golden.text_or("attention_last_n_layers", "-1")) >= 0) {
    config.attention_last_n_layers = golden.integer("attention_last_n_layers");
  } else {
    config.attention_every_n_layers = golden.integer("attention_every_n_layers");
  }
  config.highway_bias = std::stod(golden.text_or("highway_bias", "-2"));
  config.rescale = golden.text_or("rescale", "false") == "true";
  if (golden.text_or("layer_norm", "false") == "true") {
    config.layer_norm = golden.text_or("normalize_after", "false") == "true" ? LayerNormPlace::post
                                                                             : LayerNormPlace::pre;
  }
  Generator generator(1);
  Initializer init(generator, test_device());
  const auto model = build_language_model(config, golden.integer("vocab"), init);
  const Parameters parameters = model->parameters();
  load_reference(parameters, ModelType::srupp,
                 [&](const std::string& name) { return golden.tensor("init." + name); });

  OptimizerConfig optimizer_config;
  optimizer_config.lr = golden.number("lr");
  optimizer_config.weight_decay = golden.number("weight_decay");
  const auto optimizer = make_optimizer(optimizer_config, parameters);
  const ScheduleConfig schedule{ScheduleType::cosine, golden.integer("warmup_steps"),
                                golden.integer("cosine_t_max")};
  const Tensor tokens = golden.tensor("tokens");
  const std::int64_t unroll = golden.integer("unroll");
  const std::int64_t steps = golden.integer("steps");
  const std::int64_t segments = golden.integer("segments_per_epoch");
  Tensor losses = Tensor::empty({steps}, DType::f64);
  Tensor rates = Tensor::empty({steps}, DType::f64);
  Tensor norms = Tensor::empty({steps}, DType::f64);
  LanguageModelState state;
  LanguageModelContext context;
  context.forward.training = true;
  context.memory_length = unroll;
  for (std::int64_t step = 0; step < steps; ++step) {
    if (step % segments == 0) {
      state = {};
    }
    const std::int64_t start = step % segments * unroll;
    zero_grads(parameters);
    const Variable loss =
        model->loss(ids(tokens, start, unroll), ids(tokens, start + 1, unroll), state, context);
    backward(loss);
    const double norm = grad_norm(parameters);
    const double lr = learning_rate(schedule, optimizer_config.lr, steps, step);
    optimizer->step(lr, clip_factor(norm, golden.number("clip_grad")));
    losses.data<double>()[step] = loss.value().item();
    rates.data<double>()[step] = lr;
    norms.data<double>()[step] = norm;
  }
  golden.expect("losses", losses, kLossTolerance);
  golden.expect("lrs", rates, 1e-12);
  golden.expect("grad_norms", norms, kTrainedTolerance);
  for (const NamedVariable& p : parameters) {
    const std::string name = "final." + reference_name(p.name, ModelType::srupp, parameters);
    golden.expect_near(name, p.variable.value(),
                       from_reference_layout(p.name, parameters, golden.tensor(name)),
                       kTrainedTolerance);
  }

  const NoGradGuard no_grad;
  const std::int64_t window = golden.integer("eval_window");
  context = {{}, window, window};
  state = {};
  double nats = 0.0;
  const std::int64_t positions = tokens.size(0) - 1;
  for (std::int64_t start = 0; start < positions; start += window) {
    const std::int64_t length = std::min(window, positions - start);
    nats +=
        model->loss_sum(ids(tokens, start, length), ids(tokens, start + 1, length), state, context)
            .item();
  }
  nats /= static_cast<double>(positions * tokens.size(1));
  golden.expect("eval_nats_per_token", Tensor::full({1}, nats, DType::f64), kLossTolerance);

  // The same one id at a time.
  const auto stream = model->start_stream(tokens.size(1), window);
  Tensor scores = Tensor::empty({positions, tokens.size(1), model->vocabulary_size()});
  for (std::int64_t t = 0; t < positions; ++t) {
    scores[t].copy_from(stream->step(ids(tokens, t, 1)[0]));
  }
  const double stepped = cross_entropy_sum(scores, ids(tokens, 1, positions)).item() /
                         static_cast<double>(positions * tokens.size(1));
  golden.expect("eval_nats_per_token", Tensor::full({1}, stepped, DType::f64), kLossTolerance);
}

// "[12, 30]"
std::vector<std::int64_t> integers(const std::string& text) {
  std::vector<std::int64_t> all;
  std::istringstream stream(text);
  char punctuation = 0;
  std::int64_t value = 0;
  while (stream >> punctuation >> value) {
    all.push_back(value);
  }
  return all;
}

void run_adaptive(Golden& golden) {
  const std::int64_t size = golden.integer("d_proj");
  AdaptiveOptions options;
  options.cutoffs = integers(golden.text("cutoffs"));
  options.row_size = golden.integer("d_embed");
  options.div_val = golden.integer("div_val");
  Generator generator(1);
  Initializer init(generator, test_device());
  const AdaptiveSoftmax softmax(golden.integer("vocab"), size, size, options, init);
  const Parameters parameters = softmax.output_parameters();
  const auto name_in_file = [](const std::string& reference_name) {
    return "param." + reference_name.substr(std::string("output_layer.").size());
  };
  load_reference(parameters, ModelType::srupp, [&](const std::string& reference_name) {
    return golden.tensor(name_in_file(reference_name));
  });

  const Variable hidden = golden.parameter("in.hidden");
  const std::int64_t count = hidden.size(0);
  const auto column = [&](const char* name) {
    return ids(golden.tensor(name).reshape({count, 1}), 0, count);
  };
  const Variable embedded = reshape(softmax.embed(column("in.tokens"), {}), hidden.shape());
  golden.expect("out.embedding", embedded.value());

  // The reference gives the loss of every position.
  const Tensor targets = column("in.target");
  const Tensor weights = golden.tensor("gradout.nll");
  Tensor nll = Tensor::empty({count});
  std::vector<std::pair<Variable, Tensor>> roots = {{embedded, golden.tensor("gradout.embedding")}};
  for (std::int64_t i = 0; i < count; ++i) {
    const Variable h = reshape(narrow(hidden, i, 1), {1, 1, size});
    const Variable loss = softmax.loss(h, targets.narrow(i, 1), {});
    nll.data<float>()[i] = static_cast<float>(loss.value().item());
    roots.emplace_back(loss, weights.narrow(i, 1));
  }
  golden.expect("out.nll", nll);
  const double total = sum(Variable(nll)).value().item();
  const Variable all = reshape(hidden, {count, 1, size});
  const auto of_count = [&](double value) { return Tensor::full({1}, value); };
  golden.expect_near("mean of out.nll", softmax.loss(all, targets, {}).value(),
                     of_count(total / static_cast<double>(count)), kTolerance);
  golden.expect_near("sum of out.nll", softmax.loss_sum(all.value(), targets, {}), of_count(total),
                     kTolerance);

  backward_all(roots);
  golden.expect("grad.in.hidden", hidden.grad());
  for (const NamedVariable& p : parameters) {
    golden.expect("grad." + name_in_file(reference_name(p.name, ModelType::srupp, parameters)),
                  p.variable.grad());
  }
}

const std::map<std::string, void (*)(Golden&)> kKinds = {
    {"recurrence", run_recurrence},
    {"srupp_projected_linear", run_projected_linear},
    {"srupp_attention", run_attention},
    {"sru", run_sru},
    {"srupp", run_srupp},
    {"lm_train", run_lm_train},
    {"adaptive", run_adaptive},
};

}  // namespace
}  // namespace rondo

int main(int argc, char** argv) {
  using namespace rondo;
  if (testing::test_device_is_missing()) {
    return testing::kSkipped;
  }
  const char* folder = std::getenv("RONDO_GOLDEN_DIR");
  const std::filesystem::path root = argc > 1            ? argv[1]
                                     : folder != nullptr ? folder
                                                         : RONDO_GOLDEN_FOLDER;
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
    if (entry.path().extension() == ".safetensors") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  if (error || files.empty()) {
    fmt::print("golden: there are no .safetensors files in {}\n", root.string());
    return 1;
  }
  int passed = 0;
  int failed = 0;
  for (const auto& path : files) {
    const std::string name = path.stem().string();
    std::vector<std::string> problems;
    try {
      Golden golden(path);
      const std::string kind = golden.text("case");
      const auto run = kKinds.find(kind);
      check(run != kKinds.end(), "the kind '{}' is not known", kind);
      run->second(golden);
      problems = golden.problems();
      if (golden.compared() == 0) {
        problems.push_back("nothing was compared");
      }
      if (problems.empty()) {
        fmt::print("passed   {} ({} tensors, worst relative error {:.1e})\n", name,
                   golden.compared(), golden.worst());
      }
    } catch (const std::exception& problem) {
      problems.emplace_back(problem.what());
    }
    for (const std::string& problem : problems) {
      fmt::print("FAILED   {}: {}\n", name, problem);
    }
    problems.empty() ? ++passed : ++failed;
  }
  fmt::print("golden files: {} passed, {} failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
