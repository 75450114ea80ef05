#pragma once

// What reading and writing checkpoints needs of C: instructions and flags that Swift does not name.

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// Gathering the kept elements of a row: what pruning the columns of a matrix is made of.
// Copies the elements of `from` whose bit is set in `kept` to `to`, in order. Bit i of word w stands for element 32 w + i;
// elements have 2 or 4 bytes. Whole groups of 32 elements are read and written whatever stands in them: `from` must have
// 64 bytes × size / 2 for each word, and `to` as much behind its last kept element.
void cc_gather16(const void *from, const uint32_t *kept, size_t words, void *to);
void cc_gather32(const void *from, const uint32_t *kept, size_t words, void *to);

#pragma clang assume_nonnull end
