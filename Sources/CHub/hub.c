#define _GNU_SOURCE
#include "CHub.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcurl.h"

static struct {
  int (*global_init)(long);
  CURL *(*easy_init)(void);
  void (*easy_reset)(CURL *);
  void (*easy_cleanup)(CURL *);
  int (*easy_setopt)(CURL *, int, ...);
  int (*easy_perform)(CURL *);
  int (*easy_getinfo)(CURL *, int, ...);
  const char *(*easy_strerror)(int);
  struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
  void (*slist_free_all)(struct curl_slist *);
  const char *(*version)(void);
} curl;

struct ch_connection {
  CURL *easy;
};

static char *message(const char *format, const char *a, const char *b) {
  char *text = NULL;
  return asprintf(&text, format, a, b) < 0 ? strdup("out of memory") : text;
}

static char *find_functions(void *library, const char *name) {
  struct {
    const char *name;
    void *place;
  } wanted[] = {
    {"curl_global_init", &curl.global_init},   {"curl_easy_init", &curl.easy_init},
    {"curl_easy_reset", &curl.easy_reset},     {"curl_easy_cleanup", &curl.easy_cleanup},
    {"curl_easy_setopt", &curl.easy_setopt},   {"curl_easy_perform", &curl.easy_perform},
    {"curl_easy_getinfo", &curl.easy_getinfo}, {"curl_easy_strerror", &curl.easy_strerror},
    {"curl_slist_append", &curl.slist_append}, {"curl_slist_free_all", &curl.slist_free_all},
    {"curl_version", &curl.version},
  };
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; ++i) {
    void *function = dlsym(library, wanted[i].name);
    if (!function) return message("%s is not libcurl: it has no %s", name, wanted[i].name);
    memcpy(wanted[i].place, &function, sizeof function);
  }
  return NULL;
}

char *ch_open(void) {
  const char *named = getenv("COPPICE_LIBCURL");
  const char *names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.4.dylib"};
  char *error = NULL;
  for (int i = 0; i < 3; ++i) {
    const char *name = named && *named ? named : names[i];
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library) {
      free(error);
      error = find_functions(library, name);
      if (!error && curl.global_init(GLOBAL_DEFAULT) != 0) error = message("%s cannot be started%s", name, "");
      return error;
    }
    // The first name is the one to speak of.
    if (!error) error = message("%s cannot be opened: %s", name, dlerror());
    if (name == named) break;
  }
  return error;
}

const char *ch_version(void) { return curl.version(); }

ch_connection *ch_connect(void) {
  ch_connection *connection = malloc(sizeof *connection);
  if (!connection) return NULL;
  connection->easy = curl.easy_init();
  if (connection->easy) return connection;
  free(connection);
  return NULL;
}

void ch_close(ch_connection *connection) {
  curl.easy_cleanup(connection->easy);
  free(connection);
}

// libcurl takes another count than it gave for an error.
static size_t take(bool (*receive)(void *, const char *, size_t), const ch_request *request, char *bytes, size_t count) {
  return receive(request->context, bytes, count) ? count : (size_t)-1;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *request) {
  return take(((const ch_request *)request)->header, request, bytes, size * count);
}

static size_t take_body(char *bytes, size_t size, size_t count, void *request) {
  return take(((const ch_request *)request)->body, request, bytes, size * count);
}

static ch_outcome outcome(int code) {
  switch (code) {
    case 0: return CH_DONE;
    case E_WRITE_ERROR:
    case E_ABORTED_BY_CALLBACK: return CH_ENDED;
    case E_COULDNT_RESOLVE_HOST:
    case E_COULDNT_CONNECT: return CH_UNREACHABLE;
    case E_COULDNT_RESOLVE_PROXY:
    case E_PROXY: return CH_PROXY;
    case E_PARTIAL_FILE:
    case E_HTTP2:
    case E_HTTP2_STREAM:
    case E_GOT_NOTHING:
    case E_SEND_ERROR:
    case E_RECV_ERROR:
    case E_SSL_CONNECT_ERROR: return CH_CUT;
    case E_OPERATION_TIMEDOUT: return CH_STALLED;
    case E_SSL_CERTPROBLEM:
    case E_PEER_FAILED_VERIFICATION:
    case E_SSL_CACERT_BADFILE:
    case E_SSL_ISSUER_ERROR: return CH_UNTRUSTED;
    default: return CH_FAILED;
  }
}

