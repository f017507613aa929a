#include "data/download.h"

#include <curl/curl.h>

#include <array>
#include <exception>
#include <memory>
#include <span>
#include <system_error>

#include "core/error.h"
#include "core/file.h"

namespace rondo {
namespace {

struct Cleanup {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};

// What libcurl's callbacks work on. No exception may pass through libcurl: the first is kept here.
struct Transfer {
  CURL* handle;
  const std::filesystem::path& part;
  const DownloadProgress& progress;
  std::uint64_t resumed_from;  // bytes that were there before
  FileWriter writer;
  bool checked_space = false;
  std::exception_ptr error;
};

std::size_t on_data(char* data, std::size_t, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    if (!transfer.checked_space) {
      curl_off_t length = 0;
      curl_easy_getinfo(transfer.handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
      if (length > 0) {
        const std::filesystem::path folder = transfer.part.parent_path();
        require_free_space(folder.empty() ? "." : folder, static_cast<std::uint64_t>(length));
      }
      transfer.checked_space = true;
    }
    transfer.writer.write(std::as_bytes(std::span(data, size)));
    return size;
  } catch (...) {
    transfer.error = std::current_exception();
    return 0;  // tells libcurl to stop
  }
}

int on_progress(void* user, curl_off_t total, curl_off_t done, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    const std::uint64_t before = transfer.resumed_from;
    transfer.progress(before + static_cast<std::uint64_t>(done),
                      total > 0 ? before + static_cast<std::uint64_t>(total) : 0);
    return 0;
  } catch (...) {
    transfer.error = std::current_exception();
    return 1;
  }
}

struct Outcome {
  CURLcode code;
  std::string reason;
};

std::uint64_t size_of_part(const std::filesystem::path& part) {
  std::error_code missing;
  const std::uintmax_t size = std::filesystem::file_size(part, missing);
  return missing ? 0 : size;
}

// One attempt: appends to `part` whatever it lacks.
Outcome attempt(const std::string& url, const std::filesystem::path& part,
                const DownloadProgress& progress) {
  const std::unique_ptr<CURL, Cleanup> curl(curl_easy_init());
  check(curl != nullptr, "cannot download {}: libcurl does not start", url);
  Transfer transfer{.handle = curl.get(),
                    .part = part,
                    .progress = progress,
                    .resumed_from = size_of_part(part),
                    .writer = FileWriter(part, FileWriter::Mode::append),
                    .error = nullptr};
  std::array<char, CURL_ERROR_SIZE> reason{};
  const auto set = [&curl](CURLoption option, auto value) {
    curl_easy_setopt(curl.get(), option, value);
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_ERRORBUFFER, reason.data());
  set(CURLOPT_FAILONERROR, 1L);
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_USERAGENT, "rondo");
  set(CURLOPT_CONNECTTIMEOUT, 30L);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);  // bytes a second ...
  set(CURLOPT_LOW_SPEED_TIME, 60L);  // ... for this many seconds: the connection is dead
  set(CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.resumed_from));
  set(CURLOPT_WRITEFUNCTION, &on_data);
  set(CURLOPT_WRITEDATA, &transfer);
  if (progress) {
    set(CURLOPT_NOPROGRESS, 0L);
    set(CURLOPT_XFERINFOFUNCTION, &on_progress);
    set(CURLOPT_XFERINFODATA, &transfer);
  }
  const CURLcode code = curl_easy_perform(curl.get());
  if (transfer.error) {
    std::rethrow_exception(transfer.error);
  }
  if (code == CURLE_OK) {
    transfer.writer.sync();
  }
  transfer.writer.close();
  return {code, reason[0] != '\0' ? reason.data() : curl_easy_strerror(code)};
}

}  // namespace

void download(const std::string& url, const std::filesystem::path& target,
              const DownloadProgress& progress) {
  std::filesystem::path part = target;
  part += ".part";
  Outcome outcome = attempt(url, part, progress);
  if (outcome.code == CURLE_RANGE_ERROR || outcome.code == CURLE_BAD_DOWNLOAD_RESUME) {
    std::filesystem::remove(part);
    outcome = attempt(url, part, progress);
  }
  if (outcome.code != CURLE_OK) {
    const std::uint64_t kept = size_of_part(part);
    if (kept == 0) {
      std::error_code ignored;
      std::filesystem::remove(part, ignored);
      fail("cannot download {}: {}; check the address and the connection", url, outcome.reason);
    }
    fail("the download of {} stopped after {} bytes: {}; run the same command to go on from there",
         url, kept, outcome.reason);
  }
  std::error_code code;
  std::filesystem::rename(part, target, code);
  check(!code, "cannot rename {} to {}: {}", part.string(), target.string(), code.message());
}

}  // namespace rondo
