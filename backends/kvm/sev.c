/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds "sev" and "sev-es": AMD SEV and SEV-ES on VM types of their own (Linux 6.10). The memory is
 * a memfd, encrypted where it lies and pinned; the digest is over its bytes, and with SEV-ES over
 * the registers of each vCPU. The daemon carries the launch out on a VM of its own, and the VMM's
 * VM takes the state over (KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM), which SNP and TDX have not got.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "firmware_names.h"
#include "gm_cleanup.h"
#include "gm_vmsa.h"
#include "gmem_kinds.h"
#include "halves.h"
#include "kinds.h"
#include "kvm_ioctl.h"
#include "launch_digest.h"
#include "sev_device.h"
#include "sev_launch.h"
#include "sev_vcpu.h"
#include "slot.h"
#include "vmsa_registers.h"

#define CERTIFICATE_MAX 8192
#define SESSION_MAX 4096
#define PARAMETERS_MAX 16384

static_assert(sizeof(struct gmem_sev_start) == 64, "layout of the library");
static_assert(sizeof(struct gmem_sev_start) + CERTIFICATE_MAX + SESSION_MAX <= PARAMETERS_MAX,
	      "all of it fits a request");

/* ---- parameters ---- */

static bool is_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static int refuse(struct gm_refusal *refusal, const char *why)
{
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_FLAGS, "parameters", "%s", why);
}

static int check_start(const void *parameters, size_t size, bool has_vcpus,
		       struct gm_refusal *refusal)
{
	struct gmem_sev_start start;

	if (size < sizeof(start))
		return refuse(refusal, "they are shorter than struct gmem_sev_start");
	memcpy(&start, parameters, sizeof(start));
	if (start.reserved0 != 0 || !is_zero(start.reserved, sizeof(start.reserved)))
		return refuse(refusal, "what is reserved has to be 0");
	if (start.certificate_size > CERTIFICATE_MAX || start.session_size > SESSION_MAX ||
	    size != sizeof(start) + start.certificate_size + start.session_size)
		return refuse(refusal, "certificate and session have not the sizes that they are "
				       "said to have");
	if (!has_vcpus && (start.vmsa_features != 0 || start.ghcb_version != 0))
		return refuse(refusal, "guests whose registers are not protected have no features "
				       "of vCPUs and no GHCB");
	return 0;
}

static int sev_check_parameters(const void *parameters, size_t size, struct gm_refusal *refusal)
{
	return check_start(parameters, size, false, refusal);
}

static int sev_es_check_parameters(const void *parameters, size_t size, struct gm_refusal *refusal)
{
	return check_start(parameters, size, true, refusal);
}

/* ---- digests ---- */

static void sev_begin(uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE])
{
	gm_launch_begin_kind(GM_LAUNCH_SEV, ret_blob);
}

static void sev_es_begin(uint8_t ret_blob[GM_LAUNCH_BLOB_SIZE])
{
	gm_launch_begin_kind(GM_LAUNCH_SEV_ES, ret_blob);
}

static int sev_es_model_pages(const struct gm_launch_vcpus *vcpus, uint8_t *ret_pages,
			      uint32_t *ret_n, struct gm_refusal *refusal)
{
	struct gm_vmsa_spec spec;
	struct kvm_sregs sregs = { 0 };
	struct kvm_regs regs;
	int r;

	r = gm_sev_first_vcpu(vcpus, &spec, refusal);
	if (r != 0)
		return r;
	for (int i = 0; i < GM_LAUNCH_MODEL_PAGES; i++) {
		uint8_t *page = ret_pages + (size_t)i * GM_VMSA_SIZE;

		gm_vmsa_build(&spec, page);
		if (gm_vmsa_to_registers(page, vcpus->features, &sregs, &regs) < 0)
			return gm_refuse_text(refusal, GM_INVALID, GM_RULE_FLAGS, "request",
					      "KVM starts no vCPU with the registers that \"%s\" "
					      "gives it",
					      vcpus->vmm);
		spec.boot = false;
		spec.eip = (uint32_t)vcpus->entry;
	}
	*ret_n = GM_LAUNCH_MODEL_PAGES;
	return 0;
}

static int sev_es_vcpu_tags(const struct gm_launch_vcpus *vcpus, uint64_t ret_tags[2])
{
	uint8_t pages[GM_LAUNCH_MODEL_PAGES][GM_VMSA_SIZE], hash[GM_SHA384_SIZE];
	uint32_t n;
	int r = sev_es_model_pages(vcpus, pages[0], &n, NULL);

	for (int i = 0; r == 0 && i < 2; i++) {
		gm_hash_bytes(GM_HASH_SHA384, pages[i], GM_VMSA_SIZE, hash);
		ret_tags[i] = gm_launch_tag(hash);
	}
	return r;
}

static int put_vcpu(struct gm_launch_digest *digest, const uint8_t *page,
		    struct gm_refusal *refusal)
{
	return gm_launch_digest_update(digest,
				       &(struct gm_launch_range){ .type = GM_LAUNCH_VMSA,
								  .length = GM_VMSA_SIZE,
								  .bytes = page,
								  .n_bytes = GM_VMSA_SIZE },
				       1, refusal);
}

static int sev_es_finish(uint8_t blob[GM_LAUNCH_BLOB_SIZE], const struct gm_launch_vcpus *vcpus,
			 struct gm_refusal *refusal)
{
	uint8_t pages[GM_LAUNCH_MODEL_PAGES][GM_VMSA_SIZE];
	struct gm_launch_digest digest;
	uint32_t n;
	int r;

