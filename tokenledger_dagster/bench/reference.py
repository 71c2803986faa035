"""What no reader of lines goes below, as a process of its own: every byte is read and every newline found.

Here: the unit that ratios of the perf gate are measured in.  It uses the standard library alone: whatever slows the
product down must not slow this down as well.  Not here: running and measuring it (``bench.process``).
"""

from __future__ import annotations

import os
import sys

REFERENCE = "newline-walk-1"
"""Name of the unit; another number once it does other work, for ratios to it then mean something else."""
_BLOCK_BYTES = 1 << 20


def count_lines(folder: str, size: int) -> int:
    """Newlines among the first ``size`` bytes of all files below ``folder``, in the order of their paths."""
    buffer = bytearray(_BLOCK_BYTES)
    lines, left = 0, size
    for path in sorted(_files(folder)):
        with open(path, "rb", buffering=0) as handle:
            while left > 0 and (count := handle.readinto(buffer)):
                filled = min(count, left)
                left -= filled
                start = 0
                while (end := buffer.find(b"\n", start, filled)) != -1:
                    lines += 1
                    start = end + 1
    return lines


def _files(folder: str) -> list[str]:
    found, todo = [], [folder]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    found.append(entry.path)
    return found


if __name__ == "__main__":
    print(count_lines(sys.argv[1], int(sys.argv[2])))
