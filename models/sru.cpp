#include "models/sru.h"

namespace rondo {
namespace {

// U = x W
class FullTransform final : public Transform {
 public:
  FullTransform(std::int64_t in, std::int64_t out, Initializer& init) : linear1_(in, out, init) {}

  Variable forward(const TransformInputs& inputs, const ForwardContext& context) const override {
    return linear1_(inputs.x, context.precision);
  }
  Parameters parameters() const override {
    Parameters all;
    append(all, "linear1", linear1_.parameters());
    return all;
  }

 private:
  Linear linear1_;
};

// U = (x W1) W2, nothing between
class ProjectedTransform final : public Transform {
 public:
  ProjectedTransform(std::int64_t in, std::int64_t projection, std::int64_t out, Initializer& init)
      : linear1_(in, projection, init), linear2_(projection, out, init) {}

  Variable forward(const TransformInputs& inputs, const ForwardContext& context) const override {
    return linear2_(linear1_(inputs.x, context.precision), context.precision);
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
