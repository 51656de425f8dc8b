"""Memory that is freed stays with the process, for the next call.

glibc gives blocks of a page's size back to the kernel at once and asks for them anew: a list of 200 kB
then spends ten times longer on the kernel's empty pages than on its own bytes.
"""

import ctypes

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

KEPT_BYTES = 64 << 20
"""How much free memory at its end an arena keeps."""
LARGEST_BYTES = 4 << 20
"""Blocks from here on are still mapped one by one, and given back: long lists pass in parts of 1 MB."""


def keep_freed_memory() -> None:
    """Set glibc's thresholds for this process; with another C library, do nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, LARGEST_BYTES)
