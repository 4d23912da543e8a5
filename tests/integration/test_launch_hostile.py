#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""VMMs that skip, repeat and reorder steps, swap what is hashed, lie about what came of a step, or die anywhere.

Each is a process of its own (raw_vmm.py), beside a launch of an honest VMM that is in its middle all the while. What
has to hold: gmemd's books are those of what was reported, no slot stays, and the honest launch has the digest that it
ought to have, by gmemd and by the firmware. What a liar does deceive is its own guest, whose digest shows it.

The tests run on the platform model themselves, because they are the VMMs: preloaded, once a version of the kernel.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import unittest

import harness
import measure_model
import raw_vmm
from harness import gmem, pb
from raw_vmm import NORMAL, PAGE, PAGES, Vmm, pages

MACHINE = os.environ.get("GM_PLATFORM")
VERSIONS = ("6.11", "6.12", "6.16", "6.18", "7.0", "7.2")
SLOTS = "SevEsSlots=3\nTdxSlots=3\n"


def show():
    return subprocess.run([harness.program("gm-platform"), "show", MACHINE], check=True, text=True,
                          capture_output=True, timeout=harness.PATIENCE).stdout


def has_tdx():
    return re.search(r"^kernel (6\.1[68]|7)", show(), re.MULTILINE) is not None


def firmware_digests():
    return re.findall(r"\b[0-9a-f]{96}\b", show())


def refused(call, code, rule=None):
    """The call must be refused so."""
    try:
        call()
    except gmem.Refused as got:
        assert got.code == code and rule in (None, got.rule), f"{got.code}/{got.rule}: {got}"
    else:
        raise AssertionError(f"{code}/{rule} was expected, and it was done")


def measured(vmm):
    return vmm.info().measurement.hex()


# ---- Lies. Each is a function of a VMM that has nothing yet. What is asserted here is what gmemd tells the liar.


def steps_that_were_not_ordered(vmm):
    refused(lambda: vmm.say(1), "NO_SUCH_OBJECT")
    vmm.create()
    refused(lambda: vmm.say(1), "INVALID", "STEP")
    refused(lambda: vmm.say(0), "INVALID", "STEP")
    refused(vmm.ask_finish, "WRONG_STATE", "LAUNCH_STATE")
    vmm.launch_on("start", "add_region", "bind")
    refused(lambda: vmm.say_populated(1, 0, 4), "INVALID", "STEP")
    assert vmm.state() == "OPEN" and vmm.map() == [(0, PAGES, "ABSENT")]


def steps_twice_and_out_of_order(vmm):
    vmm.create()
    step = vmm.ask_start()
    refused(vmm.ask_start, "WRONG_STATE", "LAUNCH_STATE")
    refused(vmm.ask_finish, "WRONG_STATE", "LAUNCH_STATE")
    refused(lambda: vmm.say(step ^ 1), "INVALID", "STEP")
    vmm.do_start()
    vmm.say(step)
    refused(lambda: vmm.say(step), "INVALID", "STEP")
    refused(vmm.ask_start, "WRONG_STATE", "LAUNCH_STATE")
    vmm.launch_on("add_region")
    source = vmm.hand_in(pages(0, 4))
    refused(lambda: vmm.ask_populate(0, 4, source), "WRONG_STATE", "STEP")
    vmm.bind()
    step = vmm.ask_populate(0, 4, source)
    refused(lambda: vmm.ask_populate(4, 4, source), "WRONG_STATE", "LAUNCH_STATE")
    refused(vmm.ask_finish, "WRONG_STATE", "LAUNCH_STATE")
    refused(lambda: vmm.say(step), "INVALID", "STEP")
    vmm.do_populate(0, pages(0, 4))
    vmm.say_populated(step, 0, 4)
    refused(lambda: vmm.say_populated(step, 0, 4), "INVALID", "STEP")
    refused(lambda: vmm.ask_populate(3, 1, source), "WRONG_STATE", "PAGE_STATE")
    step = vmm.ask_finish()
    vmm.do_finish()
    vmm.say(step)
    for again in (vmm.ask_start, vmm.ask_finish, lambda: vmm.ask_populate(8, 1, source)):
        refused(again, "WRONG_STATE", "LAUNCH_STATE")
    refused(lambda: vmm.say(step), "INVALID", "STEP")
    assert vmm.state() == "RUNNING"


