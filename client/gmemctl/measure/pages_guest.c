/* SPDX-License-Identifier: Apache-2.0 */
/* A guest as an object: the options of `gmemctl measure snp --ovmf` as members. */
#include <errno.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_cpu_model.h"
#include "pages.h"

static const char *const guest_keys[] = { "name",	   "mode",    "fw",	  "vcpus",
					  "vmm",	   "cpu",     "features", "kernel",
					  "initrd",	   "cmdline", "seed",	  "gpa_bits",
					  "stop_after_fw", "rdx",     "svsm",	  "vars_size",
					  "expected",	   "source",  "note",	  "expect_error",
					  "hardware",	   NULL };

struct guest {
	const struct pages_input *input;
	json_object *object;
	struct gm_guest guest;
	struct input_bytes firmware, svsm, kernel, initrd;
	uint64_t rdx;
	uint8_t seed[GM_SHA384_SIZE];
	struct gm_refusal *refusal;
};

static int read_member(struct guest *guest, const char *key, struct input_bytes *ret_bytes)
{
	_gm_free_ char *path = NULL;
	const char *name;
	int r = input_get_text(guest->object, key, &name, guest->refusal);

	if (r != 0 || !name)
		return r;
	if (guest->input->no_files)
		return input_refuse(guest->refusal, key, "files are not read here");
	path = pages_path(guest->input, name);
	if (!path)
		return -ENOMEM;
	return input_read(path, GM_FIRMWARE_SIZE_MAX, ret_bytes, guest->refusal);
}

static int read_blobs(struct guest *guest)
{
	const char *line = NULL;
	int r = read_member(guest, "fw", &guest->firmware);

	if (r == 0)
		r = read_member(guest, "svsm", &guest->svsm);
	if (r == 0)
		r = input_get_hex(guest->object, "kernel", &guest->kernel, guest->refusal);
	if (r == 0)
		r = input_get_hex(guest->object, "initrd", &guest->initrd, guest->refusal);
	if (r == 0)
		r = input_get_text(guest->object, "cmdline", &line, guest->refusal);
	if (r != 0)
		return r;
	if (!guest->firmware.bytes)
		return input_refuse(guest->refusal, "fw", "is not the name of a file");
	if (!guest->kernel.bytes && (guest->initrd.size > 0 || (line && line[0])))
		return input_refuse(guest->refusal, "kernel",
				    "is not there, but an initrd or a command line is");
	guest->guest.firmware = input_view(&guest->firmware);
	guest->guest.svsm = input_view(&guest->svsm);
	guest->guest.kernel.kernel = input_view(&guest->kernel);
	guest->guest.kernel.initrd = input_view(&guest->initrd);
	if (line)
		guest->guest.kernel.append =
			(struct gm_bytes){ (const uint8_t *)line, strlen(line) };
	return 0;
}

static int read_cpu(struct guest *guest)
{
	struct gm_guest *to = &guest->guest;
	json_object *cpu = NULL;
	uint64_t number = 0;
	int r;

	if (!json_object_object_get_ex(guest->object, "cpu", &cpu) || !cpu)
		return 0;
	to->has_signature = true;
	if (json_object_is_type(cpu, json_type_string) &&
	    gm_cpu_model_find(json_object_get_string(cpu), &to->signature) == 0)
		return 0;
	r = input_get_number(guest->object, "cpu", &to->has_signature, &number, NULL);
	if (r != 0 || number > UINT32_MAX)
		return input_refuse(guest->refusal, "cpu",
				    "is no model that is known, and no signature");
	to->signature = (uint32_t)number;
	return 0;
}

static int read_vmm(struct guest *guest)
{
	const char *name;
	int r = input_get_text(guest->object, "vmm", &name, guest->refusal);

	if (r == 0 && name && gm_vmm_find(name, &guest->guest.vmm) < 0)
		r = input_refuse(guest->refusal, "vmm", "\"%.40s\" is not known", name);
	return r;
}

static int read_numbers(struct guest *guest)
{
	struct gm_guest *to = &guest->guest;
	uint64_t vcpus = 0, bits = 0;
	bool has_vcpus, has, has_rdx;
	int r = input_get_number(guest->object, "vcpus", &has_vcpus, &vcpus, guest->refusal);

	if (r == 0)
		r = input_get_number(guest->object, "features", &has, &to->guest_features,
				     guest->refusal);
	if (r == 0)
		r = input_get_number(guest->object, "gpa_bits", &has, &bits, guest->refusal);
	if (r == 0)
		r = input_get_number(guest->object, "rdx", &has_rdx, &guest->rdx, guest->refusal);
	if (r == 0)
		r = input_get_number(guest->object, "vars_size", &has, &to->svsm_vars_size,
				     guest->refusal);
	if (r != 0)
		return r;
	if (vcpus > GM_GUEST_VCPUS_MAX || bits > 64)
		return input_refuse(guest->refusal,
				    vcpus > GM_GUEST_VCPUS_MAX ? "vcpus" : "gpa_bits",
				    "is too large");
	if (!has_vcpus && !to->firmware_only &&
	    (to->kind == GM_LAUNCH_SNP || to->kind == GM_LAUNCH_SEV_ES))
		return input_refuse(guest->refusal, "vcpus", "is not there");
	to->vcpus = (unsigned)vcpus;
	to->gpa_bits = (unsigned)bits;
	if (has_rdx)
		to->rdx = &guest->rdx;
	return 0;
}

static int read_guest(struct guest *guest)
{
	struct gm_guest *to = &guest->guest;
	int r = pages_check_keys(guest->object, guest_keys, guest->input->warn, "guest",
				 guest->refusal);

	if (r == 0)
		r = input_get_truth(guest->object, "stop_after_fw", &to->firmware_only,
				    guest->refusal);
	if (r == 0 && json_object_object_get_ex(guest->object, "seed", NULL)) {
		r = input_need_hex(guest->object, "seed", guest->seed, sizeof(guest->seed),
				   guest->refusal);
		to->seed = guest->seed;
	}
	if (r == 0)
		r = read_vmm(guest);
	if (r == 0)
		r = read_cpu(guest);
	if (r == 0)
		r = read_numbers(guest);
	return r == 0 ? read_blobs(guest) : r;
}

int pages_run_guest(const struct pages_input *input, json_object *object,
		    struct pages_result *result, struct gm_refusal *refusal)
{
	struct guest guest = { .input = input, .object = object, .refusal = refusal };
	int r;

	guest.guest.kind = input->kind;
	guest.guest.guest_features = input->kind == GM_LAUNCH_SNP ? GM_SEV_FEATURE_SNP : 0;
	r = read_guest(&guest);
	if (r == 0)
		r = gm_guest_measure(&guest.guest, input->n_threads,
				     input->rows ? &result->manifest : NULL, result->digest,
				     refusal);
	result->digest_size = gm_launch_digest_size(input->kind);
	input_bytes_done(&guest.firmware);
	input_bytes_done(&guest.svsm);
	input_bytes_done(&guest.kernel);
	input_bytes_done(&guest.initrd);
	return r;
}
