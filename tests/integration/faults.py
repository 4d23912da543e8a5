# SPDX-License-Identifier: Apache-2.0
"""The page in which gmemd-faults counts its visits to fault points, and reads where it is to die: proto/base/gm_fault.h."""
import mmap
import struct

POINTS_MAX = 128
NAME_SIZE = 48
POINT = struct.Struct(f"<{NAME_SIZE}sQQ")
HEAD = struct.Struct("<IIII")


class Faults:
    def __init__(self, path):
        self.path = path
        self._file = open(path, "w+b")
        self._file.truncate(HEAD.size + POINTS_MAX * POINT.size)
        self._page = mmap.mmap(self._file.fileno(), 0)

    def close(self):
        self._page.close()
        self._file.close()

    def _point(self, index):
        name, visits, kills = POINT.unpack_from(self._page, HEAD.size + index * POINT.size)
        return name.rstrip(b"\0").decode(), visits, kills

    def _points(self):
        n, _, _, _ = HEAD.unpack_from(self._page)
        return [self._point(index) for index in range(n)]

    def visits(self):
        """Of each point so far; a name that stands in several places counts once for all."""
        sums = {}
        for name, visits, _ in self._points():
            sums[name] = sums.get(name, 0) + visits
        return sums

    def kills(self):
        return sum(kills for _, _, kills in self._points())

    def arm(self, name, visit=1):
        """gmemd dies at this visit of the point, counted from now."""
        index = [point[0] for point in self._points()].index(name)
        struct.pack_into("<I", self._page, 8, visit)
        struct.pack_into("<I", self._page, 4, index + 1)

    def disarm(self):
        struct.pack_into("<I", self._page, 4, 0)
