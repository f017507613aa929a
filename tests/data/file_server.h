// A web server with one file, on this machine only, that can behave as badly as real ones do.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/error.h"

namespace rondo::testing {

class FileServer {
 public:
  struct Behaviour {
    bool ranges = true;                           // honours "Range: bytes=N-"
    std::size_t break_after = std::string::npos;  // closes the connection after this many bytes
    bool missing = false;                         // answers 404
  };

  FileServer(std::string content, Behaviour behaviour)
      : content_(std::move(content)), behaviour_(behaviour) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    check(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
              ::listen(listener_, 8) == 0 &&
              ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0,
          "the test's web server cannot listen");
    url_ = fmt::format("http://127.0.0.1:{}/file", ntohs(address.sin_port));
    thread_ = std::thread([this] { serve(); });
  }
  ~FileServer() {
    ::shutdown(listener_, SHUT_RDWR);  // wakes accept
    thread_.join();
    ::close(listener_);
  }
  FileServer(const FileServer&) = delete;
  FileServer& operator=(const FileServer&) = delete;

  const std::string& url() const { return url_; }
  void set_behaviour(Behaviour behaviour) {
    const std::lock_guard lock(mutex_);
    behaviour_ = behaviour;
  }
  // The first byte that each request asked for.
  std::vector<std::size_t> starts() const {
    const std::lock_guard lock(mutex_);
    return starts_;
  }

 private:
  void serve() {
    for (;;) {
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection < 0) {
        return;
      }
      std::string request;
      char buffer[1024];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t count = ::recv(connection, buffer, sizeof(buffer), 0);
        if (count <= 0) {
          break;
        }
        request.append(buffer, static_cast<std::size_t>(count));
      }
      const std::string reply = answer(request);
      for (std::size_t done = 0; done < reply.size();) {
        const ssize_t count =
            ::send(connection, reply.data() + done, reply.size() - done, MSG_NOSIGNAL);
        if (count <= 0) {
          break;
        }
        done += static_cast<std::size_t>(count);
      }
      ::close(connection);
    }
  }

  std::string answer(const std::string& request) {
    constexpr std::string_view range = "Range: bytes=";
    const std::lock_guard lock(mutex_);
    const std::size_t at = request.find(range);
    std::size_t start = at == std::string::npos ? 0 : std::stoul(request.substr(at + range.size()));
    starts_.push_back(start);
    if (behaviour_.missing) {
      return "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry";
    }
    if (start > 0 && behaviour_.ranges && start >= content_.size()) {
      return "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
             "sorry";
    }
    std::string head = "HTTP/1.1 200 OK\r\n";
    if (start > 0 && behaviour_.ranges) {
      head = fmt::format("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {}-{}/{}\r\n", start,
                         content_.size() - 1, content_.size());
    } else {
      start = 0;
    }
    return fmt::format("{}Content-Length: {}\r\nConnection: close\r\n\r\n{}", head,
                       content_.size() - start, content_.substr(start, behaviour_.break_after));
  }

  const std::string content_;
  mutable std::mutex mutex_;
  Behaviour behaviour_;
  std::vector<std::size_t> starts_;
  int listener_ = -1;
  std::string url_;
  std::thread thread_;
};

}  // namespace rondo::testing
