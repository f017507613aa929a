// What both Transformers share.
#pragma once

#include "models/linear.h"
#include "models/recurrent_stack.h"
#include "ops/attention_step.h"

namespace rondo {

struct TransformerOptions {
  std::int64_t hidden_size = 0;  // d: of a layer's input and output
  std::int64_t num_layers = 1;
  std::int64_t num_heads = 1;
  std::int64_t head_size = 0;   // of queries, keys and values of a head
  std::int64_t inner_size = 0;  // units of the feed-forward part
  double dropout = 0.0;         // inside the feed-forward part and on the results of both parts
  double attention_dropout = 0.0;

  std::int64_t attention_size() const { return num_heads * head_size; }  // n
  // Throws Error, in the name of `stack`, when a size is not possible.
  void check_sizes(std::string_view stack) const;
};

// How the layers attend: heads, precision, and dropout in training.
AttentionOptions attention_options(const TransformerOptions& options,
                                   const ForwardContext& context);

// Throws Error, in the name of `stack`, unless x fits and there is no state but memory, and no
// padding.
void check_inputs(std::string_view stack, const TransformerOptions& options,
                  const StackInputs& inputs);

// W2 dropout(relu(W1 x + b1)) + b2.
struct FeedForward {
  Variable weight1, bias1;  // (inner, d), (inner)
  Variable weight2, bias2;  // (d, inner), (d)
  double dropout;

  FeedForward(const TransformerOptions& options, Initializer& init);

  Variable operator()(const Variable& x, const ForwardContext& context) const;
  // y (B, d) from x (B, d), by way of inner (B, inner).
  void step(const Tensor& x, Tensor& inner, Tensor& y) const;
  Parameters parameters() const;
};

// What a Transformer needs to take one position of B streams at a time, in f32. Made once.
struct TransformerStepBuffers {
  TransformerStepBuffers(const TransformerOptions& options, std::int64_t streams, Device device);

  // x += the output product of attention from `from` (B, d), x itself or its LayerNorm, over what
  // `cache` keeps and the position itself, which is appended.
  void attend(const Linear& query, const Linear& key_value, const Linear& output,
              const Tensor& from, AttentionCache& cache);
  // x += the feed-forward part of `from` (B, d).
  void feed_forward(const FeedForward& part, const Tensor& from);

  Tensor scale;  // (1): sqrt(d)
  Tensor x;      // (B, d)

 private:
  Tensor one_;           // (1)
  Tensor part_;          // (B, d)
  Tensor q_, attended_;  // (B, n)
  Tensor kv_;            // (B, 2n)
  Tensor inner_;         // (B, inner)
};

}  // namespace rondo
