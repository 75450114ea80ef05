#pragma once

// What is used of libcurl's binary interface, whose numbers are fixed for libcurl.so.4 (curl.se/libcurl/abi.html). So no
// header of libcurl is needed to build.

#include <stddef.h>
#include <stdint.h>

typedef void CURL;
struct curl_slist;

enum { GLOBAL_DEFAULT = 3 };

// CURLoption: 0 and on are longs, 10000 and on pointers, 20000 and on functions.
enum {
  OPT_LOW_SPEED_LIMIT = 19,
  OPT_LOW_SPEED_TIME = 20,
  OPT_NOPROGRESS = 43,
  OPT_NOBODY = 44,
  OPT_FOLLOWLOCATION = 52,
  OPT_CONNECTTIMEOUT = 78,
  OPT_HTTPGET = 80,
  OPT_NOSIGNAL = 99,
  OPT_PROTOCOLS = 181,
  OPT_TCP_KEEPALIVE = 213,
  OPT_SUPPRESS_CONNECT_HEADERS = 265,
  OPT_WRITEDATA = 10001,
  OPT_URL = 10002,
  OPT_PROXY = 10004,
  OPT_ERRORBUFFER = 10010,
  OPT_HTTPHEADER = 10023,
  OPT_HEADERDATA = 10029,
  OPT_CAINFO = 10065,
  OPT_CAPATH = 10097,
  OPT_ACCEPT_ENCODING = 10102,
  OPT_WRITEFUNCTION = 20011,
  OPT_HEADERFUNCTION = 20079,
};

enum { PROTOCOL_HTTP = 1, PROTOCOL_HTTPS = 2 };

enum {
  INFO_RESPONSE_CODE = 0x200000 + 2,
  INFO_REDIRECT_URL = 0x100000 + 31,
};

// CURLcode.
enum {
  E_COULDNT_RESOLVE_PROXY = 5,
  E_COULDNT_RESOLVE_HOST = 6,
  E_COULDNT_CONNECT = 7,
  E_HTTP2 = 16,
  E_PARTIAL_FILE = 18,
  E_WRITE_ERROR = 23,
  E_OPERATION_TIMEDOUT = 28,
  E_SSL_CONNECT_ERROR = 35,
  E_ABORTED_BY_CALLBACK = 42,
  E_GOT_NOTHING = 52,
  E_SEND_ERROR = 55,
  E_RECV_ERROR = 56,
  E_SSL_CERTPROBLEM = 58,
  E_PEER_FAILED_VERIFICATION = 60,
  E_SSL_CACERT_BADFILE = 77,
  E_SSL_ISSUER_ERROR = 83,
  E_HTTP2_STREAM = 92,
  E_PROXY = 97,
};

enum { ERROR_SIZE = 256 };
