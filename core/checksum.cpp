#include "core/checksum.h"

#include <openssl/evp.h>

#include <array>

#include "core/error.h"

namespace rondo {
namespace {

std::string digest(const EVP_MD* algorithm, std::span<const std::byte> bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> value{};
  unsigned int size = 0;
  check(EVP_Digest(bytes.data(), bytes.size(), value.data(), &size, algorithm, nullptr) == 1,
        "[checksum] OpenSSL cannot compute {} here", EVP_MD_get0_name(algorithm));
  std::string text;
  for (const unsigned char byte : std::span(value).first(size)) {
    text += fmt::format("{:02x}", byte);
  }
  return text;
}

}  // namespace

std::string sha1(std::span<const std::byte> bytes) { return digest(EVP_sha1(), bytes); }

std::string sha256(std::span<const std::byte> bytes) { return digest(EVP_sha256(), bytes); }

}  // namespace rondo