def all_steps_said_and_none_done(vmm):
    vmm.create()
    vmm.say(vmm.ask_start())
    vmm.say(vmm.ask_finish())
    assert vmm.state() == "RUNNING" and firmware_digests().count(measured(vmm)) == 0


def success_for_what_has_failed(vmm):
    vmm.launch("bind")
    vmm.say_populated(vmm.ask_populate(0, 4, vmm.hand_in(pages(0, 4))), 0, 4)
    assert vmm.map() == [(0, 4, "MEASURED"), (4, PAGES - 4, "ABSENT")]
    assert measured(vmm) not in firmware_digests()


def failure_for_what_was_done(vmm):
    vmm.launch("bind")
    step = vmm.ask_populate(0, 4, vmm.hand_in(pages(0, 4)))
    vmm.do_populate(0, pages(0, 4))
    vmm.say_populated(step, 0, 4, done=1, error=5)
    assert vmm.state() == "FAILED"
    assert vmm.map() == [(0, 1, "MEASURED"), (1, 3, "LOST"), (4, PAGES - 4, "ABSENT")]
    for request in (vmm.ask_start, vmm.ask_finish, lambda: vmm.ask_populate(8, 1, 1), lambda: vmm.hand_in(pages(0, 1))):
        refused(request, "WRONG_STATE")


def failure_of_a_start_that_was_done(vmm):
    vmm.create()
    step = vmm.ask_start()
    vmm.do_start()
    vmm.say(step, error=12)
    assert vmm.state() == "FAILED"
    refused(lambda: vmm.say(step), "INVALID", "STEP")


def less_done_than_said(vmm):
    vmm.launch("bind")
    step = vmm.ask_populate(0, 4, vmm.hand_in(pages(0, 4)))
    vmm.do_populate(0, pages(0, 2))
    vmm.say_populated(step, 0, 4)
    assert measured(vmm) not in firmware_digests()


def more_done_than_ordered(vmm):
    vmm.launch("bind")
    step = vmm.ask_populate(0, 4, vmm.hand_in(pages(0, 4)))
    vmm.do_populate(0, pages(0, 8))
    for done in (5, 2**20, 2**32 - 1):
        refused(lambda done=done: vmm.say_populated(step, 0, 4, done=done), "INVALID", "STEP")
        refused(lambda done=done: vmm.say_populated(step, 0, 4, done=done, error=5), "INVALID", "STEP")
    vmm.say_populated(step, 0, 4)
    assert vmm.map() == [(0, 4, "MEASURED"), (4, PAGES - 4, "ABSENT")]
    assert measured(vmm) not in firmware_digests()


def a_part_said_to_be_all(vmm):
    vmm.launch("bind")
    step = vmm.ask_populate(0, 4, vmm.hand_in(pages(0, 4)))
    refused(lambda: vmm.say_populated(step, 0, 4, done=2), "INVALID", "STEP")
    assert vmm.state() == "POPULATING"


def another_range_than_ordered(vmm):
    vmm.launch("bind")
    step = vmm.ask_populate(0, 4, vmm.hand_in(pages(0, 4)))
    for first, count in ((0, 3), (0, 5), (1, 4), (8, 4), (0, 0), (PAGES, 4)):
        refused(lambda first=first, count=count: vmm.say_populated(step, first, count), "INVALID", "STEP")
    request = pb.StepDoneRequest(region=vmm.region, step=step, done=4)
    refused(lambda: vmm.client.call(request), "INVALID")
    assert vmm.state() == "POPULATING"


def populations_in_another_order(vmm):
    vmm.launch("bind")
    low = vmm.ask_populate(0, 2, vmm.hand_in(pages(0, 2)))
    vmm.do_populate(2, pages(2, 2))
    vmm.say_populated(low, 0, 2)
    high = vmm.ask_populate(2, 2, vmm.hand_in(pages(2, 2)))
    vmm.do_populate(0, pages(0, 2))
    vmm.say_populated(high, 2, 2)
    assert vmm.map() == [(0, 4, "MEASURED"), (4, PAGES - 4, "ABSENT")]
    assert measured(vmm) not in firmware_digests()


