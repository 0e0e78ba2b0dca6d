"""Memory goes back to the system, and the collector leaves alone what stays."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from pass_lsp.heap import for_good


class Node:
    itself: Node


FRAGMENTS = """
import ctypes, psutil
from pass_lsp.heap import give_back

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
blocks = [libc.malloc(64 << 10) for _ in range(1000)]
for block in blocks:
    libc.memset(block, 1, 64 << 10)
for block in blocks[::2]:
    libc.free(block)
held = psutil.Process().memory_info().rss
give_back()
print(held - psutil.Process().memory_info().rss)
"""


ARENAS = """
import ctypes, sys, threading
from pass_lsp.heap import share_one_arena

if sys.argv[1] == "one":
    share_one_arena()
libc, together = ctypes.CDLL(None), threading.Barrier(4)


def allocate():
    together.wait()
    libc.malloc(1 << 10)
    together.wait()


threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_stats()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps free pages and can be asked for them")
def test_free_pages_between_used_ones_are_given_back() -> None:
    ran = subprocess.run([sys.executable, "-c", FRAGMENTS], capture_output=True, text=True, check=True)
    assert int(ran.stdout) > 24 << 20  # of 32 MB that lie free, less what shares a page with what is in use


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has arenas")
def test_all_threads_share_an_arena() -> None:
    def arenas(how: str) -> int:
        ran = subprocess.run([sys.executable, "-c", ARENAS, how], capture_output=True, text=True, check=True)
        return ran.stderr.count("Arena ")

    assert arenas("several") > 1
    assert arenas("one") == 1


def test_elsewhere_nothing_happens() -> None:
    setup = "import sys; sys.platform = 'win32'; import pass_lsp.heap as heap; heap.ctypes.CDLL = None; "
    subprocess.run([sys.executable, "-c", setup + "heap.share_one_arena(); heap.give_back()"], check=True)


def test_what_loading_makes_is_not_looked_through_again() -> None:
    before = gc.get_threshold()
    try:
        with for_good():
            garbage = weakref.ref(cycle := Node())
            cycle.itself, kept = cycle, [Node()]
            del cycle
        assert garbage() is None, "what is no use is not kept"
        assert not any(each is kept for each in gc.get_objects())
        assert gc.get_threshold() == before
    finally:
        gc.unfreeze()
