#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gmemctl measure: every form, against a second calculator and digests that public tools give."""
import json
import os
import random
import subprocess
import tempfile
import unittest

import measure_model as model

GMEMCTL = os.path.join(os.environ["GMEMD_BUILD"], "bin", "gmemctl")
DONE, FAILED, USAGE = 0, 1, 2
NAPLES, MILAN = 0x800f12, 0xa00f11
BOOT_EIP, AP_EIP = 0xfffffff0, 0x80b004


class Measure(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data if isinstance(data, bytes) else json.dumps(data).encode())
        return path

    def run_measure(self, *args, status=DONE, **options):
        done = subprocess.run([GMEMCTL, "measure", *args], capture_output=True, text=True, timeout=60,
                              check=False, **options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.err = done.stderr
        if status == DONE:
            self.assertEqual(done.stderr, "")
        return done.stdout

    def digest(self, *args, **options):
        return self.run_measure(*args, **options).strip()

    def pages(self, kind, *objects, status=DONE):
        listed = objects[0] if len(objects) == 1 else list(objects)
        return self.run_measure(kind, "--pages", "-", input=json.dumps(listed), status=status,
                                cwd=self.folder)

    def refused(self, kind, thing, why):
        self.assertEqual(self.pages(kind, thing, status=FAILED), "")
        self.assertIn(why, self.err)
        self.assertEqual(self.err.count("\n"), 1)

    # operations

    def test_operations_of_snp(self):
        rng = random.Random(6)
        for _ in range(20):
            operations, ops = [], []
            for _ in range(rng.randrange(1, 8)):
                kind = rng.choice(list(model.TYPES))
                length = model.PAGE * (1 if kind == "vmsa" else rng.randrange(1, 4))
                gpa = model.PAGE * rng.randrange(2**35)
                data = rng.randbytes(rng.randrange(length)) if kind in ("normal", "vmsa") else b""
                operations.append((kind, gpa, length, data))
                ops.append({"t": kind, "gpa": hex(gpa), "len": hex(length)})
                if kind in ("normal", "vmsa"):
                    ops[-1]["data"] = data.hex()
            seed = rng.randbytes(48)
            self.assertEqual(self.pages("snp", {"ops": ops, "seed": seed.hex()}).strip(),
                             model.snp(operations, seed))

    def test_operations_of_tdx(self):
        rng = random.Random(7)
        operations = [(rng.random() < 0.5, model.PAGE * rng.randrange(2**20), model.PAGE * 2,
                       rng.randbytes(5000)) for _ in range(10)]
        ops = [{"op": "region", "measure": measure, "gpa": gpa, "len": length, "data": data.hex()}
               for measure, gpa, length, data in operations]
        self.assertEqual(self.pages("tdx", {"ops": ops}).strip(), model.tdx(operations))

    def test_operations_of_sev_have_no_addresses(self):
        ops = [{"data": "ab" * 32}, {"len": 48, "data": "cd"}, {"file": "f", "off": "0x10", "len": 32},
               {"file": "f"}]
        data = bytes(range(64))
        self.file("f", data)
        wanted = model.sev([b"\xab" * 32, model.pad(b"\xcd", 48), data[16:48], data])
        self.assertEqual(self.pages("sev", {"ops": ops}).strip(), wanted)
        self.assertEqual(self.pages("seves", {"ops": ops}).strip(), wanted)
        self.assertEqual(self.pages("sev", {"ops": []}).strip(), model.sev([]))

    def test_a_guest_that_boots_without_firmware(self):
        """As small VMMs do: a kernel where it belongs, tables around it, and registers of the VMM's own."""
        kernel, zero_page, registers = os.urandom(5 * model.PAGE), os.urandom(model.PAGE), os.urandom(model.PAGE)
        operations = [("normal", 0x100000, len(kernel), kernel), ("zero", 0x8000, model.PAGE, b""),
                      ("normal", 0x7000, model.PAGE, zero_page), ("secrets", 0x5000, model.PAGE, b""),
                      ("cpuid", 0x6000, model.PAGE, b""), ("unmeasured", 0x9000, 3 * model.PAGE, b""),
                      ("vmsa", model.VMSA_GPA, model.PAGE, registers), ("vmsa", model.VMSA_GPA, model.PAGE, zero_page)]
        ops = [{"t": kind, "gpa": gpa, "len": length, **({"data": data.hex()} if data else {})}
               for kind, gpa, length, data in operations]
        self.assertEqual(self.pages("snp", {"ops": ops}).strip(), model.snp(operations))
        # The same pages in the order of their addresses are another guest.
        ops.sort(key=lambda op: op["gpa"])
        self.assertNotEqual(self.pages("snp", {"ops": ops}).strip(), model.snp(operations))

    def test_pages_of_a_td_that_are_extended_between_others_that_are_not(self):
        """One stream of both: what is added only is in it, too, and so is which of them came first."""
        page = os.urandom(model.PAGE)
        regions = [(at % 3 != 1, (7 - at) * model.PAGE, model.PAGE, page) for at in range(8)]

        def digest(order):
            return self.pages("tdx", {"ops": [{"op": "region", "measure": measure, "gpa": gpa, "len": length,
                                               "data": data.hex()} for measure, gpa, length, data in order]}).strip()
        self.assertEqual(digest(regions), model.tdx(regions))
        self.assertEqual(digest(regions[::-1]), model.tdx(regions[::-1]))
        first = [region for region in regions if region[0]] + [region for region in regions if not region[0]]
        self.assertEqual(digest(first), model.tdx(first))
        self.assertEqual(len({digest(regions), digest(regions[::-1]), digest(first)}), 3)

    def test_registers_of_seves_are_measured_for_each_vcpu_in_turn(self):
        image, path = self.guest_files()
        pages = [model.vmsa(BOOT_EIP, MILAN, 0), *[model.vmsa(AP_EIP, MILAN, 0, boot=False)] * 7]
        table = model.kernel_hashes(b"kernel", b"initrd", b"root=/dev/vda")
        extra = ["--kernel", self.file("kernel", b"kernel"), "--initrd", self.file("initrd", b"initrd"), "--append",
                 "root=/dev/vda", "--vcpus", "8", "--vcpu-type", "EPYC-Milan"]
        self.assertEqual(self.digest("seves", "--ovmf", path, *extra), model.sev([image, table, *pages]))
        ops = [{"data": part.hex()} for part in (image, table, *pages)]
        self.assertEqual(self.pages("seves", {"ops": ops}).strip(), model.sev([image, table, *pages]))
        self.assertEqual(self.digest("snp", "--ovmf", path, *extra),
                         model.snp_guest(image, model.USUAL, self.vcpus(8, MILAN), table))

    def test_a_page_can_be_given_by_its_hash(self):
        page = os.urandom(2 * model.PAGE)
        hashes = "".join(model.sha384(page[i:i + 4096]).hex() for i in (0, 4096))
        one = {"ops": [{"t": "normal", "gpa": 0, "len": 8192, "contents_sha384": hashes}]}
        self.assertEqual(self.pages("snp", one).strip(), model.snp([("normal", 0, 8192, page)]))

    def test_a_vmsa_can_be_repeated(self):
        thing = {"ops": [{"t": "vmsa", "gpa": hex(model.VMSA_GPA), "data": "07", "repeat": 3}]}
        self.assertEqual(self.pages("snp", thing).strip(),
                         model.snp([("vmsa", model.VMSA_GPA, 4096, b"\7")] * 3))

    def test_files_are_found_beside_the_objects(self):
        self.file("contents", b"x" * 4096)
        path = self.file("ops", {"ops": [{"t": "normal", "gpa": 0, "file": "contents"}]})
        self.assertEqual(self.digest("snp", "--pages", path, cwd="/"),
                         model.snp([("normal", 0, 4096, b"x" * 4096)]))

    def test_a_list_has_a_line_for_each(self):
        good = {"name": "good", "ops": [{"t": "zero", "gpa": 0}], "expected": "not looked at"}
        bad = {"name": "bad", "ops": [{"t": "zero", "gpa": 1}]}
        lines = self.pages("snp", good, bad, good, status=FAILED).split()
        wanted = model.snp([("zero", 0, 4096, b"")])
        self.assertEqual(lines, [wanted, "-", wanted])
        self.assertEqual(self.err, "gmemctl: measure: bad: ops[0]: zero 0x1+0x1000: "
                                   "the address is not a multiple of 4096\n")
        self.assertEqual(self.run_measure("snp", "--pages", "-", input="[]"), "")

    def test_an_unknown_member_is_told_of_and_in_an_operation_refused(self):
        done = subprocess.run([GMEMCTL, "measure", "snp", "--pages", "-"], text=True, check=True,
                              input='{"ops": [], "sead": "00"}', capture_output=True)
        self.assertIn('"sead" is not known', done.stderr)
        self.refused("snp", {"ops": [{"t": "zero", "gpa": 0, "vmpl4": 1}]}, "vmpl4")

    def test_what_is_wrong_with_an_operation_is_told(self):
        zero = {"t": "zero", "gpa": "0x1000"}
        normal = {"t": "normal", "gpa": 0, "data": "00"}
        self.file("short", b"x" * 100)
        for op, why in (
                ({**zero, "gpa": "0x1"}, "multiple of 4096"), ({**zero, "len": 0x1200}, "multiple of 4096"),
                ({**zero, "len": 0}, "multiple of 4096"), ({**zero, "len": -4096}, "no number"),
                ({**zero, "len": 1.5}, "no number"), ({**zero, "gpa": "12z"}, "no number"),
                ({**zero, "gpa": ""}, "no number"), ({**zero, "gpa": " 1"}, "no number"),
                ({**zero, "gpa": "0x0x1"}, "no number"), ({**zero, "gpa": "-1"}, "no number"),
                ({**zero, "gpa": "0x10000000000000000"}, "no number"), ({"t": "zero"}, "gpa"),
                ({"gpa": 0}, "t: is not there"), ({**zero, "t": "ZERO"}, "ZERO"), ({**zero, "t": 3}, "string"),
                ({**zero, "gpa": hex(2**52 - 4096), "len": 8192}, "last address"),
                ({**zero, "gpa": hex(2**64 - 4096)}, "last address"), ({**zero, "data": "00"}, "zeros"),
                ({**zero, "len": hex(2**51)}, "pages are measured"), ({**zero, "repeat": 2}, "vmsa only"),
                ({**normal, "data": "0"}, "pairs"), ({**normal, "data": "0g"}, "pairs"),
                ({**normal, "data": "00" * 4097}, "longer"), ({**normal, "file": "short"}, "twice"),
                ({"t": "normal", "gpa": 0}, "not there"), ({**normal, "off": 0}, "without a file"),
                ({"t": "normal", "gpa": 0, "file": "short"}, "100 bytes"),
                ({"t": "normal", "gpa": 0, "file": "short", "off": 101}, "100 bytes"),
                ({"t": "normal", "gpa": 0, "file": "none"}, "No such file"),
                ({"t": "normal", "gpa": 0, "file": "."}, "regular"),
                ({"t": "normal", "gpa": 0, "contents_sha384": "00" * 47}, "96 hex digits"),
                ({"t": "vmsa", "gpa": 0, "len": 8192, "data": ""}, "one page"),
                ({"t": "vmsa", "gpa": 0, "data": "", "repeat": 0}, "4096"),
                (None, "no object"), ([], "no object")):
            with self.subTest(op=op):
                self.refused("snp", {"ops": [op]}, why)
        for thing, why in (({"ops": {}}, "list"), ({}, "neither"), (3, "neither"), ({"ops": [], "seed": "00"}, "96"),
                           ({"ops": [], "gpa_bits": 53}, "52 bits"), ({"ops": [], "mode": "tdx"}, "mode")):
            with self.subTest(thing=thing):
                self.refused("snp", thing, why)
        region = {"op": "region", "gpa": 0, "measure": True, "data": ""}
        for op, why in (({**region, "op": "add"}, "region"), ({**region, "measure": 1}, "true"),
                        ({**region, "gpa": hex(2**51)}, "last address"), ({"op": "region", "gpa": 0}, "measure"),
                        ({"op": "region", "gpa": 0, "measure": True}, "not there")):
            with self.subTest(op=op):
                self.refused("tdx", {"ops": [op]}, why)
        self.refused("sev", {"ops": [{"data": "00" * 17}]}, "multiple of 16")
        self.refused("sev", {"ops": [{"data": "00" * 16, "gpa": 0}]}, "gpa")
        self.refused("tdx", {"ops": [], "seed": "00" * 48}, "only an snp")

    def test_permissions_and_imi_are_unpredictable(self):
        zero = {"t": "zero", "gpa": 0}
        for key, value in (("vmpl1_perms", 1), ("vmpl3_perms", "0xff"), ("imi", True)):
            self.refused("snp", {"ops": [{**zero, key: value}]}, "unpredictable: ")
        self.assertTrue(self.pages("snp", {"ops": [{**zero, "vmpl1_perms": 0, "imi": False}]}))

    def test_addresses_end_where_their_bits_do(self):
        last = {"t": "zero", "gpa": hex(2**48 - 4096)}
        self.assertTrue(self.pages("snp", {"ops": [last], "gpa_bits": 48}))
        self.refused("snp", {"ops": [last], "gpa_bits": 47}, "last address")

    def test_what_is_no_json_is_told_with_its_line(self):
        for text in ("", "{", '{"ops": [}', "[" * 100, '{"ops": []} x', "\0", "\xff", "nul", '{"a": 0}]'):
            with self.subTest(text=text):
                self.run_measure("snp", "--pages", "-", input=text, status=FAILED)
                self.assertIn("line 1 is no JSON", self.err)

    # guests

    def guest_files(self, **options):
        image = model.firmware(sections=model.USUAL, **options)
        return image, self.file("ovmf", image)

    def vcpus(self, n, rdx=NAPLES, features=1, **options):
        return [model.vmsa(BOOT_EIP if i == 0 else AP_EIP, rdx, features, boot=i == 0, **options)
                for i in range(n)]

    def test_a_guest_of_snp(self):
        image, path = self.guest_files()
        for n, extra, pages in (
                (1, ["--vcpu-type", "EPYC-v4"], self.vcpus(1)),
                (4, ["--vcpu-type", "EPYC-Milan", "--guest-features", "0x21"], self.vcpus(4, MILAN, 0x21)),
                (2, ["--vcpu-sig", "0xa00f11"], self.vcpus(2, MILAN)),
                (2, ["--vcpu-type", "10489617"], self.vcpus(2, MILAN)),
                (2, ["--vcpu-family", "25", "--vcpu-model", "1", "--vcpu-stepping", "1"], self.vcpus(2, MILAN)),
                (2, ["--rdx", "7"], self.vcpus(2, 7)), (0, [], []),
                (2, ["--vcpu-type", "EPYC", "--fpu", "zero"], self.vcpus(2, fpu=False))):
            with self.subTest(extra=extra):
                self.assertEqual(self.digest("snp", "--ovmf", path, "--vcpus", str(n), *extra),
                                 model.snp_guest(image, model.USUAL, pages))

    def test_a_kernel_is_measured_by_its_hashes(self):
        image, path = self.guest_files()
        kernel, initrd = self.file("kernel", b"kernel"), self.file("initrd", b"")
        for args, table in (
                (["--kernel", kernel], model.kernel_hashes(b"kernel")),
                (["--kernel", kernel, "--initrd", initrd], model.kernel_hashes(b"kernel")),
                (["--kernel", kernel, "--initrd", kernel], model.kernel_hashes(b"kernel", b"kernel")),
                (["--kernel", initrd, "--append", ""], model.kernel_hashes(b"")),
                (["--kernel", "/dev/null", "--append", "console=ttyS0"],
                 model.kernel_hashes(b"", append=b"console=ttyS0"))):
            with self.subTest(args=args):
                self.assertEqual(self.digest("snp", "--ovmf", path, "--vcpus", "1", "--vcpu-type", "EPYC", *args),
                                 model.snp_guest(image, model.USUAL, self.vcpus(1), table))
                self.assertEqual(self.digest("sev", "--ovmf", path, *args), model.sev([image, table]))

    def test_other_vmms(self):
        image, path = self.guest_files()
        for vmm, extra, pages in (
                ("ec2", [], self.vcpus(2, 0x600, vmm="ec2", fpu=False)),
                ("ec2", ["--rdx", "0"], self.vcpus(2, 0, vmm="ec2", fpu=False)),
                ("gce", [], self.vcpus(2, 0x600, vmm="gce", fpu=False)),
                ("kvm", ["--vcpu-type", "EPYC"], self.vcpus(2, vmm="kvm"))):
            with self.subTest(vmm=vmm, extra=extra):
                self.assertEqual(self.digest("snp", "--ovmf", path, "--vcpus", "2", "--vmm", vmm, *extra),
                                 model.snp_guest(image, model.USUAL, pages, vmm=vmm))
        wide = model.snp_guest(image, model.USUAL, self.vcpus(1, 0x600, vmm="gce", fpu=False), vmm="gce",
                               vmsa_gpa=2**52 - 4096)
        self.assertEqual(self.digest("snp", "--ovmf", path, "--vcpus", "1", "--vmm", "gce", "--gpa-bits", "52"),
                         wide)

    def test_a_digest_goes_on_from_the_firmwares(self):
        image, path = self.guest_files()
        first = self.digest("snp", "--ovmf", path, "--firmware-only")
        self.assertEqual(first, model.snp([("normal", 2**32 - len(image), len(image), image)]))
        rest = self.digest("snp", "--ovmf", path, "--vcpus", "1", "--vcpu-type", "EPYC", "--ovmf-hash", first)
        self.assertEqual(rest, model.snp_guest(image, model.USUAL, self.vcpus(1)))

    def test_a_guest_of_seves_and_sev(self):
        image, path = self.guest_files()
        pages = self.vcpus(2, features=0)
        for name in ("seves", "sev-es"):
            self.assertEqual(self.digest(name, "--ovmf", path, "--vcpus", "2", "--vcpu-type", "EPYC"),
                             model.sev([image, *pages]))
        self.assertEqual(self.digest("sev", "--ovmf", path), model.sev([image]))

    def test_a_guest_under_an_svsm(self):
        image, path = self.guest_files()
        sections = ((0x900000, 0x1000, 2), (0x901000, 0x1000, 3))
        svsm = model.firmware(0x2000, sections, fill=0x11, svsm=0x1234, reset=None, hashes=None)
        base = 2**32 - len(image) - 0x8000 - len(svsm)
        operations = [("normal", 2**32 - len(image), len(image), image), ("normal", base, len(svsm), svsm),
                      ("secrets", 0x900000, 4096, b""), ("cpuid", 0x901000, 4096, b"")]
        operations += [("vmsa", model.VMSA_GPA, 4096,
                        model.vmsa(base + 0x1234, NAPLES, 1, svsm=True, fpu=False))] * 2
        self.assertEqual(self.digest("snp", "--ovmf", path, "--vcpus", "2", "--vcpu-type", "EPYC", "--svsm",
                                     self.file("svsm", svsm), "--svsm-vars-size", "32K"), model.snp(operations))

    def test_a_guest_of_tdx(self):
        sections = ((0x2000, 0x2000, 2**32 - 0x2000, 0x2000, 0, 1), (0, 0x2000, 2**32 - 0x4000, 0x2000, 1, 0),
                    (0, 0, 0x809000, 0x2000, 2, 0), (0, 0, 0x810000, 0x10000, 3, 0))
        image = model.firmware(tdvf=sections)
        wanted = model.tdx([(bool(attributes & 1), gpa, length, image[at:at + size])
                            for at, size, gpa, length, _, attributes in sections])
        path = self.file("tdvf", image)
        self.assertEqual(self.digest("tdx", "--tdvf", path), wanted)
        self.assertEqual(self.pages("tdx", {"fw": "tdvf"}).strip(), wanted)

    def test_a_guest_can_be_an_object(self):
        image, _ = self.guest_files()
        guest = {"fw": "ovmf", "vcpus": 2, "vmm": "qemu", "cpu": "EPYC-v4", "features": "0x21", "kernel": "",
                 "initrd": "abcd", "cmdline": "a b"}
        wanted = model.snp_guest(image, model.USUAL, self.vcpus(2, features=0x21),
                                 model.kernel_hashes(b"", b"\xab\xcd", b"a b"))
        self.assertEqual(self.pages("snp", guest).strip(), wanted)
        self.assertEqual(self.pages("snp", {**guest, "cpu": NAPLES}).strip(), wanted)
        for change, why in (({"cpu": "EPYC-v99"}, "cpu"), ({"vmm": "xen"}, "xen"), ({"vcpus": 5000}, "vcpus"),
                            ({"kernel": None}, "kernel"), ({"fw": "none"}, "No such file"), ({"fw": 3}, "string"),
                            ({"features": "0x20"}, "bit 0"), ({"cpu": None}, "type"), ({"vcpus": None}, "vcpus")):
            with self.subTest(change=change):
                self.refused("snp", {**guest, **change}, why)

    def test_firmware_that_cannot_be_launched_so_is_refused(self):
        guest = ["--vcpus", "1", "--vcpu-type", "EPYC"]
        for options, kind, extra, why in (
                ({"sections": ()}, "snp", guest, "SEV metadata"),
                ({"sections": model.USUAL, "reset": None}, "snp", guest, "reset address"),
                ({"sections": ((0x800000, 0x1000, 1),)}, "snp", [*guest, "--kernel", "/dev/null"], "no room"),
                ({"sections": model.USUAL, "hashes": None}, "snp", [*guest, "--kernel", "/dev/null"], "no room"),
                ({"sections": model.USUAL, "hashes": 0x900c00}, "snp", [*guest, "--kernel", "/dev/null"], "not in"),
                ({"sections": model.USUAL, "hashes": 0x810f60}, "snp", [*guest, "--kernel", "/dev/null"], "not in"),
                ({"hashes": None}, "sev", ["--kernel", "/dev/null"], "no room"),
                ({"reset": None}, "seves", guest, "reset address")):
            with self.subTest(options=options):
                path = self.file("bad", model.firmware(**options))
                self.assertEqual(self.run_measure(kind, "--ovmf", path, *extra, status=FAILED), "")
                self.assertIn(why, self.err)
        self.run_measure("tdx", "--tdvf", path, status=FAILED)
        for data in (b"", b"x", bytes(4097)):
            self.run_measure("sev", "--ovmf", self.file("bad", data), status=FAILED)
            self.assertIn("multiple of 4096", self.err)

    # what people see

    def test_json_has_a_row_for_each_step(self):
        image, path = self.guest_files()
        tree = json.loads(self.digest("snp", "--ovmf", path, "--vcpus", "1", "--vcpu-type", "EPYC", "--json"))
        rows = tree["rows"]
        self.assertEqual(tree["kind"], "snp")
        self.assertEqual([row["type"] for row in rows],
                         ["normal", "zero", "zero", "secrets", "cpuid", "zero", "zero", "zero", "vmsa"])
        self.assertEqual(rows[0]["pages"], [model.sha384(image[i:i + 4096]).hex() for i in range(0, 0x4000, 4096)])
        self.assertEqual(rows[0]["content"], model.sha384(bytes.fromhex("".join(rows[0]["pages"]))).hex())
        self.assertEqual((rows[1]["gpa"], rows[1]["length"], rows[1]["content"]), ("0x800000", 0x9000, None))
        self.assertEqual(rows[-1]["content"], model.sha384(self.vcpus(1)[0]).hex())
        self.assertEqual(rows[-1]["registers"]["rdx"], hex(NAPLES))
        self.assertEqual(rows[-1]["running"], tree["digest"])
        self.assertEqual(rows[0]["running"], self.digest("snp", "--ovmf", path, "--firmware-only"))
        trees = json.loads(self.run_measure("sev", "--json", "--pages", "-",
                                            input='[{"name": "a", "ops": []}, {"ops": [{"data": "%s"}]}]' % ("00" * 16)))
        self.assertEqual([tree["digest"] for tree in trees], [model.sev([]), model.sev([bytes(16)])])
        self.assertEqual(trees[0]["name"], "a")

    def test_diff_names_what_differs_first(self):
        image, path = self.guest_files()
        guest = ["--vcpus", "2", "--vcpu-type", "EPYC"]
        manifest = self.file("manifest", self.run_measure("snp", "--ovmf", path, *guest, "--json").encode())
        self.assertEqual(self.digest("snp", "--ovmf", path, *guest, "--diff", manifest),
                         model.snp_guest(image, model.USUAL, self.vcpus(2)))
        changed = bytearray(image)
        changed[0x2345] ^= 1
        other = self.file("other", bytes(changed))
        for args, where in (
                (["--ovmf", other, *guest], "step 0, normal page 0xffffe000: its contents differ"),
                (["--ovmf", path, "--vcpus", "3", "--vcpu-type", "EPYC"], "step 10, vmsa page"),
                (["--ovmf", path, "--vcpus", "2", "--vcpu-type", "EPYC-Milan"],
                 "step 8, vmsa page 0xfffffffff000: its contents differ: rdx is 0xa00f11, not 0x800f12"),
                (["--ovmf", path, *guest, "--kernel", "/dev/null"],
                 "step 6, normal page 0x810000, where the manifest has step 6, zero page 0x810000")):
            with self.subTest(where=where):
                self.assertEqual(self.run_measure("snp", *args, "--diff", manifest, status=FAILED), "")
                self.assertIn(where, self.err)
        self.run_measure("sev", "--ovmf", path, "--diff", manifest, status=FAILED)
        self.assertIn("this is sev, the manifest is of snp", self.err)

    def test_a_bad_manifest_is_refused(self):
        _, path = self.guest_files()
        good = json.loads(self.run_measure("sev", "--ovmf", path, "--json"))
        for change in ({"kind": "x"}, {"digest": "00"}, {"rows": 3}, {"rows": [3]}, {"rows": [{"type": "x"}]},
                       {"rows": [{"type": "zero", "gpa": 0}]}, {"rows": [{"type": "zero", "gpa": 0, "length": 0}]},
                       {"rows": [{**good["rows"][0], "pages": []}]},
                       {"rows": [{**good["rows"][0], "pages": [3, 3, 3, 3]}]},
                       {"rows": [{**good["rows"][0], "vmsa": "00" * 4097}]}):
            with self.subTest(change=change):
                manifest = self.file("manifest", {**good, **change})
                self.run_measure("sev", "--ovmf", path, "--diff", manifest, status=FAILED)
        self.run_measure("sev", "--ovmf", path, "--diff", self.file("manifest", b"[]"), status=FAILED)
        self.assertIn("no manifest number 0", self.err)

    def test_words_that_do_not_go_together_are_refused(self):
        guest = ["--ovmf", "/dev/null", "--vcpus", "1", "--vcpu-type", "EPYC"]
        for args in ([], ["sgx"], ["snp"], ["snp", "tdx"], ["tdx"], ["sev"], ["snp", "--ovmf", "f"],
                     ["snp", "--ovmf", "f", "--vcpus", "1"], ["snp", *guest, "--vcpus", "1"],
                     ["snp", *guest, "--vcpu-sig", "1"], ["snp", *guest, "--initrd", "f"],
                     ["snp", *guest, "--append", "f"], ["snp", *guest, "--tdvf", "f"], ["snp", *guest, "--pages", "f"],
                     ["snp", *guest, "--vmm", "xen"], ["snp", *guest, "--fpu", "x"], ["snp", *guest, "--svsm", "f"],
                     ["snp", *guest, "--ovmf-hash", "00"], ["snp", *guest, "--guest-features", "x"],
                     ["snp", "--ovmf", "f", "--vcpus", "4097", "--vcpu-type", "EPYC"],
                     ["snp", "--ovmf", "f", "--vcpus", "-1", "--vcpu-type", "EPYC"],
                     ["snp", "--ovmf", "f", "--vcpus", "1", "--vcpu-type", "host"],
                     ["snp", "--ovmf", "f", "--vcpus", "1", "--vcpu-family", "25"],
                     ["snp", "--ovmf", "f", "--vcpus", "1", "--vcpu-family", "25", "--vcpu-model", "1",
                      "--vcpu-stepping", "16"],
                     ["sev", "--ovmf", "f", "--vcpus", "1"], ["seves", *guest, "--firmware-only"],
                     ["tdx", "--tdvf", "f", "--vcpus", "1"], ["tdx", "--ovmf", "f"]):
            with self.subTest(args=args):
                self.assertEqual(self.run_measure(*args, status=USAGE), "")
                self.assertNotEqual(self.err, "")

    def test_help_tells_every_option(self):
        text = self.run_measure("--help")
        for word in ("--ovmf", "--tdvf", "--pages", "--diff", "--vcpus", "--vcpu-type", "--guest-features", "--vmm"):
            self.assertIn(word, text)

    def test_an_error_can_be_json(self):
        self.run_measure("sev", "--ovmf", "/nonexistent", "--json", status=FAILED)
        self.assertIn("No such file", json.loads(self.err)["error"]["text"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
