"""Bodies that are too much for a client: large ones that cost the server nothing."""

import atexit
import functools
import gzip
import os
import tempfile
import zlib

BLOCK = 1 << 20


@functools.cache
def giant(size):
    """A file of JSON, a list of so many bytes; on the disk, so that the server's memory is not taken for a client's."""
    descriptor, path = tempfile.mkstemp()
    atexit.register(os.unlink, path)
    with open(descriptor, "wb") as opened:
        opened.write(b"[")
        for at in range(1, size - 2, BLOCK):
            opened.write(b"0," * (min(BLOCK, size - 2 - at) // 2))
        opened.write(b" " * (size - opened.tell() - 2) + b"0]")
    return path


def bomb(size):
    """So many zeros as gzip, a thousandth of it: one block over and over, which a full flush allows."""
    block = 16 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    # The checksum at the end is wrong: nobody should come that far.
    return gzip.compress(b"")[:10] + packed * max(size // block, 1) + packer.flush() + bytes(8)
