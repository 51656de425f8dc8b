"""Memory that is freed stays with the process, for the next call.

glibc gives blocks of a page's size back to the kernel at once and asks for them anew: a list of 200 kB
then spends ten times longer on the kernel's empty pages than on its own bytes.  And Python looks
for cycles in what was there from the start again and again, with each few lists.
"""

import ctypes
import gc

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


COLLECTED_OBJECTS = 20_000
"""After how many new containers the young ones are looked through; by default, after a few lists."""


def collect_rarely() -> None:
    """Look for cycles now and then among what comes from now on, and never again in what is there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_OBJECTS)