def other_bytes_than_were_hashed(vmm):
    vmm.launch("bind")
    step = vmm.ask_populate(0, 4, vmm.hand_in(pages(0, 4)))
    vmm.do_populate(0, pages(7, 4))
    vmm.say_populated(step, 0, 4)
    assert measured(vmm) not in firmware_digests()


def a_page_measured_twice_behind_our_back(vmm):
    vmm.launch("populate")
    assert measured(vmm) in firmware_digests()
    raw_vmm.punch(vmm.memory, 0, PAGE)
    if vmm.kind == "snp":
        vmm.do_populate(0, pages(0, 1))
        assert measured(vmm) not in firmware_digests()
    assert vmm.map() == [(0, 4, "MEASURED"), (4, PAGES - 4, "ABSENT")]


# ---- Sources.


def sources_that_can_still_change(vmm):
    vmm.launch("bind")
    every = raw_vmm.SEALS
    for missing in (raw_vmm.F_SEAL_WRITE, raw_vmm.F_SEAL_SHRINK, raw_vmm.F_SEAL_GROW, every):
        refused(lambda missing=missing: vmm.hand_in(pages(0, 1), every & ~missing), "INVALID", "SOURCE")
    # Who has mapped it before may write to it.
    refused(lambda: vmm.hand_in(pages(0, 1), every & ~raw_vmm.F_SEAL_WRITE | raw_vmm.F_SEAL_FUTURE_WRITE), "INVALID",
            "SOURCE")
    refused(lambda: vmm.hand_in(b"half a page"), "INVALID", "SOURCE")
    refused(lambda: vmm.hand_in(b""), "INVALID", "SOURCE")


def sources_that_are_no_memfds(vmm):
    vmm.launch("bind")
    ours, theirs = socket.socketpair()
    request = pb.SourceRequest(domain=vmm.domain)
    with ours, theirs, open("/dev/zero", "rb") as zero:
        for thing in (ours, zero):
            refused(lambda thing=thing: vmm.client.call_with_fd(vmm.domain, request, thing), "INVALID", "FD")
    refused(lambda: vmm.client.call_with_fd(vmm.domain, request, vmm.memory), "INVALID", "SOURCE")


def sources_of_nobody(vmm):
    vmm.launch("bind")
    source = vmm.hand_in(pages(0, 4))
    for number in (0, 1, source ^ 1, 2**64 - 1):
        refused(lambda number=number: vmm.ask_populate(0, 1, number), "INVALID" if number == 0 else "NO_SUCH_OBJECT",
                "SOURCE")
    for offset in (1, 4 * PAGE, 2**64 - PAGE):
        refused(lambda offset=offset: vmm.ask_populate(0, 1, source, offset), "INVALID", "SOURCE")
    refused(lambda: vmm.ask_populate(0, 5, source), "INVALID", "SOURCE")
    refused(lambda: vmm.ask_populate(0, 2, source, 3 * PAGE), "INVALID", "SOURCE")


def a_source_of_another_domain(vmm):
    vmm.launch("bind")
    other = Vmm(vmm.client, vmm.kind)
    other.create()
    source = other.hand_in(pages(0, 4))
    refused(lambda: vmm.ask_populate(0, 4, source), "NO_SUCH_OBJECT", "SOURCE")
    other.close()


def more_sources_than_there_may_be(vmm):
    vmm.launch("start")
    for _ in range(16):
        vmm.hand_in(pages(0, 1))
    refused(lambda: vmm.hand_in(pages(0, 1)), "OVER_LIMIT", "SOURCE")


def a_source_that_goes_while_it_is_hashed(vmm):
    """The sealed file is gmemd's, too: closing it, and filling its number with another, changes nothing."""
    vmm.launch("bind")
    fd = raw_vmm.memfd(pages(0, 4))
    source = vmm.client.call_with_fd(vmm.domain, pb.SourceRequest(domain=vmm.domain), fd).reply.source
    with raw_vmm.memfd(pages(9, 4)) as other:
        os.dup2(other.fileno(), fd.fileno())
    step = vmm.ask_populate(0, 4, source)
    vmm.do_populate(0, pages(0, 4))
    vmm.say_populated(step, 0, 4)
    assert measured(vmm) in firmware_digests()
    fd.close()


