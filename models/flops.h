// The arithmetic that training a model needs, to hold measured times against.
#pragma once

#include <cstdint>

#include "models/config.h"

namespace rondo {

// What one forward and backward pass reads.
struct SegmentSize {
  std::int64_t batch_size = 1;     // streams, B
  std::int64_t unroll = 1;         // positions of the segment, T
  std::int64_t memory_length = 0;  // positions remembered by attending layers, M
};

// Floating-point operations by what they are spent on. One multiplication and addition counts two.
struct TrainingFlops {
  double layer_products = 0.0;  // products with the weights of all layers
  double attention = 0.0;       // scores and weighted sums
  double output = 0.0;          // scores of the next id; products of adaptive embeddings

  double total() const { return layer_products + attention + output; }
};

// The matrix products of one forward and backward pass, and nothing else: elementwise work (the
// recurrence, LayerNorm, softmax, dropout, the optimizer) moves memory rather than computes. Only
// what the result needs counts, whatever an implementation does beyond that: nothing that is
// computed again in the backward pass, and no hidden half of attention.
//
// With R = T B rows, d = hidden_size and n = projection_size:
//
//   weight product, (rows, in) to (rows, out)
//     2 rows in out each for the output, the gradient of the weight and that of the input. The
//     input of the first layer needs its gradient, too, because the embedding learns.
//   SRU                  d -> 3d on R rows
//   projected SRU        d -> n, n -> 3d on R rows
//   SRU++ not attending  d -> n, n -> 3d on R rows
//   SRU++ attending      d -> n on R rows; d -> n on M B rows of memory, without the gradient of
//                        the input, where the past ends; n -> 2n on (M + T) B rows; n -> 3d on R
//                        rows; attention
//   LSTM                 d -> 4d twice on R rows, of the input and of h of the position before; for
//                        B of the latter without the gradient of the input, where the past ends
//   SHA-LSTM             as LSTM, and d -> inner_size on R rows
//   SHA-LSTM attending   as well d -> d on R rows, d -> 2d on one row; attention, with d in place
//                        of n
//   Transformer          n here the heads together, f = inner_size. d -> n (queries), d -> 2n (keys
//   and
//                        values), n -> d, d -> f, f -> d on R rows; attention without memory
//   Transformer-XL       the same; d -> 2n also on M B rows of memory, without the gradient of the
//                        input; d -> n of M + T sinusoids, likewise; attention with the score of
//                        the distance, a third product forward and two more backward
//   attention            position t (from 0) of a stream sees M + t + 1 positions, so B (T M +
//                        T (T + 1) / 2) pairs are visible. A pair costs 2 n in each of two
//                        products forward (score, weighted sum) and four backward (gradients of
//                        both factors of both), over all heads together
//   output               full softmax: d -> vocabulary on R rows
//                        adaptive: every position as if its id and its target were of the first
//                        cluster: n_e -> d of the embedding, d -> n_e, and n_e -> first cutoff and
//                        one for each other cluster, on R rows. How many targets are in others is
//                        up to the text, and little on the whole: for the few words in a hundred
//                        that are rare, with the cutoffs of Wiki-103 and d = 3072, 4 % to 39 % more
//
// Every layer of these models has d inputs and d units, so that U of SRU has three planes (k = 3):
// the fourth is of layers whose input has another size.
TrainingFlops training_flops(const ModelConfig& config, std::int64_t vocabulary_size,
                             const SegmentSize& segment);

}  // namespace rondo
