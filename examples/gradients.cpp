// Tensors and gradients in a few lines: fits y = x w^T to points that a known w made.
#include <cmath>
#include <cstdio>
#include <vector>

#include <rondo/rondo.h>

int main() {
  const std::vector<float> true_weight = {2.0F, -1.0F};
  rondo::Generator generator(/*seed=*/7);
  rondo::Tensor points = rondo::Tensor::empty({100, 2});
  rondo::fill_uniform(points, -1.0, 1.0, generator);

  // Constants: the points and what belongs to them. The parameter: a weight that starts at zero.
  const rondo::Variable x(points);
  const rondo::Variable y =
      rondo::linear(x, rondo::Variable(rondo::Tensor::from(true_weight, {1, 2})));
  rondo::Variable weight(rondo::Tensor::zeros({1, 2}), /*requires_grad=*/true);

  for (int step = 0; step < 200; ++step) {
    const rondo::Variable error = rondo::sub(rondo::linear(x, weight), y);
    const rondo::Variable loss = rondo::mean(rondo::mul(error, error));
    weight.zero_grad();
    rondo::backward(loss);
    for (int i = 0; i < 2; ++i) {
      weight.value().data<float>()[i] -= 0.5F * weight.grad().data<float>()[i];
    }
  }

  const float* found = weight.value().data<float>();
  std::printf("weight: %.4f, %.4f\n", found[0], found[1]);
  const bool close =
      std::abs(found[0] - true_weight[0]) < 1e-3F && std::abs(found[1] - true_weight[1]) < 1e-3F;
  return close ? 0 : 1;
}
