# SPDX-License-Identifier: Apache-2.0
"""A real systemd in a container over this host's own files, of which nothing is left at the end.

The root is an overlay on a tmpfs in a mount namespace of its own; so is the cgroup2 that systemd
needs. A janitor process takes everything down when this process ends, in whatever way it does.
"""
import os
import signal
import subprocess
import sys
import tempfile
import time

PATIENCE = 30.0
BOOT = r"""
set -e
mount -t tmpfs gmemd-test "$STAGE"
mkdir -p "$STAGE/up" "$STAGE/work" "$STAGE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$STAGE/up,workdir=$STAGE/work" "$STAGE/root"
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$NAME"
echo $$ > "/sys/fs/cgroup/$NAME/cgroup.procs"
{ cd "$FILES" && tar c .; } | tar x -C "$STAGE/root"
kvm=''
if [ -e /dev/kvm ]; then
    # A node of its own, with the mode that udev gives it: that of the host is not for us to change.
    mknod -m 666 "$STAGE/kvm" c $(stat -c '0x%t 0x%T' /dev/kvm)
    kvm=--bind="$STAGE/kvm:/dev/kvm"
fi
exec systemd-nspawn -q -D "$STAGE/root" --machine="$NAME" --register=no --keep-unit --boot \
    --console=read-only --kill-signal=SIGRTMIN+3 --private-network $kvm \
    --bind-ro="$BUILD:/run/gmemd-build" --bind-ro="$SOURCE:/run/gmemd-source" systemd.unit=basic.target
"""
SWEEP = r"""
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
[ -d "/sys/fs/cgroup/$NAME" ] || exit 0
[ ! -e "/sys/fs/cgroup/$NAME/cgroup.kill" ] || echo 1 > "/sys/fs/cgroup/$NAME/cgroup.kill"
for try in $(seq 100); do
    find "/sys/fs/cgroup/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "/sys/fs/cgroup/$NAME" ] || exit 0
    sleep 0.05
done
echo "the cgroup $NAME is left" >&2
exit 1
"""


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def demand_what_is_needed():
    """Ends with 77 where there can be no such container."""
    if os.getuid() != 0:
        skip("only root can start a container")
    for tool in ("systemd-nspawn", "unshare", "nsenter"):
        if subprocess.run(["which", tool], capture_output=True, check=False).returncode:
            skip(f"{tool} is not installed")
    with tempfile.TemporaryDirectory() as stage:
        tried = subprocess.run(
            ["unshare", "-m", "sh", "-ec",
             'mount -t tmpfs t "$STAGE"; mkdir "$STAGE/u" "$STAGE/w" "$STAGE/r"; '
             'mount -t overlay o -o "lowerdir=/,upperdir=$STAGE/u,workdir=$STAGE/w" "$STAGE/r"; '
             'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; '
             'test -e /sys/fs/cgroup/cgroup.procs'],
            env=dict(os.environ, STAGE=stage), capture_output=True, text=True, check=False)
    if tried.returncode:
        skip(f"no overlay or no cgroup2 in a mount namespace: {tried.stderr.strip()}")


class Machine:
    """with Machine({path in the container: text or path of a file}) as machine: ..."""

    def __init__(self, files, build, source):
        self.files = files
        self.build = build
        self.source = source
        self.leader = None

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="gmemd-system-")
        # Of a machine's name; that of the folder may have a '_', which is not allowed.
        self.name = f"gmemd-system-{os.getpid()}"
        self.env = dict(os.environ, NAME=self.name, STAGE=os.path.join(self.folder, "stage"),
                        FILES=os.path.join(self.folder, "files"), BUILD=self.build,
                        SOURCE=self.source)
        os.mkdir(self.env["STAGE"])
        for path, content in self.files.items():
            self._place(path, content)
        self.log_path = os.path.join(self.folder, "console")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh",
                                             "-c", BOOT], env=self.env, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)
        # At its own time limit ctest kills the janitor as well: end before that.
        signal.alarm(150)
        self._start_janitor()
        try:
            self._wait_until_up()
        except BaseException:
            sys.stderr.write(self.console())
            self.__exit__()
            raise
        return self

    def _place(self, path, content):
        target = self.env["FILES"] + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if content.startswith("/"):
            subprocess.run(["cp", "-L", "--", content, target], check=True)
        else:
            with open(target, "w", encoding="utf-8") as file:
                file.write(content)

    def _start_janitor(self):
        """A process that outlives this one, if only by what it has to do."""
        read_end, self.alive = os.pipe()
        pidfd = os.pidfd_open(self.process.pid)
        self.janitor = os.fork()
        if self.janitor:
            os.close(read_end)
            os.close(pidfd)
            return
        try:
            os.close(self.alive)
            os.setsid()
            for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(signo, signal.SIG_IGN)
            os.read(read_end, 1)
            self._take_down(pidfd)
        finally:
            os._exit(0)

    def _take_down(self, pidfd):
        # nspawn takes its container along: PID 1 in there dies with it.
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        subprocess.run(["unshare", "-m", "sh", "-c", SWEEP], env=self.env, check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", "--", self.folder], check=False)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                pass
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.alive)
        os.waitpid(self.janitor, 0)

    def _find_leader(self):
        """PID 1 of the container, the child of nspawn that is systemd."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        try:
            with open(children, encoding="ascii") as file:
                pids = file.read().split()
            for pid in pids:
                if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "systemd":
                    return int(pid)
        except OSError:
            pass
        return None

    def _wait_until_up(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            self.leader = self.leader or self._find_leader()
            if self.leader and self.run("systemctl", "is-active", "basic.target",
                                        check=False) == "active":
                return
            time.sleep(0.05)
        raise AssertionError("systemd has not come up")

    def console(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def popen(self, *command, **options):
        return subprocess.Popen(["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p",
                                 "-C", "-r", *command], **options)

    def run(self, *command, check=True):
        """What a command in the container prints."""
        process = self.popen(*command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        output = process.communicate(timeout=PATIENCE)[0].strip()
        if check and process.returncode:
            raise AssertionError(f"{' '.join(command)}: {output}")
        return output
