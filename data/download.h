// Fetching a file from the network.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace rondo {

// Called now and then with the bytes that are there and how many there will be (0: not known yet).
// An exception stops the download and reaches the caller.
using DownloadProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// Downloads `url` (http, https or file) to `target`, by way of `target`.part: a download that was
// broken off goes on from there, or starts again where the server cannot do that. What arrived is
// not checked; its checksum is the caller's business. Throws Error naming the URL, how far it got
// and the reason.
void download(const std::string& url, const std::filesystem::path& target,
              const DownloadProgress& progress = nullptr);

}  // namespace rondo
