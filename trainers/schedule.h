// The learning rate of every step.
#pragma once

#include <cstdint>

#include "trainers/config.h"

namespace rondo {

// The learning rate of optimizer step `step` (from 0), with w warm-up steps of N in all and the
// highest rate lr:
//
//   step <  w:  lr (step + 1) / w, or, with warmup_from_zero, lr step / w
//   step >= w:  lr for `constant`; for `cosine`
//               lr (1 + cos(pi step / N)) / (1 + cos(pi (w - 1) / N)), or, with w = 0,
//               lr (1 + cos(pi step / N)) / 2
//
// so that the cosine starts from lr at the last warm-up step. (Reference: PyTorch's recursive
// cosine schedule, whose rate the training script overrides during warm-up; that of Enwik8 with
// step + 1, those of the word corpora with step, on the same cosine.) Past N the rate is 0.
double learning_rate(const ScheduleConfig& schedule, double lr, std::int64_t total_steps,
                     std::int64_t step);

}  // namespace rondo
