// What this machine can do at best, measured: the limits to hold timings against.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/precision.h"

namespace rondo {

// Rates of the product of two square f32 matrices of 2048 through `linear`, on all threads, in
// GFLOP/s: one per repetition, after one that only warms up.
std::vector<double> measure_products(Precision precision, int repetitions = 3);

// Rates of copying 256 MiB, which no cache holds, from one tensor to another on all threads, in
// GB/s of bytes read and bytes written together: one per repetition.
std::vector<double> measure_copies(int repetitions = 5);

// The middle value, or the mean of the two in the middle. `values` must not be empty.
double median(std::vector<double> values);

// The name that the processor gives itself, or its architecture where that is not to be had.
std::string processor_name();
// The most memory that this process has ever occupied.
std::size_t peak_rss_bytes();

}  // namespace rondo