# ---- Memory.


def memory_of_another_size(vmm):
    vmm.launch("start")
    answer = vmm.client.call(pb.RegionCreateRequest(domain=vmm.domain, size=PAGES * PAGE))
    vmm.region, step = answer.reply.region, answer.reply.step.step
    vmm.do_memory(2 * PAGES * PAGE)
    tell = pb.StepMemoryRequest(region=vmm.region, step=step)
    refused(lambda: vmm.tell_memory(tell), "INVALID", "FD")
    with raw_vmm.memfd(pages(0, PAGES)) as plain:
        refused(lambda: vmm.client.call_with_fd(vmm.domain, tell, plain), "INVALID", "FD")
    vmm.do_memory()
    vmm.tell_memory(tell)


def memory_of_another_region(vmm):
    vmm.launch("bind")
    answer = vmm.client.call(pb.RegionCreateRequest(domain=vmm.domain, size=PAGES * PAGE, gpa=1 << 30))
    tell = pb.StepMemoryRequest(region=answer.reply.region, step=answer.reply.step.step)
    refused(lambda: vmm.tell_memory(tell), "EXISTS", "FD")


# ---- The honest launch.


def requests_to_another_launch(vmm):
    """The same tenant's, so it can be seen."""
    vmm.launch("bind")
    theirs = next(domain.domain for domain in vmm.client.list_domains() if domain.domain != vmm.domain)
    region = next(region.region for region in vmm.client.list_regions(theirs))
    other = Vmm(vmm.client, vmm.kind)
    other.domain, other.region = theirs, region
    for request in (other.ask_start, other.ask_finish, lambda: other.hand_in(pages(0, 1)), lambda: other.say(1),
                    lambda: other.ask_populate(4, 1, 1), lambda: other.say_populated(1, 4, 1),
                    lambda: vmm.client.call(pb.LaunchAbortRequest(domain=theirs)),
                    lambda: vmm.tell_memory(pb.StepMemoryRequest(region=region, step=1)),
                    lambda: vmm.client.domain_destroy(theirs)):
        refused(request, "BUSY", "ATTACHED")


LIES = (steps_that_were_not_ordered, steps_twice_and_out_of_order, all_steps_said_and_none_done,
        success_for_what_has_failed, failure_for_what_was_done, failure_of_a_start_that_was_done, less_done_than_said,
        more_done_than_ordered, a_part_said_to_be_all, another_range_than_ordered, populations_in_another_order,
        other_bytes_than_were_hashed, a_page_measured_twice_behind_our_back, sources_that_can_still_change,
        sources_that_are_no_memfds, sources_of_nobody, a_source_of_another_domain, more_sources_than_there_may_be,
        a_source_that_goes_while_it_is_hashed, memory_of_another_size, memory_of_another_region,
        requests_to_another_launch)


# ---- Deaths. A launch by the rules, with a point between any two things that the VMM says or does.


def points(vmm):
    """Goes on to the next point each time."""
    yield "connected"
    vmm.domain = vmm.client.domain_create(vmm.kind).id
    yield "has a domain"
    vmm.do_vm()
    yield "has a VM"
    step = vmm.ask_start()
    yield "was told to start"
    vmm.do_start()
    yield "has started"
    vmm.say(step)
    yield "has said so"
    answer = vmm.client.call(pb.RegionCreateRequest(domain=vmm.domain, size=PAGES * PAGE))
    vmm.region = answer.reply.region
    yield "was told to make memory"
    vmm.do_memory()
    yield "has made memory"
    vmm.tell_memory(pb.StepMemoryRequest(region=vmm.region, step=answer.reply.step.step))
    yield "has handed it in"
    step = vmm.client.call(pb.RegionBindRequest(region=vmm.region)).reply.step.step
    yield "was told to bind"
    vmm.do_bind()
    yield "has bound"
    vmm.client.call(pb.StepDoneRequest(region=vmm.region, step=step))
    yield "has said that"
    source = vmm.hand_in(pages(0, PAGES))
    yield "has a source"
    vmm.client.start(pb.PopulateRequest(region=vmm.region, length=PAGE, type=NORMAL, source=source))
    yield "has its source hashed"
    step = vmm.client.wait(vmm.client._serial).reply.step.step
    yield "was told to populate"
    vmm.do_populate(0, pages(0, 1))
    yield "has populated"
    vmm.say_populated(step, 0, 1)
    yield "has said what"
    step = vmm.ask_finish()
    yield "was told to finish"
    vmm.do_finish()
    yield "has finished"
    vmm.say(step)
    yield "may run"


