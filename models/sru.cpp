#include "models/sru.h"

namespace rondo {
namespace {

class FullStepper final : public TransformStepper {
 public:
  explicit FullStepper(Linear linear1) : linear1_(std::move(linear1)) {}
  void step(const Tensor& x, const Tensor& /*remembered*/, Tensor& u) override {
    linear1_.step(x, u);
  }

 private:
  Linear linear1_;
};

// U = x W
class FullTransform final : public Transform {
 public:
  FullTransform(std::int64_t in, std::int64_t out, Initializer& init) : linear1_(in, out, init) {}

  Variable forward(const TransformInputs& inputs, const ForwardContext& context) const override {
    return linear1_(inputs.x, context.precision);
  }
  std::unique_ptr<TransformStepper> stepper(std::int64_t /*streams*/,
                                            std::int64_t /*window*/) const override {
    return std::make_unique<FullStepper>(linear1_);
  }
  Parameters parameters() const override {
    Parameters all;
    append(all, "linear1", linear1_.parameters());
    return all;
  }

 private:
  Linear linear1_;
};

class ProjectedStepper final : public TransformStepper {
 public:
  ProjectedStepper(Linear linear1, Linear linear2, std::int64_t streams)
      : linear1_(std::move(linear1)),
        linear2_(std::move(linear2)),
        z_(Tensor::empty({streams, linear1_.weight.size(0)}, DType::f32,
                         linear1_.weight.device())) {}
  void step(const Tensor& x, const Tensor& /*remembered*/, Tensor& u) override {
    linear1_.step(x, z_);
    linear2_.step(z_, u);
  }

 private:
  Linear linear1_, linear2_;
  Tensor z_;  // (B, n)
};

// U = (x W1) W2, nothing between
class ProjectedTransform final : public Transform {
 public:
  ProjectedTransform(std::int64_t in, std::int64_t projection, std::int64_t out, Initializer& init)
      : linear1_(in, projection, init), linear2_(projection, out, init) {}

  Variable forward(const TransformInputs& inputs, const ForwardContext& context) const override {
    return linear2_(linear1_(inputs.x, context.precision), context.precision);
  }
  std::unique_ptr<TransformStepper> stepper(std::int64_t streams,
                                            std::int64_t /*window*/) const override {
    return std::make_unique<ProjectedStepper>(linear1_, linear2_, streams);
  }
  Parameters parameters() const override {
    Parameters all;
    append(all, "linear1", linear1_.parameters());
    append(all, "linear2", linear2_.parameters());
    return all;
  }

 private:
  Linear linear1_, linear2_;
};

}  // namespace

SruStack make_sru(const SruOptions& options, Initializer& init) {
  const auto make_transform = [&](std::int64_t /*index*/, std::int64_t in, std::int64_t out,
                                  Initializer& i) -> std::unique_ptr<Transform> {
    if (options.projection_size > 0) {
      return std::make_unique<ProjectedTransform>(in, options.projection_size, out, i);
    }
    return std::make_unique<FullTransform>(in, out, i);
  };
  return SruStack(options.stack, make_transform, init);
}

}  // namespace rondo
