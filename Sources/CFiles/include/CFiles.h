#pragma once

// Files that are mapped while something else may cut them: touching a page beyond a file's new end raises SIGBUS, which
// would end the process without a word.

#include <stdbool.h>
#include <stddef.h>

#pragma clang assume_nonnull begin

// Registers `size` mapped bytes of the file `path`; NULL when there is no memory for that. Any thread.
void *_Nullable cf_watch(const void *start, size_t size, const char *path);
// Takes a range back, before it is unmapped.
void cf_unwatch(void *_Nullable range);

// Answers SIGBUS inside a watched range with a message on standard error that names the file. The process is then ended
// by whoever waits for SIGTERM (see `cf_is_cut`), which must be blocked in every thread. SIGBUS elsewhere ends the process as
// ever.
void cf_install(void);
// Whether a watched file was cut: the process is to end with exit code 1 then.
bool cf_is_cut(void);

// Whether standard error ends in a line that is still being redrawn.
void cf_set_live_line(bool on);
// Clears that line, if there is one. Async-signal-safe.
void cf_clear_live_line(void);

// Opens an existing file to write past the page cache; -1 where the system or the file system has no such way.
int cf_open_direct(const char *path);

// Has the system send SIGTERM to this process when its parent ends; exits at once where the parent is another process already.
void cf_end_with_parent(int parent);

#pragma clang assume_nonnull end