static void set_options(CURL *easy, const ch_request *request, struct curl_slist *headers, char *reason) {
  // Signals are the program's own affair, and it has threads.
  curl.easy_setopt(easy, OPT_NOSIGNAL, 1L);
  curl.easy_setopt(easy, OPT_NOPROGRESS, 1L);
  curl.easy_setopt(easy, OPT_ERRORBUFFER, reason);
  curl.easy_setopt(easy, OPT_PROTOCOLS, (long)(PROTOCOL_HTTP | PROTOCOL_HTTPS));
  curl.easy_setopt(easy, OPT_FOLLOWLOCATION, 0L);
  curl.easy_setopt(easy, OPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl.easy_setopt(easy, OPT_TCP_KEEPALIVE, 1L);
  curl.easy_setopt(easy, OPT_CONNECTTIMEOUT, request->connect_timeout);
  curl.easy_setopt(easy, OPT_LOW_SPEED_LIMIT, 1L);
  curl.easy_setopt(easy, OPT_LOW_SPEED_TIME, request->stall_timeout);
  curl.easy_setopt(easy, OPT_URL, request->url);
  curl.easy_setopt(easy, request->is_head ? OPT_NOBODY : OPT_HTTPGET, 1L);
  // Asks for plain bytes; a server that compresses all the same is understood.
  curl.easy_setopt(easy, OPT_ACCEPT_ENCODING, "identity");
  curl.easy_setopt(easy, OPT_HTTPHEADER, headers);
  curl.easy_setopt(easy, OPT_HEADERFUNCTION, take_header);
  curl.easy_setopt(easy, OPT_HEADERDATA, (void *)request);
  curl.easy_setopt(easy, OPT_WRITEFUNCTION, take_body);
  curl.easy_setopt(easy, OPT_WRITEDATA, (void *)request);
  if (request->proxy) curl.easy_setopt(easy, OPT_PROXY, request->proxy);
  if (request->authorities_file) curl.easy_setopt(easy, OPT_CAINFO, request->authorities_file);
  if (request->authorities_folder) curl.easy_setopt(easy, OPT_CAPATH, request->authorities_folder);
}

void ch_perform(ch_connection *connection, const ch_request *request, ch_answer *answer) {
  CURL *easy = connection->easy;
  memset(answer, 0, sizeof *answer);
  struct curl_slist *headers = NULL;
  for (size_t i = 0; i < request->header_count; ++i) {
    struct curl_slist *longer = curl.slist_append(headers, request->headers[i]);
    if (!longer) {
      curl.slist_free_all(headers);
      answer->outcome = CH_FAILED;
      snprintf(answer->reason, sizeof answer->reason, "out of memory");
      return;
    }
    headers = longer;
  }
  char reason[ERROR_SIZE] = "";
  curl.easy_reset(easy);
  set_options(easy, request, headers, reason);
  int code = curl.easy_perform(easy);
  answer->outcome = outcome(code);
  if (code != 0) snprintf(answer->reason, sizeof answer->reason, "%s", *reason ? reason : curl.easy_strerror(code));
  curl.easy_getinfo(easy, INFO_RESPONSE_CODE, &answer->status);
  const char *redirect = NULL;
  curl.easy_getinfo(easy, INFO_REDIRECT_URL, &redirect);
  if (redirect) answer->redirect = strdup(redirect);
  // Nothing here may be read after this function has returned.
  curl.easy_reset(easy);
  curl.slist_free_all(headers);
}
