// What a device can do at best, measured: the limits to hold timings against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/precision.h"

namespace rondo {

// The size of the square matrices whose product stands for a plain one: large enough for a device.
std::int64_t product_size(Device device);

// Rates of the product of two square matrices of `size` in `precision`, on all threads or the GPU,
// in GFLOP/s: one per repetition, after one that only warms up. On a GPU the matrices are of the
// type that activations have (core/precision.h), and a repetition is the mean of ten products.
std::vector<double> measure_products(Precision precision, Device device, std::int64_t size,
                                     int repetitions = 3);

// Rates of copying 256 MiB, which no cache holds, from one tensor to another on all threads or the
// GPU, in GB/s of bytes read and bytes written together: one per repetition, likewise.
std::vector<double> measure_copies(Device device, int repetitions = 5);

// The middle value, or the mean of the two in the middle. `values` must not be empty.
double median(std::vector<double> values);

// The name that the processor gives itself, or its architecture where that is not to be had.
std::string processor_name();
// That of a GPU, or the processor's.
std::string device_name(Device device);
// The most memory that this process has ever occupied.
std::size_t peak_rss_bytes();

}  // namespace rondo