def lie(report, address, kind, number):
    with gmem.Client(address, name="liar") as client:
        vmm = Vmm(client, kind)
        try:
            LIES[number](vmm)
        except Exception:
            report(traceback.format_exc())
        else:
            report("")
        vmm.close()


def die(report, address, kind, number):
    vmm = Vmm(gmem.Client(address, name="mortal"), kind)
    for i, name in enumerate(points(vmm)):
        if i == number:
            report(name)
            os.kill(os.getpid(), signal.SIGKILL)
    report(None)


class Hostile(unittest.TestCase):
    """Beside each, a launch of ours that has to come out right."""

    def beside_an_honest_launch(self, kind, body):
        with harness.Daemon({"acme": SLOTS}, args=["--cgroup-root", MACHINE + ".d", "--sandbox", "off"]) as daemon:
            with gmem.Client(daemon.socket("acme"), name="honest") as client:
                honest = Vmm(client, kind)
                honest.launch("bind")
                honest.populate(8, 4)
                self.at_rest = daemon.used("acme")
                body(daemon)
                self.assert_like_before(daemon)
                honest.populate(4, 4)
                wanted = getattr(measure_model, kind)([(o[0] if kind == "snp" else True, *o[1:])
                                                       for o in honest.operations])
                self.assertEqual(measured(honest), wanted)
                honest.finish()
                self.assertEqual((honest.state(), firmware_digests()), ("RUNNING", [wanted]))
                honest.close()
            self.assertIsNotNone(harness.wait_until(daemon.books_are_empty), daemon.used("acme"))
            self.assertIsNotNone(harness.wait_until(lambda: "vms 0\nguest_memfds 0\n" in show()), show())

    def assert_like_before(self, daemon):
        """Nothing of the other launch is in the books or in the machine."""
        same = harness.wait_until(lambda: daemon.used("acme") == self.at_rest)
        self.assertIsNotNone(same, f"{daemon.used('acme')}, at rest {self.at_rest}")
        self.assertIsNotNone(harness.wait_until(lambda: "vms 1\nguest_memfds 1\n" in show()), show())

    def kinds(self):
        return ("snp", "tdx") if has_tdx() else ("snp",)

    def run_peer(self, function, daemon, kind, number):
        peer = harness.Peer(function, daemon.socket("acme"), kind, number)
        try:
            return peer.report()
        finally:
            peer.kill()
            self.assert_like_before(daemon)

    def test_a_liar_deceives_nobody_but_itself(self):
        for kind in self.kinds():
            def lies(daemon, kind=kind):
                for number, function in enumerate(LIES):
                    with self.subTest(kind=kind, lie=function.__name__):
                        self.assertEqual(self.run_peer(lie, daemon, kind, number), "")
            self.beside_an_honest_launch(kind, lies)

    def test_a_death_anywhere_leaves_nothing_behind(self):
        for kind in self.kinds():
            def deaths(daemon, kind=kind):
                name, number = "", 0
                while name is not None:
                    with self.subTest(kind=kind, death=number):
                        name = self.run_peer(die, daemon, kind, number)
                    number += 1
                self.assertGreater(number, 15)
            self.beside_an_honest_launch(kind, deaths)