	if (vcpus->how == GM_VCPUS_UNKNOWN)
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "the daemon makes the vCPUs of this kind: it has to be told "
				      "how many, and how they begin");
	r = gm_launch_digest_load(blob, &digest);
	if (r == 0 && vcpus->how == GM_VCPUS_MODEL) {
		r = sev_es_model_pages(vcpus, pages[0], &n, refusal);
		for (uint32_t i = 0; r == 0 && i < vcpus->count; i++)
			r = put_vcpu(&digest, pages[i == 0 ? 0 : 1], refusal);
	}
	return r == 0 ? gm_launch_close(&digest, blob) : r;
}

/* ---- launches ---- */

static int sev_carry_out(const struct gm_launch_plan *plan, struct gm_launch_outcome *ret_outcome)
{
	return gm_sev_launch(plan, GM_KVM_VM_TYPE_SEV, ret_outcome);
}

static int sev_es_carry_out(const struct gm_launch_plan *plan,
			    struct gm_launch_outcome *ret_outcome)
{
	return gm_sev_launch(plan, GM_KVM_VM_TYPE_SEV_ES, ret_outcome);
}

/* kvm_vm_ioctl: a VM answers EIO to whoever has not made it, before it looks at the question. */
static bool is_vm(int fd)
{
	return gm_kvm_check_extension(fd, GM_KVM_CAP_VM_TYPES) == -EIO;
}

#define RULES(kind)                                                                                \
	.types = 1u << GM_POPULATE_NORMAL, .sources = 1u << GM_POPULATE_NORMAL,                    \
	.parameters_max = PARAMETERS_MAX, .device_name = "sev", .open_device = gm_sev_device_open, \
	.begin = kind##_begin, .check_parameters = kind##_check_parameters,                        \
	.carry_out = kind##_carry_out, .is_vm = is_vm, .firmware_name = gm_firmware_name_sev

static const struct gm_launch_rules sev_rules = {
	RULES(sev),
	.slot = GM_SLOT_SEV,
	.finish = gm_launch_finish_as_it_is,
};

static const struct gm_launch_rules sev_es_rules = {
	RULES(sev_es),
	.slot = GM_SLOT_ES,
	.finish = sev_es_finish,
	.measures_vcpus = true,
	.model_pages = sev_es_model_pages,
	.vcpu_tags = sev_es_vcpu_tags,
};

/* ---- is it there? ---- */

static int try_vm(unsigned long type, char *reason, size_t reason_size)
{
	_gm_close_ int kvm = -1, vm = -1;
	int r;

	r = gm_kvm_device_open(&kvm, reason, reason_size);
	if (r < 0)
		return r;
	r = gm_kvm_check_extension(kvm, GM_KVM_CAP_VM_TYPES);
	if (r >= 0)
		r = (unsigned)r >> type & 1 ? 0 : -EOPNOTSUPP;
	if (r == 0) {
		vm = gm_kvm_create_vm(kvm, type);
		r = vm < 0 ? vm : 0;
	}
	if (r < 0)
		(void)snprintf(reason, reason_size, "KVM has no such VMs: %s", strerror(-r));
	return r;
}

static int find_out(unsigned long type, const char *name, struct gm_probe *probe)
{
	char reason[GM_TEXT_MAX / 2];
	_gm_close_ int device = -1;
	struct utsname host;
	int r;

	r = try_vm(type, reason, sizeof(reason));
	if (r == 0)
		r = gm_sev_device_open(&device, reason, sizeof(reason));
	if (r < 0) {
		(void)uname(&host);
		probe->usable = false;
		probe->caps = 0;
		probe->page_sizes = 0;
		(void)snprintf(probe->reason, sizeof(probe->reason),
			       "no %s: %s; kernel %.48s (needs 6.10, kvm_amd with %s=Y)", name,
			       reason, host.release, type == GM_KVM_VM_TYPE_SEV ? "sev" : "sev_es");
		return gm_kvm_is_shortage(r) ? r : 0;
	}
	probe->page_sizes = GM_PAGE_4K;
	probe->caps |= GM_CAP_LAUNCH | GM_CAP_DAEMON_LAUNCHES;
	if (type == GM_KVM_VM_TYPE_SEV_ES)
		probe->caps |= GM_CAP_PROTECTED_STATE;
	(void)snprintf(probe->reason, sizeof(probe->reason), "%s, launched by the daemon", name);
	return 0;
}

static int open_kind(unsigned long type, const char *name, struct gm_backend_state **ret_state,
		     struct gm_probe *ret_probe)
{
	struct gm_backend_state *state;
	struct gm_probe probe;
	int r;

	r = gm_memfd_backend.open(&state, &probe);
	if (r == 0 && probe.usable)
		r = find_out(type, name, &probe);
	if (r < 0)
		return r;
	if (!probe.usable) {
		gm_memfd_backend.close(state);
		state = NULL;
	}
	*ret_state = state;
	*ret_probe = probe;
	return 0;
}

static int sev_open(struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	return open_kind(GM_KVM_VM_TYPE_SEV, "SEV", ret_state, ret_probe);
}

static int sev_es_open(struct gm_backend_state **ret_state, struct gm_probe *ret_probe)
{
	return open_kind(GM_KVM_VM_TYPE_SEV_ES, "SEV-ES", ret_state, ret_probe);
}

/* One half, the shared one: the platform encrypts what lies in it. */
const struct gm_backend gm_sev_backend = {
	.kind = "sev",
	.launch = &sev_rules,
	.open = sev_open,
	GM_HALVES_OPERATIONS,
};

const struct gm_backend gm_sev_es_backend = {
	.kind = "sev-es",
	.launch = &sev_es_rules,
	.open = sev_es_open,
	GM_HALVES_OPERATIONS,
};
