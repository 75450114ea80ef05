#pragma once

// HTTP through libcurl, without a word of libcurl: opened at run time, when something is first asked of a server, so that
// programs start at once and run where there is none.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// Opens libcurl: the file that COPPICE_LIBCURL names, else the system's. NULL when all went well, otherwise a text that the
/// caller frees with `free`. To be called once, before anything else here.
char *_Nullable ch_open(void);
/// What libcurl says of itself, with the libraries it uses.
const char *ch_version(void);

/// A connection that is kept between requests to the same server. One thread at a time.
typedef struct ch_connection ch_connection;

typedef struct ch_request {
  const char *_Nullable url;
  /// Asks for the head alone.
  bool is_head;
  /// "Name: value"; what libcurl sends by itself is replaced.
  const char *_Nullable const *_Nullable headers;
  size_t header_count;
  /// NULL: as libcurl reads the environment.
  const char *_Nullable proxy;
  /// A file and a folder of certificate authorities; NULL: the system's.
  const char *_Nullable authorities_file;
  const char *_Nullable authorities_folder;
  /// Seconds until a server must have answered the connection.
  long connect_timeout;
  /// Seconds without a byte after which the request has failed.
  long stall_timeout;
  void *_Nullable context;
  /// Gets a line of the head with its line end; false ends the request.
  bool (*_Nullable header)(void *_Nullable context, const char *bytes, size_t count);
  /// Gets a piece of the body; false ends the request.
  bool (*_Nullable body)(void *_Nullable context, const char *bytes, size_t count);
} ch_request;

typedef enum ch_outcome {
  /// The whole answer came, whatever its status says.
  CH_DONE = 0,
  /// `header` or `body` said to end.
  CH_ENDED = 1,
  /// No server there, or none that answers: name not found, refused, timed out while connecting.
  CH_UNREACHABLE = 2,
  /// The connection broke, or less came than was announced.
  CH_CUT = 3,
  /// Nothing came for `stall_timeout`.
  CH_STALLED = 4,
  /// The server's certificate is not accepted.
  CH_UNTRUSTED = 5,
  /// The proxy cannot be used.
  CH_PROXY = 6,
  /// Anything else.
  CH_FAILED = 7,
} ch_outcome;

typedef struct ch_answer {
  ch_outcome outcome;
  long status;
  /// Why it is not `CH_DONE`.
  char reason[256];
  /// Where a redirect leads, as an absolute address; NULL without one. The caller frees it with `free`.
  char *_Nullable redirect;
} ch_answer;

/// NULL where there is no memory.
ch_connection *_Nullable ch_connect(void);
void ch_close(ch_connection *connection);
/// Redirects are not followed; what is compressed arrives unpacked; only http and https are spoken.
void ch_perform(ch_connection *connection, const ch_request *request, ch_answer *answer);

#pragma clang assume_nonnull end