class Slots(unittest.TestCase):
    """Two tenants, and VMMs that have not asked anybody, on a host with eight slots of each pool."""
    POOLS = {"sev": "SevSlots", "sev-es": "SevEsSlots", "tdx": "TdxSlots"}

    def daemon(self, slots):
        policy = "".join(f"{key}={slots}\n" for key in self.POOLS.values())
        return harness.Daemon({"acme": policy, "rival": policy},
                              args=["--cgroup-root", MACHINE + ".d", "--sandbox", "off"])

    def take(self, client, pool, count):
        for _ in range(count):
            client.call(pb.DomainCreateRequest(kind=b"memfd", slot=pool.encode()))

    def assert_full(self, call, code, named, limit, used):
        with self.assertRaises(gmem.Refused) as caught:
            call()
        got = caught.exception
        self.assertEqual((got.code, got.rule, got.object), (code, "SLOTS", named), got)
        self.assertEqual((got.limit, got.used, got.asked), (limit, used, 1), got)

    def test_a_tenant_that_has_all_its_slots_is_told_so_and_the_other_is_not(self):
        with self.daemon(3) as daemon:
            for pool in self.POOLS:
                with self.subTest(pool=pool), gmem.Client(daemon.socket("acme")) as acme, \
                        gmem.Client(daemon.socket("rival")) as rival:
                    self.take(acme, pool, 3)
                    self.assert_full(lambda: self.take(acme, pool, 1), "OVER_LIMIT", "tenant acme", 3, 3)
                    self.take(rival, pool, 3)

    def test_two_tenants_that_have_all_of_the_host_are_told_so_before_they_launch(self):
        with self.daemon(8) as daemon:
            for pool in self.POOLS:
                with self.subTest(pool=pool), gmem.Client(daemon.socket("acme")) as acme, \
                        gmem.Client(daemon.socket("rival")) as rival:
                    self.take(acme, pool, 5)
                    self.take(rival, pool, 3)
                    for client in (acme, rival):
                        self.assert_full(lambda client=client: self.take(client, pool, 1), "OVER_LIMIT", "host", 8, 8)
                    acme.domain_destroy(acme.list_domains()[0].domain)
                    self.take(rival, pool, 1)

    def test_guests_that_wait_and_guests_of_strangers_add_up(self):
        for kind in ("snp", "tdx") if has_tdx() else ("snp",):
            with self.subTest(kind=kind), self.daemon(8) as daemon, gmem.Client(daemon.socket("acme")) as acme, \
                    gmem.Client(daemon.socket("rival")) as rival:
                strangers = [Vmm(None, kind) for _ in range(6)]
                for stranger in strangers:
                    stranger.do_vm()
                    stranger.do_start(initialise_only=True)
                acme.domain_create(kind)
                rival.domain_create(kind)
                self.assert_full(lambda: acme.domain_create(kind), "NO_RESOURCE", "host", 8, 8)
                strangers[0].close()
                self.assertIsNotNone(harness.wait_until(lambda: "vms 5\n" in show()))
                guest = Vmm(acme, kind)
                guest.launch("start")
                self.assert_full(lambda: rival.domain_create(kind), "NO_RESOURCE", "host", 8, 8)
                for vmm in (*strangers[1:], guest):
                    vmm.close()


def on_each_machine():
    """This program once more on each, preloaded. All versions with GMEMD_LONG=1."""
    folder = tempfile.mkdtemp(prefix="gmemd-it-")
    machine = os.path.join(folder, "machine")
    status = 0
    for version in VERSIONS if os.environ.get("GMEMD_LONG") else ("7.0",):
        subprocess.run([harness.program("gm-platform"), "new", machine, version], check=True)
        print(f"on Linux {version}", flush=True)
        status |= subprocess.run([sys.executable, "-B", *sys.argv], check=False, env={
            **os.environ, "GM_PLATFORM": machine,
            "LD_PRELOAD": os.path.join(harness.BUILD, "lib", "libgm_platform.so")}).returncode
        subprocess.run([harness.program("gm-platform"), "remove", machine], check=True)
    shutil.rmtree(folder)
    return status


if __name__ == "__main__":
    if harness.SANITIZED:
        print("the model is preloaded, which sanitizers do not allow")
        sys.exit(77)
    if MACHINE is None:
        sys.exit(on_each_machine())
    harness.main()
