# SPDX-License-Identifier: Apache-2.0
"""A control group with the memory controller, or another, of version 1 or 2, for tests."""
import os
import re
import time

V1 = {"memory.current": "memory.usage_in_bytes", "memory.max": "memory.limit_in_bytes",
      "hugetlb.2MB.max": "hugetlb.2MB.limit_in_bytes"}


def find_root(controller="memory"):
    """(mount point, version) of the hierarchy that has the controller, or None."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            left, right = line.split(" - ")
            root, kind, options = left.split()[4], right.split()[0], right.split()[2].split(",")
            if kind == "cgroup" and controller in options:
                return root, 1
            if kind == "cgroup2":
                with open(f"{root}/cgroup.controllers", encoding="ascii") as controllers:
                    if controller in controllers.read().split():
                        return root, 2
    return None


class ControlGroup:
    def __init__(self, name, controller="memory"):
        root, self.version = find_root(controller)
        if self.version == 2:
            with open(f"{root}/cgroup.subtree_control", "w", encoding="ascii") as file:
                file.write("+" + controller)
        self.path = f"{root}/{name}.{os.getpid()}"
        os.mkdir(self.path)

    def _file(self, name):
        return f"{self.path}/{V1.get(name, name) if self.version == 1 else name}"

    def read(self, name):
        with open(self._file(name), encoding="ascii") as file:
            return file.read()

    def write(self, name, value):
        with open(self._file(name), "w", encoding="ascii") as file:
            file.write(str(value))

    def join(self):
        """The calling process goes there."""
        self.write("cgroup.procs", os.getpid())

    @staticmethod
    def leave(controller="memory"):
        """The calling process goes back to the root."""
        with open(f"{find_root(controller)[0]}/cgroup.procs", "w", encoding="ascii") as file:
            file.write(str(os.getpid()))

    def pids(self):
        return [int(pid) for pid in self.read("cgroup.procs").split()]

    def usage(self):
        return int(self.read("memory.current"))

    def set_limit(self, limit):
        """None: no limit."""
        self.write("memory.max", limit or ("-1" if self.version == 1 else "max"))

    def shared_memory(self):
        """Bytes of memfds that are charged to it."""
        return int(re.search(r"^shmem (\d+)$", self.read("memory.stat"), re.MULTILINE).group(1))

    def oom_kills(self):
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return int(re.search(r"^oom_kill (\d+)$", self.read(name), re.MULTILINE).group(1))

    def remove(self):
        for _ in range(200):
            try:
                return os.rmdir(self.path)
            except OSError:
                time.sleep(0.01)
        os.rmdir(self.path)
