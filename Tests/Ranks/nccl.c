// Stands in for NCCL where there is no GPU: the same calls, with messages between two processes of this machine by a socket.
// Compiled and used by faults.py.

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct { char internal[128]; } ncclUniqueId;
typedef struct { int socket, failed; } *ncclComm_t;
enum { ncclSuccess = 0, ncclSystemError = 2, ncclRemoteError = 6 };

int ncclGetVersion(int *version) {
  const char *text = getenv("TEST_NCCL_VERSION");
  *version = text ? atoi(text) : 22707;
  return ncclSuccess;
}

const char *ncclGetErrorString(int result) {
  return result == ncclRemoteError ? "remote process exited or there was a network error" : "unhandled system error";
}

int ncclGetUniqueId(ncclUniqueId *id) {
  unsigned long number[2];
  if (getrandom(number, sizeof number, 0) != sizeof number) return ncclSystemError;
  memset(id, 0, sizeof *id);
  snprintf(id->internal, sizeof id->internal, "test-nccl-%lx%lx", number[0], number[1]);
  return ncclSuccess;
}

int ncclCommInitRank(ncclComm_t *out, int size, ncclUniqueId id, int rank) {
  if (size != 2) return ncclSystemError;
  // An address without a file: it begins with a zero byte.
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path + 1, id.internal, sizeof address.sun_path - 2);
  socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(id.internal);
  int end = socket(AF_UNIX, SOCK_STREAM, 0);
  if (rank == 0) {
    if (bind(end, (struct sockaddr *)&address, length) || listen(end, 1)) return ncclSystemError;
    int other = accept(end, NULL, NULL);
    close(end);
    end = other;
  } else {
    int tries = 0;
    while (connect(end, (struct sockaddr *)&address, length)) {
      if (++tries > 3000) return ncclSystemError;
      usleep(10000);
    }
  }
  *out = malloc(sizeof **out);
  (*out)->socket = end;
  (*out)->failed = 0;
  return ncclSuccess;
}

int ncclSend(const void *data, size_t count, int type, int peer, ncclComm_t comm, void *stream) {
  if (type != 1 || stream) return ncclSystemError;
  for (const char *next = data; count;) {
    ssize_t sent = send(comm->socket, next, count, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return comm->failed = ncclRemoteError;
    next += sent;
    count -= sent;
  }
  return ncclSuccess;
}

int ncclRecv(void *data, size_t count, int type, int peer, ncclComm_t comm, void *stream) {
  if (type != 1 || stream) return ncclSystemError;
  for (char *next = data; count;) {
    ssize_t got = recv(comm->socket, next, count, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return comm->failed = ncclRemoteError;
    next += got;
    count -= got;
  }
  return ncclSuccess;
}

int ncclCommGetAsyncError(ncclComm_t comm, int *error) {
  *error = comm->failed;
  return ncclSuccess;
}

int ncclCommAbort(ncclComm_t comm) {
  close(comm->socket);
  free(comm);
  return ncclSuccess;
}
