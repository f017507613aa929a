#include "core/base64.h"

#include <openssl/evp.h>

#include <limits>

#include "core/error.h"

namespace rondo {
namespace {

// OpenSSL counts in int.
int checked_size(std::string_view bytes) {
  check(bytes.size() <= std::numeric_limits<int>::max() / 2,
        "[base64] {} bytes are more than OpenSSL takes at once", bytes.size());
  return static_cast<int>(bytes.size());
}

const unsigned char* data_of(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL ends it with a zero
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), data_of(bytes),
                                   checked_size(bytes));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::string from_base64(std::string_view text) {
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()), data_of(text),
                                   checked_size(text));
  const auto padding = text.ends_with("==") ? 2U : text.ends_with('=') ? 1U : 0U;
  // OpenSSL passes over blanks around the text and wrong bits in its last letter; we do not.
  check(size >= 0 && static_cast<std::size_t>(size) == bytes.size(),
        "[base64] the text of {} characters is not base64", text.size());
  bytes.resize(bytes.size() - padding);
  check(to_base64(bytes) == text, "[base64] the text of {} characters is not base64", text.size());
  return bytes;
}

}  // namespace rondo
