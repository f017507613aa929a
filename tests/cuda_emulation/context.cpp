#include "tests/cuda_emulation/context.h"

#include <boost/context/protected_fixedsize_stack.hpp>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_emulation {
namespace {

// Only touched pages take memory. Room for what the sanitizers add to every frame.
constexpr std::size_t kStackBytes = 256 << 10;

// The context that was running until the switch under way.
Context* left_context = nullptr;

}  // namespace

Context::Context(std::function<void()> body) {
  boost::context::protected_fixedsize_stack allocator(kStackBytes);
  const boost::context::stack_context stack = allocator.allocate();
  stack_ = static_cast<const char*>(stack.sp) - stack.size;
  stack_bytes_ = stack.size;
  suspended_ = boost::context::fiber(
      std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack), allocator,
      [this, run = std::move(body)](boost::context::fiber&& left) {
        entered(std::move(left));
        run();
        return boost::context::fiber();
      });
}

void Context::enter(Context& from) {
  left_context = &from;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.fake_stack_, stack_, stack_bytes_);
#endif
  from.entered(std::move(suspended_).resume());
}

void Context::entered(boost::context::fiber&& left) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack_, &left_context->stack_, &left_context->stack_bytes_);
#endif
  left_context->suspended_ = std::move(left);
}

}  // namespace cuda_emulation
