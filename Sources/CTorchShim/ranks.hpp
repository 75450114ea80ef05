#pragma once

#include "shim.hpp"

// A tensor on its way to or from another process.
struct ct_work {
  // Whether it is there; not so when it was aborted. Throws when the connection broke, or the time in seconds is over.
  virtual bool wait(double timeout) = 0;
  // Ends another thread's wait.
  virtual void abort() = 0;
  virtual ~ct_work() = default;
};
