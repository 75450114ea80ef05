#pragma once

// Gloo's own headers are no part of libtorch's packages. c10d's, which are, include them but only hand pointers to Gloo's
// types on: these files declare as much of them as that takes. libtorch has the code.
