// Pictures as PNG, by rsvg-convert of librsvg.
#pragma once

#include <string>

namespace rondo {

// The SVG document `svg` as the bytes of a PNG file, at twice its size in pixels. Throws Error when
// the program rsvg-convert is missing (Debian: librsvg2-bin) or fails, with what it says.
std::string png_of(const std::string& svg);

}  // namespace rondo
