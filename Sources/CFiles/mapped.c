#include "CFiles.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Ranges are never freed, only emptied and used again: the handler may walk the list at any moment.
struct range {
  _Atomic(uintptr_t) start; // 0: free
  size_t size;
  const char *path;
  struct range *next;
};

static _Atomic(struct range *) ranges;
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;
static atomic_flag said = ATOMIC_FLAG_INIT;
static atomic_bool cut;
static atomic_bool live;

void *cf_watch(const void *start, size_t size, const char *path) {
  char *copy = strdup(path);
  if (!copy) return NULL;
  pthread_mutex_lock(&changing);
  struct range *range = atomic_load(&ranges);
  while (range && atomic_load(&range->start)) range = range->next;
  if (!range) {
    range = calloc(1, sizeof *range);
    if (range) {
      range->next = atomic_load(&ranges);
      atomic_store(&ranges, range);
    }
  }
  if (range) {
    range->size = size;
    range->path = copy;
    atomic_store(&range->start, (uintptr_t)start);
  } else {
    free(copy);
  }
  pthread_mutex_unlock(&changing);
  return range;
}

void cf_unwatch(void *pointer) {
  struct range *range = pointer;
  if (!range) return;
  pthread_mutex_lock(&changing);
  // The path is left: the handler may be reading it, and files are few.
  atomic_store(&range->start, 0);
  pthread_mutex_unlock(&changing);
}

bool cf_is_cut(void) { return atomic_load(&cut); }

void cf_set_live_line(bool on) { atomic_store(&live, on); }

static void say(const char *text) {
  size_t left = strlen(text);
  while (left > 0) {
    ssize_t count = write(STDERR_FILENO, text, left);
    if (count <= 0) return;
    text += count;
    left -= (size_t)count;
  }
}

static void say_number(unsigned long long number) {
  char digits[24];
  char *at = digits + sizeof digits - 1;
  *at = 0;
  do *--at = (char)('0' + number % 10);
  while (number /= 10);
  say(at);
}

void cf_clear_live_line(void) {
  if (atomic_load(&live)) say("\r\033[2K");
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
  (void)context;
  uintptr_t at = (uintptr_t)info->si_addr;
  struct range *range = atomic_load(&ranges);
  for (; range; range = range->next) {
    uintptr_t start = atomic_load(&range->start);
    // The last page may be touched beyond the file's end.
    if (start && at >= start && at - start < range->size + 65536) break;
  }
  if (!range) {
    // Not ours: the instruction is run again and ends the process.
    signal(number, SIG_DFL);
    return;
  }
  // Several threads may meet the end of the file; one speaks.
  if (!atomic_flag_test_and_set(&said)) {
    atomic_store(&cut, true);
    struct stat status;
    cf_clear_live_line();
    say("Error: ");
    say(range->path);
    if (stat(range->path, &status) == 0 && (size_t)status.st_size < range->size) {
      say(" has shrunk from ");
      say_number(range->size);
      say(" to ");
      say_number((unsigned long long)status.st_size);
      say(" bytes since it was opened: something else writes to it. Copy or download it again, then run the same "
          "command again\n");
    } else {
      say(" cannot be read any more: something else writes to it, or the disk or network storage under it fails. See "
          "that the file is whole, then run the same command again\n");
    }
    kill(getpid(), SIGTERM);
  }
  for (;;) pause();
}

void cf_install(void) {
  struct sigaction action = {0};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, NULL);
}
