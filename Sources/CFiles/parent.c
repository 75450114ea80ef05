#include "CFiles.h"

#include <signal.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

void cf_end_with_parent(int parent) {
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  // It may have ended before that.
  if (getppid() != parent) _exit(1);
#else
  (void)parent;
#endif
}
